"""An Ed25519 signing key that lives in a PKCS#11 token and never leaves it."""

from pouw.hsm.key import Pkcs11Key, generate
from pouw.hsm.uri import TokenUri, parse_uri

__all__ = ["Pkcs11Key", "TokenUri", "generate", "parse_uri"]
