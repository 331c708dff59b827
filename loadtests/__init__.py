"""Load from outside: viewers who post over HTTP, a ledger of what they were told, and the benchmark.

Nothing here imports the product. What a viewer sends, what an answer promises and what must then be in the stores is
written down a second time, from DESIGN §2 and §3 alone, so that the ledger can disagree with the product:

    viewing ──▶ body ──▶ posting ──▶ (HTTP: poster, locust_player) ──▶ gateway ──▶ PostgreSQL, Redis
                            │                                                         │
                            └──▶ ledger ──────────────▶ expectation ─────────▶ reconcile
"""
