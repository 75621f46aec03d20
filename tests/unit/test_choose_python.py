"""tools/choose_python.sh: which interpreter `make` takes, among programs that print what a measured one would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHOOSE = Path(__file__).parents[2] / "tools" / "choose_python.sh"


def interpreter(folder: Path, name: str, answer: str) -> None:
    """Put a program there that answers the probe like an interpreter with these microseconds, or fails."""
    program = folder / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)


def choose(*folders: Path) -> subprocess.CompletedProcess[str]:
    path = ":".join(map(str, folders))
    return subprocess.run(["/bin/sh", CHOOSE], env={"PATH": path}, capture_output=True, text=True, check=False)


def test_a_clearly_faster_one_is_taken_and_said_so(tmp_path: Path) -> None:
    interpreter(tmp_path / "first", "python3", "echo 1000 /first/python3")
    interpreter(tmp_path / "second", "python3", "echo 700 /second/python3")
    interpreter(tmp_path / "second", "python3.12", "echo 600 /second/python3.12")
    chosen = choose(tmp_path / "first", tmp_path / "second")
    assert chosen.stdout == "/second/python3.12\n"
    assert "/second/python3.12: it needs 40 % less time than python3" in chosen.stderr


def test_python3_stays_where_no_other_is_a_tenth_faster(tmp_path: Path) -> None:
    interpreter(tmp_path, "python3", "echo 1000 /usual/python3")
    interpreter(tmp_path, "python3.13", "echo 900 /other/python3.13")
    chosen = choose(tmp_path)
    assert (chosen.stdout, chosen.stderr) == ("/usual/python3\n", "")


def test_another_is_taken_where_python3_cannot_be(tmp_path: Path) -> None:
    interpreter(tmp_path, "python3", "exit 1")
    interpreter(tmp_path, "python3.11", "echo 5000 /a folder/python3.11")
    chosen = choose(tmp_path)
    assert (chosen.stdout, chosen.stderr) == ("/a folder/python3.11\n", "")


def test_without_any_it_says_what_to_install(tmp_path: Path) -> None:
    interpreter(tmp_path, "python3", "exit 1")
    chosen = choose(tmp_path)
    assert (chosen.returncode, chosen.stdout) == (2, "")
    assert "no Python 3.11 to 3.13 in PATH has its venv package and headers" in chosen.stderr


def test_whatever_else_is_called_python_is_left_out(tmp_path: Path) -> None:
    interpreter(tmp_path / "one", "python3", 'echo "loaded by sitecustomize"; echo 1000 /usual/python3')
    interpreter(tmp_path / "one", "python3.11", "exit 0")
    interpreter(tmp_path / "one", "python3.12", "echo warning: 12")
    interpreter(tmp_path / "one", "python3.13", "echo 5 None")
    chosen = choose(tmp_path / "one")
    assert (chosen.returncode, chosen.stdout, chosen.stderr) == (0, "/usual/python3\n", "")


def test_one_that_is_quicker_the_second_time_is_the_same_one(tmp_path: Path) -> None:
    again = f"[ -e {tmp_path}/asked ] && echo 500 /the/python3 || echo 1000 /the/python3; : > {tmp_path}/asked"
    interpreter(tmp_path, "python3", again)
    chosen = choose(tmp_path)
    assert (chosen.stdout, chosen.stderr) == ("/the/python3\n", "")


def test_folders_are_taken_as_they_are_written(tmp_path: Path) -> None:
    interpreter(tmp_path / "a folder", "python3", "echo 1000 /usual/python3")
    interpreter(tmp_path / "x1", "python3", "echo 10 /not/in/path")
    chosen = choose(tmp_path / "a folder", tmp_path / "x[1]")
    assert chosen.stdout == "/usual/python3\n"


def test_a_real_interpreter_answers_the_probe(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    assert choose(tmp_path).stdout == f"{tmp_path}/python3\n"
