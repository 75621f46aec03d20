"""What the node is made of: ``python -m tools.supply audit`` and ``python -m tools.supply sbom FILE``.

The audit asks the vulnerability service about every package of requirements.lock. Its exit code is 0 where each was
judged and none is vulnerable, 1 where one is, and 3 where the service did not judge all of them: silence is no verdict.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
CLEAN, VULNERABLE, UNKNOWN = 0, 1, 3


def audit() -> tuple[int, str]:
    """Ask the vulnerability service about the lock; return the exit code and what to say."""
    done = subprocess.run(  # noqa: S603 - a program of our own lock
        [sys.executable, "-m", "pip_audit", "--requirement", LOCK, "--require-hashes", "--disable-pip",
         "--progress-spinner=off", "--format=json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        return judge(json.loads(done.stdout))
    except json.JSONDecodeError:
        last = done.stderr.strip().splitlines()[-1:]
        return UNKNOWN, "\n".join([*last, "Nothing was audited: the vulnerability service cannot be reached."])


def judge(report: dict[str, Any]) -> tuple[int, str]:
    """Turn pip-audit's report into an exit code and what to say."""
    packages = report["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    faults = [_line(package, fault) for package in packages for fault in package.get("vulns", ())]
    lines = list(faults)
    if skipped:
        lines.append(f"not known to the vulnerability service, so NOT audited: {', '.join(skipped)}")
    lines.append(
        f"{len(packages) - len(skipped)} of {len(packages)} packages audited, {len(faults)} faults known in them"
    )
    return VULNERABLE if faults else UNKNOWN if skipped or not packages else CLEAN, "\n".join(lines)


def _line(package: dict[str, Any], fault: dict[str, Any]) -> str:
    mended = ", ".join(fault["fix_versions"]) or "no version yet"
    return f"{package['name']} {package['version']}: {fault['id']}, mended in {mended}"


def sbom(path: Path) -> None:
    """Write a CycloneDX bill of materials of the lock, the same bytes for the same lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A lock lists packages and no graph of them, which is what the warning says.
    subprocess.run(  # noqa: S603 - a program of our own lock
        [sys.executable, "-W", "ignore::UserWarning", "-m", "cyclonedx_py", "requirements", LOCK,
         "--pyproject", ROOT / "pyproject.toml", "--mc-type=application", "--output-reproducible",
         "--output-format=JSON", "--output-file", path],
        check=True,
    )  # fmt: skip


def main() -> int:
    """Do what the first argument says."""
    if sys.argv[1:] == ["audit"]:
        code, text = audit()
        sys.stdout.write(f"{text}\n")
        return code
    [_, name] = sys.argv[1:]
    sbom(Path(name))
    sys.stdout.write(f"{name} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
