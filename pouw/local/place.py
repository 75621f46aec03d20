"""Where an embedded server lives and who it runs as.

PostgreSQL refuses to run as root. Then it runs under an unprivileged account, in a directory of that account,
and from binaries that the account can reach: where the chosen directory or the installed binaries lie behind a
directory that is closed to it, both find a place below ``/var/lib/pouw``. Permissions of directories that are
not the server's own are never changed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pouw.errors import LocalServerError

_OPEN_BASE = Path("/var/lib/pouw")
_SOCKET_PATH_BYTES = 90  # sun_path has 104 (macOS) or 108 bytes, less the socket's own name


@dataclass(frozen=True, slots=True)
class Account:
    """Who a server runs as; without a uid, the one who starts it."""

    name: str
    uid: int | None = None
    gid: int | None = None

    def own(self, path: Path, mode: int) -> None:
        """Make a directory that belongs to this account."""
        path.mkdir(mode=mode, exist_ok=True)
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)
        path.chmod(mode)

    def can_reach(self, path: Path) -> bool:
        """Whether this account can enter a directory."""
        if self.uid is None:
            return os.access(path, os.X_OK)
        probe = subprocess.run(  # noqa: S603 - asks the kernel as that account, with a fixed program
            ["/usr/bin/env", "test", "-x", path],
            user=self.uid,
            group=self.gid,
            extra_groups=[],
            check=False,
            cwd="/",
        )
        return probe.returncode == 0


def server_account() -> Account:
    """Return the account for servers: the caller, or an unprivileged one where the caller is root."""
    if os.geteuid() != 0:
        return Account(pwd.getpwuid(os.geteuid()).pw_name)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise LocalServerError("PostgreSQL does not run as root, and there is no account postgres or nobody to run it as")


def find_home(data_dir: Path, account: Account) -> Path:
    """Return the directory for the servers' files, remembered in ``data_dir`` where it lies elsewhere."""
    pointer = data_dir / "servers.location"
    if pointer.exists():
        home = Path(pointer.read_text().strip())
        if home.is_dir():
            return home
    elif account.can_reach(data_dir):
        home = data_dir / "servers"
        home.mkdir(mode=0o711, exist_ok=True)
        return home
    _OPEN_BASE.mkdir(mode=0o711, exist_ok=True)
    home = _OPEN_BASE / secrets.token_hex(6)
    home.mkdir(mode=0o711)
    pointer.write_text(f"{home}\n")
    return home


def package_directory(name: str) -> Path | None:
    """Return where an installed package lies, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def reachable_copy(source: Path, companions: tuple[Path, ...], home: Path, account: Account, version: str) -> Path:
    """Return ``source``, or a copy of it and its companions below ``home`` where the account cannot reach it."""
    if account.can_reach(source):
        return source
    target = home / f"{source.name}-{version}"
    if not target.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="copy-", dir=home))
        for path in (source, *companions):
            if path.exists():
                shutil.copytree(path, unfinished / path.relative_to(source.parent), symlinks=True)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
        unfinished.rename(target)
    return target / source.name


def socket_directory(home: Path, account: Account) -> Path:
    """Return a directory for sockets that only the account and its caller can enter, with a path short enough.

    Where ``home`` is too deep for a socket's path it is a new one below the system's temporary directory, which
    the caller removes.
    """
    directory = home / "run"
    if len(os.fsencode(directory)) > _SOCKET_PATH_BYTES:
        directory = Path(tempfile.mkdtemp(prefix="pouw-"))
    account.own(directory, 0o700)
    return directory
