"""Some seconds of `./gw fuzz` break no decoder, and it finds what is broken."""

import pytest

from tests.conftest import left_out
from tests.fuzz import engine
from tests.fuzz.__main__ import main
from tests.fuzz.targets import TARGETS

SECONDS = 5
"""Of each target: the corpus, and what is next to it."""


@pytest.fixture(scope="module", autouse=True)
def fuzzer() -> None:
    try:
        engine.prepare()
    except engine.Unavailable as reason:
        left_out(str(reason))


def test_no_decoder_breaks_on_what_some_seconds_find(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", str(SECONDS), "--seed", "1"]) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.count("held") == len(TARGETS)
