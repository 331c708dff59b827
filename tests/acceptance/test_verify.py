"""`verify` finds everything equal after a crowd, and names the very row, or content and hour, that somebody changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import pytest
import redis

from tests.acceptance.client import sql
from tests.acceptance.gateway_process import let_others_through
from tests.acceptance.scene import Scene, played
from tests.acceptance.verified import described, found, verify

COLUMNS: Final = {
    "content_id": "gen_random_uuid()",
    "session_id": "gen_random_uuid()",
    "received_at": "received_at + interval '1 microsecond'",
    "event_type": "'pause!'",
    "test": "NOT test",
    "sent_at": "coalesce(sent_at, now()) + interval '1 microsecond'",
    "sequence": "coalesce(sequence, 0) + 1",
    "position": "coalesce(position, 0) + 1",
    "duration": "coalesce(duration, 0) + 1",
    "profile_id": "gen_random_uuid()",
    "quality": "coalesce(quality, '') || '!'",
    "bitrate": "coalesce(bitrate, 0) + 1",
    "device_type": "coalesce(device_type, '') || '!'",
    "platform": "coalesce(platform, '') || '!'",
    "cdn_edge": "coalesce(cdn_edge, '') || ' '",
    "buffer_duration": "coalesce(buffer_duration, 0) + 1",
    "startup_ms": "coalesce(startup_ms, 0) + 1",
    "error_code": "coalesce(error_code, '') || '!'",
    "player": "coalesce(player, '') || '!'",
    "app_version": "coalesce(app_version, '') || '!'",
    "country": "'XX'",
    "metadata": """'{"reason":"nothing"}'""",
}
"""Column → what somebody writes into it; occurred_at and event_id make another row."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("verify")
    let_others_through(directory)
    with played(directory) as made:
        yield made


@contextmanager
def changed(scene: Scene, *statements: str, back: tuple[str, ...] = ()) -> Iterator[None]:
    """Run these, let `verify` look, put every row back as it was."""
    sql(scene.postgres, "CREATE TABLE before AS SELECT * FROM playback_events")
    try:
        for statement in statements:
            sql(scene.postgres, statement)
        yield
    finally:
        sql(scene.postgres, "DELETE FROM playback_events")
        for statement in back:
            sql(scene.postgres, statement)
        sql(scene.postgres, "INSERT INTO playback_events SELECT * FROM before")
        sql(scene.postgres, "DROP TABLE before")


def some_ids(scene: Scene, count: int, condition: str = "true") -> list[str]:
    """Event ids of rows, far apart in time and spread over incarnations."""
    rows = sql(
        scene.postgres,
        f"SELECT event_id FROM playback_events WHERE {condition} ORDER BY hashtext(event_id::text) LIMIT {count}",
    )
    assert len(rows) == count
    return [str(row["event_id"]) for row in rows]


