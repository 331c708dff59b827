"""Rows of events into requests: each row into every table it belongs in, those of one partition together.

Where the Rust core is there, it does the same by the run (placing.py), and leaves to this what is no whole tuple.
"""

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct, error
from typing import Any, Final, NamedTuple

from config.scylla import ScyllaSettings
from ingest.tuple import POSTGRES_EPOCH_US
from storage.scylla.bucket import DAY_US, HOUR_US, content_bucket, edge_bucket, event_hash
from storage.scylla.columns import BY_CONTENT, BY_PROFILE, BY_SESSION, ERRORS, EVERY, OPTIONAL, Reading, Table, insert
from storage.scylla.content_buckets import DayBuckets
from storage.scylla.driver import Driver, Form, Write

MASKS_MAX: Final = 128
"""Sets of columns that have statements of their own. Players send a handful; beyond that, one statement for all."""
REMEMBERED_MAX: Final = 50_000
"""Sessions and contents whose key is known in the driver's form, some 300 bytes each."""
ROWS_A_BREATH: Final = 200
"""Until others may do something: some two milliseconds."""
_KEY_BYTES: Final = 80
"""Of a row in a request, about, beside the bytes of its tuple."""

_PROFILE: Final = [name for name, _ in OPTIONAL].index("profile_id")
_EDGE: Final = [name for name, _ in OPTIONAL].index("cdn_edge")
_ERROR: Final = b"\x00\x00\x00\x05error"
"""event_type as it lies in a tuple, with its length."""
_NO_TUPLE: Final = (error, ValueError, KeyError, IndexError)
_FIXED: Final = Struct(">6x16s4x16s4x16s4xq4xq").unpack_from


class Request(NamedTuple):
    """Rows of one partition."""

    table: Table
    writes: list[Write]


class Need(NamedTuple):
    """What has to be found out before a row can be placed: the buckets of a day, or the statements for a mask."""

    day: int | None = None
    mask: int | None = None


Step = Request | Need | None
"""None: it is time to let others work."""


