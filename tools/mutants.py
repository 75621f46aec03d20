"""Plant one fault after the other in the verification of signatures, and see that the tests catch each of them.

``python -m tools.mutants [--only TEXT]`` works on a copy of the tree in a temporary folder. The exit code is 1 if a
fault survives, or if the line that it is planted in is no longer there: then tools/mutant_list.py has to follow.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tools.instrumented import ROOT, default_compiler
from tools.mutant_list import MUTANTS, Mutant

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = ("pouw", "tests", "tools", "migrations", "pyproject.toml")
TESTS = ("signature_rule", "point_arithmetic", "arithmetic", "fastverify")
C_FILES = ("verify.c", "portable.c", "avx2.c", "ifma.c")
MOST_SECONDS = 300  # a fault may make a loop endless


class Tree:
    """A copy of what the tests need, with an extension of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("*.so", "__pycache__", "_fastverify.c")
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=ignored)
            else:
                shutil.copy(source, folder / part)
        self.extension = folder / "pouw" / f"_fastverify{sysconfig.get_config_var('EXT_SUFFIX')}"
        self.face = folder / "face.o"
        self.compile_face()

    def compile_face(self) -> None:
        """Compile the Cython side, which takes longest and which most faults leave alone."""
        code = self.folder / "face.c"
        run(sys.executable, "-m", "cython", "-3", "--output-file", code, self.folder / "pouw" / "_fastverify.pyx")
        run(*self.compiler(), "-c", f"-I{sysconfig.get_path('include')}", code, "-o", self.face)

    def compiler(self) -> list[str]:
        """Return the start of each command; little optimisation, for tests that take seconds."""
        return [*default_compiler(), "-O1", "-fPIC", "-w", f"-I{self.folder / 'pouw'}"]

    def link(self) -> None:
        """Compile the C side as it is now, and make the extension."""
        sources = [self.folder / "pouw" / "ed25519" / name for name in C_FILES]
        run(*self.compiler(), "-shared", *sources, self.face, "-o", self.extension)

    def test(self) -> subprocess.CompletedProcess[str]:
        """Run the tests of signatures up to the first that fails; those of the reference alone see no C."""
        tests = [f"tests/unit/test_{name}.py" for name in TESTS]
        options = ["-q", "-x", "--tb=no", "-p", "no:cacheprovider", "-k", "not reference and not pynacl"]
        return subprocess.run(  # noqa: S603 - this project's own
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )


def run(*command: str | Path) -> None:
    subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - a compiler and its files


def judge(tree: Tree, mutant: Mutant) -> str:
    """Plant a fault and take it out again; return what caught it, or nothing."""
    path = tree.folder / "pouw" / mutant.file
    original = path.read_text()
    path.write_text(original.replace(mutant.old, mutant.new))
    face = path.suffix == ".pxi"
    try:
        if face:
            tree.compile_face()
        tree.link()
        tested = tree.test()
    except subprocess.TimeoutExpired:
        return "a loop without end"
    finally:
        path.write_text(original)
        if face:
            tree.compile_face()
    if tested.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) \S*?::(\S+)", tested.stdout, re.MULTILINE)
    return failed[1] if failed else f"exit code {tested.returncode}"


def misplaced(mutants: Sequence[Mutant]) -> list[Mutant]:
    """Return the faults whose text is not at one place in its file."""
    return [each for each in mutants if (ROOT / "pouw" / each.file).read_text().count(each.old) != 1]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Go through the faults, say what became of each, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="faults whose file or description has this text in it")
    only = parser.parse_args(argv).only
    mutants = [each for each in MUTANTS if only in f"{each.file} {each.why}"]
    for lost in (missing := misplaced(mutants)):
        say(f"NOT THERE {lost.file}: {lost.old!r} ({lost.why})")
    if missing:
        return 1
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="pouw-mutants-") as folder:
        tree = Tree(Path(folder))
        tree.link()
        sound = tree.test()
        if sound.returncode:
            say(f"The tests fail without any fault:\n{sound.stdout}")
            return 1
        for mutant in mutants:
            start = time.monotonic()
            caught = judge(tree, mutant)
            survivors += not caught
            verdict = f"caught by {caught}" if caught else "SURVIVED"
            say(f"{mutant.file}: {mutant.why}: {verdict} ({time.monotonic() - start:.0f} s)")
    say(f"{len(mutants)} faults, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
