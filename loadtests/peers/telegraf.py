"""Telegraf as a peer: http_listener_v2 → json parser → postgresql, built from its public Go module into .cache/bin.

It answers 204 once events are in its memory; what it holds dies with it, and when it is full it drops the oldest.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from loadtests.peers.peer import SCHEMA, Unavailable
from loadtests.peers.process import PeerProcess
from loadtests.port import free_ports
from loadtests.product import ROOT

VERSION: Final = "1.37.2"
MODULE: Final = f"github.com/influxdata/telegraf/cmd/telegraf@v{VERSION}"
TAGS: Final = (
    *("custom", "inputs.http_listener_v2", "inputs.internal", "outputs.postgresql"),
    *("parsers.json", "parsers.json_v2", "processors.converter"),
)
BUILD_TIMEOUT_S: Final = 1200
CACHE: Final = ROOT / ".cache"
PROGRAM: Final = CACHE / "bin" / f"telegraf-{VERSION}"
GO_PLACES: Final = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")
IDS: Final = ("event_id", "content_id", "session_id", "profile_id")
STRINGS: Final = (
    *IDS,
    *("event_type", "quality", "device_type", "platform", "cdn_edge", "error_code", "player", "app_version", "country"),
)
INTEGERS: Final = ("sequence", "position", "duration", "bitrate", "buffer_duration", "startup_ms")


def configuration(port: int, dsn: str, table: str) -> str:
    """telegraf.toml: batches of 5,000 or 200 ms, one connection, room for half a million events.

    Ids go to text columns, since its COPY refuses uuid. JSON numbers are floats to its parser, so they are converted.
    """
    return f"""\
[agent]
  metric_batch_size = 5000
  metric_buffer_limit = 500000
  flush_interval = "200ms"
  flush_jitter = "0s"
  omit_hostname = true

[[inputs.http_listener_v2]]
  service_address = "tcp://127.0.0.1:{port}"
  paths = ["/v1/events"]
  name_override = {json.dumps(table)}
  data_format = "json"
  json_query = "events"
  json_time_key = "occurred_at"
  json_time_format = "2006-01-02T15:04:05.999999Z07:00"
  json_string_fields = {json.dumps(STRINGS)}

[[processors.converter]]
  [processors.converter.fields]
    integer = {json.dumps(INTEGERS)}

[[outputs.postgresql]]
  connection = {json.dumps(dsn)}
  schema = {json.dumps(SCHEMA)}
  timestamp_column_name = "occurred_at"
  timestamp_column_type = "timestamp with time zone"
"""


class Telegraf:
    """The Peer; see peer.py."""

    name = "telegraf"
    answer_means = "in memory"
    remark = f"{VERSION}, json parser; ids as text, no received_at, nothing checked"

    def prepare(self) -> None:
        if PROGRAM.is_file():
            return
        PROGRAM.parent.mkdir(parents=True, exist_ok=True)
        with (CACHE / "telegraf.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of two runs at once the second finds what the first built
            if not PROGRAM.is_file():
                build()

    def table_sql(self, table: str) -> str:
        text = ", ".join(f"ALTER {column} TYPE text" for column in IDS)
        return f"ALTER TABLE {table} {text}, ALTER received_at DROP NOT NULL, ALTER test DROP NOT NULL;"

    def launch(self, dsn: str, table: str, directory: Path) -> PeerProcess:
        [port] = free_ports(1)
        written = directory / "telegraf.toml"
        written.touch(mode=0o600)  # it has the store's password
        written.write_text(configuration(port, dsn, table), "utf-8")
        command = [str(PROGRAM), "--config", str(written), "--quiet"]
        return PeerProcess(command, port=port, log=directory / "log", environment={})


def found_go() -> str:
    """A Go on PATH or where its installer puts it; raises Unavailable."""
    found = shutil.which("go") or next((place for place in GO_PLACES if Path(place).is_file()), None)
    if found is None:
        raise Unavailable(f"Telegraf is built with Go, and there is no go on PATH nor at {' or '.join(GO_PLACES)}")
    return found


def build() -> None:
    """One to three minutes, at the lowest priority; half a gigabyte that is gone afterwards. Raises Unavailable."""
    go = found_go()
    room = CACHE / "telegraf"
    sys.stderr.write(f"building Telegraf {VERSION}, once …\n")
    environment = {
        **os.environ,
        "GOBIN": str(room / "bin"),
        "GOPATH": str(room / "path"),
        "GOCACHE": str(room / "build"),
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    try:
        built = subprocess.run(
            ["nice", "-n", "19", go, "install", "-tags", ",".join(TAGS), MODULE],
            cwd=CACHE,  # a go.mod above would be taken for its own
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=BUILD_TIMEOUT_S,
        )
        if built.returncode != 0:
            said = (built.stderr.strip() or f"exit code {built.returncode}").splitlines()
            raise Unavailable("Telegraf could not be built: " + " ".join(said[-3:]))
        (room / "bin" / "telegraf").rename(PROGRAM)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"Telegraf was not built within {BUILD_TIMEOUT_S} s") from None
    finally:
        shutil.rmtree(room, ignore_errors=True)