class Statements:
    """Prepared ones, by the set of columns that they write."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.by_mask: dict[int, tuple[Any, Any, Any]] = {}
        """Mask → of events_by_session, events_by_content, events_by_profile; EVERY: of any mask."""
        self.errors: Any = None
        """Of errors_by_edge, for any mask."""

    async def open(self) -> None:
        """Those for any mask. Raises CqlError."""
        self.by_mask = {EVERY: await self._made(EVERY)}
        self.errors = await self._driver.prepare(insert(ERRORS, EVERY), sparse=True)

    async def make(self, mask: int) -> None:
        """Those of one mask. Raises CqlError."""
        if mask not in self.by_mask:
            self.by_mask[mask] = self.by_mask[EVERY] if len(self.by_mask) > MASKS_MAX else await self._made(mask)

    async def _made(self, mask: int) -> tuple[Any, Any, Any]:
        by_session, by_content, by_profile = [
            await self._driver.prepare(insert(table, mask), sparse=mask == EVERY)
            for table in (BY_SESSION, BY_CONTENT, BY_PROFILE)
        ]
        return by_session, by_content, by_profile


class Requests:
    """Rows on their way into requests; a request is handed out when it is full, the rest by `left`."""

    def __init__(
        self,
        forms: Mapping[str, Form],
        settings: ScyllaSettings,
        statements: Statements,
        days: dict[int, DayBuckets],
    ) -> None:
        self._uuid = _known(forms["uuid"])
        self._int = _number_form(forms["int"], 4)
        self._bigint = _number_form(forms["bigint"], 8)
        self._boolean = {flag: _of(forms["boolean"], flag) for flag in (b"\0", b"\1")}
        self._text = forms["text"]
        self._reading = Reading(forms)
        self._rows_max = settings.rows_max
        self._bytes_max = settings.request_max_bytes
        self._statements = statements
        self._days = days
        self._sessions: dict[bytes, Any] = {}
        self._contents: dict[bytes, Any] = {}
        self._waiting: dict[tuple[Any, ...], _Waiting] = {}
        self.malformed: list[tuple[bytes, str]] = []
        """Rows that are no tuples, and why, since this list was taken away."""

    def of(self, rows: Sequence[bytes], rows_max: int) -> Iterator[Step]:
        """Steps that place these rows, at most `rows_max` in a request. A Need has to be met before the next step."""
        self._rows_max = rows_max
        full: list[Request] = []
        breath = ROWS_A_BREATH
        for row in rows:
            try:
                while (need := self._place(row, full)) is not None:
                    yield need
            except _NO_TUPLE as why:
                self.malformed.append((row, str(why)))
            if full:
                yield from full
                full.clear()
            breath -= 1
            if not breath:
                breath = ROWS_A_BREATH
                yield None

    def left(self) -> Iterator[Step]:
        """What is in no request yet."""
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            yield Request(one.table, one.writes)

    def forget(self) -> None:
        """Of a write that failed."""
        self._waiting, self.malformed = {}, []

    def _place(self, row: bytes, full: list[Request]) -> Need | None:
        event, content, session, occurred_us, received_us = _FIXED(row)
        occurred_us += POSTGRES_EPOCH_US
        received_us += POSTGRES_EPOCH_US
        day = occurred_us // DAY_US
        buckets = self._days.get(day)
        if buckets is None:
            return Need(day=day)
        values, there, mask = self._reading.optional(row)
        statements = self._statements.by_mask.get(mask)
        if statements is None:
            return Need(mask=mask)
        if statements is self._statements.by_mask[EVERY]:
            there = values
        session_value = self._sessions.get(session)
        if session_value is None:
            if len(self._sessions) >= REMEMBERED_MAX:
                self._sessions.clear()
            session_value = self._sessions[session] = self._uuid(session)
        content_value = self._contents.get(content)
        if content_value is None:
            if len(self._contents) >= REMEMBERED_MAX:
                self._contents.clear()
            content_value = self._contents[content] = self._uuid(content)

        event_value, hashed = self._uuid(event), event_hash(event)
        type_end = 90 + int.from_bytes(row[86:90], "big")
        kind: Any = row[90:type_end]
        if self._text is not None:
            kind = self._text(kind)
        test = self._boolean[row[type_end + 4 : type_end + 5]]
        occurred, received = self._bigint(occurred_us), self._bigint(received_us)
        hour = occurred_us // HOUR_US
        day_value, hour_value = self._int(day), self._int(hour)
        bucket = content_bucket(occurred_us, hashed, buckets.of(content))
        size = len(row) + _KEY_BYTES
        self._add(
            BY_SESSION, (session, hour), statements[0], size, full,
            (session_value, hour_value, occurred, event_value, content_value, received, kind, test, *there),
        )  # fmt: skip
        self._add(
            BY_CONTENT, (content, day, bucket), statements[1], size, full,
            (content_value, day_value, self._int(bucket), occurred, event_value, session_value, received, kind, test,
             *there),
        )  # fmt: skip
        profile = values[_PROFILE]
        if profile is not None:
            of_profile = [values[place] for place in _PROFILE_PLACES]
            if there is not values:
                of_profile = [value for value in of_profile if value is not None]
            self._add(
                BY_PROFILE, (day, profile), statements[2], 2 * _KEY_BYTES, full,
                (profile, day_value, occurred, event_value, kind, content_value, session_value, test,
                 received, *of_profile),
            )  # fmt: skip
        if row[86:95] == _ERROR:
            edge, number = values[_EDGE], edge_bucket(hashed)
            if edge is None:
                edge = _of(self._text, b"")
            self._add(
                ERRORS, (edge, hour, number, ERRORS.name), self._statements.errors, size, full,
                (edge, hour_value, self._int(number), occurred, event_value, content_value, session_value, test,
                 received, *[values[place] for place in _ERROR_PLACES]),
            )  # fmt: skip
        return None

    def _add(
        self,
        table: Table,
        key: tuple[Any, ...],
        statement: Any,
        size_bytes: int,
        full: list[Request],
        values: tuple[Any, ...],
    ) -> None:
        """`key`: of the partition, unlike those of all other tables."""
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(table)
        elif waiting.size_bytes + size_bytes > self._bytes_max:
            full.append(Request(table, waiting.writes))
            waiting = self._waiting[key] = _Waiting(table)
        waiting.writes.append((statement, values))
        waiting.size_bytes += size_bytes
        if len(waiting.writes) >= self._rows_max:
            full.append(Request(table, waiting.writes))
            del self._waiting[key]


class _Waiting:
    __slots__ = ("size_bytes", "table", "writes")

    def __init__(self, table: Table) -> None:
        self.table = table
        self.writes: list[Write] = []
        self.size_bytes = 0


_PROFILE_PLACES: Final = BY_PROFILE.places
_ERROR_PLACES: Final = ERRORS.places


def _of(form: Form, encoded: bytes) -> Any:
    return encoded if form is None else form(encoded)


def _known(form: Form) -> Any:
    return form if form is not None else lambda encoded: encoded


def _number_form(form: Form, size_bytes: int) -> Any:
    """From a number."""
    if form is not None:
        return lambda number: number
    return lambda number: number.to_bytes(size_bytes, "big", signed=True)
