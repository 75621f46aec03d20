"""The rule in plain integers, which decides where engines differ."""

from __future__ import annotations

import importlib.resources
import json

from pouw.protocol import ed25519


def test_the_plain_rule_agrees_with_the_vectors() -> None:
    rule = json.loads(importlib.resources.files("pouw.protocol").joinpath("ed25519_rule.json").read_bytes())
    for vector in rule["vectors"]:
        message, signature, key = (bytes.fromhex(vector[name]) for name in ("message", "signature", "public_key"))
        assert ed25519.is_valid(message, signature, key) == vector["valid"], vector["name"]
    assert not ed25519.is_valid(b"", b"short", bytes(32))
