"""The locks are complete and agree with what is declared; the bill of materials and the audit agree with the locks."""

from __future__ import annotations

import importlib.metadata
import json
import re
import socket
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.supply import CLEAN, ROOT, UNKNOWN, VULNERABLE, judge

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BUILD = [line for line in (ROOT / "build.in").read_text().splitlines() if not line.startswith("#")]
EXTRAS = PROJECT["project"]["optional-dependencies"]
RUN = [*PROJECT["project"]["dependencies"], *EXTRAS["local"], *BUILD]
DECLARED = {
    "requirements.lock": RUN,
    "requirements-dev.lock": [*RUN, *EXTRAS["dev"], *EXTRAS["bench"], *EXTRAS["otel"]],
}


def entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """Return the requirements of a lock, each with its hashes."""
    lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    split = [re.split(r"\s+--hash=", line.strip()) for line in lines if line.strip()]
    return [(Requirement(requirement), hashes) for requirement, *hashes in split]


def pins(name: str) -> dict[str, list[str]]:
    """Return the versions of each package in a lock; there are two where the versions of Python differ."""
    found: dict[str, list[str]] = {}
    for requirement, _hashes in entries(name):
        [pin] = requirement.specifier
        found.setdefault(canonicalize_name(requirement.name), []).append(pin.version)
    return found


@pytest.mark.parametrize("lock", DECLARED)
def test_every_requirement_is_pinned_with_hashes(lock: str) -> None:
    assert len(entries(lock)) > 40
    for requirement, hashes in entries(lock):
        assert [pin.operator for pin in requirement.specifier] == ["=="], requirement
        assert requirement.url is None, requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), requirement


@pytest.mark.parametrize("lock", DECLARED)
def test_the_lock_holds_what_is_declared(lock: str) -> None:
    locked = pins(lock)
    for line in DECLARED[lock]:
        declared = Requirement(line)
        versions = locked[canonicalize_name(declared.name)]
        assert all(declared.specifier.contains(version) for version in versions), line


def test_builds_take_what_the_lock_holds() -> None:
    assert sorted(PROJECT["build-system"]["requires"]) == sorted(BUILD)


@pytest.mark.parametrize("lock", DECLARED)
def test_the_lock_holds_nothing_else(lock: str) -> None:
    """Every package in it is needed by one that is declared, directly or not."""
    needed: set[str] = set()
    waiting = [Requirement(line) for line in DECLARED[lock]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key not in seen:
            seen.add(key)
            needed.add(key[0])
            waiting += requirements_of(*key)
    locked = {
        canonicalize_name(each.name) for each, _ in entries(lock) if each.marker is None or each.marker.evaluate()
    }
    assert locked == needed


def requirements_of(name: str, extras: frozenset[str]) -> list[Requirement]:
    """Return what an installed package needs on this machine."""
    found = [Requirement(line) for line in importlib.metadata.requires(name) or ()]
    return [
        each
        for each in found
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras | {""})
    ]


def test_tests_run_on_the_versions_that_nodes_run_on() -> None:
    run, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: dev[name] for name in run} == run


def test_the_bill_of_materials_names_every_package(tmp_path: Path) -> None:
    path = tmp_path / "pouw.cdx.json"
    subprocess.run([sys.executable, "-m", "tools.supply", "sbom", path], cwd=ROOT, check=True, timeout=120)
    bill = json.loads(path.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "pouw"
    named: dict[str, list[str]] = {}
    for component in bill["components"]:
        named.setdefault(canonicalize_name(component["name"]), []).append(component["version"])
        assert component["externalReferences"][0]["hashes"], component["name"]
    assert named == pins("requirements.lock")


FAULT = {"id": "PYSEC-2030-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}
JUDGED: list[tuple[list[dict[str, Any]], int, str]] = [
    ([{"name": "a", "version": "1.0", "vulns": []}], CLEAN, "1 of 1 packages audited, 0 faults known"),
    ([{"name": "a", "version": "1.0", "vulns": [FAULT]}], VULNERABLE, "a 1.0: PYSEC-2030-1, mended in 1.1"),
    ([{"name": "a", "skip_reason": "not found"}], UNKNOWN, "NOT audited: a"),
    (
        [{"name": "b", "skip_reason": "-"}, {"name": "a", "version": "1", "vulns": [FAULT]}],
        VULNERABLE,
        "NOT audited: b",
    ),
    ([], UNKNOWN, "0 of 0"),
]


@pytest.mark.parametrize(("packages", "code", "said"), JUDGED)
def test_only_a_verdict_on_every_package_is_clean(packages: list[dict[str, Any]], code: int, said: str) -> None:
    judged, text = judge({"dependencies": packages})
    assert judged == code
    assert said in text


def test_an_audit_without_the_service_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and never listening: who connects is refused
        taken.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "tools.supply", "audit"], cwd=ROOT, capture_output=True, text=True, check=False,
            env={"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "HOME": str(tmp_path)}, timeout=120,
        )  # fmt: skip
    assert done.returncode == UNKNOWN, done.stderr
    assert "cannot be reached" in done.stdout
