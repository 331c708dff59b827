"""The names under which Redis keeps counts: what dashboards and other readers may rely on."""

from uuid import UUID

from storage.redis import key

CONTENT = UUID("c0ffee00-1111-4222-8333-444455556666")
SESSION = UUID("5e551011-1111-4222-8333-444455556666")
PROFILE = UUID("9f0f1100-1111-4222-8333-444455556666")
EVERY_KEY = [
    key.REGISTRATION,
    key.POSITIONS,
    key.TOTALS,
    key.LIVE,
    key.SAMPLES,
    key.OWNERS,
    key.views(498_716),
    key.viewers(CONTENT),
    key.viewers(CONTENT, 3),
    key.view(SESSION, CONTENT).decode("latin-1"),
    key.session(SESSION).decode("latin-1"),
    key.streams(PROFILE).decode("latin-1"),
]


def test_names_are_the_ones_written_down():
    assert key.views(498_716) == "{ingest}:views:498716"
    assert key.viewers(CONTENT) == "{ingest}:viewers:c0ffee00-1111-4222-8333-444455556666"
    assert key.viewers(CONTENT, 3) == key.viewers(CONTENT) + ":3"
    assert key.view(SESSION, CONTENT) == b"{ingest}:view:" + SESSION.bytes + CONTENT.bytes
    assert key.session(SESSION) == b"{ingest}:session:" + SESSION.bytes
    assert key.streams(PROFILE) == b"{ingest}:streams:" + PROFILE.bytes


def test_every_key_lives_in_the_same_slot_of_a_cluster():
    assert {name.partition("}")[0] for name in EVERY_KEY} == {"{ingest"}


def test_no_two_things_share_a_key():
    assert len(set(EVERY_KEY)) == len(EVERY_KEY)


def test_an_hour_is_whole_hours_since_1970_in_utc():
    assert key.hour_of(0) == 0
    assert key.hour_of(3_600_000_000 - 1) == 0
    assert key.hour_of(1_795_377_599_999_999) == 498_715
    assert key.hour_of(1_795_377_600_000_000) == 498_716


def test_a_view_is_counted_in_the_hours_that_the_script_counts_by():
    now_us = 498_805 * key.HOUR_US + 1
    hours = key.counted_hours(now_us)
    assert hours.start == key.hour_of(now_us) - key.VIEWS_KEPT_HOURS, "apply.lua: oldest_hour"
    assert set(hours) < set(key.kept_hours(now_us))
