"""Every metric of the first half: unit in the name, meaning in words, labels bounded."""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram


class Answers(Histogram):
    """A histogram that takes many observations at once; the library's own way costs a microsecond or two for each."""

    def observe_many(self, seconds: Sequence[float]) -> None:
        """As `observe` for each of them."""
        if not seconds:
            return
        counts = [0] * len(self._upper_bounds)
        for value in seconds:
            counts[bisect_left(self._upper_bounds, value)] += 1
        self._sum.inc(sum(seconds))
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class Labels:
    """Which of many names a process uses as labels: as many as there may be, those that came first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """The name, or "other"."""
        if name not in self._known and len(self._known) < self._most:
            self._known.add(name)
        return name if name in self._known else "other"


KEY_LABELS = Labels(100)

REQUESTS = Counter("ingest_requests", "Requests answered, by path and status.", ["path", "status"])
EVENTS_RECEIVED = Counter("ingest_events_received", "Events in bodies that could be decoded.")
EVENTS_ACCEPTED = Counter("ingest_events_accepted", "Events acknowledged: on disk before the answer.")
EVENTS_DUPLICATE = Counter("ingest_events_duplicate", "Repeats of a key within one request.")
EVENTS_REJECTED = Counter("ingest_events_rejected", "Events refused at the door, by reason.", ["code"])
REQUESTS_REFUSED = Counter("ingest_requests_refused", "Requests refused whole, by reason.", ["code"])
KEY_EVENTS = Counter(
    "ingest_key_events", "Events that came with a write key, by its id (100 at most, then other).", ["key", "outcome"]
)
KEY_REQUESTS_REFUSED = Counter(
    "ingest_key_requests_refused", "Requests refused for their write key's rate, origins, doors or end.", ["key"]
)
REQUESTS_CRAWLERS = Counter(
    "ingest_requests_crawlers", "Requests of crawlers by their User-Agent; their events are kept as tests."
)
UNKNOWN_FIELDS = Counter("ingest_unknown_fields", "Fields outside the vocabulary, ignored.")
BODY_BYTES = Counter("ingest_body_bytes", "Bytes of bodies as received.")
INFLIGHT_BYTES = Gauge(
    "ingest_inflight_bytes", "Bytes of bodies being read and decoded now.", multiprocess_mode="livesum"
)
COMMIT_SECONDS = Histogram(
    "ingest_spool_commit_seconds",
    "Write and fdatasync of one group of frames.",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5),
)
COMMITTED_BYTES = Counter("ingest_spool_committed_bytes", "Bytes of frames put on disk.")
SPOOL_WRITE_FAILURES = Counter(
    "ingest_spool_write_failures", "Writes or fsyncs that failed; each abandons an incarnation."
)
ANSWER_SECONDS = Answers(
    "ingest_answer_seconds",
    "From a request's head to its answer.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
