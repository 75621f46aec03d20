"""``pouw up``: one command to a whole node, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
import redis

from pouw.cli.node import port_for_worker
from pouw.cli.serve import check_port
from pouw.errors import LocalServerError
from pouw.settings import WORKER_METRICS_PORT
from tests.ports import free_port
from tests.support import API, Http, Identity, node_key, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pouw.local.servers import LocalServers

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pouw", "up", "--worker-metrics-port", str(free_port()), *map(str, arguments)]


def fails(*arguments: object, **environ: str) -> str:
    """Run a command that has to fail; return its one line."""
    done = subprocess.run(
        command(*arguments), env=ENVIRON | environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode not in (0, 1)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


class Session:
    """A ``pouw up`` in a terminal of its own."""

    def __init__(self, data: Path, *arguments: object, **environ: str) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.output = data.parent / f"{data.name}.out"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                command("--port", self.port, "--metrics-port", self.metrics_port, "--data-dir", data, *arguments),
                env=ENVIRON | environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.http = Http(f"http://127.0.0.1:{self.port}")
        wait_for(self.is_up, timeout=60)
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        return "Ctrl-C stops it" in self.output.read_text()

    def press_ctrl_c(self) -> None:
        self.http.close()
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.wait(60) == 0, self.output.read_text()
        _gone, alive = psutil.wait_procs(self.family, timeout=5)
        assert not alive


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that only its owner can enter, as /root is."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    yield closed
    pointer = closed / "data" / "servers.location"
    if pointer.exists():
        shutil.rmtree(pointer.read_text().strip())


def modes(path: Path) -> list[int]:
    return [stat.S_IMODE(each.stat().st_mode) for each in (path, *path.parents)]


def test_data_outlives_a_restart_and_ctrl_c_leaves_no_process(folder: Path) -> None:
    before = modes(folder)
    first = Session(folder / "data", "--workers", 1, POUW_EPOCH_SECS="86400")  # none ends between the worker's looks
    client = Identity()
    body = client.batch(client.items(first.http.challenge(), 3))
    answer = first.http.submit(body)
    assert len(answer.json["accepted"]) == 3
    text = first.output.read_text()
    for said in (f":{first.port}/api/v1/pouw", "/openapi.json", f":{first.metrics_port}/metrics", "pouw work"):
        assert said in text
    assert first.http.challenge().node_id.hex() in text
    assert first.http.get("/openapi.json").json["openapi"] == "3.1.0"
    metrics = Http(f"http://127.0.0.1:{first.metrics_port}").get("/metrics").body.decode()
    assert "pouw_receipts_accepted_total 3.0" in metrics
    wait_for(lambda: first.http.get(f"{API}/stats").json["present"]["accepted"] == 3, 40, 1)  # by the worker
    if os.geteuid() == 0:
        postmaster = next(each for each in first.family if each.name() == "postgres")
        assert postmaster.uids().effective != 0
    node_id = first.http.challenge().node_id
    first.press_ctrl_c()
    assert modes(folder) == before

    second = Session(folder / "data", "--workers", 1)
    assert second.http.challenge().node_id == node_id
    assert second.http.submit(body).body == answer.body
    second.press_ctrl_c()


def test_given_servers_are_used_and_none_is_started(servers: LocalServers, database_url: str, folder: Path) -> None:
    assert servers.valkey is not None
    session = Session(
        folder / "data",
        POUW_DATABASE_URL=database_url,
        POUW_REDIS_URL=servers.valkey.url,
        POUW_REDIS_TIMEOUT_MS="5000",
        POUW_NODE_SECRET_KEY=node_key(),
    )
    assert {each.name() for each in session.family}.isdisjoint({"postgres", "valkey-server"})
    assert session.http.get("/health").json["status"] == "ok"
    session.press_ctrl_c()
    client = redis.Redis.from_url(servers.valkey.url.replace("redis+unix", "unix"))
    assert client.ping()
    client.close()


def test_a_killed_up_takes_its_servers_along_and_starts_again(folder: Path) -> None:
    first = Session(folder / "data")
    first.http.close()
    first.process.kill()
    first.process.wait()
    _gone, alive = psutil.wait_procs(first.family, timeout=45)
    assert not alive
    second = Session(folder / "data")
    assert second.http.get("/health/ready").status == 200
    second.press_ctrl_c()


def test_sigterm_is_a_ctrl_c(folder: Path) -> None:
    session = Session(folder / "data")
    session.http.close()
    session.process.terminate()
    assert session.process.wait(60) == 0
    _gone, alive = psutil.wait_procs(session.family, timeout=5)
    assert not alive


def test_a_ctrl_c_while_it_starts_leaves_no_broken_data(folder: Path) -> None:
    for pause in (0.3, 0.8, 1.3):
        early = subprocess.Popen(
            command("--port", free_port(), "--metrics-port", free_port(), "--data-dir", folder / "data"),
            env=ENVIRON,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(pause)
        os.killpg(early.pid, signal.SIGINT)
        early.wait(60)
    session = Session(folder / "data")
    session.press_ctrl_c()


# A process of its own that is interrupted where Python drops what the handler raises: in a __del__.
INTERRUPTED = """
import os, signal, sys
from importlib.abc import MetaPathFinder

