"""What is kept in Redis, under which key. Pure; these functions and this text are its specification.

All keys share the hash tag `{ingest}`: they live in one slot of a cluster, where one script may touch them all. It
derives the names of views, sessions, viewers, samples and streams from the tag of the keys it is given.

    {ingest}:registration        string   random, set when the counters are initialised or rebuilt; missing: lost, or
                                          never were. One of a rebuild has its generation behind a colon (8 hex digits)
    {ingest}:positions           hash     incarnation (32 hex digits) → sequence of the next frame to count
    {ingest}:totals              hash     since the registration: rows · signals · tests (of both) · views (as counted,
                                          those that a rebuild found included)
    {ingest}:views:<hour>        hash     content (uuid text) → views; hour: whole hours since 1970 UTC, may lie
                                          ahead of now; gone 31 days and one hour after its end
    {ingest}:view:<32 bytes>     string   session and content, 16 bytes each → hour of the earliest play;
                                          gone after view_memory_s. Of a registration with a generation:
                                          {ingest}:view:<generation>:<32 bytes>
    {ingest}:viewers:<content>   zset     session (16 bytes), scored by the end of its lease (epoch s);
                                          content: uuid text; gone soon after the last lease
    {ingest}:viewers:<content>:<level>  zset  the same, of sessions in a sample of that level (1 to 24): of each the
                                          last `level` bits of its hash are zero, and it stands for 2^level
    {ingest}:samples             hash     content (uuid text) → its sample: level u8, bits u32 of the levels that have a
                                          set (0: the one without a level), seed of the hash (the rest; sample.lua).
                                          Only of contents with more viewers than viewers_exact_max; gone 4 of the
                                          longest leases (50 minutes) after the last of them had a sign
    {ingest}:live                zset     content (uuid text), scored by the end of its last lease (epoch s) or later
    {ingest}:session:<16 bytes>  string   what apply.lua remembers of a session; gone 4 of its leases, or 4 of the
                                          settings, after its last write
    {ingest}:streams:<16 bytes>  zset     of a profile: session (16 bytes), scored by when it was written (epoch s), the
                                          latest 64, ended ones among them (owner.lua); gone 24 of the longest
                                          of their leases after that
    {ingest}:ad:campaign:<id>    hash     of a campaign (uuid text), for ad servers (storage/campaign.py): impressions ·
                                          clicks · completions · spent · spent_today · remaining_total ·
                                          remaining_daily ("": no such budget) · as_of; gone a day after its last write
    {ingest}:ad:campaigns        string   the day (UTC, YYYY-MM-DD) on which all of these were written; for a minute
    {ingest}:rate:<id>           hash     the pool of a write key's rate (rate.lua); gone a minute after it is full
    {ingest}:owners              zset     profile (16 bytes), scored by when its set was last written (epoch s); of
                                          the last minute, and only where streams are limited

A session's string: mask u8 (1 state by sequence · 2 sign of life by sequence · 4 state by time · 8 sign of life by time
· 16 is a viewer · 32 has a profile), for each of the first four bits a register of 41 bytes (`entry.REGISTER`), for the
fifth the content (16 bytes) that it watches, for the sixth its owner: the profile (16 bytes), since when (f64, epoch
us), when it was written into that profile's set (u32, epoch s); then event ids (their last 8 bytes each, the latest 32)
of signs without a sequence. Little-endian.

Who watches a content: the members of its sets whose leases have not run out, 2^level for each. Those sets are bounded
whatever a content's size; the strings of sessions are not (tests/contract/test_viewers_memory.py says what each costs),
since only they tell an old sign from a new one, of a session in a sample or not.

While a rebuild is under way, what it counts is beside all this, and at its end takes its place at once (switch.lua):

    {ingest}:rebuild:registration    string   what the registration will be; another rebuild that begins overwrites it,
                                              and so ends this one. Gone a day after its rebuild began
    {ingest}:rebuild:totals          hash     as totals; rows: plays that were read for it; piece:<number>: plays of a
                                              piece of all rows, which was counted whole
    {ingest}:rebuild:views:<hour>    hash     as views:<hour>

and the views themselves under its generation, which nothing reads before.
"""

from uuid import UUID

TAG = "{ingest}:"
REGISTRATION = TAG + "registration"
POSITIONS = TAG + "positions"
TOTALS = TAG + "totals"
LIVE = TAG + "live"
SAMPLES = TAG + "samples"
OWNERS = TAG + "owners"
CAMPAIGNS = TAG + "ad:campaigns"
VIEW = TAG.encode() + b"view:"
VIEWERS = TAG.encode() + b"viewers:"
REBUILD_REGISTRATION = TAG + "rebuild:registration"
REBUILD_TOTALS = TAG + "rebuild:totals"
PIECE = b"piece:"

HOUR_US = 3_600 * 1_000_000
VIEWS_KEPT_HOURS = 31 * 24
"""The longest span that hotness asks for is 30 days; a play before this is remembered as a view and counted nowhere."""
VIEWS_AHEAD_HOURS = 25
"""Plays of players whose clocks run ahead, unknown to be broken: the door takes a day."""


def views(hour: int) -> str:
    """Views of every content in an hour, counted from 1970 UTC."""
    return f"{TAG}views:{hour}"


def kept_hours(now_us: int) -> range:
    """The hours of which views may be kept at `now_us`: 31 days back, a day ahead."""
    hour = hour_of(now_us)
    return range(hour - VIEWS_KEPT_HOURS - 1, hour + VIEWS_AHEAD_HOURS + 1)


def counted_hours(now_us: int) -> range:
    """The hours in which a view is counted that is met at `now_us`; of the one before, views may be kept still."""
    kept = kept_hours(now_us)
    return range(kept.start + 1, kept.stop)


def rebuilt_views(hour: int) -> str:
    """The same, as far as the rebuild under way has counted them."""
    return f"{TAG}rebuild:views:{hour}"


def generation_of(registration: bytes) -> bytes:
    """What a registration puts into the names of its views: nothing, or `<8 hex digits>:`."""
    generation = registration.partition(b":")[2]
    return generation + b":" if generation else b""


def view_generation(name: bytes) -> bytes | None:
    """As `generation_of`, from the name of a view; None for any other name."""
    generation = name[len(VIEW) : -32]
    if not name.startswith(VIEW) or len(name) - len(VIEW) - len(generation) != 32 or len(generation) not in (0, 9):
        return None
    return generation


def view(session: UUID, content: UUID, registration: bytes = b"") -> bytes:
    """The hour of one view, under this registration."""
    return VIEW + generation_of(registration) + session.bytes + content.bytes


def session(session: UUID) -> bytes:
    """What is known of a session."""
    return f"{TAG}session:".encode() + session.bytes


def viewers(content: UUID, level: int = 0) -> str:
    """The sessions that watch a content, by the end of their leases; of a sample those of one level."""
    return f"{TAG}viewers:{content}:{level}" if level else f"{TAG}viewers:{content}"


def streams(profile: UUID) -> bytes:
    """The sessions that a profile had lately."""
    return f"{TAG}streams:".encode() + profile.bytes


def campaign(campaign_id: UUID) -> str:
    """What an ad server asks of one campaign."""
    return f"{TAG}ad:campaign:{campaign_id}"


def rate(bucket: str) -> str:
    """What the collectors share of a write key's rate."""
    return f"{TAG}rate:{bucket}"


def hour_of(time_us: int) -> int:
    """Hours since 1970 UTC of a time in microseconds since then."""
    return time_us // HOUR_US
