"""A write key from its making to its end: in force within seconds, over a lost database and restarts."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import pytest

from tests.acceptance.client import Answer, an_event, ask, eventually, pid_of, sql, stopped
from tests.acceptance.gateway_process import Gateway, let_others_through

IN_FORCE_S: Final = 5.0
SLOW_S: Final = 60.0
SITE: Final = "https://watch.example"
REQUIRED: Final = {"INGEST_KEYS_REQUIRED": "true"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("keys")
    let_others_through(directory)
    (directory / "data").mkdir()
    with Gateway(directory / "data", environment=REQUIRED, arguments=("--workers", "2")) as served:
        served.start()
        served.wait_ready()
        eventually(lambda: code_of(served, "unknown") == "unknown_key", SLOW_S, "keys are published")
        yield served


def post(gateway: Gateway, key: str, **headers: str) -> Answer:
    body = json.dumps([an_event()]).encode()
    url = f"{gateway.endpoints['http']}/v1/events" + (f"?key={key}" if key else "")
    return ask(url, "POST", body, {"Content-Type": "application/json", **headers})


def code_of(gateway: Gateway, key: str, **headers: str) -> str:
    """Of the answer; empty when it was taken."""
    answer = post(gateway, key, **headers)
    return "" if answer.status == 200 else str(answer.json["error"])


def everywhere(gateway: Gateway, key: str, code: str) -> Callable[[], bool]:
    """Whether both collectors say so: connections go to either, so ten times one after the other."""
    return lambda: all(code_of(gateway, key) == code for _ in range(10))


def known_everywhere(gateway: Gateway, key: str) -> bool:
    """The same, without spending of its rate: by what pages are told before they send."""
    url = f"{gateway.endpoints['http']}/v1/events?key={key}"
    return all("access-control-allow-methods" in ask(url, "OPTIONS", None, {"Origin": SITE}).headers for _ in range(10))


def keys(gateway: Gateway, *arguments: str) -> Any:
    done = gateway.command("keys", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_force(gateway: Gateway, key: str, code: str) -> None:
    eventually(everywhere(gateway, key, code), IN_FORCE_S, f"{code or 'taken'} everywhere")


def test_a_key_is_made_used_rotated_and_revoked_and_all_of_it_holds_within_seconds(gateway: Gateway) -> None:
    made = gateway.command("keys", "create", "--name", "web", "--owner", "acme", "--origin", SITE)
    assert made.returncode == 0, made.stderr
    first = made.stdout.strip()
    assert re.fullmatch(r"svp_[\w-]{32}", first) and first not in made.stderr and "owner acme" in made.stderr
    in_force(gateway, first, "")
    assert code_of(gateway, first, Origin=SITE) == ""
    assert code_of(gateway, first, Origin="https://elsewhere.example") == "origin_refused"
    assert code_of(gateway, "") == "missing_key"

    (listed,) = keys(gateway, "list")
    assert (listed["name"], listed["owner"], listed["origins"], listed["secret"]) == ("web", "acme", [SITE], False)
    second = keys(gateway, "rotate", listed["id"], "--grace", "1h")
    in_force(gateway, second["key"], "")
    assert code_of(gateway, first) == "", "the old key goes on"
    again = gateway.command("keys", "rotate", listed["id"])
    assert again.returncode == 1 and "was rotated before" in again.stderr
    ended = "UPDATE write_keys SET not_after = now() + interval '1 s' WHERE id = $1"
    sql(gateway.endpoints["postgres"], ended, listed["id"])
    eventually(everywhere(gateway, first, "key_off"), 1 + IN_FORCE_S, "until its time is up")
    assert {key["owner"] for key in keys(gateway, "list")} == {"acme"}

    updated = gateway.command("keys", "update", second["id"], "--heartbeat-s", "28")
    assert updated.returncode == 0 and "each 30 s" in updated.stdout, updated.stderr
    third = keys(gateway, "rotate", second["id"])
    by_id = {key["id"]: key["heartbeat_s"] for key in keys(gateway, "list")}
    assert by_id == {listed["id"]: None, second["id"]: 28, third["id"]: 28}
    published = (gateway.data_dir / "keys.json").read_text
    eventually(lambda: published().count('"heartbeat_s": 28') == 2, IN_FORCE_S, "and the doors know it")
    assert gateway.command("keys", "update", third["id"], "--heartbeat-s", "0").returncode == 0

    assert gateway.command("keys", "revoke", second["id"]).returncode == 0
    in_force(gateway, second["key"], "key_off")
    table = gateway.command("keys", "list").stdout
    assert re.search(rf"{second['id']} .* revoked +{SITE} +web", table) and "replaced" in table


def test_a_lost_database_leaves_the_last_keys_in_force_over_a_restart(gateway: Gateway) -> None:
    key, other = (keys(gateway, "create", "--name", name)["key"] for name in ("one", "other"))
    secret = keys(gateway, "create", "--name", "server", "--secret")["key"]
    eventually(lambda: code_of(gateway, "", Authorization=f"Bearer {secret}") == "", IN_FORCE_S, "it is in force")
    eventually(lambda: code_of(gateway, key) == "", IN_FORCE_S, "and a public one")
    eventually(lambda: code_of(gateway, other) == "", IN_FORCE_S, "and the other one")
    (other_id,) = (one["id"] for one in keys(gateway, "list") if one["name"] == "other")
    with stopped(pid_of(gateway, "postgres")):
        collectors = {p["pid"] for p in gateway.statusz()["processes"] if p["role"] == "collector"}
        for pid in collectors:
            os.kill(pid, signal.SIGKILL)
        eventually(
            lambda: collectors.isdisjoint(
                p["pid"] for p in gateway.statusz()["processes"] if p["role"] == "collector" and p["pid"]
            ),
            SLOW_S, "collectors of their own accord",
        )  # fmt: skip
        eventually(everywhere(gateway, key, ""), SLOW_S, "they know the keys without the database")
        assert code_of(gateway, "unknown") == "unknown_key"
    eventually(lambda: sql(gateway.endpoints["postgres"], "SELECT 1"), SLOW_S, "it is back")
    assert gateway.command("keys", "revoke", other_id).returncode == 0
    in_force(gateway, other, "key_off")


def test_keys_are_nowhere_but_with_their_owner(gateway: Gateway) -> None:
    made = keys(gateway, "create", "--name", "web", "--rate", "5")
    eventually(lambda: code_of(gateway, made["key"]) == "", IN_FORCE_S, "it is in force")
    file = gateway.data_dir / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    rows = sql(gateway.endpoints["postgres"], "SELECT row_to_json(k)::text AS text FROM write_keys k")
    for text in (file.read_text(), gateway.everything_logged(), *(row["text"] for row in rows)):
        assert made["key"] not in text and made["key"][4:] not in text


def counted(gateway: Gateway, line: str) -> bool:
    return line in ask(gateway.endpoints["admin"] + "/metrics").text


def test_a_key_over_its_rate_is_told_so_by_all_collectors_together(gateway: Gateway) -> None:
    made = keys(gateway, "create", "--name", "slow", "--rate", "1", "--burst", "20")
    eventually(partial(known_everywhere, gateway, made["key"]), IN_FORCE_S, "it is in force")
    begun_s, taken = time.monotonic(), 0
    while (answer := post(gateway, made["key"])).status == 200 or taken < 10:
        taken += answer.status == 200
    assert answer.json["error"] == "rate_limited" and 1 <= int(answer.headers["retry-after"]) <= 300
    assert taken <= 2 * 20 + time.monotonic() - begun_s
    for line in (
        f'ingest_key_events_total{{key="{made["id"]}",outcome="accepted"}}',
        f'ingest_key_requests_refused_total{{key="{made["id"]}"}}',
        'ingest_requests_refused_total{code="rate_limited"}',
    ):
        eventually(partial(counted, gateway, line), IN_FORCE_S, line)


def test_a_key_that_nobody_has_is_one_clear_line(gateway: Gateway) -> None:
    update = ["update", "0123456789ab", "--heartbeat-s", "30"]
    for arguments in (["rotate", "0123456789ab"], ["revoke", "0123456789ab"], update):
        done = gateway.command("keys", *arguments)
        assert (done.returncode, done.stderr.strip()) == (1, "Error: there is no key 0123456789ab")
