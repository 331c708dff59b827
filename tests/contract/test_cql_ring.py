"""A real Cassandra of three nodes: what it takes while one of them is dead, or stands still, and what it has later."""

from __future__ import annotations

import pytest

from gateway.cql import Ring
from gateway.cql.asking import NoAnswer, ask


def test_two_of_three_take_what_the_third_has_later(ring: Ring) -> None:
    first, second, third = ring.nodes
    assert [(node.state, node.answers) for node in ring.seen()] == [("running", True)] * 3

    def written(number: int) -> None:
        ask(first.address, first.port, (f"INSERT INTO kept.numbers (number) VALUES ({number})", "QUORUM"))

    ask(
        first.address,
        first.port,
        ("CREATE KEYSPACE kept WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}", "ONE"),
        ("CREATE TABLE kept.numbers (number int PRIMARY KEY)", "ONE"),
    )
    second.kill()
    written(1)
    assert [node.state for node in ring.seen()] == ["running", "absent", "running"]
    third.freeze()
    with pytest.raises(NoAnswer):
        written(2)
    assert [node.state for node in ring.seen()] == ["running", "absent", "frozen"]
    third.resume()
    second.spawn(is_tied=True)
    ring.wait_ready()
    written(3)
    [rows] = ask(second.address, second.port, ("SELECT number FROM kept.numbers", "ALL"))
    assert {row.number for row in rows} >= {1, 3}
    assert sum(node.answers for node in ring.seen()) == 3
