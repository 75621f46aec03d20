#!/bin/sh
# Print the Python to make .venv with: python3, unless another supported one in PATH is clearly faster.
#
# Interpreters differ by how they were built: of the same release one may need half as much time again as another for
# plain Python.
set -eu

# Prints the processor time of a fixed piece of work in microseconds, and the interpreter's own path. Fails where it is
# not supported, cannot make virtual environments, or has no headers to build an extension with.
probe='
import ensurepip, os, sys, sysconfig, time, venv
if not (3, 11) <= sys.version_info < (3, 14): sys.exit(1)
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")): sys.exit(1)
def work():
    started, seen = time.process_time(), {}
    for number in range(150_000):
        seen[number & 255] = (number, str(number))
    return time.process_time() - started
print(int(min(work() for _ in range(7)) * 1e6), sys.executable)
'

newline='
'
measured() {
  command -v "$1" > /dev/null || return 1
  said=$("$1" -I -c "$probe" 2> /dev/null) || return 1
  said=${said##*"$newline"} # what a site's own modules print comes before
  case ${said%% *} in '' | *[!0-9]*) return 1 ;; esac
  case ${said#* } in /*) echo "$said" ;; *) return 1 ;; esac
}

usual=$(measured python3) || usual=
best=$usual
IFS=:
set -f
for folder in $PATH; do
  [ -n "$folder" ] || continue
  for name in python3 python3.13 python3.12 python3.11; do
    other=$(measured "$folder/$name") || continue
    # A tenth is more than chance: for less, what the user calls python3 stays.
    if [ -z "$best" ]; then
      best=$other
    elif [ "${other#* }" != "${best#* }" ] && ! [ "${other#* }" -ef "${best#* }" ] \
      && [ $((${other%% *} * 10)) -lt $((${best%% *} * 9)) ]; then
      best=$other
    fi
  done
done

if [ -z "$best" ]; then
  echo "pouw: no Python 3.11 to 3.13 in PATH has its venv package and headers; install one, or name it: make PYTHON=..." >&2
  exit 2
fi
if [ -n "$usual" ] && [ "$best" != "$usual" ]; then
  percent=$(((${usual%% *} - ${best%% *}) * 100 / ${usual%% *}))
  echo "pouw: .venv is made with ${best#* }: it needs $percent % less time than python3 here, which make PYTHON=python3 takes" >&2
fi
echo "${best#* }"
