"""What every service of ours does with HTTP: a bare ASGI application with limits, and errors as sentences.

Invariant: a fault of the caller is a 4xx with ``{"error": sentence}``; what this rests on and does not answer, an online
store for example, is a 503 with another; a fault of ours is a 500 with an id that stands in the log beside the trace. No
trace ever leaves the process.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from asyncio import to_thread
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, ClassVar, NamedTuple, TypeAlias

import msgspec

from trivet.clock import new_id
from trivet.errors import Invalid, NotFound, Refused, TrivetError, Unavailable

__all__ = ["JSON", "Answer", "Failure", "Scope", "Service", "allow", "ok"]

_logger = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = [(b"content-type", b"application/json")]
_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """What goes back."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = JSON


class Failure(Exception):
    """An answer other than 2xx that no error of Trivet's stands for."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.answer = Answer(status, _encode({"error": message}), [*JSON, *headers])


class Service(ABC):
    """An ASGI application; a subclass adds ``route``.

    Args:
        on_close: called when the server stops, after the last answer.
        most_bytes: of a body.
    """

    unavailable: ClassVar[tuple[type[TrivetError], ...]] = (Unavailable,)
    """Errors that are answered with 503: they will pass."""

    def __init__(self, *, on_close: Callable[[], object] | None = None, most_bytes: int = 4 << 20) -> None:
        self._on_close, self.most_bytes = on_close, most_bytes

    @abstractmethod
    def route(self, scope: Scope, body: bytes) -> Answer:
        """The answer to one request."""

    def waits(self, scope: Scope) -> bool:  # noqa: ARG002 - a service may have such, and need not
        """Whether a request takes so long that others are answered meanwhile, by other threads."""
        return False

    def counted(self, change: int) -> None:  # noqa: B027 - a service may count, and need not
        """Told of each request that begins (1) and ends (-1)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request, or follow the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise Refused(f"The service speaks HTTP, not {scope['type']}.")

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown" and self._on_close is not None:
                self._on_close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._body(scope, receive)
            if body is None:
                return  # the caller has gone
            answer = await to_thread(self.answer, scope, body) if self.waits(scope) else self.answer(scope, body)
        except Failure as failure:
            answer = failure.answer
        await send({"type": "http.response.start", "status": answer.status, "headers": _sized(answer)})
        await send({"type": "http.response.body", "body": answer.body if scope["method"] != "HEAD" else b""})

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body, None if the caller went away."""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self.most_bytes:
                raise self.too_large()
        message = await receive()
        body: bytes = message.get("body", b"")
        while message.get("more_body", False):
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self.most_bytes:
                raise self.too_large()
        return None if message["type"] == "http.disconnect" else body

    def too_large(self) -> Failure:
        """What answers a body of more than ``most_bytes``."""
        most = f"The body is too large: {self.most_bytes} bytes is the most. Send several calls."
        return Failure(413, most, (b"connection", b"close"))

    def answer(self, scope: Scope, body: bytes) -> Answer:
        """The answer to one request, errors among them. Nothing is raised."""
        self.counted(1)
        try:
            return self.route(scope, body)
        except Failure as failure:
            return failure.answer
        except NotFound as exc:
            return _error(404, exc.message)
        except Invalid as exc:
            return _error(400, exc.message)
        except self.unavailable as exc:
            return _error(503, exc.message)
        except Exception as exc:  # the last resort of a server: answered with an id, the trace goes to the log
            reference = new_id()
            _logger.exception("Error %s while answering %s %s", reference, scope["method"], scope["path"])
            sentence = exc.message if isinstance(exc, TrivetError) else "Something is wrong inside the service."
            return Answer(500, _encode({"error": f"{sentence} The log has more under this id.", "id": reference}))
        finally:
            self.counted(-1)


def allow(method: str, *allowed: str) -> None:
    """Answer 405 to other methods."""
    if method not in allowed:
        listed = ", ".join(allowed)
        raise Failure(405, f"{method} is not possible here. Use {listed}.", (b"allow", listed.encode()))


def ok(value: Any) -> Answer:
    """A value as JSON."""
    return Answer(200, _encode(value))


def _error(status: int, message: str) -> Answer:
    return Answer(status, _encode({"error": message}))


def _sized(answer: Answer) -> list[tuple[bytes, bytes]]:
    return [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
