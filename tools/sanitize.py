"""Run the unit tests on a build of the extension with AddressSanitizer and UBSan: ``python -m tools.sanitize``.

The build lies in a temporary folder; the one that everything else uses stays as it is. Arguments go to pytest.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tools.instrumented import ROOT, build, default_compiler, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

TESTS = tuple(f"tests/unit/test_{name}.py" for name in ("fastverify", "vectors", "json_body", "crashes", "verify"))


def run(extension: Path, arguments: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run pytest on a build; a finding ends it with a report behind what it has written so far."""
    # With pytest's own capture of file descriptors, the report would go where nobody reads it.
    pytest = ["pytest", "-p", "no:cacheprovider", "-p", "no:schemathesis", "--capture=sys", *arguments]
    return subprocess.run(  # noqa: S603 - this project's own
        [sys.executable, "-m", "tools.instrumented", extension, *pytest],
        cwd=ROOT,
        env=environment(default_compiler()),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def main() -> int:
    """Build, test, show what came of it, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="pouw-sanitize-") as scratch:
        tested = run(build(Path(scratch), default_compiler()), sys.argv[1:] or TESTS)
    sys.stdout.write(tested.stdout)
    return tested.returncode


if __name__ == "__main__":
    sys.exit(main())
