"""Gateways for acceptance tests, stopped after the test however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.gateway_process import Gateway, let_others_through


@pytest.fixture
def make_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Make gateways in directories of their own, not started yet; arguments as of Gateway."""
    made: list[Gateway] = []

    def make(**options: dict[str, str] | tuple[str, ...]) -> Gateway:
        directory = tmp_path / f"gateway-{len(made)}"
        directory.mkdir()
        made.append(Gateway(directory, **options))  # type: ignore[arg-type]
        return made[-1]

    let_others_through(tmp_path)
    yield make
    for gateway in made:
        gateway.stop()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One running gateway for all tests of refusals: nothing they send may be stored."""
    directory = tmp_path_factory.mktemp("refusing")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data") as served:
        served.start()
        yield served.wait_ready()


@pytest.fixture
def nothing_traced(gateway: Gateway) -> Iterator[None]:
    """After the test the gateway still runs, and has logged no traceback."""
    yield
    logged = gateway.everything_logged()
    assert "Traceback" not in logged, logged[-3000:]
    assert not gateway.ended()
