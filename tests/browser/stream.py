"""A stream to play: twelve seconds of moving bars and a tone in two rungs, as HLS and as DASH of the same segments.

ffmpeg makes it in a second. A rung is in segments of two seconds, so that one can be held back or lost.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

DURATION_S: Final = 12
SEGMENT_S: Final = 2
FRAMES_PER_S: Final = 12
HLS: Final = "master.m3u8"
DASH: Final = "stream.mpd"
LADDER: Final = ((160, 90, 120), (320, 180, 400))
"""Width and height in pixels, kbps."""


def is_at_hand() -> bool:
    """Whether there is an ffmpeg to make it with."""
    return shutil.which("ffmpeg") is not None


def write_stream(directory: Path) -> None:
    """Both manifests and all segments. Raises CalledProcessError, and ffmpeg says on standard error why."""
    largest = LADDER[-1]
    picture = f"testsrc2=size={largest[0]}x{largest[1]}:rate={FRAMES_PER_S}:duration={DURATION_S}"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", picture]
    command += ["-f", "lavfi", "-i", f"sine=duration={DURATION_S}"]
    for rung, (width_px, height_px, rate_kbps) in enumerate(LADDER):
        command += ["-map", "0:v", f"-s:v:{rung}", f"{width_px}x{height_px}", f"-b:v:{rung}", f"{rate_kbps}k"]
    frames = str(FRAMES_PER_S * SEGMENT_S)
    command += ["-map", "1:a", "-c:v", "libx264", "-profile:v", "main", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    command += ["-g", frames, "-keyint_min", frames, "-sc_threshold", "0", "-c:a", "aac", "-b:a", "48k"]
    command += ["-f", "dash", "-seg_duration", str(SEGMENT_S), "-adaptation_sets", "id=0,streams=v id=1,streams=a"]
    subprocess.run([*command, "-hls_playlist", "1", DASH], cwd=directory, check=True, timeout=120)
