"""What is left out of a run, and how: skipped with its reason, or, with CI=true, failed. And which core runs.

The whole suite runs on the Rust core where it was built, on the Python twin with INGEST_CORE=python.
"""

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from config.settings import Core, load
from ingest.core import CoreMissing, chosen

pytest_plugins = ["tests.lanes", "tests.cql_server"]
chosen.choose(load(None).core)
settings.register_profile("here", deadline=None)  # an example takes as long as whatever runs beside it lets it
settings.load_profile("here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cluster", action="store_true", help="ten minutes of falling nodes instead of one")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """A run of workers tells of each failure when it happens: one that is ended from outside has said which."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and config.getoption("numprocesses", None):
        config.pluginmanager.register(ToldAtOnce(terminal))


class ToldAtOnce:
    """A line for each failure; all of what it said follows at the end, as ever."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            reason = (report.longreprtext.strip().splitlines() or [""])[-1]
            self._terminal.ensure_newline()
            self._terminal.write_line(f"{report.when} of {report.nodeid} failed: {reason[:200]}")


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


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command that runs within a test takes the log for itself; the next test's is its own again."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="module", params=["python", "rust"])
def each_core(request: pytest.FixtureRequest) -> Iterator[str]:
    """The tests of a module once on each core."""
    yield from _on(request.param)


@pytest.fixture(scope="module")
def rust_core() -> Iterator[str]:
    """Tests that set Rust's core against its twin."""
    yield from _on("rust")
