"""Receive, the plain case: one connection that reads the requests players really send, with nothing in between.

Requests that `ingest.plain` vouches for are answered here; with its first one of any other kind a connection is handed
to aiohttp (`ingest.general`) for good, with every byte that was not answered yet. So whatever is unusual has one
judge, and what is usual costs a quarter.

One request at a time is worked on; what a client sends ahead waits, up to PIPELINED_MAX_BYTES, then in its own socket.
A client that does not read its answers is not read either. Every state has its deadline (`ingest.entrance` looks).
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from config.limits import KIB
from ingest.admission import DRAINING, OVERLOADED
from ingest.answer import Answer, our_fault
from ingest.arriving import ArrivingBody
from ingest.connection import LINGERING_S, has_arrived
from ingest.intake import AnyHead
from ingest.plain import NOT_WHOLE, PlainReader
from ingest.refusal import Refusal

if TYPE_CHECKING:
    from ingest.entrance import Entrance

log: Any = structlog.get_logger()

TURN_MAX: Final = 4
"""Requests sent ahead that are answered at once (an empty list costs no disk), before it is others' turn."""
PIPELINED_MAX_BYTES: Final = 64 * KIB
"""Read ahead of the request in work."""


class LeanConnection(asyncio.Protocol):
    """One client's connection, until it closes or is handed over."""

    __slots__ = (
        "_arriving", "_begun_s", "_busy", "_closed", "_entrance", "_half_closed", "_reader", "_stuck", "_unread",
        "deadline_s", "transport",
    )  # fmt: skip

    def __init__(self, entrance: "Entrance") -> None:
        self._entrance = entrance
        self._closed = self._half_closed = False
        self._reader = PlainReader(entrance.body_max_bytes, entrance.header_max_bytes, entrance.country_header)
        self._unread = b""
        """Bytes of requests to come."""
        self._arriving: ArrivingBody | None = None
        self._busy = False
        """A request is on its way to the disk, or it is others' turn."""
        self._stuck = False
        """The client does not read its answers."""
        self._begun_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._wait(self._entrance.keepalive_s)
        if not self._entrance.opened(self):
            self._refuse(OVERLOADED)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._entrance.closed(self)
        self._drop_body()

    def data_received(self, data: bytes) -> None:
        if self._closed:  # its answer was that there is no use in it
            return
        if self._busy or self._stuck:
            self._leave_unread(self._unread + data)
            return
        try:
            if self._arriving is not None:
                self._go_on(self._arriving, data)
            else:
                self._begin(self._unread + data if self._unread else data)
        except Exception:  # noqa: BLE001  a bug of ours: nothing of this request was promised, its connection ends
            self._fail()

    def eof_received(self) -> bool:
        """The client has said all; one that waits for answers still gets them."""
        self._half_closed = True
        return self._busy or self._stuck

    def pause_writing(self) -> None:
        self._stuck = True
        self._wait(self._entrance.body_timeout_s)

    def resume_writing(self) -> None:
        self._stuck = False
        self._wait(self._entrance.keepalive_s)
        try:
            self._read_on()
        except Exception:  # noqa: BLE001  as in data_received
            self._fail()

    def _begin(self, data: bytes) -> None:
        """`data` begins with a request's head."""
        self._unread = b""
        entrance, reader, size_bytes = self._entrance, self._reader, len(data)
        at = answered = 0
        while at < size_bytes:
            body_at = reader.next(data, at)
            if body_at <= 0:
                wait_or_hand_over = self._await_head if body_at == NOT_WHOLE else self._hand_over
                wait_or_hand_over(data[at:])
                return
            self._begun_s = entrance.intake.clock.monotonic_s()
            length_bytes = reader.length_bytes
            end = body_at + (length_bytes or 0)
            if length_bytes is None:
                answer: Answer | None = entrance.intake.preflight(reader, reader.preflight)
            else:
                whole = end <= size_bytes
                try:
                    entrance.intake.admit(reader.last, length_bytes)
                    if not whole:
                        self._arriving = ArrivingBody(entrance.intake, reader.last, length_bytes, data[body_at:])
                        self._wait(entrance.body_timeout_s)
                        return
                except Refusal as refused:
                    if not whole:  # aiohttp knows how to answer before the body is here
                        self._hand_over(data[at:])
                        return
                    reader.end(data[body_at:end])
                    answer = entrance.intake.refusal(refused)
                else:
                    answer = self._take(reader.last, data[body_at:end], 0)
            at = end
            if answer is None:
                break
            self._answer(answer)
            answered += 1
            if self._closed or self._stuck:
                break
            if answered == TURN_MAX and at < size_bytes:  # others wait, too
                self._busy = True
                asyncio.get_running_loop().call_soon(self._told)
                break
        if at < size_bytes:
            self._leave_unread(data[at:])

    def _leave_unread(self, data: bytes) -> None:
        """For later; a client that is far ahead waits in its own socket."""
        self._unread = data
        if len(data) > PIPELINED_MAX_BYTES:
            self.transport.pause_reading()

    def _await_head(self, data: bytes) -> None:
        """A head that is not here to its end; one that cannot become a plain one is handed over."""
        waiting = self._reader.waiting
        if not self._reader.may_become_plain(data):
            self._hand_over(data)
            return
        self._unread = data
        if not waiting:
            self._wait(self._entrance.head_timeout_s)

    def _go_on(self, arriving: ArrivingBody, data: bytes) -> None:
        """More of a body."""
        missing_bytes = arriving.missing_bytes
        if len(data) < missing_bytes:
            try:
                arriving.more(data)
            except Refusal:
                self._refuse(OVERLOADED)
            return
        self._arriving = None
        self._unread = data[missing_bytes:]
        answer = self._take(arriving.head, arriving.whole(data[:missing_bytes]), arriving.booked_bytes)
        if answer is not None:
            self._answer(answer)
            self._read_on()

    def _take(self, head: AnyHead, body: bytes, booked_bytes: int) -> Answer | None:
        """The answer, or None: then `_told` gets it."""
        try:
            self._reader.end(body)
        except BaseException:
            self._entrance.intake.drop(booked_bytes)
            raise
        self._busy = True  # first: `take` may raise, and then it has released what was booked
        answer = self._entrance.intake.take(head, body, booked_bytes, self._told)
        self._busy = answer is None
        return answer

    def _told(self, answer: Answer | None = None) -> None:
        """The events are on disk, or will not be; or, without an answer, it is our turn again."""
        self._busy = False
        try:
            if answer is not None:
                self._answer(answer)
            if self._unread or self._half_closed:
                self._read_on()
        except Exception:  # noqa: BLE001  as in data_received; and the spool, which tells us, goes on
            self._fail()

    def _answer(self, answer: Answer) -> None:
        entrance = self._entrance
        entrance.answered(self._reader.path, answer, self._begun_s)
        if self._closed:
            return
        closing = not self._reader.keep_alive or entrance.intake.closes(answer)
        rendered = entrance.rendered(answer, self._reader, closing=closing)
        self.transport.write(rendered if not self._reader.bodiless else rendered[: -len(answer.body) or None])
        if closing:
            self._close()
        elif not self._stuck:
            self._wait(entrance.keepalive_s)

    def _read_on(self) -> None:
        """What was sent ahead is next."""
        if self._unread and not (self._closed or self._busy or self._stuck):
            self._begin(self._unread)
            if not self._closed and len(self._unread) <= PIPELINED_MAX_BYTES:
                self.transport.resume_reading()
        if self._half_closed and not (self._closed or self._busy or self._stuck):
            self._close()

    def _hand_over(self, data: bytes) -> None:
        """To aiohttp, with what it has not seen."""
        if not self._entrance.general_has_room:
            self._refuse(OVERLOADED)
            return
        self._closed = True
        self._entrance.hand_over(self, data)
        if self._half_closed:  # asyncio does so for aiohttp, but its EOF was told to us
            self.transport.close()

    def _fail(self) -> None:
        log.exception("unhandled")
        self._busy = False
        self._drop_body()
        if self._closed:  # handed over
            self.transport.abort()
        else:
            self._leave(our_fault())

    def _refuse(self, reason: str) -> None:
        """Whatever it is that comes."""
        intake = self._entrance.intake
        self._leave(intake.refusal(intake.refused(reason)))

    def _leave(self, answer: Answer) -> None:
        """With an answer. What the client still sends is read away for a while: a reset would outrun the answer."""
        self._drop_body()
        self._entrance.answered(self._reader.path, answer, self._begun_s or self._entrance.now_s)
        self.transport.write(self._entrance.rendered(answer, self._reader, closing=True))
        self.transport.write_eof()
        self._closed = True
        self._wait(LINGERING_S)

    def _drop_body(self) -> None:
        """The rest of the one under way will not be taken."""
        if self._arriving is not None:
            self._arriving.drop()
            self._arriving = None

    def _close(self) -> None:
        """Once what was written is sent; a client that does not read it has as long as for a body."""
        self._closed = True
        self.transport.close()
        self._wait(self._entrance.body_timeout_s)

    def _wait(self, wait_s: float) -> None:
        self.deadline_s = self._entrance.now_s + wait_s

    def overdue(self) -> None:
        """The deadline is past."""
        intake = self._entrance.intake
        if self._busy:
            return
        if self._stuck or self._closed:
            self.transport.abort()
        elif self._arriving is not None:
            self._leave(intake.refusal(intake.stalled("body")))
        elif self._unread:
            self._begun_s = self._entrance.now_s
            self._leave(intake.refusal(intake.stalled("head")))
        else:
            self._close()

    @property
    def idle(self) -> bool:
        """Nothing of a request is here."""
        return not (self._busy or self._stuck or self._closed or self._unread or self._arriving)

    def let_go(self) -> None:
        """Close if it is idle; a request under way, or sent and not yet read, is answered first."""
        if self.idle and not has_arrived(self.transport):
            self._close()

    def abort(self) -> None:
        """Nobody waits any longer; whose body is not here is told."""
        if self._arriving is None or self._closed:
            self.transport.abort()
        else:
            self._refuse(DRAINING)
