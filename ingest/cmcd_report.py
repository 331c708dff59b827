"""What becomes of a report of CMCD, whoever read its HTTP: decoded, put on disk, and only then answered 204.

    POST /v1/cmcd[?context]        lines in the body, of whatever type; gzip by header, by its magic, by ?enc=gzip
    GET /v1/cmcd?CMCD=…[&context]  one line; or in headers CMCD-Request, -Object, -Status, -Session
                                   headers go before the query, the query before the body

The answer is 204 whenever the report was read, however bad it is: dash.js sends again for ever what is answered 400
(players.md §1), and nobody could mend it. What was not kept is in the books by its code, what could not be decoded as a
whole is counted as refused, and so is a report whose write key is not right: nothing of it is kept. 503 is for
overload alone, 429 for more than a key may send.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from config.heartbeat import class_of
from config.settings import Settings
from ingest import cors
from ingest.admission import BODY_TOO_LARGE, OVERLOADED, SPOOL_UNAVAILABLE
from ingest.answer import Answer
from ingest.batch import HEARTBEAT_SHIFT, Batch
from ingest.codes import BY_NAME
from ingest.crawler import is_crawler
from ingest.decode import Limits, Undecodable, trusted_country
from ingest.decode.body import GZIP_MAGIC, Inflater
from ingest.decode.cmcd import BODY_MAX_BYTES, decode
from ingest.decode.cmcd_context import HEADERS, PATH, Circumstances, context_of, joined, without_argument
from ingest.decode.request import Request
from ingest.gate import asked, bearer
from ingest.keyring import Key, Refused
from ingest.refusal import Refusal
from ingest.spool.appender import Appender, SpoolUnavailable

if TYPE_CHECKING:
    from ingest.intake import Intake

__all__ = ["HEADERS", "PATH", "CmcdHead", "CmcdReports"]

_UNCACHED: Final = (("Cache-Control", "no-store"),)
"""A fetched report is told each time; caches may keep a 204 otherwise (RFC 9110 §15.3.5)."""
ANSWER: Final = Answer(204, b"", _UNCACHED)
UNREAD: Final = Answer(204, b"", _UNCACHED, media="")
"""To a body that is too large: its connection ends, for the rest of it may still be on its way."""
PREFLIGHT: Final = Answer(204, b"", cors.CMCD_PREFLIGHT)
AGAIN: Final = (429, 503)
_GZIP: Final = "enc=gzip"


class CmcdHead(NamedTuple):
    """What of a report's head matters; the same for every report of most connections."""

    content_encoding: str | None
    line: str | None
    """Of its headers, else of its query; None: the lines are in the body."""
    circumstances: Circumstances
    crawler: bool
    """By its User-Agent: no viewer."""
    key: str = ""
    """Write key as sent; of two the header's."""
    origin: str | None = None

    @classmethod
    def of(
        cls,
        query: str,
        headers: list[str | None],
        content_encoding: str | None,
        user_agent: str,
        hinted_platform: str,
        hinted_mobile: str,
        country: str | None,
        authorization: str = "",
        origin: str | None = None,
    ) -> "CmcdHead":
        """From texts as sent, empty or None when absent; `headers`: the values of HEADERS, in that order."""
        kept, argument = without_argument(query)
        line = joined(headers)
        if content_encoding is None and _GZIP in kept.split("&"):
            content_encoding = "gzip"
        about = Circumstances(kept, user_agent, hinted_platform, hinted_mobile, trusted_country(country))
        return cls(
            content_encoding, argument if line is None else line, about, is_crawler(user_agent),
            bearer(authorization) or asked(query).key, origin,
        )  # fmt: skip


