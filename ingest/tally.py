"""Counts of a collector, kept as plain numbers on the hot path and handed to Prometheus a few times a second."""

from collections import Counter

from ingest import metrics
from ingest.batch import Batch


class Tally:
    """What happened since the last `flush`."""

    def __init__(self) -> None:
        self.body_bytes = 0
        self.crawlers = 0
        """Requests of theirs."""
        self._received = self._accepted = self._duplicates = self._unknown = 0
        self._rejected: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._keys: Counter[tuple[str, str]] = Counter()
        self._answers: list[tuple[str, int]] = []
        self._seconds: list[float] = []

    def batch(self, batch: Batch) -> None:
        """The verdicts of a request whose accepted events are on disk."""
        self._received += batch.received
        self._accepted += batch.accepted
        self._duplicates += batch.duplicates
        self._unknown += batch.unknown_fields
        if batch.rejected:
            self._rejected.update(batch.rejected_by_code)

    def refused(self, code: str, key_id: str = "") -> None:
        """A request, for its write key where `key_id` names one."""
        self._refused[code] += 1
        if key_id:
            self._keys[key_id, "refused"] += 1

    def key_events(self, key_id: str, accepted: int, rejected: int) -> None:
        """Of one request."""
        if accepted:
            self._keys[key_id, "accepted"] += accepted
        if rejected:
            self._keys[key_id, "rejected"] += rejected

    def answered(self, path: str, status: int, seconds: float) -> None:
        self._answers.append((path, status))
        self._seconds.append(seconds)

    def flush(self, inflight_bytes: int) -> None:
        """Hand everything over and begin anew."""
        metrics.EVENTS_RECEIVED.inc(self._received)
        metrics.EVENTS_ACCEPTED.inc(self._accepted)
        metrics.EVENTS_DUPLICATE.inc(self._duplicates)
        metrics.UNKNOWN_FIELDS.inc(self._unknown)
        metrics.BODY_BYTES.inc(self.body_bytes)
        metrics.REQUESTS_CRAWLERS.inc(self.crawlers)
        metrics.INFLIGHT_BYTES.set(inflight_bytes)
        for code, count in self._rejected.items():
            metrics.EVENTS_REJECTED.labels(code).inc(count)
        for code, count in self._refused.items():
            metrics.REQUESTS_REFUSED.labels(code).inc(count)
        for (key_id, outcome), count in self._keys.items():
            label = metrics.KEY_LABELS.of(key_id)
            if outcome == "refused":
                metrics.KEY_REQUESTS_REFUSED.labels(label).inc(count)
            else:
                metrics.KEY_EVENTS.labels(label, outcome).inc(count)
        for (path, status), count in Counter(self._answers).items():
            metrics.REQUESTS.labels(path, str(status)).inc(count)
        metrics.ANSWER_SECONDS.observe_many(self._seconds)
        self.__init__()  # type: ignore[misc]
