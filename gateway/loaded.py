"""Everything that a gateway runs, imported: `serve --check` ends well where all of it loads."""

from gateway import collecting, cql_schema, draining, supervisor
from storage.postgres import writer
from storage.redis import counters

__all__ = ["collecting", "counters", "cql_schema", "draining", "supervisor", "writer"]