class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):
            pass

class At(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "pouw.cli.node":
            signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))

signal.signal(signal.SIGALRM, lambda *_: Dropping() and None)
sys.meta_path.insert(0, At())
from pouw.cli import main
main(sys.argv[2:])
"""


@pytest.mark.parametrize("after", [0.1, 1.2, 5])
def test_a_ctrl_c_that_python_drops_is_remembered(folder: Path, after: float) -> None:
    """After so many seconds: while it imports, while its servers start, and when it is up."""
    arguments = command("--port", free_port(), "--metrics-port", free_port(), "--data-dir", folder / "data")[3:]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(after), *arguments],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Exception ignored" in done.stderr
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Stopped.\n")


def test_a_busy_port_is_one_clear_line(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for option in ("--port", "--metrics-port"):
            other = "--metrics-port" if option == "--port" else "--port"
            line = fails(option, port, other, free_port(), "--data-dir", folder / "data")
            assert line == f"pouw: Port {port} on 127.0.0.1 is in use; choose another with {option}"
    assert not (folder / "data").exists()


def test_the_background_process_gives_way_where_its_usual_port_is_in_use() -> None:
    """So that a second node needs no more ports than it has services for others."""
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # or somebody else has it: that is what this is about
            taken.bind(("127.0.0.1", WORKER_METRICS_PORT))
            taken.listen()
        port = port_for_worker("127.0.0.1", None)
        assert port != WORKER_METRICS_PORT
        check_port("--worker-metrics-port", "127.0.0.1", port)
        with pytest.raises(LocalServerError, match="--worker-metrics-port"):
            port_for_worker("127.0.0.1", WORKER_METRICS_PORT)


def test_a_data_directory_in_use_is_one_clear_line(folder: Path) -> None:
    session = Session(folder / "data")
    line = fails("--port", free_port(), "--metrics-port", free_port(), "--data-dir", folder / "data")
    assert line.endswith("is in use by another node")
    session.press_ctrl_c()


def test_a_data_directory_that_cannot_be_is_one_clear_line(folder: Path) -> None:
    (folder / "file").write_text("")
    line = fails("--port", free_port(), "--metrics-port", free_port(), "--data-dir", folder / "file" / "data")
    assert "cannot be used" in line


def test_an_unreachable_database_is_one_clear_line(folder: Path) -> None:
    url = f"postgresql://u:hunter2@127.0.0.1:{free_port()}/pouw"
    line = fails(
        "--port", free_port(), "--metrics-port", free_port(), "--data-dir", folder / "data", POUW_DATABASE_URL=url
    )
    assert line.startswith("pouw: The database cannot be reached")
    assert "hunter2" not in line


def test_settings_that_are_wrong_are_named_before_anything_runs(folder: Path) -> None:
    done = subprocess.run(
        command("--port", free_port(), "--metrics-port", free_port(), "--data-dir", folder / "data"),
        env=ENVIRON | {"POUW_LOG_LEVEL": "loud", "POUW_BATCH_SIZE_MAX": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        "POUW_BATCH_SIZE_MAX",
        "POUW_LOG_LEVEL",
    ]
    assert not (folder / "data").exists()
