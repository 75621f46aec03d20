"""Build the C extension under sanitizers in a folder of its own, and run Python modules on that build.

``python -m tools.instrumented EXTENSION MODULE [ARGUMENT...]`` runs MODULE with EXTENSION in the place of
``pouw._fastverify``. The build that everything else uses is never touched.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import runpy
import shlex
import subprocess
import sys
import sysconfig
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
NAME = "pouw._fastverify"
SOURCE = ROOT / "pouw" / "_fastverify.pyx"
C_FILES = tuple((ROOT / "pouw" / "ed25519").glob("*.c"))
# Without the -fwrapv of Python's own flags: signed overflow is to be found, not defined.
FLAGS = ("-g", "-O1", "-fPIC", "-shared", "-fno-omit-frame-pointer", "-DNDEBUG",
         "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")  # fmt: skip


def default_compiler() -> list[str]:
    """Return the compiler that the normal build takes."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))


def build(folder: Path, compiler: Sequence[str], source: Path = SOURCE, extra: Sequence[str | Path] = ()) -> Path:
    """Compile a Cython module with sanitizers; return the path of the extension."""
    code, extension = folder / f"{source.stem}.c", folder / f"{source.stem}.so"
    shared = ["-shared-libasan"] if is_clang(compiler) else []
    include = [f"-I{sysconfig.get_path('include')}", f"-I{ROOT / 'pouw'}"]
    _output(sys.executable, "-m", "cython", "-3", "--output-file", code, source)
    _output(*compiler, *FLAGS, *shared, *include, code, *C_FILES, *extra, "-o", extension)
    return extension


def _output(*command: str | Path) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603 - a compiler and its files


def is_clang(compiler: Sequence[str]) -> bool:
    """Tell whose names for the runtime's files hold."""
    return "clang" in _output(*compiler, "--version")


def compilers_file(compiler: Sequence[str], name: str) -> Path:
    """Return the path of one of the compiler's own libraries; FileNotFoundError says which is not installed."""
    path = Path(_output(*compiler, f"-print-file-name={name}").strip())
    if not path.is_absolute():
        raise FileNotFoundError(f"{compiler[0]} has no {name}; install its sanitizer runtime")
    return path.resolve()


def environment(compiler: Sequence[str]) -> dict[str, str]:
    """Return the environment in which a Python that knows nothing of sanitizers can load the extension."""
    clang = is_clang(compiler)
    runtime = compilers_file(compiler, f"libclang_rt.asan-{platform.machine()}.so" if clang else "libasan.so")
    # The runtime has to be there before the first malloc. libstdc++ comes with it: where it arrives later, with an
    # extension such as greenlet's, the runtime has no exceptions to hand on to.
    preload = [runtime, compilers_file(compiler, "libstdc++.so.6")]
    return os.environ | {
        "LD_PRELOAD": " ".join(map(str, preload)),
        "PYTHONMALLOC": "malloc",  # each object is an allocation of its own, with its own bounds
        # CPython and its extensions keep memory until the process ends; none of that is a leak to mend here.
        "ASAN_OPTIONS": "detect_leaks=0:malloc_context_size=3",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def load(path: Path) -> None:
    """Put an extension in the place of the normal build, for all that is imported from now on."""
    loader = ExtensionFileLoader(NAME, str(path))
    spec = importlib.util.spec_from_loader(NAME, loader)
    if spec is None:
        raise ImportError(f"{path} is no extension module")
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.modules[NAME] = module


def main() -> None:
    """Load the extension of the first argument and run the module of the second one."""
    load(Path(sys.argv[1]))
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
