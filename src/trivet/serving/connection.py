"""HTTP/1.1 for a service, with nothing between the parser and the answer.

An ASGI server makes a task, an event and several messages for each request, which costs more than reading features for
it. This is a protocol for Uvicorn, which goes on to own the process, its signals and its end: httptools parses, the
service answers in the event loop or, where it says that it must wait, in a thread.

Invariant: requests of one connection are answered in their order, whatever they take, and what is not yet parsed or not
yet sent is bounded: reading stops while an answer is made by a thread or the client does not take what it asked for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import unquote

import httptools

from trivet.serving.asgi import JSON, Answer, Failure, Scope, Service

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

__all__ = ["Connection"]

PATIENCE = 60.0
"""Seconds that a connection may be idle, and that a request may take to arrive."""
_LINGER = 2.0  # seconds in which the rest of what was refused is taken and forgotten
_MOST_HEAD = 64 << 10  # bytes of a request before its body
_CLOSE = (b"connection", b"close")


class _Request(NamedTuple):
    scope: Scope
    body: bytes
    stays: bool  # whether the connection outlives it


class Connection(asyncio.Protocol):
    """One connection of a client; ``service`` is bound beforehand, the rest is what Uvicorn hands to its protocols."""

    def __init__(
        self,
        service: Service,
        *,
        config: Config,  # noqa: ARG002 - Uvicorn's
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002 - Uvicorn's
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._service, self._state = service, server_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport = cast("asyncio.Transport", None)
        self._waiting: deque[_Request] = deque()
        self._busy = self._full = self._paused = False  # a thread answers; the client does not read; nor do we
        self._ending = False  # no more requests are taken
        self._arriving, self._headed, self._size = False, False, 0
        self._url, self._headers, self._body = b"", list[tuple[bytes, bytes]](), list[bytes]()

    # --- the transport ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)
        cast("set[Any]", self._state.connections).add(self)
        self._since = self._loop.time()
        self._timer = self._loop.call_later(PATIENCE, self._look)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See ``asyncio.Protocol``."""
        self._ending = True
        self._waiting.clear()
        self._timer.cancel()
        cast("set[Any]", self._state.connections).discard(self)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._ending:
            return
        if not self._arriving:
            self._since = self._loop.time()
        unheaded = self._arriving and not self._headed
        try:
            self._parser.feed_data(data)
            if unheaded and not self._headed:
                self._grown(len(data))
        except httptools.HttpParserUpgrade:
            pass  # answered as if nothing but HTTP/1.1 had been offered, and closed
        except httptools.HttpParserError as exc:
            cause = exc.__context__
            self._refuse(cause if isinstance(cause, Failure) else Failure(400, f"This is no HTTP request: {exc}."))
            return
        except Failure as failure:
            self._refuse(failure)
            return
        self._work()

    def eof_received(self) -> bool:
        """See ``asyncio.Protocol``: who has said everything may still be waiting for an answer."""
        self._ending = True
        return self._busy

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._full = True
        self._pause()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._full = False
        self._work()

    def shutdown(self) -> None:
        """Uvicorn's word for: answer what has come, then close."""
        self._ending = True
        if not (self._busy or self._waiting):
            self._transport.close()

    def _look(self) -> None:
        """Close the connection if nothing has come for too long."""
        left = self._since + PATIENCE - self._loop.time()
        if self._busy or left > 0:
            self._timer = self._loop.call_later(max(left, 1.0), self._look)
        elif self._arriving:
            self._refuse(Failure(408, f"The request took longer than {PATIENCE:.0f} seconds to arrive."))
        else:
            self._transport.close()

    # --- the parser ------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._arriving, self._headed, self._size = True, False, 0
        self._url, self._headers, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The body follows."""
        expected = False
        for name, value in self._headers:
            self._grown(len(name) + len(value) + 4)
            if name == b"content-length" and int(value) > self._service.most_bytes:
                raise self._service.too_large()
            expected = expected or (name == b"expect" and value.lower() == b"100-continue")
        if expected and not (self._waiting or self._busy):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._headed, self._size = True, 0

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body.append(body)
        self._size += len(body)
        if self._size > self._service.most_bytes:
            raise self._service.too_large()

    def on_message_complete(self) -> None:
        """The request is here."""
        parser = self._parser
        stays = parser.should_keep_alive() and parser.get_http_version() == "1.1" and not parser.should_upgrade()
        scope = _scope(parser.get_method(), self._url, self._headers)
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._waiting.append(_Request(scope, body, stays))
        self._arriving = False

    def _grown(self, size: int) -> None:
        self._size += size
        if self._size > _MOST_HEAD:
            raise Failure(431, f"The headers are too large: {_MOST_HEAD} bytes is the most.")

    # --- answering -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Answer what has come, until a thread has to or the client does not read."""
        while self._waiting and not (self._busy or self._full):
            request = self._waiting.popleft()
            if self._service.waits(request.scope):
                self._busy = True
                self._pause()
                task = self._loop.create_task(self._wait(request))
                self._state.tasks.add(task)
                task.add_done_callback(self._state.tasks.discard)
            else:
                self._send(request, self._service.answer(request.scope, request.body))
        if self._paused and not (self._busy or self._full or self._transport.is_closing()):
            self._paused = False
            self._transport.resume_reading()
        if self._ending and not (self._busy or self._waiting):
            self._transport.close()

    def _pause(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    async def _wait(self, request: _Request) -> None:
        answer = await asyncio.to_thread(self._service.answer, request.scope, request.body)
        self._busy = False
        self._send(request, answer)
        self._work()

    def _send(self, request: _Request, answer: Answer, *, linger: float = 0.0) -> None:
        closes = not request.stays or (self._ending and not self._waiting) or _CLOSE in answer.headers
        head = b"%bcontent-length: %d\r\n%b\r\n" % (
            _JSON_HEADS[answer.status] if answer.headers is JSON else _head(answer),
            len(answer.body),
            b"connection: close\r\n" if closes and _CLOSE not in answer.headers else b"",
        )
        self._transport.write(head if request.scope["method"] == "HEAD" else head + answer.body)
        self._since = self._loop.time()
        if closes:
            self._ending = True
            self._waiting.clear()
            if linger:  # closing while the client still sends would reset the connection under the answer
                self._transport.write_eof()
                self._loop.call_later(linger, self._transport.close)
            else:
                self._transport.close()

    def _refuse(self, failure: Failure) -> None:
        """Answer what cannot be parsed, after what could be, and listen no more."""
        self._work()
        if not (self._busy or self._waiting or self._transport.is_closing()):
            self._send(_Request({"method": ""}, b"", stays=False), failure.answer, linger=_LINGER)
        self._ending = True


def _scope(method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]) -> Scope:
    """What a service looks at, under ASGI's names."""
    raw, _, query = url.partition(b"?")
    if not raw.startswith(b"/"):  # the address as proxies are asked for it
        raw = httptools.parse_url(url).path or b"/"
    path = raw.decode("latin-1")
    return {
        "method": method.decode(),
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw,
        "query_string": query,
        "headers": headers,
    }


def _head(answer: Answer) -> bytes:
    status = HTTPStatus(answer.status)
    lines = [b"HTTP/1.1 %d %b" % (status, status.phrase.encode()), *(b"%b: %b" % header for header in answer.headers)]
    return b"\r\n".join(lines) + b"\r\n"


_JSON_HEADS = {status.value: _head(Answer(status.value, b"", JSON)) for status in HTTPStatus}
