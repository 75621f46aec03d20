"""Limits and flags: what the live node says of itself, and what its settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pouw.preflight.lines import Finding, failed, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from pouw.preflight.deployment import Deployment

_MOST_REQUEST_SECS = 120


def limit(member: str, name: str, most: int) -> Callable[[Deployment], Finding]:
    """Make the check of a limit: what the live node says at /node is as the settings say, and not lifted."""

    def look(deployment: Deployment) -> Finding:
        live = int(deployment.node()["limits"][member])
        here = getattr(deployment.settings, name)
        if live != here:
            return failed(f"the node says {live}, the settings here {here}", "Run this with the node's environment.")
        return judge(live <= most, f"the node says {live}; up to {most:,} count as a limit")

    return look


def request_timeout(deployment: Deployment) -> Finding:
    """Look how long a body may take to arrive."""
    seconds = deployment.settings.request_timeout_secs
    return judge(seconds <= _MOST_REQUEST_SECS, f"{seconds} s in the settings; up to {_MOST_REQUEST_SECS} s are usual")


def settings(deployment: Deployment) -> Finding:
    """Say that the settings could be read: the command ends before any line where they could not."""
    where = f"metrics on {deployment.settings.metrics_host}:{deployment.settings.metrics_port}"
    return judge(holds=True, evidence=f"all variables were read without a fault; {where}")


def production(deployment: Deployment) -> Finding:
    """Look at POUW_ENV."""
    return judge(deployment.settings.env == "production", f"POUW_ENV is {deployment.settings.env}")


def development(deployment: Deployment) -> Finding:
    """Look for everything that production refuses."""
    if deployment.faults:
        return failed("; ".join(deployment.faults))
    return judge(holds=True, evidence="nothing of what production refuses is set")


def debug(deployment: Deployment) -> Finding:
    """Look at POUW_LOG_LEVEL."""
    level = deployment.settings.log_level
    return judge(level != "debug", f"POUW_LOG_LEVEL is {level}")
