"""What the processes of a cluster do: deal rows out by key, and answer each part as the local engine does.

A cluster moves rows of ``SCHEMA``: numbers by which it brings together what belongs together, and a message in
Arrow's format that it does not look into. So every type of Polars gets through unharmed, those too that the cluster
does not have, and the answer is the local engine's because it is the local engine that gives it. Nothing here imports
the cluster's library; ``trivet.features.engines.spark`` is one that sends this work out. What is asked of a part is said
by the neighbours: ``spread`` asks for the answers of a join, ``filling`` for the rows of an online store.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from io import BytesIO
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import msgspec
import polars as pl
import pyarrow as pa

import trivet
from trivet import errors
from trivet.errors import ConfigError, TrivetError
from trivet.features.dealing import in_batches, in_parts, number_of, present
from trivet.features.sources.portions import decode_portion

__all__ = [
    "PLACES",
    "SCHEMA",
    "Kind",
    "Message",
    "Share",
    "Work",
    "batch_of",
    "error_of",
    "messages_of",
    "packed",
    "rows_of",
    "unpacked",
    "versions",
]

SCHEMA = pa.schema(
    {"share": pa.int32(), "part": pa.int32(), "kind": pa.int32(), "place": pa.int64(), "data": pa.binary()}
)
PLACES = 1 << 32
"""How many messages one message may become."""
_BATCH = 1 << 17  # rows dealt out at a time
_HELD = 16 << 20  # bytes of messages that are handed back together


class Kind(IntEnum):
    """What a message holds: rows of the spine or of a source, or where to read these; then what became of them.

    An answer is rows, a report is a few numbers beside them, and an error is what there is instead.
    """

    SPINE = 0
    ROWS = 1
    PORTION = 2
    ANSWER = 3
    REPORT = 4
    ERROR = 5


class Message(NamedTuple):
    """A row of ``SCHEMA``.

    Attributes:
        share: the number of the source and kind of keys.
        part: of the keys; -1 before they are dealt.
        kind: what ``data`` is.
        place: the order among messages of one share, part and kind.
        data: rows in Arrow's stream format, or JSON.
    """

    share: int
    part: int
    kind: int
    place: int
    data: bytes


@dataclass(frozen=True)
class Share:
    """What is read of one source for one kind of keys: of ``trivet.features.dealing.Group`` what is sent.

    Attributes:
        source: the name.
        keys: the key columns.
        columns: what is read.
        rows: a message without rows, for the types.
    """

    source: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    rows: bytes

    @property
    def owner(self) -> str:
        """Whose the rows are, in sentences."""
        return f"source {self.source!r}"


@dataclass(frozen=True)
class Work:
    """Everything that the processes are told. Sent once, so it is small. What they answer is said by who inherits.

    Attributes:
        shares: what is read.
        parts: how many parts the keys of each share are dealt into.
        versions: of the process that asks; others would not answer the same bits.
    """

    shares: tuple[Share, ...]
    parts: int
    versions: tuple[str, ...]

    def deal(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows, or where to read them, become rows of one part each."""
        for message in messages_of(batches):
            yield from _sent(self._dealt(message), message)

    def answer(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of each part, of the source and the spine, become its answer. They come in order."""
        for _, found in groupby(messages_of(batches), attrgetter("share", "part")):
            messages = list(found)
            failed = [message for message in messages if message.kind == Kind.ERROR]
            yield from _sent(failed or self.answered(messages), messages[0])

    def _dealt(self, message: Message) -> Iterator[Message]:
        self._check_versions()
        share, spine = self.shares[message.share], message.kind == Kind.SPINE
        kind, owner = (Kind.SPINE, "the spine") if spine else (Kind.ROWS, share.owner)
        for number, batch in enumerate(_batches(message, share)):
            for part, rows in in_parts(batch, number_of(batch, share.keys, self.parts, owner)):
                yield Message(message.share, part, kind, message.place * PLACES + number, packed(rows))

    def answered(self, messages: list[Message]) -> Iterator[Message]:
        """What is asked of the rows of one part, all of one share and in order. May empty the list."""
        raise NotImplementedError

    def _check_versions(self) -> None:
        if self.versions != versions():
            raise ConfigError(
                f"{platform.node()} has {' and '.join(versions())}, and this process {' and '.join(self.versions)}. "
                "Install the same on all machines of the cluster, or the bits would differ."
            )


def versions() -> tuple[str, ...]:
    """What decides the bits of an answer in this process."""
    return f"Trivet {trivet.__version__}", f"Polars {pl.__version__}"


def packed(rows: pl.DataFrame) -> bytes:
    """Rows as ``Message.data``."""
    buffer = BytesIO()
    rows.write_ipc_stream(buffer)
    return buffer.getvalue()


def unpacked(data: bytes) -> pl.DataFrame:
    """The rows of ``packed``."""
    return pl.read_ipc_stream(data)


def rows_of(messages: list[Message], kind: Kind, none: bytes) -> pl.DataFrame:
    """The rows of one kind in their order, ``none`` if there are none."""
    frames = [unpacked(each.data) for each in messages if each.kind == kind]
    return pl.concat(frames or [unpacked(none)], rechunk=True)


def error_of(data: bytes) -> TrivetError:
    """The error that another process met."""
    name, sentence, facts = msgspec.json.decode(data)
    kind: type[TrivetError] = getattr(errors, name)
    error = kind.__new__(kind, sentence)
    error.__dict__.update(facts)
    return error


def _batches(message: Message, share: Share) -> Iterator[pl.DataFrame]:
    """The rows that a message holds or tells of, some at a time."""
    if message.kind != Kind.PORTION:
        yield unpacked(message.data)
        return
    rows = decode_portion(message.data).scan()
    yield from in_batches(rows.select(present(rows, share.columns, share.owner)), _BATCH, share.owner)


def _sent(messages: Iterable[Message], of: Message) -> Iterator[pa.RecordBatch]:
    """Messages as rows of the cluster. An error is the last of them, so that it arrives as what it is."""
    waiting: list[Message] = []
    size = 0
    try:
        for message in messages:
            waiting.append(message)
            size += len(message.data)
            if size > _HELD:
                yield batch_of(waiting)
                waiting, size = [], 0
    except TrivetError as exc:
        facts = msgspec.json.encode([type(exc).__name__, exc.message, exc.__dict__])
        waiting.append(Message(of.share, of.part, Kind.ERROR, of.place, facts))
    yield batch_of(waiting)


def batch_of(messages: Sequence[Message]) -> pa.RecordBatch:
    """Messages as rows of the cluster."""
    columns = list(zip(*messages, strict=True)) or [()] * len(SCHEMA)
    arrays = [pa.array(column, each.type) for column, each in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def messages_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Message]:
    """The messages in rows of the cluster."""
    for batch in batches:
        yield from map(Message, *(batch.column(name).to_pylist() for name in Message._fields))
