"""What `verify --json` says of a gateway."""

from __future__ import annotations

import json
from typing import Any

from tests.acceptance.gateway_process import Gateway


def verify(gateway: Gateway) -> tuple[int, dict[str, Any]]:
    """Exit code and report of `verify --json`."""
    done = gateway.command("verify", "--json")
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["agrees"] == (done.returncode == 0)
    return done.returncode, report


def found(report: dict[str, Any], *kinds: str) -> list[str]:
    """Where the differences of these kinds are."""
    return [difference["where"] for difference in report["differences"] if difference["what"] in kinds]


def described(report: dict[str, Any], *kinds: str) -> list[str]:
    return [difference["detail"] for difference in report["differences"] if difference["what"] in kinds]
