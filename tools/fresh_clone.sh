#!/usr/bin/env bash
# Do what a newcomer does: clone, `make run`, a first batch, Ctrl-C, and `make test` where FULL=1 asks for it.
# With an empty HOME and nothing in the environment but PATH; as root also as the account nobody, with the
# system's Python, because nobody may not be able to enter this one's folder.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
chmod 711 "$work"
trap 'rm -rf "$work"' EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

newcomer() { # name, PATH, prefix of every command
  local name=$1 path=$2; shift 2
  local clone=$work/$name/clone home=$work/$name/home port metrics worker up
  echo "== as $name =="
  mkdir -p "$home"
  git -c safe.directory='*' clone --quiet "$root" "$clone"
  if [ "$name" = nobody ]; then chown -R nobody "$work/$name"; else chmod 700 "$work/$name"; fi
  port=$(free_port) metrics=$(free_port) worker=$(free_port)
  cd "$clone"
  setsid "$@" env -i PATH="$path" HOME="$home" POUW_PORT="$port" POUW_METRICS_PORT="$metrics" \
    POUW_WORKER_METRICS_PORT="$worker" make run > "$work/$name.out" 2>&1 &
  up=$!
  for _ in $(seq 300); do
    grep -q 'Ctrl-C stops it' "$work/$name.out" && break
    kill -0 "$up" 2>/dev/null || { cat "$work/$name.out"; echo "make run ended" >&2; exit 1; }
    sleep 1
  done
  curl -fsS "http://127.0.0.1:$port/api/v1/pouw/challenge?cap=hash" > /dev/null
  "$@" env -i PATH="$path" HOME="$home" .venv/bin/pouw work --url "http://127.0.0.1:$port" --key "$home/client.key" \
    README.md docs .gitignore || [ $? = 1 ]
  kill -INT -- "-$up"
  wait "$up" || true
  if pgrep -f "$clone" > /dev/null; then pgrep -af "$clone"; echo "a process is left" >&2; exit 1; fi
  if [ "${FULL:-0}" = 1 ]; then "$@" env -i PATH="$path" HOME="$home" make test; fi
  if [ -f var/servers.location ]; then rm -rf "$(cat var/servers.location)"; fi
  cd "$root"
}

newcomer "$(id -un)" "$PATH" env
if [ "$(id -u)" = 0 ]; then
  newcomer nobody /usr/bin:/bin setpriv --reuid=nobody --regid="$(id -gn nobody)" --clear-groups
fi
echo "both commands work from a fresh clone"
