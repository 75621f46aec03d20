"""TLS as a real client meets it: 1.3 only, security headers, and a certificate that is renewed under load."""

from __future__ import annotations

import datetime as dt
import http.client
import ipaddress
import os
import socket
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import free_port
from tests.support import API, Node, metric, node_key, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pouw.local.servers import LocalServers


def issue(directory: Path, serial: int, days: float = 30) -> None:
    """Write a certificate for 127.0.0.1 and its key, as a renewal does: each beside its place and moved there."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = {
        "cert.pem": certificate.public_bytes(serialization.Encoding.PEM),
        "key.pem": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    for file, content in files.items():
        (directory / f"{file}.new").write_bytes(content)
        (directory / f"{file}.new").chmod(0o600)
        (directory / f"{file}.new").rename(directory / file)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    issue(directory, 1)
    return directory


class TlsNode(Node):
    """A node that speaks TLS; ``http`` is not used."""

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return get(self, "/health/ready", ssl._create_unverified_context())[0] == 200
        except OSError:
            return False


def get(node: Node, path: str, context: ssl.SSLContext) -> tuple[int, http.client.HTTPMessage]:
    connection = http.client.HTTPSConnection("127.0.0.1", node.port, context=context, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers


@pytest.fixture(scope="module")
def node(servers: LocalServers, new_database: Callable[[], str], open_tmp: Path, files: Path) -> Iterator[Node]:
    assert servers.valkey is not None
    started = TlsNode(
        open_tmp / f"tls-{free_port()}.log",
        {
            "POUW_DATABASE_URL": new_database(),
            "POUW_REDIS_URL": servers.valkey.url,
            "POUW_NODE_SECRET_KEY": node_key(),
            "POUW_RATE_LIMIT_IP": "1000000",
            "POUW_WORKERS": "2",
            "POUW_TLS_CERT_FILE": str(files / "cert.pem"),
            "POUW_TLS_KEY_FILE": str(files / "key.pem"),
        },
    ).start()
    yield started
    started.stop()


def trusting(files: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(files / "cert.pem"))


def test_a_verifying_client_gets_tls_1_3_and_hsts(node: Node, files: Path) -> None:
    with (
        socket.create_connection(("127.0.0.1", node.port), 10) as raw,
        trusting(files).wrap_socket(raw, server_hostname="127.0.0.1") as connection,
    ):
        assert connection.version() == "TLSv1.3"
    status, headers = get(node, f"{API}/challenge", trusting(files))
    assert status == 200
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_the_metrics_say_when_the_certificate_ends(node: Node) -> None:
    left = metric(node.metrics_port, "pouw_tls_certificate_expiry_timestamp_seconds") - time.time()
    assert 29 * 86_400 < left <= 30 * 86_400


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_1", "-tls1"])
def test_older_versions_are_refused(node: Node, version: str) -> None:
    done = subprocess.run(
        ["openssl", "s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-connect", f"127.0.0.1:{node.port}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "alert protocol version" in done.stderr


def test_plain_http_gets_no_answer_and_no_traceback(node: Node) -> None:
    with socket.create_connection(("127.0.0.1", node.port), 10) as raw:
        raw.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        try:
            while piece := raw.recv(4096):
                data += piece
        except ConnectionResetError:
            pass
    assert not data.startswith(b"HTTP/"), data
    assert "Traceback" not in node.log.read_text()


def test_whoever_never_shakes_hands_is_hung_up_on(node: Node, files: Path) -> None:
    idle = [socket.create_connection(("127.0.0.1", node.port), 30) for _ in range(200)]
    try:
        assert get(node, "/health/live", trusting(files))[0] == 200
        idle[0].settimeout(20)
        assert idle[0].recv(1) == b""
        wait_for(lambda: all(closed(each) for each in idle), timeout=15)
    finally:
        for each in idle:
            each.close()


def closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def serial(node: Node) -> int:
    certificate = ssl.get_server_certificate(("127.0.0.1", node.port))
    return x509.load_pem_x509_certificate(certificate.encode()).serial_number


def test_a_renewed_certificate_is_taken_over_without_a_dropped_request(node: Node, files: Path) -> None:
    context = ssl._create_unverified_context()
    kept = http.client.HTTPSConnection("127.0.0.1", node.port, context=context, timeout=10)
    faults: list[object] = []
    done = threading.Event()
    count = [0]

    def load() -> None:
        while not done.is_set():
            try:
                assert get(node, f"{API}/challenge", context)[0] == 200
                count[0] += 1
            except Exception as error:  # noqa: BLE001 - whatever a client would see
                faults.append(error)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    for wanted in (2, 3):
        issue(files, wanted)
        wait_for(lambda wanted=wanted: [serial(node) for _ in range(6)] == [wanted] * 6, timeout=30)
        while time.monotonic() - started < 4 * (wanted - 1):  # a connection that is used all along
            kept.request("GET", "/health/live")
            assert kept.getresponse().read()
            time.sleep(0.2)
    kept.close()
    done.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert count[0] > 20
    assert "certificate_loaded" in node.log.read_text()


def test_half_a_renewal_changes_nothing(node: Node, files: Path) -> None:
    before = serial(node)
    good = {name: (files / name).read_bytes() for name in ("cert.pem", "key.pem")}
    other = files / "other"
    other.mkdir()
    issue(other, 99)
    (files / "key.pem").write_bytes((other / "key.pem").read_bytes())  # a key without its certificate
    wait_for(lambda: "certificate_not_loaded" in node.log.read_text(), timeout=15)
    assert [serial(node) for _ in range(6)] == [before] * 6
    (files / "cert.pem").write_bytes((other / "cert.pem").read_bytes())
    wait_for(lambda: [serial(node) for _ in range(6)] == [99] * 6, timeout=15)
    for name, content in good.items():
        (files / name).write_bytes(content)
    os.utime(files / "cert.pem")
