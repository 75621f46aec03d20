"""The walk over the checklist: every line is looked at, and what cannot be looked at has not passed."""

from __future__ import annotations

import datetime as dt
import subprocess
from typing import TYPE_CHECKING

import urllib3

from pouw.errors import PouwError
from pouw.preflight.checklist import SECTIONS
from pouw.preflight.lines import Line, Outcome, failed, human

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pouw.preflight.deployment import Deployment
    from pouw.preflight.lines import Finding, Item, Section

_MOST_EVIDENCE = 600
_EXPECTED = (PouwError, OSError, urllib3.exceptions.HTTPError, subprocess.SubprocessError)
_NO_ANSWER = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)


def walk(deployment: Deployment, sections: Iterable[Section] = SECTIONS) -> Iterator[Line]:
    """Look at every line in turn."""
    for section in sections:
        for item in section.items:
            found, at = _look(item, deployment), ""
            if item.look is not None:
                at = dt.datetime.fromtimestamp(deployment.clock(), dt.UTC).isoformat(timespec="seconds")
            evidence = "".join(letter if letter.isprintable() else " " for letter in found.evidence)[:_MOST_EVIDENCE]
            todo = "" if found.outcome is Outcome.PASSED else found.cure or item.cure
            yield Line(item.id, section.title, item.title, found.outcome, evidence, todo, at)


def _look(item: Item, deployment: Deployment) -> Finding:
    if item.look is None:
        return human("no program can tell")
    try:
        return item.look(deployment)
    except _EXPECTED as error:
        return failed(str(error) or type(error).__name__)
    except _NO_ANSWER as error:  # what a server answers that is not what it was taken for
        return failed(f"the answer is not as expected: {error!r}")
