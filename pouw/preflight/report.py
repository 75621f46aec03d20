"""A walk's lines as text, as JSON, and as a filled-in copy of the checklist."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from pouw.preflight.checklist import SECTIONS, SIGNERS
from pouw.preflight.lines import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pouw.preflight.lines import Line

_INTRODUCTION = """\
# Production checklist

Before a node meets the public, and after each deployment, every line here is looked at. `pouw preflight` looks at
what a program can look at, and leaves the rest to you:

    pouw preflight --url https://node.example --prometheus URL --alertmanager URL \\
      --bench DIR --config /etc/pouw --markdown

prints this page with what was found. Under each line stands how to look by hand.
"""


def count(lines: Sequence[Line]) -> str:
    """Return how many lines had which outcome, in words."""
    counted = Counter(line.outcome for line in lines)
    return ", ".join(f"{counted[outcome]} {outcome}" for outcome in Outcome)


def text(lines: Sequence[Line]) -> str:
    """Return the lines for a terminal."""
    shown, section = [], ""
    for line in lines:
        if line.section != section:
            section = line.section
            shown.append(f"\n{section}")
        shown.append(f"  {line.outcome:<12} {line.title}: {line.evidence}")
        if line.what_to_do:
            shown.append(f"  {'':<12}   -> {line.what_to_do}")
    return "\n".join([*shown, "", count(lines)]).lstrip("\n")


def as_json(lines: Sequence[Line]) -> str:
    """Return the lines as a JSON document."""
    passed = all(line.outcome is not Outcome.FAILED for line in lines)
    return json.dumps({"passed": passed, "lines": [asdict(line) for line in lines]}, indent=1)


def markdown(lines: Sequence[Line] = ()) -> str:
    """Return the page: blank without lines, filled in with them."""
    found = {line.id: line for line in lines}
    parts = [_INTRODUCTION]
    if lines:
        looked_at = max(line.looked_at for line in lines)
        parts.append(f"Filled in by `pouw preflight` until {looked_at}: {count(lines)}.\n")
    for section in SECTIONS:
        parts.append(f"## {section.title}\n")
        for item in section.items:
            line = found.get(item.id)
            box = "x" if line is not None and line.outcome is Outcome.PASSED else " "
            parts.append(f"- [{box}] {item.title} (`{item.id}`)")
            if item.try_by_hand:
                parts.append(f"  - by hand: `{item.try_by_hand}`")
            parts += _filled(line) if line is not None else []
        parts.append("")
    parts += ["## Sign-off\n", "| Role | Name | Date | Signature |", "|------|------|------|-----------|"]
    parts += [f"| {signer} | | | |" for signer in SIGNERS]
    return "\n".join(parts) + "\n"


def _filled(line: Line) -> list[str]:
    at = f", {line.looked_at}" if line.looked_at else ""
    shown = [f"  - **{line.outcome}**: {line.evidence}{at}"]
    return shown + ([f"  - to do: {line.what_to_do}"] if line.what_to_do else [])