def test_after_a_crowd_and_two_restarts_everything_agrees(scene: Scene) -> None:
    done = scene.gateway.command("verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "everything agrees"
    _, report = verify(scene.gateway)
    assert report["differences"] == [] and report["notes"] == []
    assert report["totals"]["stored"] == scene.rows == sum(month["in_table"] for month in report["months"].values())
    assert report["totals"]["duplicate"] > 0, "the crowd resends, and so did we"
    assert report["totals"]["signals"] > 0 and report["totals"]["rejected"] > 0
    totals = report["totals"]
    kept = sum(totals[name] for name in ("stored", "duplicate", "signals", "duplicates", "rejected"))
    assert totals["received"] == kept + totals["dead"] + totals["quarantined"]
    with redis.Redis.from_url(scene.gateway.endpoints["redis"]) as store:
        counted = sum(int(views) for key in store.scan_iter(match="{ingest}:views:*") for views in store.hvals(key))
    assert report["views"] == counted > 20


@pytest.mark.parametrize("which", ["any", "repaired", "resent"])
def test_a_row_that_is_deleted_is_missed_by_name(scene: Scene, which: str) -> None:
    event_id = {"any": some_ids(scene, 1)[0], "repaired": scene.repaired, "resent": scene.resent}[which]
    with changed(scene, f"DELETE FROM playback_events WHERE event_id = '{event_id}'"):
        code, report = verify(scene.gateway)
    assert code == 1
    (where,) = described(report, "row_missing")
    assert event_id in where
    assert not found(report, "row_altered", "row_doubled", "row_unknown")


def doubling(scene: Scene, how: str) -> tuple[str, list[str], tuple[str, ...]]:
    """The event id that must be named, the statements that double its row, and those that allow it to be put back."""
    others = [
        row["name"] for row in sql(scene.postgres, COLUMN_NAMES) if row["name"] not in ("event_id", "occurred_at")
    ]
    names = ", ".join(f'"{name}"' for name in others)
    (event_id,) = some_ids(scene, 1, "event_type <> 'play'")
    insert = f"INSERT INTO playback_events (event_id, occurred_at, {names}) SELECT"
    of = f"{names} FROM playback_events WHERE event_id = '{event_id}'"
    if how == "a microsecond later":
        return event_id, [f"{insert} event_id, occurred_at + interval '1 microsecond', {of}"], ()
    if how == "a month later":
        return event_id, [f"{insert} event_id, occurred_at + interval '1 month', {of}"], ()
    if how == "under another id":
        other = str(UUID(int=UUID(event_id).int ^ 1))
        return other, [f"{insert} '{other}', occurred_at, {of}"], ()
    key = "ALTER TABLE playback_events ADD PRIMARY KEY (occurred_at, event_id)"
    ((name,),) = sql(
        scene.postgres,
        "SELECT conname FROM pg_constraint WHERE conrelid = 'playback_events'::regclass AND contype = 'p'",
    )
    drop = f"ALTER TABLE playback_events DROP CONSTRAINT {name}"
    return event_id, [drop, f"{insert} event_id, occurred_at, {of}"], (key,)


COLUMN_NAMES: Final = (
    "SELECT attname AS name FROM pg_attribute WHERE attrelid = 'playback_events'::regclass AND attnum > 0"
)


@pytest.mark.parametrize("how", ["a microsecond later", "a month later", "under another id", "exactly"])
def test_a_row_that_is_doubled_is_named(scene: Scene, how: str) -> None:
    event_id, statements, back = doubling(scene, how)
    with changed(scene, *statements, back=back):
        code, report = verify(scene.gateway)
    assert code == 1
    (where,) = described(report, "row_doubled", "row_unknown")
    assert event_id in where
    assert not found(report, "row_missing", "row_altered")


@pytest.mark.parametrize("column", ["metadata", "profile_id", "received_at"])
def test_a_row_that_is_altered_is_named(scene: Scene, column: str) -> None:
    (event_id,) = some_ids(scene, 1, "event_type <> 'play' AND NOT test")
    with changed(scene, f"UPDATE playback_events SET {column} = {COLUMNS[column]} WHERE event_id = '{event_id}'"):
        code, report = verify(scene.gateway)
    assert code == 1
    (where,) = described(report, "row_altered")
    assert event_id in where
    assert not found(report, "row_missing", "row_doubled", "row_unknown")


def test_an_altered_time_or_id_is_a_row_too_few_and_a_row_too_many(scene: Scene) -> None:
    first, second = some_ids(scene, 2, "event_type <> 'play'")
    other = str(UUID(int=UUID(second).int ^ 1))
    with changed(
        scene,
        f"UPDATE playback_events SET occurred_at = occurred_at + interval '1 microsecond' WHERE event_id = '{first}'",
        f"UPDATE playback_events SET event_id = '{other}' WHERE event_id = '{second}'",
    ):
        code, report = verify(scene.gateway)
    assert code == 1
    missed = " ".join(described(report, "row_missing"))
    assert first in missed and second in missed
    unknown = " ".join(described(report, "row_unknown", "row_doubled"))
    assert first in unknown and other in unknown


def test_whatever_the_column_each_altered_row_is_named(scene: Scene) -> None:
    names = {row["name"] for row in sql(scene.postgres, COLUMN_NAMES)}
    assert names == {*COLUMNS, "occurred_at", "event_id"}
    ids = some_ids(scene, len(COLUMNS))
    updates = [
        f"UPDATE playback_events SET {column} = {new} WHERE event_id = '{event_id}'"
        for (column, new), event_id in zip(COLUMNS.items(), ids, strict=True)
    ]
    # of the broken clock and of the one that was sent twice as well
    ids += {scene.repaired, scene.resent} - {*ids}
    updates += [f"UPDATE playback_events SET country = 'YY' WHERE event_id = '{event_id}'" for event_id in ids[-2:]]
    with changed(scene, *updates):
        code, report = verify(scene.gateway)
    assert code == 1
    named = Counter(described(report, "row_altered"))
    for event_id in ids:
        assert sum(event_id in where for where in named) == 1, event_id
    assert len(named) == len(ids)
    assert not found(report, "row_missing", "row_doubled", "row_unknown")


@pytest.mark.parametrize("change", ["one more", "one less", "none", "a content that nobody watched"])
def test_a_count_that_is_changed_is_named_by_content_and_hour(scene: Scene, change: str) -> None:
    with redis.Redis.from_url(scene.gateway.endpoints["redis"], decode_responses=True) as store:
        keys: list[str] = sorted(store.scan_iter(match="{ingest}:views:*"))
        key = keys[-1]
        counts: dict[str, str] = store.hgetall(key)
        content = sorted(counts)[0]
        if change == "a content that nobody watched":
            content = str(UUID(int=1))
            store.hset(key, content, 1)
        elif change == "none":
            store.hdel(key, content)
        else:
            store.hincrby(key, content, 1 if change == "one more" else -1)
        try:
            code, report = verify(scene.gateway)
        finally:
            if content in counts:
                store.hset(key, content, counts[content])
            else:
                store.hdel(key, content)
    assert code == 1
    (where,) = found(report, "views")
    hour = datetime.fromtimestamp(int(key.rpartition(":")[2]) * 3600, UTC)
    assert content in where and hour.isoformat() in where
    assert len(report["differences"]) == 1


def test_an_equation_that_does_not_hold_is_named_by_its_incarnation(scene: Scene) -> None:
    mine = "WHERE reader = 'postgres' AND incarnation = $1"
    latest = "WHERE reader = 'postgres' ORDER BY sequence DESC LIMIT 1"
    ((incarnation, totals),) = sql(scene.postgres, f"SELECT incarnation, totals::text FROM ingest_positions {latest}")
    wrong = "jsonb_set(totals, '{duplicate}', '100000')"
    sql(scene.postgres, f"UPDATE ingest_positions SET totals = {wrong} {mine}", incarnation)
    try:
        code, report = verify(scene.gateway)
    finally:
        sql(scene.postgres, f"UPDATE ingest_positions SET totals = $2::jsonb {mine}", incarnation, totals)
    assert code == 1
    assert found(report, "equation") == [incarnation.hex]


def test_with_everything_put_back_it_agrees_again(scene: Scene) -> None:
    code, report = verify(scene.gateway)
    assert (code, report["differences"]) == (0, [])
