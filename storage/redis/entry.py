"""What the script is handed (apply.lua): views, sessions and positions, packed one behind the other. Pure."""

from struct import Struct
from typing import Final

from config.heartbeat import CLASSES

VIEW: Final = Struct("<32si")
"""Session and content · hour."""
SESSION: Final = Struct("<16sBB")
"""Session · which of the four slots follow, as bits, SINGLE, PROFILE · how many event ids (8 bytes each) follow."""
SINGLE: Final = 16
"""One sign, which moves nothing when its event id is known."""
PROFILE: Final = 32
"""Between the slots and the event ids are the 16 bytes of the profile that the session named."""
REGISTER: Final = Struct("<dBd16sd")
"""Order · rank, and above four bits the class of its player's heartbeat interval · base_us · content · time_us."""
HEARTBEAT_SHIFT: Final = 4
LEASES: Final = Struct(f"<{CLASSES}d")
"""By class, microseconds."""
POSITION: Final = Struct("<32sdd")
"""Incarnation · position before · position behind."""

Register = tuple[int, int, bytes, int, int, int]
Slots = list[Register | None]
EventIds = list[bytes]
IDS_MAX: Final = 32
"""Event ids remembered of a session."""


def packed_session(session: bytes, slots: Slots, mask: int, ids: EventIds, profile: bytes) -> bytes:
    """SESSION and what follows it; `mask` has SINGLE or nothing, `profile` may be empty."""
    parts = [b""]
    if profile:
        mask |= PROFILE
    for slot, register in enumerate(slots):
        if register is not None:
            order, rank, content, base_us, time_us, heartbeat = register
            mask |= 1 << slot
            parts.append(
                REGISTER.pack(
                    order, rank | heartbeat << HEARTBEAT_SHIFT if heartbeat else rank, -base_us, content, time_us
                )
            )
    ids = ids[-IDS_MAX:]
    parts[0] = SESSION.pack(session, mask, len(ids))
    return b"".join([*parts, profile, *ids])
