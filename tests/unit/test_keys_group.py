"""What the commands about write keys refuse before they ask a database, and how a key is listed."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from click.testing import CliRunner

from gateway.keys_group import Duration, described, keys, row
from ingest.keyring import Key
from storage.postgres.write_keys import WriteKey

SITE: Final = "https://watch.example"
BAD: Final = {
    "no name": (["create"], "--name"),
    "an empty name": (["create", "--name", ""], "--name"),
    "a name in two lines": (["create", "--name", "a\nb"], "--name"),
    "an origin that is none": (["create", "--name", "x", "--origin", "watch.example"], "--origin watch.example"),
    "an owner that is none": (["create", "--name", "x", "--owner", "a b"], "--owner"),
    "an owner that is empty": (["create", "--name", "x", "--owner", ""], "--owner"),
    "a secret for pages": (["create", "--name", "x", "--secret", "--origin", SITE], "--secret"),
    "origins only, of none": (["create", "--name", "x", "--origins-only"], "--origins-only"),
    "a burst without a rate": (["create", "--name", "x", "--burst", "5"], "--burst"),
    "no rate at all": (["create", "--name", "x", "--rate", "0"], "--rate"),
    "a door that is none": (["create", "--name", "x", "--door", "live"], "--door"),
    "a heartbeat that is too slow": (["create", "--name", "x", "--heartbeat-s", "301"], "--heartbeat-s"),
    "an update of nothing": (["update", "0123456789ab"], "--heartbeat-s"),
    "a grace that is none": (["rotate", "0123456789ab", "--grace", "soon"], "soon"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_said_before_anything_is_done(name: str) -> None:
    arguments, words = BAD[name]
    done = CliRunner().invoke(keys, arguments)
    assert done.exit_code == 2 and words in done.output and "Traceback" not in done.output


def test_a_grace_is_said_in_seconds_minutes_hours_or_days() -> None:
    said = {text: Duration().convert(text, None, None) for text in ("0s", "90m", "12h", "7d")}
    assert [one / timedelta(minutes=1) for one in said.values()] == [0, 90, 720, 10_080]


def test_a_key_is_listed_with_what_it_may_and_what_became_of_it() -> None:
    now = datetime(2026, 11, 27, 12, tzinfo=UTC)
    key = Key("0123456789ab", b"h" * 32, "acme", doors=("events", "ads"), origins=(SITE,), rate=1_000, burst=2_000)
    one = WriteKey(key, "web", now, None, None, None)
    assert row(one, now) == (
        "0123456789ab",
        "public",
        "acme",
        "events,ads",
        "1,000/s, 2,000",
        "setting",
        "on",
        SITE,
        "web",
    )
    secret = Key("ba9876543210", b"s" * 32, "acme", secret=True, heartbeat_s=30)
    assert row(one._replace(key=secret), now)[4:8] == ("any", "30 s", "on", "none")
    ending = one._replace(not_after=now + timedelta(hours=1), replaced_by="ba9876543210")
    assert row(ending, now)[6] == "until 2026-11-27 13:00"
    assert row(ending, now + timedelta(hours=1))[6] == "replaced"
    assert row(ending._replace(revoked_at=now), now)[6] == "revoked"
    said = described(ending)
    assert (said["id"], said["replaced_by"], said["not_after"]) == (
        "0123456789ab", "ba9876543210", "2026-11-27T13:00:00+00:00",
    )  # fmt: skip
    assert (
        "hash" not in said and described(one)["burst"] == 2_000 and described(one._replace(key=secret))["burst"] is None
    )
