"""Figures kept and measured: what passes, what does not, and what is said."""

from pathlib import Path

import pytest

from tests.instructions import figure
from tests.instructions.figure import Kept, interpreter, keep, load, nearest, per_event, text, verdict

HERE = "CPython 3.11.7, GCC 12.2.0, x86_64"


def kept(interpreter: str = HERE, core: str = "rust", **figures: int) -> Kept:
    return Kept(interpreter, core, "rustc 1.95.0", figures or {"decode_20": 1_000})


def complaints(measured: Kept, *known: Kept, strict: bool = False) -> list[str]:
    return verdict(measured, known, strict=strict).complaints


def test_five_in_a_hundred_more_passes_and_more_than_that_is_named() -> None:
    assert complaints(kept(decode_20=1_050), kept()) == []
    (told,) = complaints(kept(decode_20=1_051), kept())
    assert told == "rust: decode_20 takes 1,051, +5.1%; kept are 1,000 instructions an event"


def test_what_got_better_is_to_be_kept() -> None:
    found = verdict(kept(decode_20=900), [kept()], strict=True)
    assert found.complaints == [] and found.remarks == ["rust got better: ./gw instructions --keep holds it to that."]


def test_a_new_figure_has_to_be_kept() -> None:
    assert complaints(kept(decode_20=1_000, ads_20=1), kept()) == [
        "rust: nothing is kept of ads_20: ./gw instructions --keep"
    ]


def test_a_figure_that_is_gone_has_to_go_from_what_is_kept() -> None:
    assert complaints(kept(ads_20=1), kept(ads_20=1, decode_20=1)) == [
        "rust: kept, and not measured: decode_20: ./gw instructions --keep"
    ]


def test_cores_are_not_compared_with_each_other() -> None:
    assert complaints(kept(), kept(core="python"))


def test_another_compiler_is_told_where_it_may_be_the_reason() -> None:
    other = kept(decode_20=2_000)._replace(rustc="rustc 1.99.0")
    assert verdict(other, [kept()], strict=True).remarks == [
        "rust: built by rustc 1.99.0, the kept ones by rustc 1.95.0."
    ]


@pytest.mark.parametrize("count, passes", [(1_250, True), (1_251, False)])
def test_an_interpreter_not_kept_is_held_to_the_nearest_with_a_wider_bound(count: int, passes: bool) -> None:
    other = kept("CPython 3.12.1, GCC 12.2.0, x86_64", decode_20=count)
    found = verdict(other, [kept("CPython 3.10.0, GCC 9, x86_64", decode_20=1), kept()], strict=False)
    assert (found.complaints == []) is passes
    assert "nothing is kept of CPython 3.12.1" in found.remarks[0] and "25%" in found.remarks[0]


@pytest.mark.parametrize("other", ["CPython 3.11.8, GCC 12.2.0, x86_64", "CPython 3.11.7, GCC 12.2.0, pgo, x86_64"])
def test_ci_is_held_to_figures_of_its_own(other: str) -> None:
    (told,) = complaints(kept(other), kept(), strict=True)
    assert f"nothing is kept of {other}" in told and "--keep" in told


def test_the_interpreter_itself_is_nearer_than_any_version() -> None:
    same, tuned = kept(), kept("CPython 3.11.7, GCC 12.2.0, pgo, x86_64")
    assert nearest(same, [tuned, same]) is same and nearest(tuned, [same, tuned]) is tuned


def test_what_is_kept_is_read_back_and_takes_the_place_of_what_was(tmp_path: Path) -> None:
    path = tmp_path / "kept.toml"
    assert load(path) == []
    keep([kept(decode_20=1), kept(core="python")], path)
    keep([kept(decode_20=2)], path)
    assert load(path) == [kept(core="python"), kept(decode_20=2)]


def test_the_start_falls_out() -> None:
    few, many = figure.REQUESTS[20]
    start = 1_000_000
    totals = {f"decode_20 {count}": start + count * 20 * 7 for count in (few, many)}
    assert per_event(totals) == {"decode_20": 7}


def test_the_kept_file_is_as_keep_writes_it() -> None:
    assert figure.KEPT.read_text("utf-8") == figure.HEADER + text(load())


def test_an_interpreter_is_told_by_what_decides_its_instructions() -> None:
    assert interpreter().startswith("CPython 3.") and len(interpreter().split(", ")) >= 3
