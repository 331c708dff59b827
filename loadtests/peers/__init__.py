"""The peers side by side, `./gw peers`: what others do with the same bodies, the same client and the same PostgreSQL.

peer.py              what a peer is, one that runs, and its measurement: rows by count(*) until they stand still
process.py           its processes: start, CPU, kill -9, end
kill.py              what is left of acknowledged events after kill -9, by a ledger of ids
telegraf.py          Telegraf, built from the Go module proxy into .cache
fastapi.py           fastapi_service.py, with the packages of requirements.lock in a venv of its own in .cache
comparison.py        the gateway and every peer in one run, interleaved
report.py            the table
"""
