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
