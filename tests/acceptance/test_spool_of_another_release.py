"""A gateway meets a spool that another release wrote: an older one it delivers, a newer one it names and keeps."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from tests.acceptance.client import Book, an_event, ask, eventually, sql, stored_ids
from tests.acceptance.gateway_process import Gateway
from tests.golden_spool import ENDED_ONE, UNCLEAN, a_copy, make_newer

WITHIN_S = 60.0


def positions(gateway: Gateway) -> dict[str, int]:
    query = "SELECT incarnation, sequence FROM ingest_positions WHERE reader = 'postgres'"
    rows = sql(gateway.endpoints["postgres"], query)
    return {row["incarnation"].hex: row["sequence"] for row in rows}


def test_an_older_spool_is_delivered_and_a_newer_one_refused_by_name_while_the_door_is_open(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway, book = make_gateway(), Book()
    root = a_copy(gateway.data_dir)
    shutil.rmtree(root / "tombstones")  # its store is not this one
    shutil.move(root / UNCLEAN.hex(), gateway.data_dir / "aside")
    make_newer(gateway.data_dir, "aside")
    gateway.start()
    url = gateway.wait_ready().endpoints["http"]
    eventually(lambda: positions(gateway).get(ENDED_ONE.hex()) == 5, WITHIN_S, "the older one is delivered")
    eventually(lambda: gateway.command("verify").returncode == 0, WITHIN_S, "and accounted for")
    gateway.stop()

    shutil.move(gateway.data_dir / "aside", root / UNCLEAN.hex())
    gateway.start()
    at = gateway.wait_ready().endpoints

    def refused() -> bool:
        readers = gateway.statusz()["readers"]
        return all(
            one["state"] == "red" and UNCLEAN.hex() in one["reason"] and "segment version 2" in one["reason"]
            for one in readers
        )

    url = at["http"]
    eventually(refused, WITHIN_S, "both readers say what stops them")
    assert book.post(url, [an_event() for _ in range(5)]).status == 200
    assert ask(at["admin"] + "/readyz").status == 200
    said = gateway.command("spool", "verify")
    assert said.returncode == 1
    assert f"newer: spool/{UNCLEAN.hex()}/0000000000000000.open" in said.stdout
    assert (root / UNCLEAN.hex() / "0000000000000000.open").exists()

    shutil.move(root / UNCLEAN.hex(), gateway.data_dir / "aside")  # what the newer gateway will read
    eventually(lambda: book.rows <= set(stored_ids(at["postgres"])), WITHIN_S, "the rest is delivered")
