"""The word that a node stops: said once by Gunicorn's master, seen at once by all of its workers."""

from __future__ import annotations

import mmap


class Stopping:
    """Shared memory, made before the fork. ``drain_secs`` is how long a node that stops still takes connections."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)
        self.drain_secs = 0

    def begin(self) -> None:
        """Say that the node stops."""
        self._memory[0] = 1

    def begun(self) -> bool:
        """Whether the node stops."""
        return self._memory[0] == 1


STOPPING = Stopping()
"""Made when Gunicorn's master reads its configuration, so that every worker inherits it."""
