"""The client, and its errors in the words of a drain."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as TimedOut

from storage.sink import SinkRefused, SinkUnavailable

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
"""A script takes 20 ms; a server that waits for the fsync of its log may stand still for seconds."""

PASSING = ("MISCONF", "BUSY", "TRYAGAIN", "NOREPLICAS", "UNBLOCKED", "CLUSTERDOWN", "MASTERDOWN", "LOADING")
"""Errors that go away without us; redis-py has no class for each."""


def connect(url: str, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
    """A redis.asyncio.Redis (its commands are not typed) for redis:// or rediss://. Any other URL is SinkRefused.

    Nothing is sent twice: what became of a call without an answer, the positions say.
    """
    try:
        return Redis.from_url(
            url,
            decode_responses=False,
            socket_connect_timeout=min(CONNECT_TIMEOUT_S, answer_timeout_s),
            socket_timeout=answer_timeout_s,
            retry=Retry(NoBackoff(), 0),
            client_name="streamverse-ingest",
        )
    except ValueError as error:
        raise SinkRefused(f"redis.url: {error}") from error


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the client within, as StoreError."""
    try:
        yield
    except OutOfMemoryError as error:
        raise SinkUnavailable(f"Redis is at its maxmemory and takes no more: {error}") from error
    except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
        raise SinkRefused(f"Redis lets us do nothing: {error}") from error
    except (Disconnected, TimedOut, BusyLoadingError, ClusterDownError, ReadOnlyError, OSError) as error:
        raise SinkUnavailable(f"{type(error).__name__}: {error}") from error
    except ResponseError as error:
        if str(error).startswith(PASSING):
            raise SinkUnavailable(str(error)) from error
        raise SinkRefused(f"Redis refuses: {error}") from error
    except RedisError as error:
        raise SinkUnavailable(f"{type(error).__name__}: {error}") from error
