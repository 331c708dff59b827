"""Every bound of the gateway that is not a setting, with its unit and the asserts that tie it to its neighbours."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

FRAME_SIZE_MAX_BYTES = 32 * MIB
"""Largest frame on disk. 1,000 events of 2 KiB metadata and full columns are under 8 MiB; the rest is for settings."""

SEGMENT_SIZE_BYTES = 64 * MIB
"""A segment is sealed once it passes this: small enough to free disk in steps, large enough to seal seldom."""

ERRORS_SHOWN_MAX = 100
"""Refused events named in one answer (DESIGN §3); all of them are counted."""

RETRY_AFTER_MIN_S = 1
RETRY_AFTER_MAX_S = 30
"""Bounds of the jittered Retry-After."""

START_PATIENCE_S = 30.0
"""How long a start waits for the remains of a killed run (locks, ports, dying servers)."""

BIGINT_SAFE_MAX = 2**53 - 1
"""Largest integer that JSON clients and Lua scripts hold exactly; the bound of `sequence`."""

INT4_MAX = 2**31 - 1
"""Largest value of a PostgreSQL integer column."""

assert FRAME_SIZE_MAX_BYTES < SEGMENT_SIZE_BYTES
assert 0 < RETRY_AFTER_MIN_S < RETRY_AFTER_MAX_S
