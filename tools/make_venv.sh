#!/bin/sh
# Make .venv: make_venv.sh [PYTHON]. Without an argument, with the Python that tools/choose_python.sh prints.
set -eu

python=${1:-$("$(dirname "$0")/choose_python.sh")}
command -v "$python" > /dev/null || { echo "pouw: there is no $python; install Python 3.11 to 3.13" >&2; exit 2; }
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
  || { echo "pouw: $python is not Python 3.11 to 3.13; choose one with make PYTHON=..." >&2; exit 2; }
"$python" -m venv .venv || {
  echo "pouw: $python cannot make virtual environments; install its venv package" >&2
  rm -rf .venv
  exit 2
}
