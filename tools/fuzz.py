"""Fuzz the C decoders with libFuzzer, AddressSanitizer and UBSan: ``python -m tools.fuzz --seconds 60``.

The inputs that reached something new are kept, so that the next run goes on where this one stopped. An input that
breaks a property or crashes is kept as well, and named at the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS
from tools.instrumented import ROOT, SOURCE, build, compilers_file, environment

_C = (ROOT / "tests" / "fuzz" / "driver.c", ROOT / "tests" / "fuzz" / "planted.c")
LONGEST_INPUT = 20_000  # a full receipt with everything at its largest has less than 7,000 bytes of JSON
_PROGRESS = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_REPORT = re.compile(r"(?:^Traceback|^.*(?:ERROR: AddressSanitizer|runtime error)).*(?:\n.*){,24}\n", re.MULTILINE)
_RUNS = re.compile(r"stat::number_of_executed_units: *(\d+)")


def main() -> int:
    """Fuzz the chosen targets in turn; 1 where one of them found something, 2 where nothing can be built."""
    options = _options()
    clang = os.environ.get("CLANG", "clang")
    if shutil.which(clang) is None:
        sys.stderr.write(
            f"pouw: there is no {clang}; fuzzing needs clang and its runtime (libclang-rt-14-dev on Debian)\n"
        )
        return 2
    chosen = options.target or TARGETS
    with tempfile.TemporaryDirectory(prefix="pouw-fuzz-") as scratch:
        fuzzer = build_fuzzer(Path(scratch), clang, options.source.resolve())
        found = [
            fuzzer.run(target, max(options.seconds // len(chosen), 1), options.folder.resolve()) for target in chosen
        ]
    return int(any(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="for all targets together")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "fuzz", help="where inputs are kept")
    parser.add_argument("--source", type=Path, default=SOURCE, help="the Cython module to build")
    parser.add_argument("target", nargs="*", help=f"of {', '.join(TARGETS)}; default: all")
    return parser.parse_args()


def build_fuzzer(folder: Path, clang: str, source: Path = SOURCE) -> Fuzzer:
    """Link libFuzzer into the extension itself: the counters of its code then find no other runtime's stubs."""
    library = compilers_file([clang], f"libclang_rt.fuzzer_no_main-{platform.machine()}.a")
    link: list[str | Path] = [
        "-Wl,-Bsymbolic",
        "-Wl,--whole-archive",
        library,
        "-Wl,--no-whole-archive",
        "-lstdc++",
        "-lm",
        "-lpthread",
    ]
    extension = build(folder, [clang], source, ["-fsanitize=fuzzer-no-link", *_C, *link])
    return Fuzzer(extension, environment([clang]))


@dataclass(frozen=True)
class Fuzzer:
    """An instrumented extension and the environment that it loads in."""

    extension: Path
    environ: dict[str, str]

    def run(self, target: str, seconds: int, folder: Path) -> bool:
        """Fuzz one target, with its inputs below ``folder``; return whether something was found."""
        corpus, found, words = folder / target, folder / "found", folder / "words.dict"
        found.mkdir(parents=True, exist_ok=True)
        seeds.write(target, corpus)
        words.write_text(seeds.words())
        before = set(found.iterdir())
        command: list[str | Path] = [
            sys.executable, "-m", "tools.instrumented", self.extension, "tests.fuzz", target, corpus,
            f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", f"-artifact_prefix={found}/{target}-",
            "-timeout=10", f"-dict={words}", "-print_final_stats=1",
        ]  # fmt: skip
        log = folder / f"{target}.log"
        with log.open("w") as out:
            done = subprocess.run(command, cwd=ROOT, env=self.environ, stdout=out, stderr=out, check=False)  # noqa: S603 - ours
        text = log.read_text(errors="replace")
        sys.stdout.write(f"{target}: {_summary(text)}\n")
        if done.returncode:
            sys.stdout.write("".join(_REPORT.findall(text)[:1]) or text[-2000:])
        for path in sorted(set(found.iterdir()) - before):
            sys.stdout.write(f"{target}: found {path}; mend it, and keep the file as tests/data/crashes/{path.name}\n")
        return done.returncode != 0


def _summary(text: str) -> str:
    runs, progress = _RUNS.findall(text), _PROGRESS.findall(text)
    if not runs or not progress:
        return "ended before it had begun"
    (_, _, kept), (covered, features, corpus) = progress[0], progress[-1]
    return f"{runs[-1]} inputs, {covered} edges covered, {features} features, {corpus} inputs kept (from {kept})"


if __name__ == "__main__":
    sys.exit(main())
