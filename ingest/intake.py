"""What becomes of a request, whoever read its HTTP: admitted, inflated, decoded, put on disk, and only then answered.

`ingest.general` (aiohttp) and `ingest.lean` bring a `Head`, then the whole body; both get the same answers from here.
"""

import random
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl

from config.settings import Settings
from ingest.admission import BODY_TOO_LARGE, OVERLOADED, REASONS, SPOOL_UNAVAILABLE, Admission
from ingest.answer import Answer, refusal, try_again, verdicts
from ingest.batch import Batch
from ingest.clock import Clock
from ingest.codes import CODES, UNSUPPORTED_ENCODING
from ingest.crawler import is_crawler, patterns
from ingest.decode import Limits, Undecodable, decode, door_of, trusted_country
from ingest.decode.body import GZIP_MAGIC, Inflater
from ingest.pixel import PixelHead, Pixels
from ingest.session import TOO_MANY_STREAMS, is_of_only, names_only
from ingest.spool.appender import Appender, SpoolUnavailable
from ingest.tally import Tally

EVENTS_PATH: Final = "/v1/events"
MEDIA_TYPES: Final = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/plain": "text",
    "": "text",
}
"""Content types of events; a beacon's text/plain (and none at all) may be either form of JSON."""
CLOSING: Final = frozenset({408, 413})
"""Statuses after which a connection is not used again: the rest of the body may still be on its way."""
_CODE_INDEX: Final = {code.name: code.index for code in CODES}


class Head(NamedTuple):
    """What of a request's head matters, but for its length: the same for every request of most connections."""

    media: str | None
    """json, ndjson or text; None for what is not taken."""
    content_encoding: str | None
    dry_run: bool
    country: str | None
    """Of the trusted CDN's header, where it is one."""
    minimal: bool
    """Prefer: return=minimal."""
    crawler: bool
    """By its User-Agent: no viewer."""

    @classmethod
    def of(
        cls,
        content_type: str,
        content_encoding: str | None,
        query: str,
        country: str | None,
        user_agent: str,
        *,
        minimal: bool,
    ) -> "Head":
        """From texts as sent; `content_type` and `user_agent` empty when absent, `query` what is behind the question
        mark.
        """
        media = MEDIA_TYPES.get(content_type) or MEDIA_TYPES.get(content_type.partition(";")[0].strip().lower())
        dry_run = bool(query) and _is_dry_run(query)
        return cls(media, content_encoding, dry_run, trusted_country(country), minimal, is_crawler(user_agent))


AnyHead = Head | PixelHead
"""Of a request with a body, and of one that is its head alone."""


class Refusal(Exception):
    """The request ends here, with this answer."""

    def __init__(self, answer: Answer, code: str) -> None:
        self.answer = answer
        self.code = code


