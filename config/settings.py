"""Typed settings: defaults here, over them `gateway.toml`, over that the environment (`INGEST_<SECTION>_<FIELD>`).

The only reader of the environment. Each default carries its reason. Unknown names in the file or in the environment are
errors, so that a misspelt setting is not silently a default.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from config.heartbeat import INTERVAL_MAX_S, INTERVALS_S, LEASE_MAX_S
from config.hotness import HotnessSettings
from config.limits import FRAME_SIZE_MAX_BYTES, GIB, KIB, MIB
from config.number import NotNegative, Port, Positive, Share
from config.scylla import ScyllaSettings

Core = Literal["auto", "python", "rust"]
Store = Literal["postgres", "scylla"]


VIEW_HOURS_S = (31 * 24 + 1 + 25) * 3_600
"""Whose views are kept by the hour: 31 days, the hour that runs, and those of players whose clocks run ahead."""


class SettingsError(Exception):
    """A setting is unknown or has a value it cannot have."""


class HttpSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The door for players."""

    host: str = "0.0.0.0"  # noqa: S104  players are elsewhere
    port: Port = 8080
    body_max_bytes: Positive = MIB  # raw; a batch of 1,000 events is about 400 KiB
    decoded_max_bytes: Positive = 8 * MIB  # after inflating; JSON of events deflates about eightfold
    events_max: Positive = 1_000  # a request; keeps one answer's work under ~10 ms
    depth_max: Positive = 16  # nesting of a body; our vocabulary needs 4, metadata gets the rest
    inflight_max_bytes: Positive = 64 * MIB  # bodies being read and decoded at once, per collector
    lean: bool = True  # plain requests are read without aiohttp, at a quarter of its cost; off: aiohttp reads them all
    head_timeout_s: Positive = 20  # a head that stalls longer ends in 408
    body_timeout_s: Positive = 20  # a body that stalls longer ends in 408
    connections_max: Positive = 16_384  # per collector, about 4 KiB each; less where there are fewer descriptors
    general_connections_max: Positive = 1_024  # of those, read by aiohttp: some 50 KiB each with what they send ahead
    keepalive_s: Positive = 75  # idle connections; longer than the 60 s of common balancers
    header_max_bytes: Positive = 16 * KIB  # request line and each header; ad URLs are long
    ad_deadline_s: Positive = 5  # a pixel not on disk by then is answered 503; a page does not wait for longer
    country_header: str = ""  # a CDN header to trust for the viewer's country, e.g. CF-IPCountry


class AdminSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The door for engineers and Prometheus; it has no keys, so it stays on loopback unless told otherwise."""

    host: str = "127.0.0.1"
    port: Port = 9090


class DoorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which times an event may carry, and who is no viewer."""

    past_s: Positive = 35 * 86_400  # offline players keep events 14 days; a month is the longest offline rental
    future_s: Positive = 86_400  # time zones mistaken for offsets
    crawlers_are_tests: bool = True  # by their User-Agent: what they play is stored as a test, and in no number


class KeysSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may send events."""

    required: bool | Literal["auto"] = "auto"  # not with --embedded alone: a first event needs no account


class AdsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a viewer's click may be sent on to: without either, nowhere."""

    click_secret: str = ""  # signs targets (HMAC-SHA256): 32 random characters or more; the ad server has it, too
    click_hosts: str = ""  # hosts that need no signature, by commas; .example.com is every host below it

    def __post_init__(self) -> None:
        if self.click_secret and len(self.click_secret) < 16:
            raise ValueError("ads.click_secret is shorter than 16 characters")


class SpoolSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The durable log."""

    quota_bytes: Positive = 8 * GIB  # of all segments; about six minutes at 70,000 events a second, hours at 1,000
    high_mark: Share = 0.9  # of the quota: above it intake answers 503, below it stays room for positions
    disk_reserve_bytes: NotNegative = 512 * MIB  # free disk that intake leaves to the rest of the machine
    commit_interval_ms: NotNegative = 0  # of waiting for more company than is at the door already
    kept_s: NotNegative = 900  # delivered segments stay this long for verify and for derivable readers, as quota allows


class PostgresSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The store."""

    url: str = ""  # empty: only with --embedded
    retention_days: Positive = 400  # thirteen months, so that a year compares with the year before
    drop_months_max: Positive = 2  # at once: more are due only after months without a gateway, or by a wrong clock
    months_ahead: Positive = 3
    derived_interval_ms: NotNegative = 2_000  # between writes of views and watch history: fewer, and fewer of a viewer
    watch_waiting_s: Positive = 14 * 86_400  # for its profile or content: offline players keep events as long
    batch_max_bytes: Positive = 8 * MIB  # of one transaction: larger ones gained nothing, smaller ones cost commits
    batch_interval_ms: NotNegative = 60  # between transactions: larger transactions cost PostgreSQL less a row
    ad_batch_interval_ms: NotNegative = 250  # the same where ad events are: merging eight thousand costs an eighth less
    fingerprints_max: Positive = (
        1_000_000  # ids remembered, to suspect duplicates before COPY does; 88 bytes each, Rust 20
    )


class RedisSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Counters and leases."""

    url: str = ""  # empty: only with --embedded
    embedded_memory_max_bytes: Positive = GIB  # about five million sessions and views; then writes are refused
    batch_max_bytes: Positive = 4 * MIB  # of frames read for one script call
    batch_interval_ms: NotNegative = 100  # counts are right to within seconds; larger calls cost less an event
    heartbeat_s: Positive = 10  # what players are told to send
    lease_factor: Annotated[float, Meta(gt=1)] = 2.5  # of the heartbeat interval: one lost beacon ends no session
    view_memory_s: Positive = 35 * 86_400  # how long a view is remembered: the door limit, so no resend counts twice
    viewers_exact_max: Positive = 262_144  # of a content; of more a sample is kept, within 1 % in 99.9 % of reads
    limit_streams: bool = False  # sessions over their user's plan get 410; needs users and profiles in PostgreSQL
    rebuild_automatically: bool = False  # it reads a month of plays just when somebody should look at what happened

    def __post_init__(self) -> None:
        if self.lease_factor * INTERVAL_MAX_S > LEASE_MAX_S:
            raise ValueError(
                f"redis.lease_factor: a lease of more than {LEASE_MAX_S} s, at {INTERVAL_MAX_S} s a heartbeat"
            )

    @property
    def lease_us(self) -> int:
        """How long a sign of life keeps a session among the viewers, microseconds."""
        return round(self.lease_factor * self.heartbeat_s * 1_000_000)

    @property
    def leases_us(self) -> tuple[int, ...]:
        """The same by class of heartbeat interval (`config.heartbeat`)."""
        return self.lease_us, *(round(self.lease_factor * interval_s * 1_000_000) for interval_s in INTERVALS_S[1:])


class QoeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Quality of experience."""

    sessions_max: Positive = 20_000  # followed at once, some 1.2 KB each; beyond it half of them, which stand for all
    signs_per_s_max: Positive = 2_000  # of followed sessions, some 6 µs each: about a hundredth of a core
    batch_max_bytes: Positive = MIB  # of frames read at once, so that the readers beside it wait 40 ms at most
    batch_interval_ms: NotNegative = 500  # figures are of minutes; larger batches cost less an event


class StageSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The session stage, which makes events of lines of CMCD."""

    state_max_bytes: Positive = 2 * GIB  # of streams that are remembered, some 250 bytes each; the oldest ended ones go


class DeadLetterSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Acknowledged events that no store takes."""

    quota_bytes: Positive = 256 * MIB  # past it they are counted, not kept


class ShutdownSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the gateway, or one process of it that another replaces, comes to its end."""

    timeout_s: Positive = 25  # SIGTERM to exit, whatever hangs; Kubernetes kills after 30
    delay_s: NotNegative = 0  # /readyz says no, the door stays open: until a balancer that polls it has noticed
    keepalive_grace_s: NotNegative = 1  # idle connections stay so long: whose next request comes is told to close
    restart_grace_s: NotNegative = 12  # the same of a replaced collector; players send heartbeats every 10 s

    def __post_init__(self) -> None:
        if self.delay_s + 3 * self.keepalive_grace_s >= self.timeout_s:  # who is told to close still has to be answered
            raise ValueError("shutdown.timeout_s is not above delay_s and three times keepalive_grace_s")


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """JSON logs on standard error."""

    level: str = "info"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a gateway can be told."""

    data_dir: str = "data"
    workers: Positive = 1  # collectors; one saturates about a core
    store: Store = "postgres"  # of playback events; everything else stays in PostgreSQL
    core: Core = "auto"  # Rust's where it was built, else its Python twin; rust: an error at the start where it was not
    http: HttpSettings = HttpSettings()
    admin: AdminSettings = AdminSettings()
    door: DoorSettings = DoorSettings()
    keys: KeysSettings = KeysSettings()
    ads: AdsSettings = AdsSettings()
    spool: SpoolSettings = SpoolSettings()
    postgres: PostgresSettings = PostgresSettings()
    scylla: ScyllaSettings = ScyllaSettings()
    redis: RedisSettings = RedisSettings()
    hotness: HotnessSettings = HotnessSettings()
    qoe: QoeSettings = QoeSettings()
    stage: StageSettings = StageSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    log: LogSettings = LogSettings()

    @property
    def rows_needed_s(self) -> int:
        """How long rows have to stay where they leave by age: what a rebuild reads, and a day in which it does."""
        return max(self.redis.view_memory_s, VIEW_HOURS_S) + 86_400

    def __post_init__(self) -> None:
        for name, url, schemes in (
            ("postgres.url", self.postgres.url, ("postgresql", "postgres")),
            ("redis.url", self.redis.url, ("redis", "rediss", "unix")),
        ):
            if url and not _is_url(url, schemes):  # its value is not told: it holds a password
                raise ValueError(
                    f"{name} cannot be read as {schemes[0]}://user:password@host:port/name; "
                    "percent-encode what is special in a password"
                )
        if self.store == "scylla" and self.scylla.retention_days * 86_400 < self.rows_needed_s:
            raise ValueError(
                f"scylla.retention_days is below {-(-self.rows_needed_s // 86_400)}: rebuilds of views read rows as "
                "old as redis.view_memory_s remembers a view, or its hour is kept, and would count fewer without them"
            )
        if self.http.decoded_max_bytes < self.http.body_max_bytes:
            raise ValueError("http.decoded_max_bytes is below http.body_max_bytes")
        if self.http.inflight_max_bytes < self.http.body_max_bytes:
            raise ValueError("http.inflight_max_bytes is below http.body_max_bytes: no request would be admitted")
        if self.http.decoded_max_bytes > FRAME_SIZE_MAX_BYTES // 2:  # a row is not much longer than its JSON
            raise ValueError(f"http.decoded_max_bytes is above {FRAME_SIZE_MAX_BYTES // 2}: it would not fit a frame")


def decided(settings: Settings, *, embedded: bool) -> Settings:
    """With every "auto" that depends on where the stores are."""
    if settings.keys.required != "auto":
        return settings
    return msgspec.structs.replace(settings, keys=KeysSettings(required=not embedded))


def _is_url(url: str, schemes: tuple[str, ...]) -> bool:
    """Whether scheme and every host's port can be told; an "@" behind them is the rest of a password."""
    try:
        parts = urlsplit(url)
        for host in parts.netloc.rpartition("@")[2].split(","):  # PostgreSQL takes several
            _ = urlsplit(f"//{host}").port
    except ValueError:
        return False
    return parts.scheme in schemes and "@" not in parts.path + parts.fragment


PREFIX = "INGEST_"
_TOP = {field for field in Settings.__struct_fields__ if not isinstance(getattr(Settings(), field), Struct)}
_SECTIONS = [field for field in Settings.__struct_fields__ if field not in _TOP]


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """INGEST_HTTP_PORT=1 → {"http": {"port": "1"}}. Raises SettingsError for a name that is no setting."""
    found: dict[str, Any] = {}
    for name, value in environment.items():
        if not name.startswith(PREFIX):
            continue
        key = name[len(PREFIX) :].lower()
        if key in _TOP:
            found[key] = value
            continue
        section = next((section for section in _SECTIONS if key.startswith(section + "_")), None)
        if section is None:
            raise SettingsError(f"{name}: no such setting")
        found.setdefault(section, {})[key[len(section) + 1 :]] = value
    return found


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, section by section."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def load(path: Path | None, environment: Mapping[str, str] = os.environ, **arguments: Any) -> Settings:
    """Settings from the file (may be None), the environment and the command line's arguments, the last one strongest.

    Raises SettingsError with the setting's name and what is wrong with it.
    """
    try:
        file = tomllib.loads(path.read_text("utf-8")) if path else {}
        wanted = merged(merged(file, from_environment(environment)), arguments)
        return msgspec.convert(wanted, Settings, strict=False)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    except msgspec.ValidationError as error:
        raise SettingsError(str(error)) from error
