"""The second half: frames on disk become rows and counts.

    DATA/spool/<incarnation>/ ──▶ Feed ──▶ drain.run ──▶ EventSink.write ──▶ rows + position, in one transaction
         one a start of           fair,     backoff, pace,  │
         a collector              bounded   red states      ├─▶ DATA/dead/*.jsonl   what the store refuses, and why
                                               │            └─▶ PostgreSQL | Redis | memory
                                               └─▶ DATA/run/<reader>.json   every second: where it stands, how it is

Nothing here is imported by `ingest`. Both stores share `drain.run`: one process and one position a reader.
"""
