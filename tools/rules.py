"""The rules of deploy/prometheus with all times shortened, so that a test need not wait for minutes.

    python -m tools.rules FOLDER SCALE

writes both rule files into FOLDER with every range, wait and interval divided by SCALE, one second at least (a range:
five). Nothing else changes: not a threshold, not an expression.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "deploy" / "prometheus"
FILES = ("recording.yml", "alerts.yml")

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LEAST_RANGE_SECS = 5
_RANGE = re.compile(r"\[([0-9]+)([smhd])\]")
_TIME = re.compile(r"^( *(?:for|interval): )([0-9]+)([smhd])$", re.MULTILINE)


def shorten(rules: str, scale: int) -> str:
    """Return a rule file with its times divided by ``scale``."""

    def secs(number: str, unit: str, least: int) -> str:
        whole = int(number) * _UNITS[unit]
        return f"{max(least, whole // scale) if whole else 0}s"

    shorter = _RANGE.sub(lambda found: f"[{secs(found[1], found[2], _LEAST_RANGE_SECS)}]", rules)
    return _TIME.sub(lambda found: f"{found[1]}{secs(found[2], found[3], 1)}", shorter)


def write(folder: Path, scale: int) -> list[Path]:
    """Write the shortened files into a folder; return them."""
    made = [folder / name for name in FILES]
    for path in made:
        path.write_text(shorten((SOURCE / path.name).read_text(), scale))
    return made


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
