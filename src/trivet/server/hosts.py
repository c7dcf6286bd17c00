"""Only requests that name this machine are answered, so that a web page elsewhere cannot read the pages.

A page on another site may point its own name at 127.0.0.1 once it is loaded (DNS rebinding) and would then count as
the same origin. Its requests still carry that name in ``Host``: they are refused before anything is read. So are
requests that a browser marks as another site's (``Sec-Fetch-Site``), except for following a link.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

__all__ = ["LoopbackOnly", "names_this_machine"]

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]
_SENTENCE = (
    b'{"error":"This server answers only to the name of this machine: open it at http://127.0.0.1 or localhost."}'
)


def names_this_machine(host: str) -> bool:
    """Whether a ``Host`` header means a loopback address or ``localhost``, with or without a port.

    Example:
        >>> [names_this_machine(host) for host in ("127.0.0.1:8416", "localhost", "[::1]:80", "evil.example", "")]
        [True, True, True, False, False]
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class LoopbackOnly:
    """An ASGI middleware that answers 421 (misdirected request) to every other host."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Pass on what names this machine."""
        if scope["type"] == "http" and not _welcome(dict(scope["headers"])):
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_SENTENCE)).encode())]
            await send({"type": "http.response.start", "status": 421, "headers": headers})
            await send({"type": "http.response.body", "body": _SENTENCE})
            return
        await self.app(scope, receive, send)


def _welcome(headers: dict[bytes, bytes]) -> bool:
    if not names_this_machine(headers.get(b"host", b"").decode("latin-1")):
        return False
    foreign = headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin", b"same-site"}
    return not foreign or headers.get(b"sec-fetch-mode") == b"navigate"
