from __future__ import annotations

import asyncio
import json
import logging
import time
from functools import partial

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from trivet.errors import Invalid
from trivet.serving import connection
from trivet.serving.asgi import Answer, Service, ok
from trivet.serving.connection import Connection

LOOP = [asyncio.new_event_loop]


@pytest.fixture(autouse=True, scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop])
def _loop(request):
    LOOP[0] = request.param


class Echo(Service):
    """Answers with what was asked; ``/slow`` in a thread, ``/bad`` never."""

    def route(self, scope, body):
        if scope["path"] == "/bad":
            raise Invalid("It is bad.")
        if scope["path"] == "/bug":
            raise ZeroDivisionError
        if scope["path"] == "/slow":
            time.sleep(0.05)
        if scope["path"] == "/long":
            return Answer(200, b"x" * (1 << 20))
        asked = {name: scope[name] for name in ("method", "path")}
        query, raw = scope["query_string"].decode(), scope["raw_path"].decode()
        return ok({**asked, "query": query, "raw": raw, "body": body.decode()})

    def waits(self, scope):
        return scope["path"] == "/slow"


class Line:
    """A connection of a client."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def answer(self, *, head=False):
        """Status, headers and body of the next answer."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:-2])
        length = int(headers.get("content-length", 0))
        return int(lines[0].split()[1]), headers, b"" if head else await self.reader.readexactly(length)

    async def bodies(self, count):
        return [json.loads((await self.answer())[2]) for _ in range(count)]

    async def closed(self):
        return await self.reader.read() == b""


def talk(story, *, most_bytes=1000):
    """Play a story, an asynchronous function of ``Line`` and what Uvicorn keeps of the server."""

    async def play():
        state, service = ServerState(), Echo(most_bytes=most_bytes)
        make = partial(Connection, service, config=None, server_state=state, app_state={})
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            async with asyncio.timeout(20):
                return await story(Line(reader, writer), state)
        finally:
            writer.close()
            server.close()
            while state.connections:
                await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=LOOP[0]) as runner:
        return runner.run(play())


def asking(path="/", body=b"", *headers, method="POST", version="1.1"):
    lines = [f"{method} {path} HTTP/{version}", "Host: here", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def once(data, **options):
    async def story(line, _):
        line.writer.write(data)
        return await line.answer(), line.reader

    return talk(story, **options)[0]


def test_a_request_has_all_that_a_service_looks_at():
    status, headers, body = once(asking("/a%20b?features=true", b"{}"))
    assert (status, headers["content-type"]) == (200, "application/json")
    expected = {"method": "POST", "path": "/a b", "query": "features=true", "raw": "/a%20b", "body": "{}"}
    assert json.loads(body) == expected
    assert json.loads(once(asking("http://elsewhere/x?y", b""))[2])["path"] == "/x"


def test_errors_of_the_service_keep_the_connection(caplog):
    async def story(line, _):
        line.writer.write(asking("/bad") + asking("/bug") + asking("/good"))
        return [(await line.answer())[0] for _ in range(3)]

    with caplog.at_level(logging.CRITICAL, "trivet.serving.asgi"):
        assert talk(story) == [400, 500, 200]


PATHS = st.sampled_from(["/", "/slow", "/b?c=d"])
BODIES = st.binary(max_size=40).map(lambda data: data.hex().encode())


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(PATHS, BODIES, st.booleans()), min_size=1, max_size=5), st.data())
def test_requests_are_answered_in_order_however_they_arrive(requests, data):
    sent = b"".join(
        asking(path, b"", "Transfer-Encoding: chunked")
        + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"")
        + b"0\r\n\r\n"
        if chunked
        else asking(path, body)
        for path, body, chunked in requests
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=4)))

    async def story(line, _):
        line.writer.transport.set_write_buffer_limits(0)
        for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            line.writer.write(sent[start:end])
            await asyncio.sleep(0.001)
        return await line.bodies(len(requests))

    answers = talk(story)
    assert [each["body"].encode() for each in answers] == [body for _, body, _ in requests]
    assert [each["path"] for each in answers] == [path.partition("?")[0] for path, _, _ in requests]


