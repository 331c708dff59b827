"""Lines of CMCD with one thing changed."""

from typing import Any
from uuid import UUID

from ingest import cmcd
from ingest.batch import KIND_CMCD, MONTH_CMCD, SCHEMA_CMCD, FrameBody
from ingest.cmcd import CmcdLine

AT_US = 1_795_369_091_189_000


def a_line(**changes: Any) -> CmcdLine:
    """Which says as little as it may."""
    return CmcdLine("9110210b", -7, "", 3, "ps", AT_US, AT_US + 2_000_000)._replace(**changes)


FULL = a_line(
    session_id="é" * 64, owner="owner-1", event="rr", test=True, state="p", content_id="cid", bitrate_kbps=966,
    stall_ms=10, startup_ms=20, position_ms=2**40, rate_thousandths=-1_000, error_code="25", cdn_edge="edge-1",
    quality="1080p", custom_event="like", profile_id=UUID(int=7), device_type="tv", platform="tizen", player="ours",
    app_version="1.2", country="DE", metadata='{"bl":1200}',
)  # fmt: skip


def a_cmcd_body(schema: int = SCHEMA_CMCD) -> FrameBody:
    """Two lines, as the door frames them."""
    return FrameBody.of(KIND_CMCD, 0, MONTH_CMCD, [cmcd.encode(a_line()), cmcd.encode(FULL)], schema)
