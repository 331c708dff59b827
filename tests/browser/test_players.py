"""Released players report by README's recipes, and a gateway's rows and viewers are what the record of it says.

All viewings of a run are side by side in one browser. What they sent, and a picture of it, is kept in .cache/players.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests import needs
from tests.acceptance.client import ask, eventually, sql
from tests.acceptance.gateway_process import Gateway, let_others_through
from tests.browser import stream
from tests.browser.chromium import Chromium
from tests.browser.looking import see
from tests.browser.player_site import PlayerSite
from tests.browser.recording_front import Fate, RecordingFront
from tests.browser.sent import Line, Row, lines, rows, unsettled
from tests.browser.viewings import Viewing, begin, counted, watch
from tests.conftest import left_out

SOON_S: Final = 60.0
LEASE_S: Final = 25.0
HELD_MS: Final = 1_400
KEPT: Final = needs.CACHE / "players"
WHOLE: Final = ("hls.whole", "dash.whole", "shaka.whole")
FAILING: Final = tuple(f"{player}.{story}" for player in ("hls", "dash", "shaka") for story in ("nothing", "broken"))
LEFT: Final = ("hls.left", "dash.left", "shaka.left")
MINIFIED: Final = "shaka-min.whole"
ANEW: Final = {"shaka.anew": "play pause play", "hls.anew": "play play pause play"}
CALM: Final = (*WHOLE, MINIFIED, *FAILING, *LEFT, *ANEW)
ROUGH: Final = (*WHOLE, MINIFIED)
BATCH: Final = {"hls.left": 5}
"""Lines a request: what is not sent yet when the tab is closed is sent by the recipe's last line."""
FATES: Final = (Fate.TOO_MANY, Fate.UNAVAILABLE, Fate.BROKEN, Fate.ANSWER_LOST)
ROWS_SQL: Final = """
    SELECT event_type, occurred_at, (metadata->>'sn')::bigint AS number, bitrate, buffer_duration, error_code,
           content_id, device_type, platform, startup_ms, test
    FROM playback_events WHERE session_id = $1 ORDER BY occurred_at, number"""


@dataclass
class Run:
    """Viewings, the record of their requests, and the gateway that took them."""

    gateway: Gateway
    front: RecordingFront
    viewings: dict[str, Viewing]

    def lines(self, name: str) -> list[Line]:
        """What this viewing sent and was told to be kept."""
        return lines(self.front.sent).get(self.viewings[name].session, [])

    def stored(self, name: str) -> list[Any]:
        """Its rows, by time."""
        return sql(self.gateway.endpoints["postgres"], ROWS_SQL, self.viewings[name].session)

    def viewers(self, name: str) -> int:
        """Of its content, now; fails while there is no number."""
        answer = ask(f"{self.gateway.endpoints['admin']}/v1/live/{self.viewings[name].content}")
        assert answer.status == 200, answer.text
        viewers = answer.json["viewers"]
        assert isinstance(viewers, int)
        return viewers


@contextmanager
def playing(
    browser: Chromium, directory: Path, label: str, names: tuple[str, ...], *, workers: int, fate: Callable[[int], Fate]
) -> Iterator[Run]:
    """A run of these viewings until all are done, and its record kept."""
    if not needs.has_players():
        left_out("the players of tests/browser/npm are not here: python -m tests.needs")
    if not stream.is_at_hand():
        left_out("there is no ffmpeg here: python -m tests.needs")
    let_others_through(directory)
    (directory / "data").mkdir()
    (directory / "stream").mkdir()
    stream.write_stream(directory / "stream")
    with (
        Gateway(directory / "data", environment={"INGEST_WORKERS": str(workers)}) as gateway,
        PlayerSite(directory / "stream") as site,
    ):
        gateway.start()
        gateway.wait_ready()
        with RecordingFront(gateway.url) as front:
            front.fate = fate
            begun: list[Viewing] = []
            run = Run(gateway, front, {})
            try:
                with counted(begun, gateway.endpoints["admin"]):
                    for name in names:
                        begun.append(begin(browser, site, front.url, name, batch=BATCH.get(name, 1)))
                        run.viewings[name] = begun[-1]
                    look(browser, run, label)
                    watch(begun)
                    eventually(lambda: not uncounted(begun), SOON_S, f"all counted but {uncounted(begun)}")
                yield run
            finally:
                keep(run, label)


def uncounted(viewings: list[Viewing]) -> list[str]:
    """Those whose viewer no count has told of yet; lines that are kept back for a batch may be older than a lease."""
    return [one.name for one in viewings if one.is_watched and not one.most_viewers and one.name not in BATCH]


