"""The first half: request → frame on disk. What a 2xx promises is kept here, whatever becomes of the second half.

    player
      │  POST /v1/events, GET /v1/ad/{event}
      ▼
    entrance                  1  receive: bytes in, an answer out; nothing else knows HTTP      cors · answer
      ├─ lean · plain            the requests players really send, by llhttp
      └─ general · connection    whatever else is HTTP/1, by aiohttp
      ▼
    intake · admission        2  admit or refuse before the body is read: 413, 429, 503         limits of config/
      ▼
    decode/ · pixel · click   3  bytes → verdicts, event by event; what is kept becomes rows    event · ad · codes
      │      batch               of one kind, month and clock, each a COPY tuple (tuple)         identity
      ▼
    spool/                    4  frames → one fsync for many requests → the watermark           clock · metrics · tally
      ║                          only now the answer: 2xx
      ╚══▶ storage/              readers, each at its own pace, below the watermark

Events that are refused, and repeats within a request, are counted in the next frame's running totals.
Never imports storage/, live/ or gateway/.
"""