class CmcdReports:
    """The way of reports into the spool of one process: a part of its `intake`."""

    def __init__(self, intake: "Intake", settings: Settings, appender: Appender) -> None:
        self._intake = intake
        self._appender = appender
        self._limits = Limits.of(settings)
        self._decoded_max_bytes = min(BODY_MAX_BYTES, settings.http.decoded_max_bytes)
        self._crawlers_are_tests = settings.door.crawlers_are_tests

    def admit(self, length_bytes: int | None) -> None:
        """Before the body is read; as `Intake.admit`. Raises Refusal."""
        intake = self._intake
        if (reason := intake.admission.admit(length_bytes)) is not None:
            raise told_softly(intake.refused(reason))
        if not self._appender.writable:
            raise intake.refused(SPOOL_UNAVAILABLE)

    def take(self, head: CmcdHead, raw: bytes, arrived_bytes: int, told: Callable[[Answer], None]) -> Answer | None:
        """As `Intake.take`."""
        intake, admission = self._intake, self._intake.admission
        if arrived_bytes:
            admission.completed(arrived_bytes)
        booked_bytes = arrived_bytes
        key: Key | None = None
        try:
            if intake.keyed:
                key = self._enter(head)
            if not admission.book(len(raw) - arrived_bytes):
                raise intake.refused(OVERLOADED)
            booked_bytes = len(raw)
            intake.tally.body_bytes += booked_bytes
            record: str | bytes = raw
            if head.line is not None:
                record = head.line
            elif head.content_encoding is not None or raw.startswith(GZIP_MAGIC):
                inflater = Inflater(head.content_encoding, self._decoded_max_bytes)
                record = inflater.feed(raw) + inflater.finish()
                if (more_bytes := len(record) - booked_bytes) > 0:
                    if not admission.book(more_bytes):
                        raise intake.refused(OVERLOADED)
                    booked_bytes += more_bytes
            if tests := head.crawler and self._crawlers_are_tests:
                intake.tally.crawlers += 1
            received_at_us = intake.clock.now_us()
            owner = b"" if key is None else key.owner.encode()
            request = Request(received_at_us, self._limits, owner, tests=tests)
            rows, batch = decode(record, context_of(head.circumstances), request)
            if key is not None:
                intake.gate.charge(key, batch.received, batch.rejected)
            rejected = {BY_NAME[code].index: count for code, count in batch.rejected_by_code.items()}
            if rows:
                settled = partial(self._settled, told, booked_bytes, batch)
                flags = 0 if key is None else class_of(key.heartbeat_s) << HEARTBEAT_SHIFT
                self._appender.append_lines(rows, received_at_us, rejected, settled, flags)
                return None
            if rejected:
                self._appender.note(batch.received, 0, rejected)
            intake.tally.batch(batch)
            answer = ANSWER
        except Undecodable as error:
            if key is not None:
                intake.gate.charge(key, 0)
            answer = intake.refusal(Refusal(ANSWER, error.code))
        except SpoolUnavailable:
            answer = intake.refusal(intake.refused(SPOOL_UNAVAILABLE))
        except Refusal as refused:
            answer = intake.refusal(refused)
        except BaseException:
            admission.release(booked_bytes)
            raise
        admission.release(booked_bytes)
        return answer

    def _enter(self, head: CmcdHead) -> Key:
        """Whose report it is. Raises Refusal: 204 for a key that cannot be mended, 429 for one over its rate."""
        gate = self._intake.gate
        found = gate.enter(head.key, "cmcd", head.origin)
        if isinstance(found, Refused):
            raise Refusal(gate.answer(found) if found.status in AGAIN else ANSWER, found.code, found.key_id)
        return found

    def _settled(
        self, told: Callable[[Answer], None], booked_bytes: int, batch: Batch, failed: SpoolUnavailable | None
    ) -> None:
        """The report's lines are on disk, or will not be."""
        intake = self._intake
        intake.admission.release(booked_bytes)
        if failed is None:
            intake.tally.batch(batch)
            told(ANSWER)
        else:
            told(intake.refusal(intake.refused(SPOOL_UNAVAILABLE)))


def told_softly(refused: Refusal) -> Refusal:
    """The same, with the answer that a player of CMCD can live with."""
    return Refusal(UNREAD, BODY_TOO_LARGE) if refused.code == BODY_TOO_LARGE else refused
