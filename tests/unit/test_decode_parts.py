"""The parts of decoding by themselves."""

import json
import time
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.decode.memo import Memo
from ingest.decode.skeleton import deeper_than
from ingest.decode.uuid import uuid_bytes, uuids_bytes
from tests.builders import (
    an_event,
)


def test_many_uuids_at_once_are_the_same_as_one_by_one():
    texts = [an_event()["event_id"] for _ in range(5)]
    assert uuids_bytes(texts) == [uuid_bytes(text) for text in texts]
    moved = [texts[0] + texts[1][0], texts[1][1:], *texts[2:]]
    bads: list[Any] = [
        moved,
        [*texts, None],
        [*texts, ""],
        ["x" * 36] * 2,
        [texts[0].replace("-", " "), texts[1]],
        [None],
        ["x"],
    ]
    for bad in bads:
        assert uuids_bytes(bad) is None


def depth_of(value):
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(map(depth_of, members), default=0) + isinstance(value, (dict, list))


TRAPS = st.text('[]{}"\\é', max_size=4)
NESTED = st.recursive(
    TRAPS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRAPS, inner, max_size=3), max_leaves=40
)


@settings(max_examples=300, deadline=None)
@given(NESTED)
@example(["]", ["]", ["]", "[" * 3]]])
@example([['["'], {'\\"]': {'"': "}"}}])
def test_depth_is_exact_whatever_texts_hold(value):
    text, depth = json.dumps(value).encode(), depth_of(value)
    for depth_max in range(1, depth + 3):
        assert deeper_than(text, depth_max) == (depth > depth_max)


def test_hostile_depths_are_found_without_delay():
    started_s = time.process_time()
    for body in (
        b"[" * (8 << 20),
        b"[]" * (4 << 20),
        b'["]",' * (1 << 20),
        b'"' * (8 << 20),
        b"\\" * (8 << 20),
        b'\\"[' * (1 << 20),
    ):
        deeper_than(body, 16)
    assert time.process_time() - started_s < 5


def test_a_memo_stays_within_its_bound_and_keeps_what_it_was_given():
    memo: Memo[Any, int] = Memo(lambda key: key * 2, 10, {None: 0})
    for key in range(1_000):
        assert memo[key] == key * 2
        assert memo[None] == 0
        assert len(memo) <= 10
