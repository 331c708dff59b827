"""What an event costs, side by side with what its parts could do alone.

request   bytes to send, minted while they are sent      client   closed loop: the next when the last is answered
gateway   the product under a load, and what it used     open_loop   at a rate, whatever comes back
bare_copy bare_http bare_fsync   the limits               parts   what is measured, each resumable
table     for people, with the marks that bind
"""
