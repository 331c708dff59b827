"""3 bytes → events: a request's body becomes rows and verdicts. Pure: no I/O, no clock, no chance.

    body.py        Content-Encoding → bytes, bounded while they stream
    json.py        decode(): bytes → Batch, or Undecodable
    fast.py        the usual way: the whole batch typed at once, encoded straight into tuples
    verdict.py     the slow way: one event by its field table, to name what is wrong with it
    ad.py          one ad event by its own: these have no other way through JSON
    vast.py        a pixel's URL
    cmcd.py        lines of CMCD; cmcd_value.py one value of them, cmcd_context.py what the request says around them
    structured.py device.py                            what these stand on: RFC 8941; what a User-Agent is
    envelope.py    what a body is (envelope, array, object, lines) and, on the slow way, its events one by one
    bundle.py      tuples → frame bodies by kind, clock and month; repeats within the request
    rule.py time.py uuid.py metadata.py skeleton.py memo.py    what a value may be, shared by both ways
    limits.py undecodable.py                           what decoding is told, and what it raises

The fast way may only doubt, never refuse: what it doubts goes the slow way, which alone names faults. Both make the
same tuples byte for byte; a test over generated and mutated events holds them to it.
"""

from ingest.decode.json import decode, door_of
from ingest.decode.limits import Limits
from ingest.decode.request import trusted_country
from ingest.decode.undecodable import Undecodable

__all__ = ["Limits", "Undecodable", "decode", "door_of", "trusted_country"]
