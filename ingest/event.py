"""The vocabulary: what a playback event may say, field by field. Both halves and every client stand on this table.

null is the same as absent. Every text refuses NUL and lone surrogates (`invalid_text`). Lengths are in characters, as
PostgreSQL counts varchar(n). Integers refuse fractions, `1.0` too, and true and false (`invalid_type`). The first
fault in this order is the one reported; codes are in `ingest.codes`.

    field            type                   unit  range, length           required  refused with
    ---------------  ---------------------  ----  ----------------------  --------  -----------------------------------
    type             text                         "playback"              no        unsupported_type, invalid_type
    event_type       text, closed list            EVENT_TYPES             yes       unknown_event_type, missing_field
    content_id       uuid                         any 128 bits            yes       invalid_uuid, missing_field
    session_id       uuid                         any 128 bits            yes       invalid_uuid, missing_field
    occurred_at      time                         years 1970–2100 (UTC)   yes       invalid_time, out_of_range,
                                                                                    too_old, too_new, missing_field
    event_id         uuid                         any 128 bits            no (1)    invalid_uuid, no_identity
    sequence         integer                      0..2^53-1               no (1)    out_of_range
    position         number, rounded down   s     0..2^31-1               no (1)    out_of_range
    duration         number, rounded down   s     0..2^31-1               no        out_of_range
    test             boolean                                              no: false invalid_type (4)
    sent_at          time (2)                     years 1970–2100 (UTC)   no        invalid_time, out_of_range
    profile_id       uuid                         any 128 bits            no        invalid_uuid
    quality          text                         20                      no        too_long
    bitrate          integer                kbps  0..2^31-1               no        out_of_range
    device_type      text                         50                      no        too_long
    platform         text                         50                      no        too_long
    cdn_edge         text                         100                     no        too_long
    buffer_duration  integer                ms    0..2^31-1               no        out_of_range
    startup_ms       integer                ms    0..2^31-1               no        out_of_range
    error_code       text                         50                      no        too_long
    player           text                         100                     no        too_long
    app_version      text                         50                      no        too_long
    country          text (3)                     exactly 2               no        too_long, too_short
    metadata         object                 B     2,048 bytes as sent     no        too_long, out_of_range

(1) Without an `event_id`, `sequence` or `position` is required (`no_identity`) and the id is made by `ingest.identity`.
(2) Stamped anew at every try. In the envelope it stands for all events; an event's own goes before it. A bad one in the
    envelope refuses the request (400), a bad one in an event refuses that event.
(3) Where absent, the value of the header of a trusted CDN, if there is one.
(4) True of every event of a crawler, whatever it says (`ingest.crawler`).

A wrong JSON type is `invalid_type` for every field, an absent required one `missing_field`.

*time*: RFC 3339 with an offset (`2026-11-22T20:00:00.123Z`, `…+02:00`; T and Z in either case; digits of the fraction
beyond the sixth are dropped; second 60 is refused, no player's clock shows it), or an integer of milliseconds since
1970. `occurred_at` must also lie in [received − door limit, received + 24 h] (`too_old`, `too_new`), unless `sent_at`
shows the player's clock to be more than 5 minutes off: then all of 1970–2100 is taken as sent (DESIGN §3).
*uuid*: 8-4-4-4-12 or 32 hexadecimal digits in either case; no braces, no urn.
*metadata*: decoded and encoded anew, so what is stored is JSON that every reader accepts: the last of doubled keys,
integers that 64 bits hold (signed or unsigned) and finite doubles, else `out_of_range`.

Events of type "ad" have a table of their own: `ingest.decode.ad`.

Values beyond the schema's lists (device `console`, quality `1440p`) are stored as sent: the world has more devices than
the list. Any other field is ignored and counted.
"""

from typing import Final, Literal

from msgspec import Raw, Struct

EVENT_TYPES: Final = (
    "play",
    "pause",
    "seek",
    "buffering",
    "error",
    "completed",
    "heartbeat",
    "stop",
    "quality_change",
)
"""The closed vocabulary of event_type."""

HEARTBEAT: Final = "heartbeat"
"""The one event_type that is a signal: read by live readers, never stored as a row (DESIGN §3)."""

METADATA_SIZE_MAX_BYTES: Final = 2_048
"""Of metadata, as sent."""

ABSENT_RAW: Final = Raw(b"")
"""What `PlaybackEvent.metadata` is when the event has none."""


class PlaybackEvent(Struct, gc=False):
    """One event as typed by msgspec in one go: JSON types are right, nothing else is checked yet.

    The order of fields is what `ingest.decode.fast` unpacks: first those that differ from event to event, then, from
    `quality` on, those that repeat and are encoded together, then country.
    """

    event_id: str | None = None
    content_id: str | None = None
    session_id: str | None = None
    occurred_at: str | int | None = None
    event_type: str | None = None
    sequence: int | None = None
    position: int | float | None = None
    duration: int | float | None = None
    sent_at: str | int | None = None
    test: bool | None = None
    type: Literal["playback"] | None = None
    metadata: Raw = ABSENT_RAW
    profile_id: str | None = None
    country: str | None = None
    quality: str | None = None
    bitrate: int | None = None
    device_type: str | None = None
    platform: str | None = None
    cdn_edge: str | None = None
    buffer_duration: int | None = None
    startup_ms: int | None = None
    error_code: str | None = None
    player: str | None = None
    app_version: str | None = None


class StrictPlaybackEvent(PlaybackEvent, gc=False, forbid_unknown_fields=True):
    """The same, refusing fields outside the vocabulary: the usual event, with nothing to count."""


FIELD_NAMES: Final = frozenset(PlaybackEvent.__struct_fields__)
"""Every name of the vocabulary; others are ignored and counted."""
