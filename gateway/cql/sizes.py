"""How large the partitions of a table are, as a node's files say it: by Cassandra's own sstablemetadata, file by file.

Files are what was flushed: of a node that has ended cleanly, everything. A partition may lie in two files, so the
largest ones of a table's files are added up: an upper bound.
"""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from gateway.cql import jars
from gateway.cql.configuration import EXPORTS, OPENS

TOOL: Final = "org.apache.cassandra.tools.SSTableMetadataViewer"
TOOL_TIMEOUT_S: Final = 120.0
_RATIO: Final = re.compile(r"^Compression ratio: ([0-9.]+)$", re.MULTILINE)
_ROWS: Final = re.compile(r"^totalRows: ([0-9]+)$", re.MULTILINE)
_LARGEST: Final = re.compile(r"^Partition Size:.*?^ +Max +([0-9]+)", re.MULTILINE | re.DOTALL)


class SizesUnknown(Exception):
    """Cassandra's tool did not say it; the text is its own."""


class Sizes(NamedTuple):
    """Of one table on one node."""

    table: str
    files: int
    rows: int
    disk_bytes: int
    """Compressed."""
    data_bytes: int
    """Before compression: what limits of partitions are about."""
    partition_max_bytes: int
    """At most: Cassandra counts partitions by steps of a fifth, and says a step's upper end."""


def sizes(node: Path, keyspace: str) -> list[Sizes]:
    """Of all tables of a keyspace that are in files, by name. Raises SizesUnknown, CassandraMissing."""
    tables: dict[str, list[Path]] = {}
    for file in sorted((node / "data" / keyspace).glob("*/*-Data.db")):
        tables.setdefault(file.parent.name.partition("-")[0], []).append(file)
    return [_sizes(node, table, files) for table, files in sorted(tables.items())]


def _sizes(node: Path, table: str, files: Iterable[Path]) -> Sizes:
    found = Sizes(table, 0, 0, 0, 0, 0)
    for file in files:
        rows, ratio, largest_bytes = told(_ask(node, file))
        disk_bytes = file.stat().st_size
        found = Sizes(
            table,
            found.files + 1,
            found.rows + rows,
            found.disk_bytes + disk_bytes,
            found.data_bytes + round(disk_bytes / ratio),
            found.partition_max_bytes + largest_bytes,
        )
    return found


def told(text: str) -> tuple[int, float, int]:
    """Rows, compression ratio (1.0: none), bytes of the largest partition. Raises SizesUnknown."""
    rows, largest, ratio = _ROWS.search(text), _LARGEST.search(text), _RATIO.search(text)
    if rows is None or largest is None:
        raise SizesUnknown(text[-500:])
    return int(rows[1]), float(ratio[1]) if ratio and float(ratio[1]) > 0 else 1.0, int(largest[1])


def _ask(node: Path, file: Path) -> str:
    command = [
        str(jars.java()), "-Xmx256m", "-XX:TieredStopAtLevel=1", f"-Dcassandra.storagedir={node}/",
        f"-Dcassandra.config={(node / 'cassandra.yaml').as_uri()}",
        f"-Dlogback.configurationFile={(jars.HERE / 'logback.xml').as_uri()}",
        *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
        "-cp", str(jars.DIRECTORY / "lib" / "*"), TOOL, str(file),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise SizesUnknown(f"no answer in {TOOL_TIMEOUT_S:.0f} s about {file.name}") from error
    if done.returncode:
        raise SizesUnknown(done.stderr.strip()[-500:])
    return done.stdout
