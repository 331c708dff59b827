"""The metrics of the first half."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import generate_latest

from ingest.metrics import Answers

BUCKETS = (0.001, 0.01, 0.1)


@given(st.lists(st.one_of(st.sampled_from([0.0, *BUCKETS]), st.floats(0, 1))))
def test_many_observations_at_once_are_as_many_one_by_one(seconds: list[float]) -> None:
    one_by_one, at_once = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram("answer_seconds", "Words.", buckets=BUCKETS, registry=one_by_one)
    for value in seconds:
        histogram.observe(value)
    Answers("answer_seconds", "Words.", buckets=BUCKETS, registry=at_once).observe_many(seconds)
    assert counts(at_once) == counts(one_by_one)


def counts(registry: CollectorRegistry) -> list[bytes]:
    """The lines that are numbers of observations; sums differ in their last digits by the order of addition."""
    return [line for line in generate_latest(registry).splitlines() if b"_bucket{" in line or b"_count " in line]
