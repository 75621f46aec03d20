"""deploy/: each file is valid, names what exists, and does what it says, as far as one machine can show it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
import yaml

from pouw.settings import Settings
from tests.support import API, Node, node_key, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pouw.local.servers import LocalServers

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
HARDENED = ["pouw.service", "pouw-worker.service", "pouw-migrate.service"]
MOST_EXPOSED = 1.5  # of 10, as systemd-analyze counts; "OK" begins at 3


def test_every_setting_in_deploy_exists() -> None:
    table = set(re.findall(r"^\| `(POUW_\w+)`", (ROOT / "README.md").read_text(), re.MULTILINE))
    presets = {"POUW_PROXY_BIND", "POUW_PROXY_CERT", "POUW_NODE_1", "POUW_NODE_2", "POUW_DB_BIND"}
    presets |= {f"POUW_DB_{number}{what}" for number in (1, 2, 3) for what in ("", "_REST")}
    for file in (path for path in DEPLOY.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        if file.suffix not in (".py", ".json"):
            named = set(re.findall(r"POUW_[A-Z0-9_]+", file.read_text()))
            assert {name.removesuffix("_FILE") for name in named} - table <= presets, file


@pytest.fixture
def secrets_folder(tmp_path: Path) -> Path:
    contents = {
        "database-url": "postgresql://pouw:6hQz2v@/pouw?host=/run/postgresql",
        "redis-url": "redis+unix://:6hQz2v@/run/valkey/valkey.sock",
        "node-key": node_key(),
        "metrics-token": "b" * 32,
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o440)
    return tmp_path


def environments(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environments of the container examples, with secrets that lie in a folder."""
    config = next(yaml.safe_load_all((DEPLOY / "kubernetes" / "pouw.yml").read_text()))["data"]
    compose = yaml.safe_load((DEPLOY / "container" / "compose.yml").read_text())["x-pouw"]["environment"]
    image = dict(re.findall(r"(POUW_\w+)=(\S+)", (DEPLOY / "container" / "Containerfile").read_text()))
    for given in (config, image | compose | {"POUW_OPERATOR_DIDS": config["POUW_OPERATOR_DIDS"]}):
        yield {name: re.sub(r"^/run/secrets/(?:pouw/)?", f"{folder}/", text) for name, text in given.items()}


def test_a_node_takes_the_examples_settings_in_production(secrets_folder: Path) -> None:
    for environ in environments(secrets_folder):
        assert Settings.from_env(environ).env == "production"  # which refuses what is unfit for it


def containers() -> list[dict[str, Any]]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "pouw.yml").read_text())
    return [
        container for each in documents if "template" in each.get("spec", {})
        for container in each["spec"]["template"]["spec"]["containers"]
    ]  # fmt: skip


def test_probes_ask_what_a_node_answers(shared_node: Node) -> None:
    probes = [probe for each in containers() for name, probe in each.items() if name.endswith("Probe")]
    assert len(probes) == 3
    for probe in probes:
        assert shared_node.http.get(probe["httpGet"]["path"]).status == 200
        assert probe["httpGet"]["port"] == "http"
    health = yaml.safe_load((DEPLOY / "container" / "compose.yml").read_text())["services"]["node"]["healthcheck"]
    program = health["test"][-1].replace("http://127.0.0.1:8080", shared_node.http.base)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_every_command_of_the_examples_is_one() -> None:
    compose = yaml.safe_load((DEPLOY / "container" / "compose.yml").read_text())["services"]
    commands = [each["args"] for each in containers()] + [compose[name]["command"] for name in ("migrate", "worker")]
    units = "\n".join(unit.read_text() for unit in UNITS)
    commands += [line.split()[1:] for line in re.findall(r"^ExecStart=(/opt/pouw/bin/pouw .*)$", units, re.MULTILINE)]
    assert len(commands) >= 7
    for command in {tuple(word for word in command if re.fullmatch(r"[a-z]+", word))[:2] for command in commands}:
        done = subprocess.run([sys.executable, "-m", "pouw", *command, "--help"], capture_output=True, check=False)
        assert done.returncode == 0, command


@pytest.mark.debian
def test_systemd_takes_the_units_and_finds_them_well_confined(tmp_path: Path) -> None:
    subprocess.run([ROOT / "tools" / "debian.sh", "systemd"], check=True, timeout=300)
    program = tmp_path / "pouw"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in UNITS:
        text = unit.read_text().replace("/opt/pouw/bin/pouw", str(program))
        (tmp_path / unit.name).write_text(text.replace("/usr/bin/pgbackrest", str(program)))
    environ = os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:/lib/systemd/system"}
    units = [tmp_path / unit.name for unit in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        env=environ, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if any(unit.name in line for unit in UNITS)]
    assert (done.returncode, complaints) == (0, [])
    for name in HARDENED:
        confined = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", tmp_path / name],
            env=environ, capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip
        assert confined.returncode == 0, confined.stdout[-2000:] + confined.stderr


