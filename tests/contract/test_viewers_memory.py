"""What a viewer costs in Redis: a content's sets are bounded whatever its size, what is known of a session is not."""

from pathlib import Path

from config.settings import RedisSettings
from storage.redis import key
from storage.redis.sign import ENTRIES_MAX
from tests.contract.counting import Bench
from tests.signs import a_sign, content_of, session_of

BOUND = 1_000
CHANNEL_MAX_BYTES = 64 * 2**20
SESSION_MAX_BYTES = 256


def test_a_channel_costs_its_bound_and_each_session_a_string(valkey_url: str, tmp_path: Path) -> None:
    with Bench(valkey_url, tmp_path, RedisSettings(viewers_exact_max=BOUND)) as bench:
        for first in range(0, 16 * BOUND, BOUND):
            bench.write(*(a_sign("play", session=first + one, sequence=1) for one in range(BOUND)))
        kept = bench.kept()
        members = sum(map(len, kept.values()))
        assert members <= BOUND + ENTRIES_MAX
        assert abs(bench.count() - 16 * BOUND) < 16 * BOUND / 4
        names = [key.viewers(content_of(1), level) for level in kept]
        sizes = [bench.loop.run(bench.client.memory_usage(name, samples=0)) for name in names]
        bytes_a_member = sum(sizes) / members
        assert bytes_a_member * (RedisSettings().viewers_exact_max + ENTRIES_MAX) < CHANNEL_MAX_BYTES
        session = bench.loop.run(bench.client.memory_usage(key.session(session_of(1))))
        assert 100 < session <= SESSION_MAX_BYTES
