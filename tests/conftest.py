"""What is left out of a run, and how: skipped with its reason, or, with CI=true, failed. And which core runs.

The whole suite runs on the Rust core where it was built, on the Python twin with INGEST_CORE=python.
"""

import os
from collections.abc import Iterator

import pytest

from config.settings import Core, load
from ingest.core import CoreMissing, chosen

pytest_plugins: list[str] = []
chosen.choose(load(None).core)


def left_out(reason: str) -> None:
    """Skip this test for `reason`; with CI=true nothing may be left out, and it fails."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"left out with CI=true: {reason}", pytrace=False)
    pytest.skip(reason)


def _on(name: Core) -> Iterator[str]:
    before = chosen.rust
    try:
        chosen.choose(name)
    except CoreMissing:
        left_out("the Rust core was not built")
    yield name
    chosen.rust = before


@pytest.fixture(scope="module", params=["python", "rust"])
def each_core(request: pytest.FixtureRequest) -> Iterator[str]:
    """The tests of a module once on each core."""
    yield from _on(request.param)


@pytest.fixture(scope="module")
def rust_core() -> Iterator[str]:
    """Tests that set Rust's core against its twin."""
    yield from _on("rust")
