"""What a request asks for, of those that aiohttp reads: its path, and its head as the intake takes it."""

from typing import NamedTuple

from aiohttp import web

from ingest import browser_module, cmcd_report, pixel
from ingest.cmcd_report import CmcdHead
from ingest.head import Head
from ingest.intake import EVENTS_PATH, AnyHead
from ingest.pixel import PixelHead


class Asked(NamedTuple):
    """One request."""

    path: str
    """EVENTS_PATH, cmcd_report.PATH, pixel.PATH for all that is below it, browser_module.PATH for the module and its
    types, or nothing of ours.
    """
    last: AnyHead
    """Its head."""
    origin: str | None

    @classmethod
    def of(cls, request: web.BaseRequest, country_header: str) -> "Asked":
        """`country_header`: of a trusted CDN; empty for none."""
        path, headers, query = known_path(request), request.headers, request.rel_url.raw_query_string
        user_agent, authorization = headers.get("User-Agent", ""), headers.get("Authorization", "")
        origin, encoding = headers.get("Origin"), headers.get("Content-Encoding")
        country = headers.get(country_header) if country_header else None
        head: AnyHead
        if path == pixel.PATH:
            url = request.rel_url
            name = url.raw_path if url.raw_path.startswith(pixel.PATH) else url.path
            head = PixelHead.of(name.removeprefix(pixel.PATH), query, user_agent, authorization, origin)
        elif path == cmcd_report.PATH:
            said = [",".join(headers.getall(name)) if name in headers else None for name in cmcd_report.HEADERS]
            platform, mobile = headers.get("Sec-CH-UA-Platform", ""), headers.get("Sec-CH-UA-Mobile", "")
            head = CmcdHead.of(query, said, encoding, user_agent, platform, mobile, country, authorization, origin)
        else:
            minimal = "return=minimal" in headers.get("Prefer", "")
            head = Head.of(
                *(headers.get("Content-Type", ""), encoding, query, country, user_agent),
                minimal=minimal, authorization=authorization, origin=origin,
            )  # fmt: skip
        return cls(path, head, None if path == browser_module.PATH else origin)  # the module is the same for all


def known_path(request: web.BaseRequest) -> str:
    """As `Asked.path`."""
    path = request.path
    if path == f"{cmcd_report.PATH}/":  # players put paths together, and cannot mend a 404
        return cmcd_report.PATH
    if path in (EVENTS_PATH, cmcd_report.PATH):
        return path
    if path in browser_module.FILES:
        return browser_module.PATH
    return pixel.PATH if path.startswith(pixel.PATH) else ""
