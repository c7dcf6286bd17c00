"""Whatever holds rows, as batches of bounded size: frames of any make, lazy frames, iterators, files.

A frame in memory is one batch, because it fits there; everything else is read as it is taken, so memory does not
grow with the number of rows. Nothing is renamed, sorted or converted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from trivet.digest import digest_stream
from trivet.errors import Invalid, nearest
from trivet.features.frames import as_polars, is_frame

__all__ = ["BATCH", "Incoming", "incoming"]

BATCH = 250_000
"""Rows of one commit where rows are streamed."""

_SCANS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".parquet": pl.scan_parquet,
    ".csv": lambda path: pl.scan_csv(path, infer_schema_length=None),  # types by all rows, not by a sample
    ".arrow": pl.scan_ipc,
    ".feather": pl.scan_ipc,
    ".ipc": pl.scan_ipc,
    ".jsonl": lambda path: pl.scan_ndjson(path, infer_schema_length=None),
    ".ndjson": lambda path: pl.scan_ndjson(path, infer_schema_length=None),
}


_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Incoming:
    """Rows on their way in.

    Attributes:
        batches: the rows, to be taken once.
        total: how many there are, where that is known without reading them.
        file: the file they come from, if they do.
        digest: of the content of that file.
    """

    batches: Iterator[pl.DataFrame]
    total: int | None = None
    file: Path | None = None
    digest: str | None = None


def incoming(data: Any, root: Path = Path(), *, size: int = BATCH) -> Incoming:
    """The rows of ``data``: a frame, a lazy frame, a path (relative to ``root``), a list of dicts, an iterator of those.

    Raises:
        Invalid: it is none of these, or a file that cannot be used.

    Example:
        >>> [batch.height for batch in incoming([{"a": 1}, {"a": 2}]).batches]
        [2]
    """
    if isinstance(data, str | Path):
        return _file(root / data, size)
    if isinstance(data, pl.LazyFrame):
        return Incoming(_collected(data, size, "The lazy frame"))
    if is_frame(data):
        frame = as_polars(data)
        return Incoming(iter([frame]), frame.height)
    if isinstance(data, Mapping) or not hasattr(data, "__iter__"):
        raise Invalid(
            f"Rows cannot be taken from a {type(data).__qualname__}. Give a data frame, a list of dicts, a path, "
            "or an iterator of batches."
        )
    if isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
        return Incoming(iter([_from_dicts(data)]), len(data))
    return Incoming(batch for each in data for batch in _batch(each, size))


def _batch(each: Any, size: int) -> Iterator[pl.DataFrame]:
    if isinstance(each, pl.LazyFrame):
        yield from _collected(each, size, "A batch")
    elif isinstance(each, Mapping):
        yield _from_dicts([each])
    elif type(each).__name__ == "RecordBatch":
        yield pl.DataFrame(each)
    else:
        yield as_polars(each, "A batch")


def _from_dicts(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    try:
        return pl.from_dicts([dict(row) for row in rows], infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, OverflowError) as exc:
        raise Invalid(f"The rows do not make a table: {_first_line(exc)}") from exc


def _file(path: Path, size: int) -> Incoming:
    if path.suffix.lower() not in _SCANS:
        raise Invalid(f"{str(path)!r} cannot be ingested. Files that can end in {', '.join(_SCANS)}.")
    if not path.is_file():
        close = nearest(path.name, [each.name for each in path.parent.iterdir()]) if path.parent.is_dir() else []
        raise Invalid(f"There is no file {str(path)!r}.{f' Did you mean {close[0]!r}?' if close else ''}")
    if not path.stat().st_size:
        raise Invalid(f"{str(path)!r} is empty. Write it again.")
    with path.open("rb") as stream:
        content = digest_stream(stream)
    try:
        rows = _SCANS[path.suffix.lower()](path)
        total = int(rows.select(pl.len()).collect().item()) if path.suffix.lower() == ".parquet" else None
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise Invalid(f"{str(path)!r} cannot be read: {_first_line(exc)}") from exc
    batches = _collected(rows, size, repr(str(path)))
    return Incoming(_told_by_line(batches, path) if path.suffix.lower() in _LINES else batches, total, path, content)


def _told_by_line(batches: Iterator[pl.DataFrame], path: Path) -> Iterator[pl.DataFrame]:
    """The batches of a file of JSON lines; where it cannot be read, the line is named."""
    try:
        yield from batches
    except Invalid as exc:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    whole = isinstance(msgspec.json.decode(line), dict) if line.strip() else True
                except msgspec.DecodeError:
                    whole = False
                if not whole:
                    text = line[:40].decode(errors="replace").strip()
                    raise Invalid(
                        f"Line {number} of {str(path)!r} is no JSON object: {text!r}. Mend or remove it."
                    ) from exc
        raise


def _collected(rows: pl.LazyFrame, size: int, what: str) -> Iterator[pl.DataFrame]:
    try:
        for batch in rows.collect_batches(chunk_size=size, maintain_order=True):
            yield from batch.iter_slices(size)
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise Invalid(f"{what} cannot be read: {_first_line(exc)}") from exc


def _first_line(exc: BaseException) -> str:
    return f"{str(exc).strip().splitlines()[0].rstrip('.') if str(exc).strip() else type(exc).__name__}."
