"""The kind ``table``: pandas, Polars and Arrow tables as Parquet, back in the form they had.

Parquet is written with fixed settings (version 2.6, zstd level 3, groups of 2**20 rows); content is
``table_digest``, which does not depend on them. Dictionary columns are written as plain values, so that any reader
understands them, and their categories beside them in ``categories.arrow``, because Parquet keeps neither the order of
categories nor those that do not occur. The index of a pandas frame is kept.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trivet.errors import Corrupt, Invalid
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.values.contract import Kind, Saved
from trivet.pipelines.values.table_digest import table_digest, type_tag

__all__ = ["TableKind", "as_arrow", "form_of", "open_kind"]

DATA = "data.parquet"
CATEGORIES = "categories.arrow"
_GROUP_ROWS = 2**20
_TEXT_DTYPES = frozenset({"object", "str", "string"})  # differ between versions of pandas


class TableKind:
    """Data frames."""

    name = "table"

    def accepts(self, value: object) -> bool:
        """Whether the value is a data frame that we know."""
        return form_of(value) != ""

    def save(self, value: Any, blobs: Blobs) -> Saved:
        """Store a frame."""
        table = as_arrow(value, index=True)
        files = {DATA: blobs.put(_write(_plain(table)))}
        categories = {name: column for name, column in _columns(table) if pa.types.is_dictionary(column.type)}
        if categories:
            files[CATEGORIES] = blobs.put(_categories(categories))
        return Saved(_spec(value, table), files, table_digest(table))

    def load(self, artifact: Artifact, blobs: Blobs) -> Any:
        """The frame in the form it had."""
        try:
            table = pq.read_table(pa.BufferReader(blobs.read(artifact.files[DATA].digest)))
            if CATEGORIES in artifact.files:
                table = _encoded(table, blobs.read(artifact.files[CATEGORIES].digest))
        except pa.ArrowException as exc:
            raise Corrupt(f"{artifact.id} is not readable as a table: {exc}.") from exc
        return _back(table, artifact.spec)


def open_kind() -> Kind:
    """The kind, for ``trivet.plugins``."""
    return TableKind()


def form_of(value: object) -> str:
    """``pandas``, ``polars`` or ``arrow`` for a data frame of these, else ``""``; imports neither.

    Example:
        >>> form_of(pa.table({"x": [1]})), form_of([1])
        ('arrow', '')
    """
    names = {f"{parent.__module__.partition('.')[0]}.{parent.__name__}" for parent in type(value).__mro__}
    known = {"pandas.DataFrame": "pandas", "polars.DataFrame": "polars"}
    arrow = {"pyarrow.Table": "arrow", "pyarrow.RecordBatch": "arrow"}
    return next((form for name, form in (known | arrow).items() if name in names), "")


def as_arrow(value: Any, *, index: bool = False) -> pa.Table:
    """A data frame as an Arrow table; with ``index`` the index of a pandas frame becomes columns if it must.

    Raises:
        Invalid: the value is no data frame, or holds a column that is no table's.
    """
    match form_of(value):
        case "pandas":
            table = _from_pandas(value, index=index)
        case "polars":
            table = _from_polars(value)
        case "arrow":
            table = value if isinstance(value, pa.Table) else pa.Table.from_batches([value])
        case _:
            raise Invalid(f"A table is expected, and {type(value).__qualname__} is none.{_hint(value)}")
    names = table.column_names
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise Invalid(f"A table has several columns with the name {twice[0]!r}. Rename all but one of them.")
    return table


def _hint(value: object) -> str:
    if hasattr(value, "collect"):
        return " Call .collect() first."
    if hasattr(value, "to_frame"):
        return " Call .to_frame() first."
    return " Give a pandas, Polars or Arrow table."


def _from_pandas(frame: Any, *, index: bool) -> pa.Table:
    try:
        return pa.Table.from_pandas(frame, preserve_index=None if index else False)
    except (pa.ArrowException, TypeError, ValueError) as exc:
        said = " ".join(str(part) for part in exc.args)
        raise Invalid(f"This pandas frame cannot be stored as a table: {said}.") from exc


def _from_polars(frame: Any) -> pa.Table:
    import polars as pl

    objects = [name for name, dtype in frame.schema.items() if dtype == pl.Object]
    if objects:
        raise Invalid(f"The column {objects[0]!r} holds Python objects, which no table file can. Convert it first.")
    # the order of a Categorical's codes is an accident of the process: its content is its text
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String)).to_arrow()


def _spec(value: Any, table: pa.Table) -> dict[str, Any]:
    form = form_of(value)
    columns = [[name, type_tag(column.type)] for name, column in _columns(table)]
    spec: dict[str, Any] = {"form": form, "rows": table.num_rows, "columns": columns}
    if form == "pandas":
        notes = msgspec.json.decode(table.schema.metadata[b"pandas"])
        dtypes = {note["field_name"]: note["numpy_type"] for note in notes["columns"]}
        spec["index"] = notes["index_columns"]
        spec["dtypes"] = {name: dtype for name, dtype in dtypes.items() if dtype not in _TEXT_DTYPES}
    if form == "polars":
        spec["categorical"] = [name for name, dtype in value.schema.items() if str(dtype).startswith("Categorical")]
        spec["enum"] = [name for name, dtype in value.schema.items() if str(dtype).startswith("Enum")]
    return spec


def _columns(table: pa.Table) -> list[tuple[str, pa.ChunkedArray]]:
    return list(zip(table.column_names, table.columns, strict=True))


def _plain(table: pa.Table) -> pa.Table:
    """The table with the values of dictionary columns in place of their codes."""
    for place, (name, column) in enumerate(_columns(table)):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(place, name, column.cast(column.type.value_type))
    return table


def _write(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    try:
        pq.write_table(
            table,
            stream,
            version="2.6",
            compression="zstd",
            compression_level=3,
            row_group_size=_GROUP_ROWS,
            use_dictionary=True,
            store_schema=True,
        )
    except pa.ArrowException as exc:
        raise Invalid(f"This table cannot be written as Parquet: {exc}.") from exc
    return stream.getvalue()


def _categories(columns: Mapping[str, pa.ChunkedArray]) -> bytes:
    """One row; a list of categories for each column, with its index type and order in the field's metadata."""
    fields, arrays = [], []
    for name, column in columns.items():
        unified = column.unify_dictionaries()
        kind = unified.type
        categories = unified.chunk(0).dictionary if unified.num_chunks else pa.array([], kind.value_type)
        notes = {"index": str(kind.index_type), "ordered": str(kind.ordered).lower()}
        fields.append(pa.field(name, pa.list_(kind.value_type), metadata=notes))
        arrays.append(pa.ListArray.from_arrays(pa.array([0, len(categories)], pa.int32()), categories))
    stream = io.BytesIO()
    batch = pa.record_batch(
        [array.cast(field.type) for array, field in zip(arrays, fields, strict=True)], pa.schema(fields)
    )
    with pa.ipc.new_stream(stream, batch.schema) as writer:
        writer.write_batch(batch)
    return stream.getvalue()