def look(browser: Chromium, run: Run, label: str) -> None:
    """Keep a picture of the gateway's page once it shows somebody."""
    page = browser.page()
    page.open(run.gateway.endpoints["admin"] + "/")
    eventually(lambda: page.evaluate("document.readyState") == "complete", SOON_S, "shown")
    eventually(lambda: see(page)["contents"], SOON_S, "viewers")
    KEPT.mkdir(parents=True, exist_ok=True)
    page.picture(KEPT / f"{label}.png")
    page.close()


def keep(run: Run, label: str) -> None:
    """The record, a request a line."""
    KEPT.mkdir(parents=True, exist_ok=True)
    names = {viewing.session: name for name, viewing in run.viewings.items()}
    with (KEPT / f"{label}.ndjson").open("w", encoding="utf-8") as file:
        for one in run.front.sent:
            said = {"at_s": round(one.at_s, 3), "method": one.method, "path": one.path, "fate": one.fate.value}
            body = one.body.decode()
            viewing = next((name for session, name in names.items() if session in body), None)
            print(json.dumps(said | {"status": one.status, "viewing": viewing, "body": body}), file=file)


@pytest.fixture(scope="module")
def calm(browser: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Every story of every player, one collector, and nothing in between; tabs are closed when all is played."""
    directory = tmp_path_factory.mktemp("calm")
    with playing(browser, directory, "calm", CALM, workers=1, fate=lambda number: Fate.HANDED_ON) as run:
        for name, viewing in run.viewings.items():
            if name not in LEFT:
                viewing.page.close()
        yield run


@pytest.fixture(scope="module")
def rough(browser: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Two collectors, and every third request refused or broken off, in turns; tabs stay open to send it again."""

    def fate(number: int) -> Fate:
        return FATES[number // 3 % len(FATES)] if number % 3 == 0 else Fate.HANDED_ON

    with playing(browser, tmp_path_factory.mktemp("rough"), "rough", ROUGH, workers=2, fate=fate) as run:
        yield run


def row_of(stored: Any) -> Row:
    """As the record's rows are."""
    at_ms = round(stored["occurred_at"].timestamp() * 1_000)
    kind, number = stored["event_type"], stored["number"]
    return Row(kind, at_ms, number, stored["bitrate"], stored["buffer_duration"], stored["error_code"])


def rows_are_as_sent(run: Run, name: str) -> list[Row]:
    """The rows of this viewing, which are what its lines come to, no more and no less."""

    def same() -> list[Row]:
        stored = list(map(row_of, run.stored(name)))
        assert stored == rows(run.lines(name)), run.lines(name)
        return stored

    eventually(lambda: same() or True, SOON_S, name)
    return same()


def story(found: list[Row]) -> str:
    """The types of rows in order, but for what a slow machine or network adds."""
    return " ".join(row.event_type for row in found if row.event_type not in ("quality_change", "buffering"))


@pytest.mark.parametrize("name", CALM)
def test_rows_are_exactly_what_a_player_sent(calm: Run, name: str) -> None:
    rows_are_as_sent(calm, name)
    viewing = calm.viewings[name]
    for row in calm.stored(name):
        assert str(row["content_id"]) == viewing.content
        assert (row["device_type"], row["platform"], row["test"]) == ("web", "chrome", False)


@pytest.mark.parametrize("name", WHOLE)
def test_a_viewing_to_its_end_is_told_whole_with_its_stall(calm: Run, name: str) -> None:
    found = rows_are_as_sent(calm, name)
    assert story(found).startswith("play pause play seek completed"), calm.lines(name)
    sought, ended = (next(row.at_ms for row in found if row.event_type == kind) for kind in ("seek", "completed"))
    stalls = [row for row in found if row.event_type == "buffering" and sought < row.at_ms < ended]
    assert max(row.buffer_ms or 0 for row in stalls) >= HELD_MS, "segments were held back so long"
    changes = [row for row in found if row.event_type == "quality_change"]
    assert changes or name != "hls.whole"
    assert not changes or name != "dash.whole", "dash.js tells of none"


@pytest.mark.parametrize("name", WHOLE)
def test_a_viewer_is_counted_once_while_a_film_plays_and_not_behind_its_end(calm: Run, name: str) -> None:
    assert calm.viewings[name].most_viewers == 1
    eventually(lambda: calm.viewers(name) == 0, SOON_S, "nobody")


@pytest.mark.parametrize("name", LEFT)
def test_a_closed_tab_is_told_to_its_last_line_and_its_viewer_goes_with_the_lease(calm: Run, name: str) -> None:
    assert story(rows_are_as_sent(calm, name)).startswith("play pause play")
    assert calm.viewings[name].most_viewers == 1 or name in BATCH
    eventually(lambda: calm.viewers(name) == 0, LEASE_S + SOON_S, "nobody")


@pytest.mark.parametrize("name", ANEW)
def test_a_player_that_counts_anew_in_mid_play_is_told_whole(calm: Run, name: str) -> None:
    numbers = [line.number for line in calm.lines(name)]
    assert numbers.count(0) == 2, "a change of settings, or another source, begins its numbers again"
    told = story(rows_are_as_sent(calm, name))
    assert told.removesuffix(" pause") == ANEW[name], "but that Shaka may say pause when its tab is closed"


def test_a_film_that_is_not_there_is_one_error_and_no_viewer(calm: Run) -> None:
    codes = {name: [row.error_code for row in rows_are_as_sent(calm, name)] for name in FAILING if "nothing" in name}
    assert codes == {"hls.nothing": ["manifestLoadError"], "dash.nothing": ["25"], "shaka.nothing": []}
    assert {calm.viewings[name].most_viewers for name in codes} == {0}


def test_a_film_that_breaks_off_is_one_error_however_often_it_is_told(calm: Run) -> None:
    codes = {
        name: [row.error_code for row in rows_are_as_sent(calm, name) if row.event_type == "error"]
        for name in FAILING
        if "broken" in name
    }
    assert codes == {"hls.broken": [], "dash.broken": ["27"], "shaka.broken": [None]}, "hls.js tells of none"


def test_shaka_as_released_and_minified_tells_of_nothing_that_is_a_row(calm: Run) -> None:
    told = calm.lines(MINIFIED)
    assert {line.event for line in told} == {"t", "bc"}
    assert {line.state for line in told} == {""}, "its build renames the key of all states"
    assert rows_are_as_sent(calm, MINIFIED) == []
    assert calm.viewings[MINIFIED].most_viewers == 0


def rows_are_what_got_through(run: Run, name: str) -> list[Row]:
    """The rows of this viewing: of lines that came late, and of their neighbours, no more is sure than that each has
    one row at most, and no line that was not kept has any.
    """

    def same() -> list[Row]:
        stored, told = list(map(row_of, run.stored(name))), run.lines(name)
        unsure = unsettled(run.front.sent, run.viewings[name].session)
        sure, expected = ({row for row in some if row[1:3] not in unsure} for some in (stored, rows(told)))
        assert sure == expected, told
        assert {row[1:3] for row in stored} <= {(line.at_ms, line.number) for line in told}
        assert len({row[1:3] for row in stored}) == len(stored)
        return stored

    eventually(lambda: same() or True, SOON_S, name)
    return same()


@pytest.mark.parametrize("name", ROUGH)
def test_refused_and_broken_off_a_player_s_rows_are_what_it_got_through(rough: Run, name: str) -> None:
    rows_are_what_got_through(rough, name)


@pytest.mark.parametrize("name", ["hls.whole", "dash.whole"])
def test_what_was_refused_is_sent_again_until_it_is_kept(rough: Run, name: str) -> None:
    def all_of_it() -> bool:
        told = rough.lines(name)
        ended = next((line.number for line in told if line.state == "e"), len(told))
        return {line.number for line in told} >= set(range(ended + 1))

    eventually(all_of_it, SOON_S, "by the beats behind the end, too")

    def completions() -> int:
        return [row.event_type for row in rows_are_what_got_through(rough, name)].count("completed")

    eventually(lambda: completions() == 1, SOON_S, "what was kept last is a row two seconds later")


def test_each_way_of_breaking_in_was_met_by_players(rough: Run) -> None:
    fates = Counter(one.fate for one in rough.front.posts())
    assert all(fates[fate] > 3 for fate in FATES), fates
    statuses = {one.status for one in rough.front.posts() if one.fate is Fate.HANDED_ON}
    assert statuses == {204}


@pytest.mark.parametrize("label", ["calm", "rough"])
def test_nothing_else_is_stored_and_the_books_agree(request: pytest.FixtureRequest, label: str) -> None:
    run: Run = request.getfixturevalue(label)

    def nothing_else() -> bool:
        expected = sum(len(rows_are_what_got_through(run, name)) for name in run.viewings)
        (counted,) = sql(run.gateway.endpoints["postgres"], "SELECT count(*) FROM playback_events")
        assert counted["count"] == expected
        return True

    eventually(nothing_else, SOON_S, "rows may be on their way while they are counted")
    verified = run.gateway.command("verify")
    assert verified.returncode == 0, verified.stdout
