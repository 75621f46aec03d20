"""TLS and HSTS as a client meets them: a verified handshake, and one that has to be refused."""

from __future__ import annotations

import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509

from pouw.errors import PreflightError
from pouw.preflight.lines import Finding, failed, human, judge, passed

if TYPE_CHECKING:
    from pouw.preflight.deployment import Deployment

_SILENCE_SECS = 5.0
_LEFT_SECS = 14 * 86_400
_LEAST_HSTS_SECS = 15_768_000  # half a year
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Shake:
    """A handshake that succeeded."""

    version: str
    certificate: x509.Certificate


def certificate(deployment: Deployment) -> Finding:
    """Shake hands as a client that verifies, and look how long the certificate lasts."""
    try:
        shake = _shake(deployment, deployment.context())
    except ssl.SSLCertVerificationError as error:
        return failed(f"the certificate does not verify: {error.verify_message}")
    end = shake.certificate.not_valid_after_utc
    left = end.timestamp() - time.time()
    return judge(
        left > _LEFT_SECS,
        f"verified for {_address(deployment)[0]}, valid for {left / 86_400:.0f} more days, until {end:%Y-%m-%d}",
    )


def version(deployment: Deployment) -> Finding:
    """Shake hands with TLS 1.3, and try to with everything older."""
    modern = _blind()
    modern.minimum_version = ssl.TLSVersion.TLSv1_3
    _shake(deployment, modern)
    old = _blind()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        shake = _shake(deployment, old)
    except (ssl.SSLError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        return passed(f"TLS 1.3 is spoken, and a client of TLS 1.2 is refused ({reason})")
    return failed(f"{shake.version} is accepted")


def renewal(deployment: Deployment) -> Finding:
    """Compare the certificate that is served with the file, which shows that the last renewal arrived."""
    shake = _shake(deployment, _blind())
    served = f"the one that is served was issued on {shake.certificate.not_valid_before_utc:%Y-%m-%d}"
    file = deployment.settings.tls_cert_file
    if file is None:
        return human(f"TLS ends before the node; {served}")
    same = x509.load_pem_x509_certificate(file.read_bytes()) == shake.certificate
    if not same:
        return failed(f"{served}, and is not the one in {file}", "Look in the node's log for certificate_not_loaded.")
    return human(f"{served}, and is the one in {file}")


def hsts(deployment: Deployment) -> Finding:
    """Look for Strict-Transport-Security in an answer."""
    _address(deployment)
    header = deployment.get(f"{deployment.url}/health/live").headers.get("Strict-Transport-Security")
    if header is None:
        return failed("there is no Strict-Transport-Security")
    age = re.search(r"max-age=\"?([0-9]{1,12})", header, re.IGNORECASE)
    return judge(age is not None and int(age[1]) >= _LEAST_HSTS_SECS, f"Strict-Transport-Security: {header}")


def _address(deployment: Deployment) -> tuple[str, int]:
    parts = urlsplit(deployment.url)
    if parts.scheme != "https" or parts.hostname is None:
        raise PreflightError(f"{deployment.url} is not https")
    return parts.hostname, parts.port or _HTTPS


def _blind() -> ssl.SSLContext:
    """Return a context that asks nobody who the other side is: another check does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _shake(deployment: Deployment, context: ssl.SSLContext) -> Shake:
    host, port = _address(deployment)
    with (
        socket.create_connection((host, port), _SILENCE_SECS) as raw,
        context.wrap_socket(raw, server_hostname=host) as connection,
    ):
        certificate = connection.getpeercert(binary_form=True)
        assert certificate is not None  # noqa: S101 - a server always shows one
        return Shake(connection.version() or "", x509.load_der_x509_certificate(certificate))
