"""A real Apache Cassandra on loopback, one node or three, for trying, testing and measuring `store = "scylla"`.

    jars.py            its jars, by Maven, each checked against jars.sha256; and a Java that runs them
    configuration.py   what a ring is asked to be, and the files and the command line that make a node of it (pure)
    node.py            one node's process: start, kill, freeze, resume, end
    asking.py          a query, by a driver, to one node and no other
    ring.py            the nodes of a directory: start, wait until CQL answers, status, stop
    __main__.py        `./gw cql start | stop | status`

Every node is in DIR/nodeN; DIR/ring.json says how many there are and on which ports. A node's process is found by the
directory that its command line names: there is no pid file to be wrong. Nodes are on 127.0.0.1, 127.0.0.2 and 127.0.0.3
with one port, no password and no TLS: every account of the machine reaches them. Not for production.
"""

from gateway.cql.configuration import Plan
from gateway.cql.jars import CassandraMissing
from gateway.cql.node import Node
from gateway.cql.ring import Ring, RingError

__all__ = ["CassandraMissing", "Node", "Plan", "Ring", "RingError"]
