"""The read side: what the counters say now. Small asynchronous readers of the keys that storage/redis/key.py specifies.

Each takes a client of `storage.redis.connection.connect`, writes nothing, and raises SinkUnavailable or SinkRefused.

    views.py    views of a content by hour, of all contents, and what was counted in all
    viewers.py  who watches now: sessions whose lease has not run out
    streams.py  what profiles watch now

catalogue.py (whose profiles they are), hotness.py and campaigns.py ask PostgreSQL, by tables.py, and raise Unavailable,
as source.py.
quality.py is the exception: its figures are in the memory of their reader (storage/qoe), which is asked over a socket.
"""
