"""A prediction service on a port: one Uvicorn worker, a frozen heap, and an end that loses nothing.

One worker, because the log, the metrics and the memory of the model belong to one process; run several services
behind a balancer for more. After the start all objects are frozen out of the garbage collector, whose full
collections cost tens of milliseconds with a model in memory. On SIGTERM or SIGINT requests in flight are answered,
then the application closes its log, then ``run`` returns.
"""

from __future__ import annotations

import gc
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import uvicorn

from trivet.errors import Conflict, Invalid, Refused
from trivet.serving.asgi import Service
from trivet.serving.connection import Connection

__all__ = ["run"]


def run(
    app: Any,
    host: str = "127.0.0.1",
    port: int = 8417,
    *,
    allow_public: bool = False,
    drain: float = 10.0,
    on_ready: Callable[[str, int], object] | None = None,
) -> None:
    """Serve an ASGI application until SIGTERM or SIGINT. Prints nothing.

    Args:
        app: for example ``trivet.serving.app.App``.
        host: the address to listen on.
        port: 0 takes a free one.
        allow_public: listen on an address that other machines reach, although nothing asks who calls.
        drain: seconds that requests in flight get to finish.
        on_ready: called with the host and the port when requests are answered.

    Raises:
        Refused: ``host`` is not this machine only and ``allow_public`` was not given.
        Conflict: the port is taken.
        Invalid: this is no address or no port.
    """
    if not allow_public and not _is_loopback(host):
        raise Refused(
            f"{host} is reachable from other machines and the prediction service asks nobody who they are. "
            "Listen on 127.0.0.1, put a gateway with authentication in front, or say allow_public=True."
        )
    with _bound(host, port) as listener:
        config = uvicorn.Config(
            app,
            loop="auto",
            http=cast("Any", partial(Connection, app)) if isinstance(app, Service) else "auto",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=max(1, round(drain)),
        )
        _Server(config, lambda: on_ready and on_ready(*listener.getsockname()[:2])).run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        gc.collect()
        gc.freeze()
        self._ready()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """As Uvicorn's, but a signal that was obeyed is not raised again: the caller of ``run`` goes on."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bound(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise Invalid(f"{port} is no port. Choose one from 1 to 65535, or 0 for a free one.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except socket.gaierror as exc:
        raise Invalid(f"{host}:{port} is no address of this machine: {exc}.") from exc
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as exc:
        listener.close()
        raise Conflict(f"{host}:{port} cannot be listened on: {exc.strerror}. Choose another port, or 0.") from exc
    return listener