def _encoded(table: pa.Table, content: bytes) -> pa.Table:
    """The table with dictionary columns as they were."""
    batch = pa.ipc.open_stream(content).read_next_batch()
    for field, lists in zip(batch.schema, batch.columns, strict=True):
        categories = lists.flatten()
        index = pa.type_for_alias(field.metadata[b"index"].decode())
        ordered = field.metadata[b"ordered"] == b"true"
        place = table.column_names.index(field.name)
        chunks = [
            pa.DictionaryArray.from_arrays(pc.index_in(chunk, categories).cast(index), categories, ordered=ordered)
            for chunk in table.column(place).chunks
        ]
        kind = pa.dictionary(index, categories.type, ordered=ordered)
        table = table.set_column(place, pa.field(field.name, kind), pa.chunked_array(chunks, kind))
    return table


def _back(table: pa.Table, spec: Mapping[str, Any]) -> Any:
    if spec["form"] == "pandas":
        return table.to_pandas()
    if spec["form"] == "polars":
        import polars as pl

        enums = {
            name: pl.Enum(table.column(name).chunk(0).dictionary.to_pylist() if table.column(name).num_chunks else [])
            for name in spec["enum"]
        }
        frame = pl.DataFrame(pl.from_arrow(table))
        return frame.cast({**dict.fromkeys(spec["categorical"], pl.Categorical), **enums})
    return table
