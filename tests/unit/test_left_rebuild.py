"""What a rebuild leaves to go on with is whole or not there, and good for a day, for who counts by the same rules."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import msgspec
import pytest

from gateway.left_rebuild import Begun, LeftRebuild, Rules, Unreadable, framed
from ingest.spool.disk import FileDisk

DAY_US = 86_400_000_000
RULES = Rules("5b" * 16, 35 * 86_400, 32, "0.1.0")
BEGUN = Begun("0badcafe", 7 * DAY_US, {"aa" * 16: 5}, 40, 7, RULES)


@dataclass
class Case:
    changed: Rules
    now_us: int
    why: str


@pytest.mark.parametrize(
    "case",
    [
        Case(RULES, 7 * DAY_US, ""),
        Case(RULES, 8 * DAY_US - 1, ""),
        Case(RULES, 8 * DAY_US, "within the last 24 hours"),
        Case(RULES, 7 * DAY_US - 1, "within the last 24 hours"),
        *(
            Case(msgspec.structs.replace(RULES, **{name: value}), 7 * DAY_US, "were others")
            for name, value in {"rows": "", "view_memory_s": 86_400, "pieces": 16, "release": "0.2.0"}.items()
        ),
    ],
)
def test_it_is_good_for_a_day_and_the_same_rules(case: Case) -> None:
    why = BEGUN.cannot_go_on(case.changed, case.now_us)
    assert case.why in why and bool(case.why) == bool(why)


def test_what_was_begun_and_kept_is_read_until_it_is_forgotten_or_another_begins(tmp_path: Path) -> None:
    left = LeftRebuild(tmp_path / "rebuild", FileDisk())
    assert left.read() is None
    left.begin(BEGUN)
    for piece, rows in ((3, [b"abc", b"d" * 70_000]), (4, [b"x"]), (3, [b"abc", b"ef"])):
        with TemporaryFile() as states:
            states.write(b"".join(map(framed, rows)))
            left.keep_states(piece, states)
    assert left.read() == BEGUN
    assert sorted(left.states()) == [b"abc", b"ef", b"x"]
    another = msgspec.structs.replace(BEGUN, generation="00000001")
    left.begin(another)
    assert left.read() == another and not list(left.states())
    left.forget()
    assert left.read() is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"generation": 3}'])
def test_a_damaged_file_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "begun.json").write_bytes(content)
    with pytest.raises(Unreadable, match="cannot be read"):
        LeftRebuild(tmp_path, FileDisk()).read()
