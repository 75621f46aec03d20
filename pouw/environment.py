"""Reading the environment: one variable at a time, every mistake collected, secrets hidden."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pouw.errors import KeyMaterialError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_MAX_SECRET_FILE_BYTES = 65_536


class Secret:
    """A text that is shown only by :meth:`reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class Reader:
    """Reads one variable at a time and collects what is wrong instead of stopping.

    A secret ``NAME`` may be the variable itself, the content of the file that ``NAME_FILE`` names, or the systemd
    credential ``NAME`` (a file in ``CREDENTIALS_DIRECTORY``). An empty variable counts as unset.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.faults: list[str] = []
        self.secret_files: dict[str, Path] = {}

    def secret_file(self, name: str) -> Path | None:
        """Return the file that holds a secret, or None where it is not kept in a file."""
        value, path = self._environ.get(name) or None, self._environ.get(f"{name}_FILE") or None
        credentials = self._environ.get("CREDENTIALS_DIRECTORY")
        if path is None and value is None and credentials and (Path(credentials) / name).exists():
            path = str(Path(credentials) / name)
        if path is None:
            return None
        self.secret_files[name] = Path(path)
        if value is not None:
            self.faults.append(f"{name} and {name}_FILE are both set: set one of them")
            return None
        return Path(path)

    def _get(self, name: str) -> str | None:
        before = len(self.faults)
        path = self.secret_file(name)
        if path is None:
            return None if len(self.faults) > before else self._environ.get(name) or None
        try:
            with path.open(encoding="utf-8") as file:
                return file.read(_MAX_SECRET_FILE_BYTES).strip()
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "not UTF-8"
            self.faults.append(f"{name}_FILE: {path} cannot be read: {cause}")
            return None

    def parsed(self, name: str, parse: Callable[[str], T], *, required: bool = True) -> T | None:
        """Read a secret or any other value with ``parse``, whose KeyMaterialError or ValueError is the fault."""
        before = len(self.faults)
        value = self._get(name)
        if value is None:
            if required and len(self.faults) == before:
                self.faults.append(f"{name} is not set (nor {name}_FILE)")
            return None
        return self.checked(name, lambda: parse(value))

    def checked(self, name: str, make: Callable[[], T]) -> T | None:
        """Return what ``make`` returns, or note its KeyMaterialError or ValueError as this variable's fault."""
        try:
            return make()
        except (KeyMaterialError, ValueError) as error:
            self.faults.append(f"{name}: {error}")
            return None

    def text(self, name: str, default: str) -> str:
        """Read a plain text."""
        return self._environ.get(name) or default

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """Read one of the allowed words."""
        value = self.text(name, default).lower()
        if value not in allowed:
            self.faults.append(f"{name}: expected one of {', '.join(allowed)}, got {value[:40]!r}")
        return value

    def integer(self, name: str, default: int | None, low: int, high: int) -> int | None:
        """Read a whole number between two bounds; unset it is ``default``."""
        value = self._environ.get(name) or None
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,40}", value, re.ASCII) or not low <= int(value) <= high:
            self.faults.append(f"{name}: expected a whole number from {low} to {high}, got {value[:40]!r}")
            return None
        return int(value)

    def path(self, name: str) -> Path | None:
        """Read the path of a file that has to be readable."""
        value = self._environ.get(name)
        if not value:
            return None
        try:
            Path(value).open("rb").close()
        except OSError as error:
            self.faults.append(f"{name}: {value} cannot be read: {error.strerror}")
        return Path(value)
