"""What becomes of a pixel, whoever read its HTTP: decoded, put on disk, and only then answered with a GIF.

A pixel is a request without a body, so it is admitted, decoded and booked in one go. It has a deadline: a page that
waits for a picture is not to wait for a disk that hangs. A click that names where it goes (`ingest.click`) is a pixel
that is answered with a redirect: the viewer is sent on once the click is on disk.
"""

from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, NamedTuple

from config.settings import Settings
from ingest import cors
from ingest.ad import CLICK
from ingest.admission import AD_DEADLINE, SPOOL_UNAVAILABLE
from ingest.answer import Answer
from ingest.batch import Batch
from ingest.click import TargetRefused, Targets, redirect
from ingest.codes import BY_NAME
from ingest.crawler import is_crawler
from ingest.decode import vast
from ingest.gate import bearer, shown
from ingest.keyring import Refused
from ingest.spool.appender import Appender, SpoolUnavailable

if TYPE_CHECKING:
    from ingest.intake import Intake

PATH: Final = "/v1/ad/"
"""Every path below it is a pixel, whatever event it names."""
BODY_MAX_BYTES: Final = 4_096
"""Of a POST: its body says nothing, the URL says all."""
BOOKED_BYTES: Final = 2_048
"""Of the budget: a tuple, its frame and who waits for it."""
GIF: Final = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")
"""One transparent point, 43 bytes."""
MEDIA: Final = "image/gif"
HEADERS: Final = (
    ("Cache-Control", "no-store, no-cache, must-revalidate, private"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Timing-Allow-Origin", "*"),
)
"""Every fire has to come here, and any page may show it, one with COEP, too."""
ANSWER: Final = Answer(200, GIF, HEADERS, MEDIA)
PREFLIGHT: Final = Answer(204, b"", cors.PIXEL_PREFLIGHT)

assert len(GIF) == 43


class PixelHead(NamedTuple):
    """What of a pixel's head matters."""

    path: str
    """Behind PATH, as sent."""
    query: str
    """As sent."""
    crawler: bool
    """By its User-Agent: no viewer."""
    key: str = ""
    """Write key of its header; the query may have one, too."""
    origin: str | None = None

    @classmethod
    def of(
        cls, path: str, query: str, user_agent: str, authorization: str = "", origin: str | None = None
    ) -> "PixelHead":
        """From texts as sent, empty when absent."""
        return cls(path, query, is_crawler(user_agent), bearer(authorization), origin)


class _Waiting:
    """One pixel on its way to the disk."""

    __slots__ = ("answered", "deadline_s", "told")

    def __init__(self, deadline_s: float, told: Callable[[Answer], None]) -> None:
        self.deadline_s = deadline_s
        self.told = told
        self.answered = False


class Pixels:
    """The way of pixels into the spool of one process: a part of its `intake`."""

    def __init__(self, intake: "Intake", settings: Settings, appender: Appender) -> None:
        self._intake = intake
        self._appender = appender
        self._deadline_s = float(settings.http.ad_deadline_s)
        self._crawlers_are_tests = settings.door.crawlers_are_tests
        self._targets = Targets(settings.ads.click_secret, settings.ads.click_hosts)
        self._waiting: deque[_Waiting] = deque()
        """In order of their deadlines, which is that of their coming."""

    def take(self, head: PixelHead, told: Callable[[Answer], None]) -> Answer | None:
        """The answer, or None, and `told` gets it once the event is on disk, or is not by the deadline.

        Never raises for what a client sent.
        """
        intake = self._intake
        if (reason := intake.admission.admit_pixel(BOOKED_BYTES)) is not None:
            return self._refused(reason)
        if tests := head.crawler and self._crawlers_are_tests:
            intake.tally.crawlers += 1
        received_at_us, said, answer = intake.clock.now_us(), vast.parameters(head.query), ANSWER
        if "to" in said and vast.event_of(head.path)[0] == CLICK:
            try:
                answer = redirect(self._targets.location(said))
            except TargetRefused as refused:
                intake.tally.refused(refused.code)
                return refused.answer
        if intake.gate.closed and (away := self._turned_away(head, said)) is not None:
            return self._unavailable(intake.gate.answer(away)) if away.status == 503 else answer
        pixel = vast.decode(head.path, said, received_at_us, tests=tests)
        batch = _counted(pixel.code, pixel.unknown)
        if pixel.row is None:
            assert pixel.code is not None
            self._appender.note(1, 0, {BY_NAME[pixel.code].index: 1})
            intake.tally.batch(batch)
            return answer
        waiting = _Waiting(intake.clock.monotonic_s() + self._deadline_s, told)
        try:
            self._appender.append_row(pixel.row, received_at_us, partial(self._settled, waiting, answer, batch))
        except SpoolUnavailable:
            return self._refused(SPOOL_UNAVAILABLE)
        intake.admission.occupy(BOOKED_BYTES)
        self._waiting.append(waiting)
        return None

    def _settled(self, waiting: _Waiting, answer: Answer, batch: Batch, failed: SpoolUnavailable | None) -> None:
        """The event is on disk, or will not be."""
        intake = self._intake
        intake.admission.release(BOOKED_BYTES)
        late, waiting.answered = waiting.answered, True
        while self._waiting and self._waiting[0].answered:
            self._waiting.popleft()
        if late:
            return
        if failed is None:
            intake.tally.batch(batch)
            waiting.told(answer)
        else:
            waiting.told(self._refused(SPOOL_UNAVAILABLE))

    def _turned_away(self, head: PixelHead, said: dict[str, str]) -> Refused | None:
        """Why nothing is kept of a pixel, by its key; counted. A page is never told, and who clicks is sent on."""
        gate = self._intake.gate
        found = gate.enter(head.key or shown(said.get("key", "")), "ads", head.origin)
        if isinstance(found, Refused):
            self._intake.tally.refused(found.code, found.key_id)
            return found
        gate.charge(found, 1)
        return None

    def look(self, now_s: float) -> None:
        """Answer those whose deadline is past."""
        while self._waiting and (first := self._waiting[0]).deadline_s <= now_s:
            self._waiting.popleft()
            if not first.answered:
                first.answered = True
                first.told(self._refused(AD_DEADLINE))

    def _refused(self, reason: str) -> Answer:
        """503 with the GIF, counted."""
        return self._unavailable(self._intake.refusal(self._intake.refused(reason)))

    def _unavailable(self, answer: Answer) -> Answer:
        return Answer(answer.status, GIF, (*HEADERS, *answer.headers), MEDIA)


@lru_cache(1_024)
def _counted(code: str | None, unknown: int) -> Batch:
    """Of one event, kept or refused with `code`."""
    refused = code is not None
    return Batch(1, 1 - refused, 0, int(refused), [], {code: 1} if code is not None else {}, [], unknown)
