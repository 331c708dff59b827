"""What watch history must come to: a model of it that has nothing of the product's gathering and merging."""

from collections.abc import Iterable
from typing import NamedTuple

from tests.signs import Sign, happened_us


class Watched(NamedTuple):
    """A row of watch_history."""

    position_s: int
    duration_s: int
    watched_us: int
    completed: bool


def expected_history(signs: Iterable[Sign]) -> dict[tuple[int, int], Watched]:
    """(profile, content) → the row, by all signs at once."""
    stories: dict[tuple[int, int], list[Sign]] = {}
    for sign in signs:
        if sign.profile is not None and not sign.test and sign.kind != "error":
            stories.setdefault((sign.profile, sign.content), []).append(sign)
    return {key: _row(story) for key, story in stories.items()}


def _row(story: list[Sign]) -> Watched:
    placed = [sign for sign in story if sign.position_s is not None or sign.kind == "completed"]
    measured = [sign for sign in story if _length_s(sign)]
    last = max(placed, key=lambda sign: (*_order(sign), sign.kind == "completed", _position_s(sign)), default=None)
    longest = max(measured, key=lambda sign: (_at_us(sign), _length_s(sign)), default=None)
    position_s = _position_s(last) if last else 0
    duration_s = _length_s(longest) if longest else 0
    is_at_end = last is not None and last.kind == "completed"
    return Watched(
        position_s,
        duration_s,
        max(map(_at_us, story)),
        is_at_end or (duration_s > 0 and position_s * 100 >= duration_s * 95),
    )


def _at_us(sign: Sign) -> int:
    return min(happened_us(sign), sign.received_us)


def _order(sign: Sign) -> tuple[int, int]:
    return _at_us(sign), happened_us(sign) if sign.sequence is None else sign.sequence


def _position_s(sign: Sign) -> int:
    return (sign.duration_s or 0) if sign.position_s is None else sign.position_s


def _length_s(sign: Sign) -> int:
    return sign.duration_s or (sign.position_s or 0 if sign.kind == "completed" else 0)