class Intake:
    """The way into the spool of one process. `chance()` is a random number in [0, 1)."""

    def __init__(
        self, settings: Settings, appender: Appender, clock: Clock, chance: Callable[[], float] = random.random
    ) -> None:
        http = settings.http
        self._http = http
        self._appender = appender
        self._chance = chance
        self._limits = Limits.of(settings)
        self.clock = clock
        self._door = door_of(self._limits)
        self._crawlers_are_tests = settings.door.crawlers_are_tests
        patterns()  # now, and not for the first request
        self.admission = Admission(http.body_max_bytes, http.inflight_max_bytes)
        self.tally = Tally()
        self.pixels = Pixels(self, settings, appender)
        self.refused_sessions: frozenset[bytes] = frozenset()
        """Sessions over the limit of their user's plan (16 bytes each): a request of these alone is refused."""

    def admit(self, head: AnyHead, length_bytes: int | None) -> None:
        """Before the body is read; `length_bytes` as announced, None when it comes in chunks. Raises Refusal. Pixels
        have no body: `take` admits them.
        """
        if isinstance(head, PixelHead):
            return
        if head.media is None:
            raise _unsupported_media()
        if (reason := self.admission.admit(length_bytes)) is not None:
            raise self.refused(reason)
        if not self._appender.writable:
            raise self.refused(SPOOL_UNAVAILABLE)

    def arrive(self, size_bytes: int) -> None:
        """More of a body that is not whole is here: booked until `take` or `drop`. Raises Refusal."""
        if not self.admission.arrive(size_bytes):
            raise self.refused(OVERLOADED)

    def drop(self, arrived_bytes: int) -> None:
        """The rest of this body will not come."""
        self.admission.completed(arrived_bytes)
        self.admission.release(arrived_bytes)

    def take(self, head: AnyHead, raw: bytes, arrived_bytes: int, told: Callable[[Answer], None]) -> Answer | None:
        """The whole body is here, as it came: the answer, or None, and `told` gets it once the events are on disk.

        `arrived_bytes`: how much of it `arrive` has booked. Never raises for what a client sent.
        """
        if isinstance(head, PixelHead):
            return self.pixels.take(head, told)
        admission, appender, media = self.admission, self._appender, head.media
        assert media is not None, "it was admitted"
        if arrived_bytes:
            admission.completed(arrived_bytes)
        booked_bytes = arrived_bytes
        try:
            if not admission.book(len(raw) - arrived_bytes):
                raise self.refused(OVERLOADED)
            booked_bytes = len(raw)
            self.tally.body_bytes += booked_bytes
            if head.content_encoding is None and not raw.startswith(GZIP_MAGIC):
                body = raw
            else:  # gzip without its header, which a beacon cannot set, is known by its magic number
                inflater = Inflater(head.content_encoding, self._http.decoded_max_bytes)
                body = inflater.feed(raw) + inflater.finish()
                if (more_bytes := len(body) - booked_bytes) > 0:
                    if not admission.book(more_bytes):
                        raise self.refused(OVERLOADED)
                    booked_bytes += more_bytes
            received_at_us = self.clock.now_us()
            country, dry_run = head.country, head.dry_run
            tests = head.crawler and self._crawlers_are_tests
            if tests:
                self.tally.crawlers += 1
            suspected = bool(self.refused_sessions) and names_only(body, self.refused_sessions) and not dry_run
            # crawlers and who is over a limit are few, and the twin's
            door = None if dry_run or tests or suspected else self._door
            if door is not None:
                counts = appender.take_in(door, body, media, received_at_us, country)
                if counts is not None:
                    batch, answer = _all_well(counts, head.minimal)
                    appender.wait(partial(self._settled, told, answer, booked_bytes, batch))
                    return None
            by_twin = door is not None or tests or suspected
            batch = decode(
                *(body, media, received_at_us, self._limits),
                country=country, tests=tests, dry_run=dry_run, by_twin=by_twin,
            )  # fmt: skip
            if suspected and is_of_only(batch, self.refused_sessions):
                raise Refusal(TOO_MANY_STREAMS, "too_many_streams")
            answer = verdicts(batch, minimal=head.minimal, dry_run=dry_run)
            if not dry_run:
                rejected = {_CODE_INDEX[code]: count for code, count in batch.rejected_by_code.items()}
                if batch.bodies:
                    settled = partial(self._settled, told, answer, booked_bytes, batch)
                    appender.append(batch.bodies, received_at_us, batch.duplicates, rejected, settled)
                    return None
                if batch.rejected:
                    appender.note(batch.received, batch.duplicates, rejected)
                self.tally.batch(batch)
        except Undecodable as error:
            answer = self.refusal(_undecodable(error))
        except SpoolUnavailable:
            answer = self.refusal(self.refused(SPOOL_UNAVAILABLE))
        except Refusal as refused:
            answer = self.refusal(refused)
        except BaseException:
            admission.release(booked_bytes)
            raise
        admission.release(booked_bytes)
        return answer

    def _settled(
        self,
        told: Callable[[Answer], None],
        answer: Answer,
        booked_bytes: int,
        batch: Batch,
        failed: SpoolUnavailable | None,
    ) -> None:
        """The request's events are on disk, or will not be."""
        self.admission.release(booked_bytes)
        if failed is None:
            self.tally.batch(batch)
            told(answer)
        else:
            told(self.refusal(self.refused(SPOOL_UNAVAILABLE)))

    def refusal(self, refused: Refusal) -> Answer:
        """Its answer, counted."""
        self.tally.refused(refused.code)
        return refused.answer

    def closes(self, answer: Answer) -> bool:
        """Whether the connection ends with this answer."""
        return answer.status in CLOSING or self.admission.leaving or self.admission.draining

    def refused(self, reason: str) -> Refusal:
        """For one of ingest.admission.REASONS."""
        if reason == BODY_TOO_LARGE:
            limits = {"body_max_bytes": self._http.body_max_bytes, "events_max": self._http.events_max}
            return Refusal(refusal(413, reason, REASONS[reason], **limits), reason)
        wait_s = self.admission.wait_s(reason)
        return Refusal(try_again(503, reason, REASONS[reason], wait_s, self._chance()), reason)

    def stalled(self, part: Literal["head", "body"]) -> Refusal:
        """It did not come in time."""
        timeout_s = self._http.head_timeout_s if part == "head" else self._http.body_timeout_s
        code = f"{part}_timeout"
        return Refusal(refusal(408, code, f"The {part} did not arrive in time.", timeout_s=timeout_s), code)


def _undecodable(error: Undecodable) -> Refusal:
    answer = refusal(error.status, error.code, error.message, **error.details)
    if error.code == UNSUPPORTED_ENCODING:
        answer = answer._replace(headers=(("Accept-Encoding", "gzip, deflate, zstd"),))
    return Refusal(answer, error.code)


def _unsupported_media() -> Refusal:
    message = "Send application/json, application/x-ndjson or text/plain."
    answer = refusal(415, "unsupported_media_type", message, accepted=[name for name in MEDIA_TYPES if name])
    return Refusal(answer, "unsupported_media_type")


@lru_cache(4_096)
def _all_well(counts: tuple[int, int], minimal: bool) -> tuple[Batch, Answer]:
    """Of a body that the Rust core vouched for: its events and repeats."""
    received, duplicates = counts
    batch = Batch(received, received - duplicates, duplicates, 0, [], {}, [], 0)
    return batch, verdicts(batch, minimal=minimal)


@lru_cache(1_024)
def _is_dry_run(query: str) -> bool:
    return dict(reversed(parse_qsl(query))).get("dry_run") in ("1", "true")
