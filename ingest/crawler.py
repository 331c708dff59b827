"""Who is no viewer: crawlers, monitors, link previews and automated browsers, by their User-Agent.

The list is crawler-user-agents (MIT; some 1,500 patterns, a release every few weeks). Its group of HTTP libraries is
left out: okhttp is every other Android player, and a platform's own servers post for televisions by such libraries.
"""

import re
from functools import cache, lru_cache
from typing import Final

USER_AGENT_MAX_CHARS: Final = 512
"""Looked at; browsers' are half of that, and each costs some 0.3 ms the first time."""
REMEMBERED_MAX: Final = 4_096
"""User-Agents whose answer is kept: an evening's devices and releases."""
_PATTERNS_TOGETHER: Final = 25
"""In one expression: more are slower, since one that begins with anything spoils the search of the others."""
_LIBRARIES: Final = "http-library"


@lru_cache(REMEMBERED_MAX)
def is_crawler(user_agent: str) -> bool:
    """By a header as sent, empty when absent: then it is none."""
    return any(pattern.search(user_agent, 0, USER_AGENT_MAX_CHARS) for pattern in patterns())


@cache
def patterns() -> list[re.Pattern[str]]:
    """Of the whole list, compiled once a process: some 30 ms, which is for a start and not for a request."""
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # noqa: PLC0415  half a megabyte of JSON, for collectors alone

    every = [one["pattern"] for one in CRAWLER_USER_AGENTS_DATA if _LIBRARIES not in one.get("tags", ())]
    chunks = [every[first : first + _PATTERNS_TOGETHER] for first in range(0, len(every), _PATTERNS_TOGETHER)]
    return [re.compile("|".join(chunk)) for chunk in chunks]
