"""What a drill found, how it is kept, and the table of all."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import psutil

from pouw import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.drills.load import Found


@dataclass(frozen=True, slots=True)
class Outcome:
    """One drill's result.

    ``rto_secs`` is how long the service was away: the longest time in which no client got a batch acknowledged.
    ``rpo_receipts`` are the receipts that were acknowledged and are gone.
    """

    drill: str
    did: str
    rto_secs: float
    objective_secs: float
    acknowledged: int
    rpo_receipts: int
    doubled: int
    faults: list[str] = field(default_factory=list)
    saw: dict[str, str] = field(default_factory=dict)
    at: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    @property
    def passed(self) -> bool:
        """Whether the service was back within the objective and nothing was lost, doubled or otherwise wrong."""
        whole = self.rpo_receipts == 0 and self.doubled == 0 and self.acknowledged > 0
        return whole and self.rto_secs <= self.objective_secs and not self.faults


def outcome(drill: str, did: str, away_secs: float, objective_secs: float, found: Found, **saw: object) -> Outcome:
    """Put an outcome together from what the load found in the database."""
    return Outcome(
        drill,
        did,
        round(away_secs, 2),
        objective_secs,
        found.acknowledged,
        found.lost,
        found.doubled,
        found.faults,
        {name: str(value) for name, value in saw.items()},
    )


def keep(result: Outcome, folder: Path) -> Path:
    """Write the outcome with the machine's description to ``folder/NAME.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = {"system": platform.platform(), "cores": psutil.cpu_count(), "pouw": __version__}
    file = folder / f"{result.drill}.json"
    file.write_text(json.dumps(asdict(result) | {"passed": result.passed, "machine": machine}, indent=2) + "\n")
    return file


def lines(result: Outcome) -> list[str]:
    """Say it in words."""
    verdict = "passed" if result.passed else "FAILED"
    return [
        f"{result.drill}: {verdict}. {result.did}",
        f"  away for {result.rto_secs:.2f} s (objective {result.objective_secs:g} s)",
        f"  {result.acknowledged:,} receipts acknowledged, {result.rpo_receipts} lost, {result.doubled} doubled",
        *(f"  {name.replace('_', ' ')}: {value}" for name, value in result.saw.items()),
        *(f"  fault: {fault}" for fault in result.faults),
    ]


def table(folder: Path) -> str:
    """Return the kept outcomes as the Markdown table of docs/FAILOVER_SCENARIOS.md."""
    rows = ["| Drill | RTO | Objective | Acknowledged | RPO (lost) | Doubled | When |", "|---|---|---|---|---|---|---|"]
    for file in sorted(folder.glob("*.json")):
        kept = json.loads(file.read_text())
        rows.append(
            f"| `{kept['drill']}` | {kept['rto_secs']:.1f} s | {kept['objective_secs']:g} s | {kept['acknowledged']:,} "
            f"| {kept['rpo_receipts']} | {kept['doubled']} | {kept['at'][:10]} |"
        )
    return "\n".join(rows)
