"""Rows of the platform's own: users with their plans and profiles."""

from __future__ import annotations

from uuid import uuid4

from tests.acceptance.client import sql
from tests.acceptance.gateway_process import Gateway


def a_user(gateway: Gateway, plan: str, profiles: int) -> tuple[str, list[str]]:
    """A user of the catalogue, and the profiles."""
    user, names = str(uuid4()), [str(uuid4()) for _ in range(profiles)]
    postgres = gateway.endpoints["postgres"]
    row = "INSERT INTO users (id, email, username, password_hash, subscription_tier) VALUES ($1, $2, $2, 'x', $3)"
    sql(postgres, row, user, user, plan)
    for name in names:
        sql(postgres, "INSERT INTO profiles (id, user_id, name) VALUES ($1, $2, 'x')", name, user)
    return user, names
