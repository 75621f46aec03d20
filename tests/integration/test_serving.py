"""The Gunicorn worker by itself, under an application that does what ours never should."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.support import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION = """
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/broken":
        raise RuntimeError("before the answer")
    start_response("200 OK", [] if path in ("/chunked", "/late") else [("Content-Length", "8")])
    if path in ("/torn", "/late"):
        return torn(b"half" if path == "/torn" else b"", RuntimeError)
    if path == "/left":
        return torn(b"half", SystemExit)
    if path == "/who":
        return [environ["REMOTE_ADDR"][-8:].rjust(8).encode()]
    if path == "/closing":
        return Closing([b"half", b"half"])
    return [b"half", b"half"]

def torn(first, error):
    yield first
    raise error("amid the answer")

class Closing(list):
    def close(self):
        raise SystemExit("after the answer")
"""


CONFIGURATION = """
bind = "127.0.0.1:{port}"
worker_class = "pouw.worker.Worker"
http_parser = "python"
keepalive = 10
forwarder_headers = ""
secure_scheme_headers = {{}}
control_socket_disable = True
accesslog = "{folder}/access"
max_requests = 30

def pre_request(worker, request):
    worker.log.info("before " + request.path)

def post_request(worker, request, environ, response):
    worker.log.info("after " + request.path)
"""


@pytest.fixture
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    folder = tmp_path_factory.mktemp("application")
    (folder / "application.py").write_text(APPLICATION)
    chosen = free_port()
    (folder / "gunicorn.conf.py").write_text(CONFIGURATION.format(port=chosen, folder=folder))
    log = folder / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "gunicorn", "application"]
        child = subprocess.Popen(command, cwd=folder, stderr=output, env={"PATH": os.environ["PATH"]})
    try:
        wait_for(lambda: answers(chosen), timeout=30)
        yield chosen, log
    finally:
        child.terminate()
        assert child.wait(30) == 0


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def talk(port: int, *paths: str, source: str = "127.0.0.1") -> bytes:
    """Ask for each path on one connection; return all that came until the worker closed it."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0)) as peer:
        peer.sendall(b"".join(f"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n".encode() for path in paths))
        peer.shutdown(socket.SHUT_WR)
        while some := peer.recv(65_536):
            received += some
    return bytes(received)


@pytest.mark.parametrize("path", ["/broken", "/late"])
def test_what_fails_before_a_byte_of_its_answer_is_a_problem(port: tuple[int, Path], path: str) -> None:
    text = talk(port[0], path, "/")
    assert text.startswith(b"HTTP/1.1 500 ")
    assert b"urn:pouw:problem:internal-error" in text
    assert text.count(b"HTTP/1.1") == 1


def test_what_fails_amid_its_answer_is_cut_logged_and_followed_by_nothing(port: tuple[int, Path]) -> None:
    for _ in range(2):  # its head is recalled the second time
        text = talk(port[0], "/torn", "/")
        assert text.endswith(b"\r\n\r\nhalf"), "four of the eight bytes that were announced"
        assert text.count(b"HTTP/1.1") == 1
    assert port[1].read_text().count("RuntimeError: amid the answer") == 2


@pytest.mark.parametrize(("path", "end"), [("/left", b"\r\n\r\nhalf"), ("/closing", b"\r\n\r\nhalfhalf")])
def test_nothing_follows_an_answer_that_was_begun(port: tuple[int, Path], path: str, end: bytes) -> None:
    text = talk(port[0], path, "/")
    assert text.endswith(end)
    assert text.count(b"HTTP/1.1") == 1


def test_a_connection_goes_on_after_whole_answers(port: tuple[int, Path]) -> None:
    text = talk(port[0], "/", "/chunked", "/")
    assert text.count(b"HTTP/1.1 200 OK") == 3
    assert text.count(b"\r\n\r\nhalfhalf") == 2
    assert b"\r\n\r\n4\r\nhalf\r\n4\r\nhalf\r\n0\r\n\r\n" in text
    access = (port[1].parent / "access").read_text()
    assert access.count('"GET / HTTP/1.1" 200 8') == 2
    for hook in ("before", "after"):
        assert port[1].read_text().count(f"{hook} /chunked\n") == 1


def test_a_worker_leaves_after_as_many_requests_as_gunicorn_was_told(port: tuple[int, Path]) -> None:
    text = talk(port[0], *["/"] * 40)
    assert text.count(b"HTTP/1.1 200 OK") == 30
    assert text.count(b"Connection: close") == 1
    wait_for(lambda: port[1].read_text().count("Booting worker") == 2)
    assert port[1].read_text().count("worker_leaves") == 1
    assert talk(port[0], "/").endswith(b"halfhalf")


def test_the_same_bytes_from_two_addresses_are_two_clients(port: tuple[int, Path]) -> None:
    for source in ("127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"):
        assert talk(port[0], "/who", "/who", source=source).count(source[-8:].encode()) == 2
