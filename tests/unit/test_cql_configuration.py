"""What makes a node of Cassandra: its place on the ring, its file, its command line."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.cql import jars
from gateway.cql.configuration import RING_FIRST, RING_SIZE, TOKENS_A_NODE, Plan, command, home, tokens, yaml

PLACE = Path("/some/our ring/node1")


@pytest.mark.parametrize("nodes", [1, 3])
def test_nodes_own_the_ring_evenly_and_in_turn(nodes: int) -> None:
    owned = sorted((token, index) for index in range(nodes) for token in tokens(nodes, index))
    assert [index for _, index in owned] == list(range(nodes)) * TOKENS_A_NODE
    widths = {after - before for (before, _), (after, _) in pairwise(owned)}
    assert max(widths) - min(widths) <= 1
    assert all(RING_FIRST <= token < RING_FIRST + RING_SIZE for token, _ in owned)


def test_every_node_knows_all_seeds_and_its_own_address() -> None:
    plan = Plan(3, 9042, 7000)
    files = [json.loads(yaml(plan, index, PLACE)) for index in range(3)]
    assert [file["listen_address"] for file in files] == [file["rpc_address"] for file in files]
    assert [file["rpc_address"] for file in files] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    seeds = {file["seed_provider"][0]["parameters"][0]["seeds"] for file in files}
    assert seeds == {"127.0.0.1:7000,127.0.0.2:7000,127.0.0.3:7000"}


def test_acknowledged_is_on_disk_unless_asked_otherwise() -> None:
    assert json.loads(yaml(Plan(), 0, PLACE))["commitlog_sync"] == "batch"
    periodic = json.loads(yaml(Plan(commitlog="periodic"), 0, PLACE))
    assert (periodic["commitlog_sync"], periodic["commitlog_sync_period"]) == ("periodic", "10000ms")


def test_a_node_is_found_by_an_argument_of_its_command_line_and_writes_below_its_directory_alone() -> None:
    line = command(Plan(), Path("/java"), Path("/jars"), Path("/logback.xml"), PLACE)
    assert home(PLACE) in line
    assert "-XX:TieredStopAtLevel=1" in line
    assert "-XX:TieredStopAtLevel=1" not in command(Plan(is_optimized=True), Path(), Path(), Path("/l"), PLACE)
    below = [word for word in line if "dir=" in word]
    assert len(below) == 4
    assert all(word.partition("=")[2].startswith(str(PLACE)) for word in below)
    file = json.loads(yaml(Plan(), 0, PLACE))
    places = [file[name] for name in file if name.endswith("_directory")] + file["data_file_directories"]
    assert len(places) == 5
    assert all(place.startswith(f"{PLACE}/") for place in places)


def test_the_list_of_jars_names_the_version_and_the_agent() -> None:
    listed = jars.expected((jars.HERE / "jars.sha256").read_text("ascii"))
    assert f"cassandra-all-{jars.VERSION}.jar" in listed
    assert f"<version>{jars.VERSION}</version>" in (jars.HERE / "pom.xml").read_text("ascii")
    assert not any(jars.OTHER_PLATFORMS.search(name) for name in listed)
    line = command(Plan(), Path("/java"), Path("/jars"), Path("/logback.xml"), PLACE)
    assert [Path(word).name in listed for word in line if word.startswith("-javaagent:/jars/")] == [True]
