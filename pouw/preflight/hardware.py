"""The machine that the command runs on: cores, memory, disk and network, read from Linux."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pouw.preflight.lines import Finding, failed, human, judge

if TYPE_CHECKING:
    from pouw.preflight.deployment import Deployment

_CORES, _MANY_CORES = 4, 8
_MEMORY, _MUCH_MEMORY = 8 * 10**9, 16 * 10**9
_KEPT = 0.95  # what firmware and kernel keep of the memory that was paid for
_DISK = 100 * 10**9
_MBITS = 1_000
SYSTEM = Path("/sys")


def cores(_deployment: Deployment) -> Finding:
    """Count the cores that this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    advice = "" if found >= _MANY_CORES else f"; {_MANY_CORES} for much load"
    return judge(found >= _CORES, f"{found} cores{advice}")


def memory(_deployment: Deployment) -> Finding:
    """Measure the machine's memory."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    advice = "" if found >= _MUCH_MEMORY * _KEPT else f"; {_MUCH_MEMORY / 1e9:.0f} GB for much load"
    return judge(found >= _MEMORY * _KEPT, f"{found / 1e9:.1f} GB{advice}")


def disk(deployment: Deployment) -> Finding:
    """Measure the file system that was named, or that of the node's data, and ask Linux whether its disk turns."""
    place = deployment.given.disk or deployment.settings.data_dir or deployment.settings.archive_dir
    free = shutil.disk_usage(place or tempfile.gettempdir()).free
    seen = f"{free / 1e9:.0f} GB free at {place or tempfile.gettempdir()}"
    turns = rotates(place) if place else None
    if free < _DISK or turns:
        return failed(seen + (", on a disk that turns" if turns else ""))
    if place is None or turns is None:
        return human(f"{seen}, on a disk of unknown kind", "Run it with --disk on the database's machine, or ask.")
    return judge(holds=True, evidence=f"{seen}, on a disk that does not turn")


def rotates(place: Path, system: Path = SYSTEM) -> bool | None:
    """Return whether the disk below a folder turns; None where Linux does not say."""
    device = place.stat().st_dev
    block = (system / "dev" / "block" / f"{os.major(device)}:{os.minor(device)}").resolve()
    for folder in (block, block.parent):  # a partition's queue is its disk's
        try:
            return (folder / "queue" / "rotational").read_text().strip() == "1"
        except OSError:
            continue
    return None


def network(_deployment: Deployment) -> Finding:
    """Ask the interfaces how fast they are; virtual ones do not know."""
    return judge_speeds(speeds())


def speeds(system: Path = SYSTEM) -> dict[str, int]:
    """Return the speed in Mbit/s of each interface that knows it."""
    found = {}
    for interface in sorted((system / "class" / "net").glob("*")):
        try:
            speed = int((interface / "speed").read_text())
        except (OSError, ValueError):
            continue
        if speed > 0 and interface.name != "lo":
            found[interface.name] = speed
    return found


def judge_speeds(found: dict[str, int]) -> Finding:
    """Say whether the fastest interface is fast enough."""
    if not found:
        return human("no interface says how fast it is", "Ask the provider, or measure with iperf3.")
    shown = ", ".join(f"{name} {speed} Mbit/s" for name, speed in found.items())
    return judge(max(found.values()) >= _MBITS, shown)


def python(_deployment: Deployment) -> Finding:
    """Name this Python."""
    return judge((3, 11) <= sys.version_info[:2] < (3, 14), f"Python {platform.python_version()}")
