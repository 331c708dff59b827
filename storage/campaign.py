"""What an ad server has to know of a campaign before it shows the next ad. Pure."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Standing(NamedTuple):
    """Of one campaign, absolute: each later one replaces it. Money is in the campaign's currency, as decimal text."""

    id: UUID
    impressions: int
    clicks: int
    completions: int
    spent: str
    spent_today: str
    """In the running day in UTC."""
    remaining_total: str | None
    """Of budget_total; None: it has no bound. Below 0 when more was shown than the budget pays for: what players report
    late was shown all the same."""
    remaining_daily: str | None
    """The same of budget_daily and the running day in UTC."""
    as_of: datetime
