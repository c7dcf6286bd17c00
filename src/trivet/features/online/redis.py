"""The online store in Redis, for services on several machines. The extra is ``trivet[redis]``.

One hash per view holds its rows, its watermark and the newest ``as_of`` ever written, so that Redis can lose them
(eviction, a restart without persistence) only together: what is lost reads as *not materialized*, never as *never
seen*, and the next materialization fills it again. A view is dropped by unlinking one key. Nothing searches but a
write that says what becomes of other rows.

Invariant: a row is compared and replaced inside one script, so that older never replaces newer whoever writes at the
same time. A call of up to ``PIECE`` rows is one transaction; a longer one is several, with the watermarks in the last.

Layout, where a moment is eight bytes, big-endian, moved by 2**63 so that bytes are ordered as numbers::

    trivet:<project>:views          set of names
    trivet:<project>:view:<name>    hash: <key> -> moment of the row, then the row;  C0 'w', C0 'n' -> moments
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from trivet.errors import ConfigError, Conflict, TrivetError, Unavailable
from trivet.features.online.contract import Batch, Found, Key, OnlineStore
from trivet.features.online.encoding import as_of, encode_key
from trivet.features.online.rows import RowStore
from trivet.types import Micros, as_duration

__all__ = ["PIECE", "RedisStore", "open_store"]

PIECE = 10_000  # rows of one transaction: some tens of milliseconds in which Redis answers no one else
_CHUNK = 1_000  # rows of one script; Lua unpacks at most some thousand arguments
_CONNECTIONS = 32
_ARGUMENT, _ROW = b"$%d\r\n%b\r\n", b"$%d\r\n%b\r\n$%d\r\n%b%b\r\n"
_MULTI, _EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
_WATERMARK, _NEWEST = b"\xc0w", b"\xc0n"  # no key begins so: keys are MessagePack arrays

_WRITE = """
local function before(one, other)
  local high, low = struct.unpack('>I4I4', one)
  local other_high, other_low = struct.unpack('>I4I4', other)
  return high < other_high or (high == other_high and low < other_low)
end
local function raise(field, moment)
  local stored = redis.call('HGET', KEYS[1], field)
  if not stored or before(stored, moment) then redis.call('HSET', KEYS[1], field, moment) end
