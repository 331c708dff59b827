"""Whether the numbers are right: a seeded crowd whose ledger says what they have to be, `./gw truth`.

    evening.py   what a crowd's sessions say, and in which requests: offline spells, resends, wrong clocks, midnights
    posting.py   the requests on their way, to several collectors at once and in any order
    viewers.py   who watches at a moment, as the ledger has it
    seated.py    whom Redis has seated then, to explain a wrong number with
    progress.py  where profiles are in their contents, as the ledger has it
    hotness.py   views in 24 hours, 7 and 30 days, score, tier and TTL, as the ledger has them
    asking.py    what the gateway says: its API, and the tables beside it
    verdict.py   the comparison, number by number

Written from DESIGN §3 and §4 and the platform's schema alone; nothing here imports anything of the product's.
"""
