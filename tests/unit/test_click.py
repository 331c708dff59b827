"""A click is sent on to signed or listed targets: what looks like one and is none is refused, with a code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.click import TargetRefused, Targets, redirect, signature
from tests.builders import CONTENT_ID as CAMPAIGN
from tests.builders import SESSION_ID as IMPRESSION

SECRET = "s" * 32
TARGET = "https://shop.example/sale?from=[ad]&x=%C3%A9#top"


def location(secret: str = SECRET, hosts: str = "", **said: str) -> str:
    """Where to, or the code of why not."""
    try:
        return Targets(secret, hosts).location({"imp": IMPRESSION, "cmp": CAMPAIGN, "to": TARGET} | said)
    except TargetRefused as refused:
        return refused.code if refused.answer.status == 400 else "no refusal"


def signed(imp: str = IMPRESSION, cmp: str = CAMPAIGN, target: str = TARGET, secret: str = SECRET) -> str:
    return signature(secret.encode(), imp, cmp, target)


def test_a_signature_has_known_bytes():
    assert signature(b"secret", "A", "b", "https://c.example/") == "rIULrMslcCTVJNuRYunZ_A"
    assert len(signed()) == 22


def test_a_signed_target_is_gone_to():
    assert location(sig=signed()) == TARGET
    assert location(sig=signed(), imp=IMPRESSION.upper(), cmp=CAMPAIGN.upper()) == TARGET


def test_a_signature_without_an_impression_fits_every_one():
    assert location(sig=signed(imp="")) == TARGET
    assert location(sig=signed(imp="", cmp=""), cmp="") == TARGET


@pytest.mark.parametrize("sig", [
    signed(imp=CAMPAIGN), signed(cmp=IMPRESSION), signed(target=TARGET + "x"), signed(secret="t" * 32), signed()[:-1],
    signed() + "=", "", "x", "\udcff",
])  # fmt: skip
def test_a_signature_of_something_else_is_refused(sig):
    assert location(sig=sig) == "invalid_signature"


def test_without_a_secret_no_signature_is_right():
    assert location(secret="", sig=signed(secret="")) == "invalid_signature"


@pytest.mark.parametrize("hosts, target, gone", [
    ("shop.example", "https://shop.example/", True), ("shop.example", "http://SHOP.example:8080", True),
    ("a.example , shop.example", "https://shop.example?x", True), ("shop.example", "https://a.shop.example/", False),
    (".shop.example", "https://a.b.shop.example/", True), (".shop.example", "https://shop.example/", False),
    (".shop.example", "https://evilshop.example/", False), ("shop.example", "https://shop.example.evil.example", False),
    ("", "https://shop.example/", False), (",", "https://shop.example/", False), (" . ", "https://a.example./", False),
])  # fmt: skip
def test_a_listed_host_needs_no_signature(hosts, target, gone):
    assert location(hosts=hosts, to=target) == (target if gone else "unsigned_target")


@pytest.mark.parametrize("target", [
    "javascript:alert(1)", "//shop.example/", "/sale", "shop.example", "ftp://shop.example/", "https:///shop.example",
    "https://user@shop.example/", "https://shop.example@evil.example/", "https://shop.example:80@evil.example/",
    "https://evil.example\\@shop.example/", "https://shop.example\\.evil.example/", "https:\\\\shop.example/",
    "https://shop.example/\r\nSet-Cookie: a=b", "https://shop.example/\n", "https://shop.example/ x",
    "https://shop.example/\tx", "https://shop.example/\0", "https://shop.example/\"><script>", "https://shöp.example/",
    "https://shop.example/é", "https://shop.example%2eevil.example/", "https://[::1]/", "https://shop.example:123456/",
    " https://shop.example/", "https://", "data:text/html,x", "https://shop.example/\x7f",
])  # fmt: skip
def test_what_browsers_may_read_otherwise_is_no_target(target):
    assert location(hosts="shop.example,.example", to=target, sig=signed(target=target)) == "invalid_target"


@given(st.text(max_size=60), st.sampled_from(["", "https://shop.example", "https://shop.example/", "http://"]))
def test_whatever_is_gone_to_is_a_line_of_visible_letters_on_a_listed_host(tail, begin):
    found = location(hosts="shop.example", to=begin + tail)
    if found == begin + tail:
        assert found.isascii() and found.isprintable() and " " not in found
        assert found[8:20] == "shop.example" or found[7:19] == "shop.example"
    else:
        assert found in ("invalid_target", "unsigned_target")


def test_a_redirect_is_kept_by_nobody():
    answer = redirect(TARGET)
    assert (answer.status, dict(answer.headers)["Location"], dict(answer.headers)["Cache-Control"]) == (
        302, TARGET, "no-store",
    )  # fmt: skip
