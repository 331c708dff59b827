"""JSON logs on standard error, one object a line: no keys, no viewers' addresses, no bodies."""

import contextlib
import logging
import sys
from typing import Any

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError


def configure(role: str, level: str) -> None:
    """Once at the start of a process. Raises ValueError for an unknown level."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log.level: {level} is none of debug, info, warning, error")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # no local variables: they hold passwords
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_text)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(_Unfailing()),  # type: ignore[arg-type]
    )
    structlog.contextvars.bind_contextvars(role=role)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _with_role(role)],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(serializer=_text),
        ],
    )
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(formatter)
    logging.basicConfig(handlers=[stream], level=max(number, logging.INFO), force=True)
    logging.getLogger("apscheduler").setLevel(max(number, logging.WARNING))  # each turn of each job is two lines of it
    logging.getLogger("aiohttp.server").addFilter(is_fault)


def is_fault(record: logging.LogRecord) -> bool:
    """False of what a client sent that is no HTTP, or no body: it was answered, and its bytes may hold a key."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, RequestPayloadError) and not (
        isinstance(error, HttpProcessingError) and error.code < 500
    )


class _Unfailing:
    """Standard error, where a line that cannot be written (a full disk) is lost instead of ending who wrote it."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def _with_role(role: str) -> Any:
    def add(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
        return event | {"role": role}

    return add


def _text(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