end
local oldest, newest, watermark, written = ARGV[1], ARGV[2], ARGV[3], 0
if #ARGV > 4 then
  local bound = redis.call('HGET', KEYS[1], '\\192n')
  if bound and before(oldest, bound) then
    for i = 5, #ARGV, 2 do
      local stored = redis.call('HGET', KEYS[1], ARGV[i])
      if not stored or not before(ARGV[i + 1], stored) then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
        written = written + 1
      end
    end
  else
    redis.call('HSET', KEYS[1], unpack(ARGV, 5))
    written = (#ARGV - 4) / 2
  end
  raise('\\192n', newest)
end
if watermark ~= '' then raise('\\192w', watermark) end
redis.call('SADD', KEYS[2], ARGV[4])
return written
"""

_FORGET = """
local function before(one, other)
  local high, low = struct.unpack('>I4I4', one)
  local other_high, other_low = struct.unpack('>I4I4', other)
  return high < other_high or (high == other_high and low < other_low)
end
for i = 2, #ARGV do
  local stored = redis.call('HGET', KEYS[1], ARGV[i])
  if stored and not before(ARGV[1], stored) then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return redis.status_reply('OK')
"""


class RedisStore(RowStore):
    """Rows in Redis; connections are made when needed, shared among threads, and made again when lost.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, complete with its password.
        project: what keeps several projects in one Redis apart.
        timeout: seconds to wait for Redis before saying that it does not answer.

    Raises:
        ConfigError: redis-py cannot read the URL.
    """

    remote = True

    def __init__(self, url: str, *, project: str = "", timeout: float = 5.0) -> None:
        self._project = f"trivet:{quote(project, safe='')}:"
        self._views = f"{self._project}views".encode()
        try:
            pool = redis.BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=timeout,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 1),  # a connection that died in the pool; everything written may be repeated
                retry_on_error=[redis.ConnectionError],
            )
        except (ValueError, TypeError) as exc:
            raise ConfigError(f"The URL of the online store in Redis cannot be used: {exc}.") from None
        self._where = _place_of(pool.connection_kwargs)
        self._client: redis.Redis | None = redis.Redis(connection_pool=pool)

    def put(self, batches: Sequence[Batch]) -> list[int]:
        """See ``OnlineStore.put``. One transaction for each ``PIECE`` rows.

        Raises:
            Unavailable: Redis does not answer, is full, or refuses.
        """
        written, size = [0] * len(batches), 0
        scripts: list[tuple[int, bytes]] = []
        for place, batch in enumerate(batches):
            if batch.others is not None:
                self._forget_others(batch, _moment(batch.others))
            for script, rows in self._scripts(batch):
                if scripts and size + rows > PIECE:
                    self._transact(scripts, written)
                    scripts, size = [], 0
                scripts.append((place, script))
                size += rows
        if scripts:
            self._transact(scripts, written)
        return written

    def get(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[Found]:
        """See ``OnlineStore.get``. One command for each view, all sent at once; each view is of one moment."""
        asked = [("HMGET", self._name(view), _WATERMARK, *keys) for view, keys in wanted]
        return [
            Found(
                None if first is None else _micros(first),
                [None if data is None else data[8:] for data in rows],
            )
            for first, *rows in self._send(asked)
        ]

    def erase(self, view: str, keys: Sequence[Key]) -> int:
        """See ``OnlineStore.erase``."""
        if not keys:
            return 0
        [erased] = self._send([("HDEL", self._name(view), *map(encode_key, keys))])
        return int(erased)

    def drop(self, view: str) -> None:
        """See ``OnlineStore.drop``. Redis frees the memory in the background."""
        self._send([("UNLINK", self._name(view)), ("SREM", self._views, view.encode())], transaction=True)

    def views(self) -> list[str]:
        """See ``OnlineStore.views``."""
        [names] = self._send([("SMEMBERS", self._views)])
        there = self._send([("EXISTS", self._name(name.decode())) for name in names])
        return sorted(name.decode() for name, exists in zip(names, there, strict=True) if exists)

    def close(self) -> None:
        """See ``OnlineStore.close``."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
            client.connection_pool.disconnect()

    def _name(self, view: str) -> bytes:
        return f"{self._project}view:{view}".encode()

    def _forget_others(self, batch: Batch, until: bytes) -> None:
        """Delete the rows of a view that are not in the batch, unless they are of later than ``until``."""
        name = self._name(batch.view)
        if self._send([("HLEN", name)]) == [0]:
            return
        own, cursor, more = {key for key, _ in batch.rows} | {_WATERMARK, _NEWEST}, b"0", True
        while more:
            [(cursor, stored)] = self._send([("HSCAN", name, cursor, "COUNT", _CHUNK)])
            others = [key for key, data in _rows_of(stored) if key not in own and data[:8] <= until]
            for start in range(0, len(others), _CHUNK):
                self._send([("EVAL", _FORGET, 1, name, until, *others[start : start + _CHUNK])])
            more = int(cursor) != 0

    def _scripts(self, batch: Batch) -> Iterator[tuple[bytes, int]]:
        """The scripts that write a batch, with how many rows each has; the last one brings the watermark.

        They are written in the protocol here: redis-py packs argument by argument, which takes longer than all the rest.
        """
        head = [b"EVAL", _WRITE.encode(), b"2", self._name(batch.view), self._views]
        head += [_moment(batch.oldest), _moment(batch.newest)]
        same = _moment(batch.oldest) if batch.oldest == batch.newest else None
        mark = b"" if batch.watermark is None else _moment(batch.watermark)
        pairs, size = iter(batch.rows), len(batch.rows)
        for start in range(0, max(size, 1), _CHUNK):
            part = list(islice(pairs, _CHUNK))
            rows = [_ROW % (len(key), key, len(data) + 8, same or _moment(as_of(data)), data) for key, data in part]
            last = start + _CHUNK >= size
            arguments = [*head, mark if last else b"", batch.view.encode()]
            count = b"*%d\r\n" % (len(arguments) + 2 * len(part))
            yield b"".join([count, *(_ARGUMENT % (len(each), each) for each in arguments), *rows]), len(part)

    def _transact(self, scripts: Sequence[tuple[int, bytes]], written: list[int]) -> None:
        packed = [script for _, script in scripts]
        try:
            counts = self._exchanged(packed if len(packed) == 1 else [_MULTI, *packed, _EXEC])
        except redis.RedisError as exc:
            raise self._explained(exc) from exc
        for (place, _), count in zip(scripts, counts, strict=True):
            written[place] += int(count)

    def _exchanged(self, packed: Sequence[bytes]) -> list[Any]:
        """What one script answers, or those of a transaction. Once more where the connection was dead."""
        pool: Any = self._opened().connection_pool  # redis-py declares no types here
        connection = pool.get_connection()

        def exchange() -> list[Any]:
            connection.send_packed_command(packed)
            *_, last = [connection.read_response() for _ in packed]
            answers = last if len(packed) > 1 else [last]
            for answer in answers:
                if isinstance(answer, redis.RedisError):
                    raise answer
            return list(answers)

        try:
            return list(connection.retry.call_with_retry(exchange, lambda _: connection.disconnect()))
        except BaseException:  # an answer may be unread
            connection.disconnect()
            raise
        finally:
            pool.release(connection)

    def _opened(self) -> redis.Redis:
        if self._client is None:
            raise Conflict("This online store is closed. Open it again.")
        return self._client

    def _send(self, commands: Sequence[tuple[Any, ...]], *, transaction: bool = False) -> list[Any]:
        """All commands in one round trip."""
        client: Any = self._opened()
        try:
            if len(commands) == 1:
                return [client.execute_command(*commands[0])]
            with client.pipeline(transaction=transaction) as pipeline:
                batch: Any = pipeline  # redis-py declares no types here
                for command in commands:
                    batch.execute_command(*command)
                return list(pipeline.execute())
        except redis.RedisError as exc:
            raise self._explained(exc) from exc

    def _explained(self, exc: redis.RedisError) -> TrivetError:
        if isinstance(exc, redis.exceptions.AuthenticationError | redis.exceptions.NoPermissionError):
            return Unavailable(f"Redis at {self._where} refuses: {exc}. Check user and password in [features] online.")
        if isinstance(exc, redis.exceptions.OutOfMemoryError) or "OOM" in str(exc):
            return Unavailable(
                f"Redis at {self._where} is full: {exc}. Give it more memory and materialize again; what was written "
                "before stands."
            )
        if isinstance(exc, redis.ConnectionError | redis.TimeoutError):
            return Unavailable(
                f"Redis at {self._where} does not answer: {str(exc).rstrip('.')}. Start it or check the address; the next "
                "call connects again, and the next materialization goes on from where the last one came."
            )
        return TrivetError(f"Redis at {self._where} cannot do that: {exc}.")


def open_store(url: str, root: Path) -> OnlineStore:
    """The store at ``redis://[USER:$PASSWORD@]HOST:PORT/DB``, ``rediss://...`` or ``redis+unix:///SOCKET?db=DB``.

    ``?project=NAME`` keeps projects apart, the name of the project's folder by default; ``?timeout=5s`` is how long to
    wait for an answer. ``$NAME`` for user and password is read from the environment.

    Raises:
        ConfigError: a password is written out, a variable is not set, or the URL cannot be read.
    """
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    project = options.pop("project", root.resolve().name)
    timeout = as_duration(options.pop("timeout", "5s")) / 1_000_000
    scheme = "unix" if parts.scheme == "redis+unix" else parts.scheme
    complete = f"{scheme}://{_with_secrets(parts.netloc)}{parts.path}?{urlencode(options)}"
    return RedisStore(complete, project=project, timeout=timeout)


def _with_secrets(netloc: str) -> str:
    """The part of a URL before its path, with ``$NAME`` replaced by what the environment has."""
    login, at, host = netloc.rpartition("@")
    user, colon, password = login.partition(":")
    if password and not password.startswith("$"):
        raise ConfigError(
            "[features] online has a password written out. Put it into an environment variable and write its name: "
            "redis://:$REDIS_PASSWORD@host:6379/0."
        )
    return f"{_from_environment(user)}{colon}{_from_environment(password)}{at}{host}"


def _from_environment(text: str) -> str:
    if not re.fullmatch(r"\$\w+", text):
        return text
    value = os.environ.get(text[1:])
    if value is None:
        raise ConfigError(f"[features] online names {text}, and there is no such environment variable. Set it.")
    return quote(value, safe="")


def _place_of(options: dict[str, Any]) -> str:
    """Where Redis is, without its password."""
    where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    return f"{unquote(where)}/{options.get('db', 0)}"


def _rows_of(scanned: Any) -> Iterable[tuple[bytes, bytes]]:
    """The fields and values of an answer to HSCAN, which redis-py has as a dictionary or leaves as Redis sent it."""
    return scanned.items() if isinstance(scanned, dict) else zip(scanned[::2], scanned[1::2], strict=True)


def _moment(micros: Micros) -> bytes:
    return (micros + (1 << 63)).to_bytes(8, "big")


def _micros(data: bytes) -> Micros:
    return int.from_bytes(data[:8], "big") - (1 << 63)
