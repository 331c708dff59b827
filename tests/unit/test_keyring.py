"""Who may come in with which key, from where, to which door."""

import os
from typing import Any

import pytest

from ingest.keyring import (
    DOORS,
    FOUND_MAX,
    FOUND_MAX_CHARS,
    OPEN,
    UNPUBLISHED,
    Key,
    Keyring,
    Refused,
    hash_of,
    id_of,
    is_origin,
    new_key,
)

TEXT = new_key(lambda count: b"k" * count, secret=False)
SITE = "https://watch.example"
NOW_US = 1_795_000_000_000_000


def a_key(text: str = TEXT, **changes: Any) -> Key:
    return Key(id=id_of(text), hash=hash_of(text), owner="acme", **changes)


def told(ring: Keyring, key: str = TEXT, door: Any = "events", origin: str | None = None) -> str:
    """The owner of who comes in, or the code of the refusal."""
    found = ring.find(key, door, origin)
    return found.code if isinstance(found, Refused) else found.owner


def test_a_key_is_random_and_says_of_itself_only_whether_it_is_secret() -> None:
    keys = {new_key(os.urandom, secret=secret) for secret in (True, False) for _ in range(100)}
    assert len(keys) == 200 and {len(key) for key in keys} == {36}
    assert {key[:4] for key in keys} == {"svp_", "svs_"}
    assert id_of(TEXT) == hash_of(TEXT).hex()[:12] and id_of(TEXT) not in TEXT


def test_without_a_key_with_another_and_with_one_that_is_off_nobody_comes_in() -> None:
    ring = Keyring([a_key(), a_key("off", off=True), a_key("ended", not_after_us=NOW_US)], NOW_US)
    assert told(ring) == "acme"
    assert told(ring, "") == "missing_key"
    assert told(ring, "svp_\ud800\x00") == told(ring, TEXT[:-1]) == told(ring, TEXT + " ") == "unknown_key"
    assert told(ring, "off") == told(ring, "ended") == "key_off"
    assert [ring.find(key, "events", None).status for key in ("", "x", "off")] == [401, 401, 403]  # type: ignore[union-attr]


def test_a_key_ends_when_its_time_is_up_and_the_ring_says_when_that_is() -> None:
    keys = [a_key(not_after_us=NOW_US + 5), a_key("later", not_after_us=NOW_US + 9), a_key("never")]
    ring = Keyring(keys, NOW_US)
    assert (told(ring), ring.good_until_us) == ("acme", NOW_US + 5)
    ring = Keyring(keys, NOW_US + 5)
    assert (told(ring), told(ring, "later"), ring.good_until_us) == ("key_off", "acme", NOW_US + 9)
    assert Keyring(keys, NOW_US + 9).good_until_us is None


def test_a_key_opens_its_doors_and_no_other() -> None:
    ring = Keyring([a_key(doors=("ads", "cmcd"))])
    assert [told(ring, door=door) for door in DOORS] == ["door_refused", "acme", "acme"]


@pytest.mark.parametrize(
    ("origin", "comes_in"),
    [
        (None, True),
        ("https://watch.example", True),
        ("https://a.tv.example", True),
        ("https://b.a.tv.example", True),
        ("http://watch.example", False),
        ("https://watch.example:8443", False),
        ("https://watch.example.evil.example", False),
        ("https://tv.example", False),
        ("https://.tv.example", False),
        ("https://evil.example/.tv.example", False),
        ("https://eviltv.example", False),
        ("https://a..tv.example", False),
        ("https://user@a.tv.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_pages_of_its_origins_use_a_key_and_no_others(origin: str | None, comes_in: bool) -> None:
    ring = Keyring([a_key(origins=("https://watch.example", "https://*.tv.example"))])
    assert told(ring, origin=origin) == ("acme" if comes_in else "origin_refused")
    assert origin is None or ring.names(TEXT, origin) == comes_in


def test_without_an_origin_a_key_is_taken_unless_it_says_origins_only() -> None:
    ring = Keyring([a_key(origins=(SITE,), origins_only=True)])
    assert (told(ring), told(ring, origin=SITE)) == ("origin_refused", "acme")


def test_a_secret_key_that_a_page_knows_is_refused() -> None:
    ring = Keyring([a_key(secret=True)])
    assert (told(ring), told(ring, origin=SITE)) == ("acme", "origin_refused")
    assert not ring.names(TEXT, SITE)


def test_a_preflight_without_a_key_is_answered_as_any_key_would() -> None:
    ring = Keyring([a_key(origins=(SITE,)), a_key("off", origins=("https://old.example",), off=True)])
    assert ring.names("", SITE) and not ring.names("", "https://old.example")
    assert ring.names("off", "https://old.example"), "it is told that its key is off"
    assert not ring.names("unknown", SITE) and not ring.names(TEXT, "https://old.example")


def test_an_open_door_takes_everybody_and_an_unpublished_one_nobody_yet() -> None:
    assert told(OPEN, "") == told(OPEN, "anything", origin="https://any.example") == ""
    refused = UNPUBLISHED.find(TEXT, "events", None)
    assert isinstance(refused, Refused) and (refused.code, refused.status) == ("keys_unavailable", 503)
    assert OPEN.names("", SITE) and UNPUBLISHED.names("", SITE)


def test_what_is_remembered_is_bounded_whatever_is_sent() -> None:
    ring = Keyring([a_key()])
    for number in range(FOUND_MAX + 10):
        assert told(ring, origin=f"https://{number}.example") == "acme"
        assert ring.names(TEXT, f"https://{number}.example")
        assert told(ring, f"unknown {number}") == "unknown_key"
    assert len(ring._found) <= FOUND_MAX and len(ring._named) <= FOUND_MAX
    long = f"https://{'x' * FOUND_MAX_CHARS}.example"
    assert told(ring, origin=long) == "acme" and ring.names(TEXT, long)
    assert (
        max(len(origin or "") for _, _, origin in ring._found) < FOUND_MAX_CHARS > max(len(o) for _, o in ring._named)
    )


def test_an_origin_is_a_scheme_and_a_host_as_browsers_write_them() -> None:
    good = ("https://a.example", "http://127.0.0.1:8080", "https://*.tv.example", "https://a-b.example:8443")
    assert all(map(is_origin, good))
    bad = ("null", "*", "https://*", "a.example", "https://A.example", "https://a.example/", "https://a.*.example",
           "https://*.*.example", "ftp://a.example", "https://a.example:", "https://u@a.example",
           "https://*.com", "https://a.example:65536", "")  # fmt: skip
    assert not any(map(is_origin, bad))
