"""The digest of what an Arrow table says, whatever its memory looks like.

Equal for equal content under any chunking, slicing, offset, padding, garbage under nulls, NaN payload and any of
the layouts of text (``string``, ``large_string``, ``string_view``), so pandas, Polars, Arrow and a Parquet
file of the same table agree. Schema metadata and nullability do not count; names, order, types and cells do.

Each column is SHA-256 over a tag of its type, its validity, and by type:

    numbers, times, decimals   the little-endian values, zero under nulls, all NaNs one NaN
    truth values               packed bits, zero under nulls
    text, binary               the lengths as int64, then the bytes, empty under nulls
    dictionary                 the categories as a column, then the codes as int64
    list                       the lengths as int64, then the items of valid lists as a column
    struct                     each field as a column that is null where the struct is
    map                        a list of structs of key and value
    anything else              the canonical encoding of the cells as Python values (``trivet.digest``)

The tables of ``tests/pipelines/values/test_table_digest.py`` pin the digests.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from trivet.digest import canonical, digest
from trivet.types import Digest

__all__ = ["column_digest", "parquet_digest", "table_digest", "type_tag"]

_BATCH = 1 << 17

_DECIMALS = {"decimal32": 4, "decimal64": 8, "decimal128": 16, "decimal256": 32}


def table_digest(table: pa.Table) -> Digest:
    """The digest of a table's column names, types and cells."""
    columns = [
        [name, type_tag(column.type), column_digest(column)]
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return digest("table", {"rows": table.num_rows, "columns": columns})


def parquet_digest(path: Path, whole: Callable[[str], pa.ChunkedArray]) -> Digest:
    """``table_digest`` of the table in a Parquet file, column by column and some rows at a time.

    Columns of lists, structs and categories are read by ``whole``, since what a file keeps of categories is up to
    the library that wrote it.

    Example:
        >>> import tempfile
        >>> table = pa.table({"x": [1, None, 3], "y": ["a", "b", None]})
        >>> with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        ...     pq.write_table(table, file.name)
        ...     parquet_digest(Path(file.name), table.column) == table_digest(table)
        True
    """
    with pq.ParquetFile(path) as file:
        columns = [(each.name, _streamed(file, each) or whole(each.name)) for each in file.schema_arrow]
        parts = [[name, type_tag(column.type), column_digest(column)] for name, column in columns]
        return digest("table", {"rows": file.metadata.num_rows, "columns": parts})


def _streamed(file: pq.ParquetFile, field: pa.Field) -> Any:
    """A column whose values stand one after another; None for others."""
    kind = field.type
    plain = pt.is_boolean(kind) or pt.is_null(kind) or _width(kind) is not None or _is_text(kind) or _is_bytes(kind)
    return _Streamed(file, field) if plain else None


class _Streamed:
    """A column of a Parquet file that passes in chunks, as often as it is asked for."""

    def __init__(self, file: pq.ParquetFile, field: pa.Field) -> None:
        self._file, self._name, self.type = file, field.name, field.type

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    @property
    def chunks(self) -> Iterator[pa.Array]:
        return (batch.column(0) for batch in self._file.iter_batches(_BATCH, columns=[self._name], use_threads=False))

    @property
    def null_count(self) -> int:
        return sum(chunk.null_count for chunk in self.chunks)


def type_tag(kind: pa.DataType) -> str:
    """A type's name, one for all layouts of it.

    Example:
        >>> type_tag(pa.large_string()), type_tag(pa.list_(pa.int8())), type_tag(pa.timestamp("us", "UTC"))
        ('string', 'list<int8>', 'timestamp[us, tz=UTC]')
    """
    if isinstance(kind, pa.BaseExtensionType):
        return f"{kind.extension_name}<{type_tag(kind.storage_type)}>"
    if _is_text(kind):
        return "string"
    if _is_bytes(kind):
        return "binary"
    if _is_list(kind):
        return f"list<{type_tag(kind.value_type)}>"
    if pt.is_fixed_size_list(kind):
        return f"list[{kind.list_size}]<{type_tag(kind.value_type)}>"
    if pt.is_map(kind):
        return f"map<{type_tag(kind.key_type)}, {type_tag(kind.item_type)}>"
    if pt.is_dictionary(kind):
        return f"dictionary<{type_tag(kind.value_type)}{', ordered' if kind.ordered else ''}>"
    if pt.is_struct(kind):
        return "struct<" + ", ".join(f"{field.name!r}: {type_tag(field.type)}" for field in kind) + ">"
    return str(kind)


def column_digest(column: pa.ChunkedArray) -> Digest:
    """The digest of a column's type and cells."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], type=column.type.storage_type)
    state = hashlib.sha256(canonical(type_tag(column.type)) + canonical(len(column)))
    if pt.is_dictionary(column.type):
        column = column.unify_dictionaries()
    elif pt.is_map(column.type):
        entry = pa.struct([("key", column.type.key_type), ("value", column.type.item_type)])
        column = column.cast(pa.list_(entry))
    state.update(canonical(_validity(column)))
    for part in _content(column):
        state.update(part)
    return state.hexdigest()


def _validity(column: pa.ChunkedArray) -> Digest | None:
    """The digest of the packed validity bits, or None where nothing is null."""
    if column.null_count == 0:
        return None
    state = hashlib.sha256()
    for part in _packed(pc.is_valid(chunk) for chunk in column.chunks):
        state.update(part.data)
    return state.hexdigest()


def _packed(chunks: Iterable[pa.BooleanArray]) -> Iterator[np.ndarray[Any, Any]]:
    """Truth values eight in a byte, whatever the chunks."""
    rest = np.empty(0, np.uint8)
    for chunk in chunks:
        rest = np.concatenate([rest, _bits(chunk)])
        whole = len(rest) // 8 * 8
        yield np.packbits(rest[:whole], bitorder="little")
        rest = rest[whole:]
    yield np.packbits(rest, bitorder="little")


def _bits(chunk: pa.BooleanArray) -> np.ndarray[Any, Any]:
    """One byte for each truth value, zero where null."""
    filled = chunk.fill_null(False) if chunk.null_count else chunk
    data = filled.buffers()[1]
    if data is None or not len(filled):
        return np.zeros(len(filled), np.uint8)
    start, rest = divmod(filled.offset, 8)
    raw = np.frombuffer(data, np.uint8)[start:]
    return np.unpackbits(raw, count=rest + len(filled), bitorder="little")[rest:]


def _content(column: pa.ChunkedArray) -> Iterator[Any]:
    kind = column.type
    if pt.is_null(kind):
        return
    if pt.is_boolean(kind):
        yield from _packed(column.chunks)
    elif (width := _width(kind)) is not None:
        for chunk in column.chunks:
            yield _values(chunk, width)
    elif _is_text(kind) or _is_bytes(kind):
        yield from _variable(column, large=pa.large_string() if _is_text(kind) else pa.large_binary())
    elif pt.is_dictionary(kind):
        yield from _dictionary(column)
    elif _is_list(kind) or pt.is_fixed_size_list(kind):
        yield from _lists(column)
    elif pt.is_struct(kind):
        yield from _fields(column)
    else:
        yield canonical(column.to_pylist())


def _values(chunk: pa.Array, width: int) -> np.ndarray[Any, Any]:
    data = chunk.buffers()[1]
    if data is None or not len(chunk):
        return np.empty(0, np.uint8)
    dtype = np.dtype(f"<f{width}") if pt.is_floating(chunk.type) else np.dtype((np.void, width))
    values = np.frombuffer(data, dtype, count=len(chunk), offset=chunk.offset * width)
    if chunk.null_count:
        values = values.copy()
        values[_bits(pc.is_null(chunk)).view(bool)] = np.zeros((), dtype)
    if pt.is_floating(chunk.type):
        strange = np.isnan(values)
        if strange.any():
            values = np.where(strange, np.array(np.nan, dtype), values)
    if sys.byteorder == "big" and not pt.is_floating(chunk.type):
        values = np.ascontiguousarray(values.view(np.uint8).reshape(len(chunk), width)[:, ::-1])
    return values.view(np.uint8)


def _variable(column: pa.ChunkedArray, large: pa.DataType) -> Iterator[Any]:
    """Lengths, then bytes, of text and binary columns."""
    lengths, data = hashlib.sha256(), hashlib.sha256()
    for chunk in column.chunks:
        filled = chunk.cast(large)
        if filled.null_count:
            filled = filled.fill_null("" if pt.is_large_string(large) else b"")
        if len(filled):
            _, offsets, content = filled.buffers()
            places = np.frombuffer(offsets, np.int64, count=len(filled) + 1, offset=filled.offset * 8)
            lengths.update(np.diff(places).astype("<i8", copy=False).data)
            if content is not None:
                data.update(memoryview(content)[places[0] : places[-1]])
    yield lengths.digest()
    yield data.digest()


def _dictionary(column: pa.ChunkedArray) -> Iterator[Any]:
    dictionary = column.chunk(0).dictionary if column.num_chunks else pa.array([], column.type.value_type)
    yield canonical(column_digest(pa.chunked_array([dictionary])))
    for chunk in column.chunks:
        codes = chunk.indices.cast(pa.int64())
        yield _values(codes.fill_null(0) if codes.null_count else codes, 8)


def _lists(column: pa.ChunkedArray) -> Iterator[Any]:
    if not pt.is_fixed_size_list(column.type):
        for chunk in column.chunks:
            yield pc.fill_null(pc.list_value_length(chunk), 0).cast(pa.int64()).to_numpy().astype("<i8", copy=False)
    chunks = [chunk.flatten() for chunk in column.chunks]
    yield canonical(column_digest(pa.chunked_array(chunks, type=column.type.value_type)))


def _fields(column: pa.ChunkedArray) -> Iterator[Any]:
    flat = [chunk.flatten() for chunk in column.chunks]
    for place, field in enumerate(column.type):
        yield canonical(column_digest(pa.chunked_array([fields[place] for fields in flat], type=field.type)))


def _width(kind: pa.DataType) -> int | None:
    """Bytes of a fixed-width value, None for other types."""
    if pt.is_fixed_size_binary(kind):
        return int(kind.byte_width)
    if pt.is_decimal(kind):
        return _DECIMALS[str(kind).partition("(")[0]]
    if pt.is_primitive(kind) and not pt.is_boolean(kind) and not pt.is_interval(kind):
        return int(kind.bit_width) // 8
    return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_binary_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_list_view(kind) or pt.is_large_list_view(kind))
