"""The useful work of ``pouw work``: hash files, and attest each hash with a receipt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pouw.client.content import hash_file
from pouw.protocol.types import ProofType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pouw.client.client import Client


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the given files, and the regular files below the given folders in a stable order."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                found = Path(folder, name)
                if found.is_file() and not found.is_symlink():
                    yield found


def attest_file(client: Client, path: Path) -> None:
    """Hash one file and keep its receipt; raise OSError where the file cannot be read."""
    work = client.start_work(ProofType.HASH, path.stat().st_size)
    content_id, size = hash_file(path)
    client.finish_work(work, content_id=content_id, size=size)
