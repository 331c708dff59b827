"""What the admin port answers where no route does: to what it cannot read, does not have, or breaks over."""

from typing import Any

import structlog
from aiohttp import ClientConnectionResetError, web

from ingest.answer import Answer, refusal
from ingest.general import judge_coding
from ingest.refusal import Refusal

log: Any = structlog.get_logger()


@web.middleware
async def answered(request: web.Request, handler: Any) -> web.StreamResponse:
    """The route's answer, or JSON that says why there is none."""
    try:
        judge_coding(request)
        response: web.StreamResponse = await handler(request)
        return response
    except Refusal as refused:  # its end is in doubt, as at the door: nothing behind it is read
        last = _as_response(refused.answer)
        last.force_close()
        return last
    except ClientConnectionResetError:  # who asked went before the answer began: nobody will read this one
        return web.Response()
    except web.HTTPException as error:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status, "invalid_http")
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return _as_response(refusal(error.status, code, error.reason or ""), headers)
    except Exception:  # our own bug; nothing is in hand but a question: told in the log, and to who asked as JSON
        log.exception("admin_broken", path=request.path)
        return _as_response(refusal(500, "internal_error", "This is an error of the gateway's own; its log says more."))


def _as_response(answer: Answer, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=headers, content_type="application/json")