def test_head_has_the_length_and_no_body():
    async def story(line, _):
        line.writer.write(asking(method="HEAD") + asking("/next"))
        _, headers, _ = await line.answer(head=True)
        assert int(headers["content-length"]) > 0
        return await line.bodies(1)

    assert talk(story)[0]["path"] == "/next"


@pytest.mark.parametrize(
    "request_",
    [
        asking("/", b"", "Connection: close"),
        asking("/", b"", version="1.0"),
        asking("/", b"x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
    ],
)
def test_the_connection_closes_where_the_client_wants_or_speaks_otherwise(request_):
    async def story(line, _):
        line.writer.write(request_)
        status, headers, _ = await line.answer()
        return status, headers["connection"], await line.closed()

    assert talk(story) == (200, "close", True)


@pytest.mark.parametrize(
    ("sent", "status", "told"),
    [
        (b"hello\r\n\r\n", 400, "no HTTP request"),
        (asking("/", b"", "Content-Length: 5", "Transfer-Encoding: chunked") + b"12345", 400, "no HTTP request"),
        (asking("/", b"", "Content-Length: 1001"), 413, "too large"),
        (asking("/", b"", "Transfer-Encoding: chunked") + b"3e9\r\n" + b"x" * 1001, 413, "too large"),
        (asking("/", b"", *["X: y"] * 20_000), 431, "too large"),
        (asking("/", b"", "X: " + "x" * 1_000_000), 431, "too large"),
        (b"GET /" + b"x" * 1_000_000, 431, "too large"),
    ],
)
def test_what_cannot_be_taken_is_a_sentence_and_the_end(sent, status, told):
    async def story(line, _):
        line.writer.write(asking("/good") + sent)
        first = await line.answer()
        answer = await line.answer()
        assert (first[0], answer[0], answer[1]["connection"]) == (200, status, "close")
        assert told in json.loads(answer[2])["error"]
        return await line.closed()

    assert talk(story)


def test_a_body_that_waits_for_leave_gets_it():
    async def story(line, _):
        line.writer.write(asking("/", b"", "Expect: 100-continue", "Content-Length: 2"))
        assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.writer.write(b"ok")
        return await line.bodies(1)

    assert talk(story)[0]["body"] == "ok"


def test_who_says_no_more_is_still_answered():
    async def story(line, _):
        line.writer.write(asking("/slow"))
        line.writer.write_eof()
        return (await line.answer())[0], await line.closed()

    assert talk(story) == (200, True)


def test_who_does_not_read_is_not_read_from():
    async def story(line, state):
        line.writer.write(asking("/long") * 40)
        await asyncio.sleep(0.2)
        [one] = state.connections
        held = one._transport.get_write_buffer_size()
        answers = [(await line.answer())[2] for _ in range(40)]
        return held, len(one._waiting), {len(each) for each in answers}

    held, left, sizes = talk(story)
    assert held < 4 << 20
    assert (left, sizes) == (0, {1 << 20})


def test_idle_connections_and_slow_requests_end(monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE", 0.2)

    async def idle(line, _):
        line.writer.write(asking())
        await line.answer()
        return await line.closed()

    async def slow(line, _):
        line.writer.write(asking("/", b"", "Content-Length: 9") + b"1")
        return (await line.answer())[0], await line.closed()

    assert talk(idle)
    assert talk(slow) == (408, True)


def test_at_the_end_requests_in_flight_are_answered():
    async def story(line, state):
        line.writer.write(asking("/slow") + asking("/last"))
        await asyncio.sleep(0.02)
        for each in list(state.connections):
            each.shutdown()
        answers = [await line.answer() for _ in range(2)]
        return [each[0] for each in answers], answers[1][1]["connection"], await line.closed()

    assert talk(story) == ([200, 200], "close", True)


def test_at_the_end_idle_connections_close():
    async def story(line, state):
        line.writer.write(asking())
        await line.answer()
        for each in list(state.connections):
            each.shutdown()
        return await line.closed()

    assert talk(story)


def test_who_goes_away_while_a_thread_answers_disturbs_nobody():
    async def story(line, state):
        line.writer.write(asking("/slow"))
        await asyncio.sleep(0.01)
        line.writer.transport.abort()
        while state.tasks:
            await asyncio.sleep(0.01)
        return len(state.connections)

    assert talk(story) == 0
