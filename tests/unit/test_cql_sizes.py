"""What Cassandra's sstablemetadata says of a file."""

import pytest

from gateway.cql.sizes import SizesUnknown, told

SAID = """\
Compressor: org.apache.cassandra.io.compress.LZ4Compressor
Compression ratio: 0.25
totalColumnsSet: 3
totalRows: 415
Estimated tombstone drop times:\x20
   Max       1996099046 (04/02/2033 23:57:26)
Partition Size:\x20
   Size (bytes) | Count  (%)  Histogram\x20
   72 (72 B)    |     1 ( 50) OOOOOOOOO
   Percentiles
   Min       25 (25 B)
   Max       785939 (767.5 KiB)
Column Count:\x20
   Max       3
"""


def test_rows_ratio_and_the_largest_partition_are_read() -> None:
    assert told(SAID) == (415, 0.25, 785_939)


def test_a_file_that_is_not_compressed_is_as_large_as_its_data() -> None:
    assert told(SAID.replace("0.25", "-1.0")) == (415, 1.0, 785_939)


@pytest.mark.parametrize("missing", ["totalRows", "Partition Size"])
def test_what_is_not_said_is_not_made_up(missing: str) -> None:
    with pytest.raises(SizesUnknown):
        told(SAID.replace(missing, "Else"))
