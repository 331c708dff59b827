"""PostgreSQL as the store: rows of playback_events and the spool's positions, in one transaction.

    writer.py        the sink: a batch of frames → COPY | staging | dead letters, then compare-and-set of the positions
    batch.py         which frame takes which way (pure but for the fingerprints' memory)
    fingerprint.py   ids of the last million rows, to suspect a duplicate before COPY meets it
    copy.py          tuples into a table, untouched
    staging.py       rows one by one: ON CONFLICT DO NOTHING, and bisection of what the database refuses
    clock_repair.py  when an event of a broken clock happened
    playback_store.py  whether rows of playback events are this store's or another's
    months.py        whether a month has its partition, and may still get it
    positions.py     where every incarnation stands, moved by compare-and-set
    totals.py        the books of a position (pure)
    outcome.py       what a transaction did, for the metrics
    refusal.py       SQLSTATE → what to do (pure)
    connection.py    a connection that may be trusted with a transaction
    statement.py     queries.sql, by name

The derivable reader's: derived.py (the sink), views.py, watch_history.py, backfill.py and loaded.py (of
rows elsewhere). What is done beside the flow: job.py.

The schema's side: migration.py, migrations/, partition.py, partition_keeper.py. The auditor's: audit.py. The read
side's: reads.py, accounts.py.
"""
