"""Which keyspaces can keep what is promised, by what a cluster says of their replicas."""

import re
from typing import Any

import pytest

from config.scylla import ScyllaSettings
from storage.scylla.keyspace import unfit

NETWORK = "org.apache.cassandra.locator.NetworkTopologyStrategy"
SIMPLE = "org.apache.cassandra.locator.SimpleStrategy"


@pytest.mark.parametrize(
    ("replication", "settings", "words"),
    [
        ({"class": NETWORK, "datacenter1": "3"}, {}, ""),
        ({"class": NETWORK, "datacenter1": "3", "us": "3"}, {"consistency": "EACH_QUORUM"}, ""),
        ({"class": NETWORK, "datacenter1:0": "['r1', 'r2', 'r3']"}, {}, ""),
        ({"class": NETWORK, "datacenter1": "3/1"}, {}, ""),
        ({"class": NETWORK, "us": "3", "eu": "3"}, {}, "local_dc.* us, eu"),
        ({"class": NETWORK, "datacenter1": "0", "us": "3"}, {}, "local_dc"),
        ({"class": SIMPLE, "replication_factor": "3"}, {}, ""),
        ({"class": SIMPLE, "replication_factor": "1"}, {"consistency": "ONE", "replication": 1}, ""),
        ({"class": SIMPLE, "replication_factor": "3"}, {"consistency": "ONE", "replication": 1}, "for one replica"),
        ({"class": NETWORK, "datacenter1": "2"}, {"consistency": "LOCAL_ONE", "replication": 1}, "for one replica"),
    ],
)
def test_rows_need_replicas_here_and_one_node_answers_only_for_itself(
    replication: dict[str, str], settings: dict[str, Any], words: str
) -> None:
    why = unfit(replication, ScyllaSettings(**settings))
    assert re.search(words, why) if words else why == ""
