"""Where a key in a PKCS#11 token is: what the URI may say, and what is said of a wrong one."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from pouw.hsm import TokenUri, parse_uri

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"pkcs11:token=node;object=sign?module-path={MODULE}", TokenUri(MODULE, "node", None, "sign", None)),
        (f"PKCS11:id=%01%fF;token=a?module-path={MODULE}", TokenUri(MODULE, "a", None, None, b"\x01\xff")),
        (f"pkcs11:serial=0a;object=k;type=private?module-path={MODULE}", TokenUri(MODULE, None, "0a", "k", None)),
        (f"pkcs11:token=a%20b%3Bc;object=%C3%A4?module-path={MODULE}", TokenUri(MODULE, "a b;c", None, "ä", None)),
        ("pkcs11:token=a&b;object=k;id=k?module-path=/a%26b", TokenUri("/a&b", "a&b", None, "k", b"k")),
        ("pkcs11:token=a;object=x=y?module-path=/a?b=c", TokenUri("/a?b=c", "a", None, "x=y", None)),
    ],
)
def test_good_uris(uri: str, expected: TokenUri) -> None:
    assert parse_uri(uri) == expected


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "starts with pkcs11:"),
        ("token=a;object=k", "starts with pkcs11:"),
        ("file:///tmp/key", "starts with pkcs11:"),
        ("pkcs11:", "module-path"),
        ("pkcs11:token=a;object=k", "module-path"),
        ("pkcs11:token=a;object=k?module-path=", "module-path is empty"),
        ("pkcs11:token=a;object=k?module-path=libsofthsm2.so", "absolute path"),
        ("pkcs11:token=a;object=k?module-path=%FF", "module-path is not UTF-8"),
        ("pkcs11:token=a;object=k?module-path=/a%00b", "module-path holds a zero byte"),
        ("pkcs11:token=a;object=k;module-path=/m", "module-path"),
        ("pkcs11:token=a?module-path=/m", "object= or id="),
        ("pkcs11:object=k?module-path=/m", "token= or serial="),
        ("pkcs11:token=a;object=k;type=public?module-path=/m", "only type is private"),
        ("pkcs11:token=a;token=b;object=k?module-path=/m", "token is there twice"),
        ("pkcs11:token=a;object=?module-path=/m", "object is empty"),
        ("pkcs11:token=a;;object=k?module-path=/m", "name=value"),
        ("pkcs11:token;object=k?module-path=/m", "name=value"),
        ("pkcs11:Token=a;object=k?module-path=/m", "name=value"),
        ("pkcs11:token=a b;object=k?module-path=/m", "value of token"),
        ("pkcs11:token=a;object=ä?module-path=/m", "value of object"),
        ("pkcs11:token=a;object=k;id=%0?module-path=/m", "value of id"),
        ("pkcs11:token=a;object=k;id=%0x?module-path=/m", "value of id"),
        ("pkcs11:token=a;object=k\n?module-path=/m", "value of object"),
        ("pkcs11:token=a;object=k?module-path=/m#x", "value of module-path"),
        ("pkcs11:token=a;object=k;model=x?module-path=/m", "unknown attribute model"),
        ("pkcs11:token=a;object=k?module-path=/m&module-name=x", "unknown attribute module-name"),
        ("pkcs11:token=a;object=k?module-path=/m&pin-value=271828", "PIN does not belong"),
        ("pkcs11:token=a;object=k;pin-value=271828?module-path=/m", "PIN does not belong"),
        ("pkcs11:token=a;object=k?module-path=/m&pin-source=/271828", "PIN does not belong"),
        ("pkcs11:token=a;object=k?module-path=/m&pin-value=271828 ", "pin-value"),
    ],
)
def test_bad_uris(uri: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        parse_uri(uri)
    assert "271828" not in str(caught.value)


def test_without_the_extra_its_name_is_said() -> None:
    program = f"""
import sys
sys.modules["pkcs11"] = None
from pouw.errors import KeyMaterialError
from pouw.hsm import Pkcs11Key, generate
for opening in (Pkcs11Key, generate):
    try:
        opening("pkcs11:token=a;object=k?module-path={MODULE}", "1234")
    except KeyMaterialError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.count("pouw[hsm]") == 2 * 2
    assert done.stderr == ""
