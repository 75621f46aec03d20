"""Starting and ending one child process, which also ends when this process does."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pouw.local.place import Account

_PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str | Path],
    *,
    account: Account | None = None,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    when_orphaned: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that a Ctrl-C reaches only the one who then ends it in order.

    On Linux the kernel sends it ``when_orphaned`` should this process die without a word.
    """
    output = log.open("ab") if log is not None else None
    try:
        return subprocess.Popen(  # noqa: S603 - our own programs, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd="/" if account else None,  # an unprivileged account may not be able to enter ours
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account and account.uid is not None else None,
            preexec_fn=_die_with_parent(when_orphaned),  # noqa: PLW1509 - we start no threads before
        )
    finally:
        if output is not None:
            output.close()


def stop(process: subprocess.Popen[bytes], how: signal.Signals, timeout: float) -> None:
    """Ask the process to end and wait; after ``timeout`` seconds end it."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def set_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))

    return set_signal
