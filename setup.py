"""Build the one C extension; everything else is declared in pyproject.toml."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    ext_modules=cythonize(
        [
            Extension(
                "pouw._fastverify",
                ["pouw/_fastverify.pyx"],
                depends=[str(path) for path in Path("pouw/_fast").glob("*.pxi")],
                extra_compile_args=["-O3"],
            )
        ],
        compiler_directives={"language_level": "3"},
    )
)
