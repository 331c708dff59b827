"""Write keys as published: whole or not at all, for no other eyes, and in force whatever becomes of the file."""

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from gateway import keys_file
from gateway.key_watch import KeyWatch
from gateway.layout import DataDir
from ingest.gate import Gate
from ingest.keyring import Key, Refused, hash_of, id_of
from ingest.tally import Tally
from tests.spooled import StoppedClock


def a_key(text: str, **changes: Any) -> Key:
    return Key(id=id_of(text), hash=hash_of(text), owner="acme", **changes)


KEYS = [
    a_key("one", doors=("ads",), origins=("https://a.example",), rate=5, burst=9, bucket="b"),
    a_key("two", secret=True, off=True, not_after_us=7, origins_only=True),
]


@pytest.fixture
def gate() -> Gate:
    return Gate(Tally(), StoppedClock(), lambda: 0.5, required=True)


def test_what_is_published_is_read_again_by_its_owner_alone(tmp_path: Path) -> None:
    keys_file.write(tmp_path, keys_file.encoded(KEYS))
    data = keys_file.read(tmp_path)
    assert data is not None and keys_file.decoded(data) == KEYS
    assert stat.S_IMODE((tmp_path / keys_file.NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [keys_file.NAME]


def test_nothing_was_published_where_there_is_no_file(tmp_path: Path) -> None:
    assert keys_file.read(tmp_path) is None
    published = keys_file.Published(tmp_path)
    assert (published.look(), published.keys) == (False, None)


def test_a_collector_reads_it_once_and_again_when_it_is_another(tmp_path: Path) -> None:
    published = keys_file.Published(tmp_path)
    keys_file.write(tmp_path, keys_file.encoded(KEYS))
    assert (published.look(), published.look(), published.keys) == (True, False, KEYS)
    keys_file.write(tmp_path, keys_file.encoded(KEYS[:1]))
    assert (published.look(), published.keys) == (True, KEYS[:1])


@pytest.mark.parametrize("data", [b"", b"{", b'{"version":2,"keys":[]}', b'{"version":1,"keys":[{}]}', b"\xff\x00"])
def test_a_file_that_cannot_be_read_leaves_the_last_keys_in_force(tmp_path: Path, data: bytes) -> None:
    published = keys_file.Published(tmp_path)
    keys_file.write(tmp_path, keys_file.encoded(KEYS))
    assert published.look()
    keys_file.write(tmp_path, data)
    assert (published.look(), published.keys) == (False, KEYS)
    (tmp_path / keys_file.NAME).unlink()
    assert (published.look(), published.keys) == (False, KEYS)
    with pytest.raises(keys_file.Damaged):
        keys_file.decoded(data)


def test_a_file_that_could_not_be_read_once_is_read_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    published = keys_file.Published(tmp_path)
    keys_file.write(tmp_path, keys_file.encoded(KEYS))
    with monkeypatch.context() as for_once:
        for_once.setattr(Path, "read_bytes", broken)
        assert (published.look(), published.keys) == (False, None)
    assert (published.look(), published.keys) == (True, KEYS)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    keys_file.write(tmp_path, keys_file.encoded(KEYS))
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        keys_file.write(tmp_path, keys_file.encoded([]))
    assert keys_file.read(tmp_path) == keys_file.encoded(KEYS)
    assert [path.name for path in tmp_path.iterdir()] == [keys_file.NAME]


def test_a_collector_takes_keys_as_they_are_published_and_ends_them_by_the_clock(tmp_path: Path, gate: Gate) -> None:
    clock = StoppedClock()
    watch = KeyWatch(gate, DataDir(tmp_path), clock)

    def told(text: str) -> str:
        asyncio.run(watch.look())
        found = gate.enter(text, "events", None)
        return found.code if isinstance(found, Refused) else found.owner

    assert told("mine") == "keys_unavailable"
    ends_us = clock.now_us() + 1_000_000
    keys_file.write(tmp_path, keys_file.encoded([a_key("mine", not_after_us=ends_us), a_key("new")]))
    assert (told("mine"), told("new"), told("other")) == ("acme", "acme", "unknown_key")
    clock.at_us = ends_us
    assert (told("mine"), told("new")) == ("key_off", "acme")


def test_an_open_gate_stays_open() -> None:
    gate = Gate(Tally(), StoppedClock(), lambda: 0.5, required=False)
    found = gate.enter("", "cmcd", "https://any.example")
    assert isinstance(found, Key) and (found.owner, gate.closed) == ("", False)
    gate.charge(found, 10**9)
    assert gate.enter("", "cmcd", None) is found
