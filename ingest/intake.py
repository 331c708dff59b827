"""What becomes of a request, whoever read its HTTP: admitted, inflated, decoded, put on disk, and only then answered.

`ingest.general` (aiohttp) and `ingest.lean` bring a `Head`, then the whole body; both get the same answers from here.
"""

import random
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, Literal, Protocol

from config.heartbeat import class_of
from config.settings import Settings
from ingest import cors
from ingest.admission import BODY_TOO_LARGE, OVERLOADED, REASONS, SPOOL_UNAVAILABLE, Admission
from ingest.answer import Answer, refusal, try_again, verdicts
from ingest.batch import Batch
from ingest.clock import Clock
from ingest.cmcd_report import CmcdHead, CmcdReports
from ingest.codes import CODES, UNSUPPORTED_ENCODING
from ingest.core import DoorLimits
from ingest.crawler import patterns
from ingest.decode import Limits, Undecodable, decode, door_of
from ingest.decode.body import GZIP_MAGIC, Inflater
from ingest.gate import Gate
from ingest.head import MEDIA_TYPES, Head
from ingest.keyring import Key, Refused
from ingest.pixel import PixelHead, Pixels
from ingest.refusal import Refusal
from ingest.session import TOO_MANY_STREAMS, is_of_only, names_only
from ingest.spool.appender import Appender, SpoolUnavailable
from ingest.tally import Tally

EVENTS_PATH: Final = "/v1/events"
CLOSING: Final = frozenset({408, 413})
"""Statuses after which a connection is not used again: the rest of the body may still be on its way."""
OWNERS_REMEMBERED_MAX: Final = 4_096
_CODE_INDEX: Final = {code.name: code.index for code in CODES}


AnyHead = Head | PixelHead | CmcdHead
"""Of a request with events, of a pixel, and of a report of CMCD."""


class FromPage(Protocol):
    """A request that may come from a page."""

    @property
    def last(self) -> AnyHead: ...
    @property
    def origin(self) -> str | None: ...


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
        self.keyed = settings.keys.required is True
        """Requests need a write key."""
        self.gate = Gate(self.tally, clock, chance, required=self.keyed)
        self._owners: dict[tuple[str, int | None], tuple[bytes, int, DoorLimits | None]] = {}
        self.pixels = Pixels(self, settings, appender)
        self.reports = CmcdReports(self, settings, appender)
        self.refused_sessions: frozenset[bytes] = frozenset()
        """Sessions over the limit of their user's plan (16 bytes each): a request of these alone is refused."""

    def admit(self, head: AnyHead, length_bytes: int | None) -> None:
        """Before the body is read; `length_bytes` as announced, None when it comes in chunks. Raises Refusal. Pixels
        have no body: `take` admits them.
        """
        if not isinstance(head, Head):
            if isinstance(head, CmcdHead):
                self.reports.admit(length_bytes)
            return
        if self.keyed:
            self._enter(head)
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
        if not isinstance(head, Head):
            if isinstance(head, PixelHead):
                return self.pixels.take(head, told)
            return self.reports.take(head, raw, arrived_bytes, told)
        admission, appender, media = self.admission, self._appender, head.media
        assert media is not None, "it was admitted"
        if arrived_bytes:
            admission.completed(arrived_bytes)
        booked_bytes = arrived_bytes
        key: Key | None = None
        owner, heartbeat, door = b"", 0, self._door
        try:
            if self.keyed:
                key = self._enter(head)
                owner, heartbeat, door = self._owned(key)
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
            if dry_run or tests or suspected:
                door = None
            if door is not None:
                counts = appender.take_in(door, body, media, received_at_us, country)
                if counts is not None:
                    if key is not None:
                        self.gate.charge(key, counts[0])
                    batch, answer = _all_well(counts, head.minimal)
                    appender.wait(partial(self._settled, told, answer, booked_bytes, batch))
                    return None
            by_twin = door is not None or tests or suspected
            batch = decode(
                *(body, media, received_at_us, self._limits),
                owner=owner, country=country, tests=tests, dry_run=dry_run, by_twin=by_twin, heartbeat=heartbeat,
            )  # fmt: skip
            if key is not None:
                self.gate.charge(key, batch.received, batch.rejected)
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
            if key is not None:
                self.gate.charge(key, 0)
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

    def _enter(self, head: Head) -> Key:
        """Whose request it is. Raises Refusal."""
        found = self.gate.enter(head.key, "events", head.origin)
        if isinstance(found, Refused):
            raise Refusal(self.gate.answer(found), found.code, found.key_id)
        return found

    def _owned(self, key: Key) -> tuple[bytes, int, DoorLimits | None]:
        """What decoding is told of a key: owner, class of heartbeats, and both for the Rust core."""
        known = self._owners.get((key.owner, key.heartbeat_s))
        if known is None:
            if len(self._owners) >= OWNERS_REMEMBERED_MAX:
                self._owners.clear()
            owner, heartbeat = key.owner.encode(), class_of(key.heartbeat_s)
            known = owner, heartbeat, door_of(self._limits, owner, heartbeat)
            self._owners[key.owner, key.heartbeat_s] = known
        return known

    def named(self, request: FromPage, answer: Answer) -> cors.Named:
        """The origin that an answer names. Pixels and CMCD tell nobody anything: any page may ask."""
        if not self.keyed or not isinstance(request.last, Head):
            return request.origin
        return self.gate.named(request.last.key, request.origin, answer.status)

    def preflight(self, request: FromPage, usual: Answer) -> Answer:
        """To a page that may send: the usual answer. Another is told nothing that would let it."""
        return usual if self.named(request, usual) == request.origin else Answer(204, b"")

    def refusal(self, refused: Refusal) -> Answer:
        """Its answer, counted."""
        self.tally.refused(refused.code, refused.key_id)
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
