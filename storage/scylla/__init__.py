"""Playback events in ScyllaDB or Cassandra (store = "scylla").

    spool ─▶ drain ─▶ sink ─▶ rows by partition ─▶ unlogged batches, bounded in flight ─▶ all acknowledged ─▶ positions

Every write may be repeated: a row's key is made of what the player sent, by whomever and however often it is written.
So the position needs no transaction with its effects; it is a file, replaced whole and fsynced behind them.

    driver.py       what is asked of a driver, its errors     acsylla_driver.py · cassandra_driver.py
    migration.py    migrations/*.cql                          bucket.py   partition keys (pure)
"""