def test_the_containers_steps_work_where_nothing_else_is(tmp_path: Path) -> None:
    """There is no container runtime here: the build's own commands run in a clean copy with an empty HOME."""
    tracked = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    source = tmp_path / "src"
    for name in tracked.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    steps = re.findall(r"^RUN (.*)$", (DEPLOY / "container" / "Containerfile").read_text(), re.MULTILINE)
    environ = {"PATH": f"{Path(sys.executable).resolve().parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    for step in steps:
        program = step.replace("/opt/pouw", str(tmp_path / "opt"))
        done = subprocess.run(
            ["sh", "-c", program], cwd=source, env=environ, capture_output=True, text=True, check=False, timeout=280
        )
        assert done.returncode == 0, done.stderr[-2000:]
    installed = tmp_path / "opt" / "bin"
    subprocess.run([installed / "pouw", "--version"], cwd=tmp_path, env=environ, check=True, timeout=60)
    program = "import importlib.resources as r; assert (r.files('pouw.web') / 'assets' / 'pouw.css').is_file()"
    subprocess.run([installed / "python", "-c", program], cwd=tmp_path, env=environ, check=True, timeout=60)


class Handed(Node):
    """A node that is given its listening socket, as systemd does."""

    def __init__(self, log: Path, environ: dict[str, str], listener: socket.socket) -> None:
        super().__init__(log, environ | {"POUW_PORT": str(listener.getsockname()[1])})
        self.port = listener.getsockname()[1]
        self.http.base = f"http://127.0.0.1:{self.port}"
        self._listener = listener

    def start(self, *, wait: bool = True) -> Node:
        handed = self._listener.fileno()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", f"LISTEN_PID=$$ LISTEN_FDS=1 exec {sys.executable} -m pouw serve 3<&{handed}"],
                env=self.environ, stdout=log, stderr=log, pass_fds=[handed], start_new_session=True,
            )  # fmt: skip
        if wait:
            wait_for(self._ready)
        return self


@pytest.fixture
def handed(servers: LocalServers, new_database: Callable[[], str], tmp_path: Path) -> Iterator[Handed]:
    assert servers.valkey is not None
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    environ = {
        "POUW_DATABASE_URL": new_database(),
        "POUW_REDIS_URL": servers.valkey.url,
        "POUW_NODE_SECRET_KEY": node_key(),
        "POUW_RATE_LIMIT_IP": "1000000",
        "POUW_WORKERS": "2",
        "POUW_DRAIN_SECS": "1",
    }
    node = Handed(tmp_path / "log", environ, listener)
    node.start()
    yield node
    node.stop()
    listener.close()


def test_a_restart_behind_systemds_socket_refuses_nobody(handed: Handed) -> None:
    faults: list[str] = []
    answers: list[int] = []
    ending = threading.Event()

    def ask() -> None:
        pool = urllib3.PoolManager(retries=False, timeout=60)
        while not ending.is_set():
            try:
                headers = {"Connection": "close"} if len(answers) % 2 else {}
                answers.append(pool.request("GET", f"{handed.http.base}{API}/challenge", headers=headers).status)
            except urllib3.exceptions.HTTPError as error:
                faults.append(repr(error))
            time.sleep(0.01)
        pool.clear()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            before = len(answers)
            wait_for(lambda before=before: len(answers) > before + 20)
            assert handed.process is not None
            handed.process.send_signal(signal.SIGTERM)
            assert handed.process.wait(40) == 0
            handed.start()
        before = len(answers)
        wait_for(lambda: len(answers) > before + 20)
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    assert faults == [], handed.log.read_text()
    assert set(answers) == {200}


def test_who_connects_while_a_node_stops_and_asks_a_moment_later_is_answered(handed: Handed) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n"
    process = handed.process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    asked: list[socket.socket] = []
    silent: deque[tuple[float, socket.socket]] = deque()
    while process.poll() is None or silent:
        if process.poll() is None:
            silent.append((time.monotonic() + 0.3, socket.create_connection(("127.0.0.1", handed.port), timeout=30)))
        time.sleep(0.01)
        while silent and silent[0][0] < time.monotonic():
            _due, peer = silent.popleft()
            peer.sendall(request)
            asked.append(peer)
    handed.start()
    assert len(asked) > 100, "it went on for more than a second"
    for number, peer in enumerate(asked):
        with peer:
            assert peer.recv(65_536).startswith(b"HTTP/1.1 200 OK"), f"{number} of {len(asked)}"
