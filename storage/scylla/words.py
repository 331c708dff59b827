"""What the words of an error of the cluster say that its code does not. Pure."""

import re

_MISSING = re.compile(
    r"unconfigured table|(?:keyspace|table|column ?family) \S+ (?:does not|doesn't) exist|can't find a column family"
    r"|undefined column name|unknown identifier",
    re.IGNORECASE,
)
"""Of Cassandra 3 to 5 and of ScyllaDB; all of them come with the code of an invalid query."""
_FULL = "disk usage exceeds failure threshold"
"""Of Cassandra's guardrail, which says it with the code of an invalid query: of a replica, not of the row."""
_TLS = re.compile(r"CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|[Hh]ostname mismatch|IP address mismatch")
"""Of Python's ssl, which drivers tell in the words of an error of the network."""


def is_full(message: str) -> bool:
    """Whether it says that a node's disk takes no more."""
    return _FULL in message


def is_untrusted(message: str) -> bool:
    """Whether it says that who answers has a wrong certificate, or speaks no TLS."""
    return _TLS.search(message) is not None


def is_missing(message: str) -> bool:
    """Whether it says that a keyspace, a table or a column is not there."""
    return _MISSING.search(message) is not None
