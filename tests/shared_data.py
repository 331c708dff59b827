"""Conformance data written by others, which lies beside the checkout and is not part of it."""

from pathlib import Path

from tests.conftest import left_out

SHARED = Path(__file__).parents[2] / "shared" / "data"


def shared_data(name: str) -> Path:
    """The file or directory; where it lacks the test is skipped, and on CI it fails."""
    path = SHARED / name
    if not path.exists():
        left_out(f"{path} is missing: it is not part of this repository")
    return path
