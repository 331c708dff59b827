"""A request is refused only when all of its events are of sessions that shall not report."""

import json
from uuid import UUID

import pytest

from config.settings import Settings
from ingest.decode import Limits, decode
from ingest.session import is_of_only, names_only
from tests.acceptance.client import an_event
from tests.builders import RECEIVED_AT_US, an_ad_event

OVER = "5e551011-1111-4222-8333-444455556666"
OTHER = "5e551011-1111-4222-8333-444455557777"
SESSIONS = frozenset({UUID(OVER).bytes})


def judged(events: object, text: str | None = None) -> tuple[bool, bool]:
    """The quick look, and the decoded request."""
    body = (text or json.dumps(events)).encode()
    batch = decode(body, "json", RECEIVED_AT_US, Limits.of(Settings()))
    return names_only(body, SESSIONS), is_of_only(batch, SESSIONS)


def an_event_of(session: str, **changes: object) -> dict[str, object]:
    return an_event(session_id=session, occurred_at=RECEIVED_AT_US // 1_000, **changes)


def test_one_whose_events_are_all_of_such_a_session_is() -> None:
    for written in (OVER, OVER.upper(), OVER.replace("-", "")):
        assert judged([an_event_of(written), an_event_of(OVER, event_type="heartbeat")]) == (True, True)


@pytest.mark.parametrize(
    "events",
    [
        [an_event_of(OVER), an_event_of(OTHER)],
        [an_event_of(OTHER)],
        [an_event_of(OVER), an_event_of(OTHER, event_type="heartbeat")],
        [an_event_of(OVER), an_event_of(OVER, event_type="x")],
        [an_event_of("x")],
        [],
    ],
)
def test_any_other_is_not(events: object) -> None:
    assert not all(judged(events))


def test_a_session_hidden_from_the_quick_look_is_seen_when_it_is_decoded() -> None:
    plain = json.dumps([an_event_of(OVER), an_event_of(OTHER)])
    hidden = plain.replace(f'"session_id": "{OTHER}"', f'"session\\u005fid": "{OTHER}"')
    assert hidden != plain
    assert judged(None, hidden) == (True, False)


def test_a_request_without_events_is_not() -> None:
    assert judged({"events": [], "about": {"session_id": OVER}}) == (True, False)


def test_ads_that_such_a_session_shows_are_kept() -> None:
    ad = an_ad_event(session_id=OVER)
    assert judged([ad, an_event_of(OVER)]) == (True, False)
    assert judged([ad]) == (True, False)
