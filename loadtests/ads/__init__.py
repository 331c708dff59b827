"""Whether every figure of a campaign is right, to the cent: a seeded month of ads, `./gw truth --ads`.

    campaign.py   who pays what for which hours
    showing.py    one seeded ad shown: what its player fires, and when
    request.py    what goes on the wire: pixels and posts, out of order, some of it twice
    posting.py    the requests on their way, each resent until it is answered, and the book of every try
    figures.py    the ledger: what the answers promise, as figures by campaign and hour, money and frequencies
    asking.py     what the gateway says: its API, and the tables beside it
    compare.py    the comparison, figure by figure

Written from DESIGN §3 and §4 and VAST alone; nothing here imports anything of the product's.
"""
