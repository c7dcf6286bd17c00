"""Records as flat rows of text and numbers, and back: the one encoding that all stores keep.

Times are whole microseconds since 1970, mappings are JSON text. The JSON is Python's: ASCII only, so that every
character (half surrogates too) passes through every database, and with ``NaN`` and ``Infinity``, because a
parameter ``missing=nan`` is common and must come back as it was. What comes back equals what was written, but
for tuples, which come back as lists; what would come back as something else is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import nan
from typing import Any, Protocol, TypeAlias, get_args

import msgspec

from trivet.errors import Invalid
from trivet.ledger.conditions import parameter, searchable, searchable_name
from trivet.ledger.records import Artifact, File, Metric, Pointer, Recipe, Run, Status, Summary
from trivet.types import from_micros, to_micros

__all__ = [
    "Cells",
    "Row",
    "artifact_row",
    "edge_rows",
    "metric_row",
    "number_cell",
    "parameter_rows",
    "plain",
    "pointer_row",
    "read_artifact",
    "read_metric",
    "read_parameter_rows",
    "read_pointer",
    "read_run",
    "read_summary",
    "read_tag_rows",
    "run_row",
    "split",
    "tag_rows",
]

Cells: TypeAlias = dict[str, Any]
"""A row by column: text, whole numbers, floats and None."""


class Row(Protocol):
    """A row of any store, to be read by column."""

    def __getitem__(self, column: str, /) -> Any:
        """The cell of a column."""
        ...


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=True).encode
_decode = json.loads
_STATUSES = frozenset(get_args(Status))
_INTEGERS = range(-(2**63), 2**63)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEAD = 200  # characters that an index holds: PostgreSQL takes 2,704 bytes for a row of one


def artifact_row(artifact: Artifact) -> Cells:
    """The row of an artifact."""
    return {
        "digest": plain(artifact.digest),
        "kind": plain(artifact.kind),
        "spec": spec_cell(artifact.spec),
        "content": plain(artifact.content),
        "files": _encode({name: [file.digest, file.size] for name, file in artifact.files.items()}),
        "created": to_micros(artifact.created),
    }


def spec_cell(spec: dict[str, Any]) -> str:
    """The declaration of an artifact."""
    return _json("The spec of an artifact", spec)


def read_artifact(row: Row) -> Artifact:
    """The artifact of a row."""
    return Artifact(
        digest=row["digest"],
        kind=row["kind"],
        spec=_decode(row["spec"]),
        content=row["content"],
        files={name: File(digest, size) for name, (digest, size) in _decode(row["files"]).items()},
        created=from_micros(row["created"]),
    )


def run_row(run: Run) -> Cells:
    """The row of a run, all but its metrics."""
    if run.status not in _STATUSES:
        raise Invalid(f"{run.status!r} is not a status of a run. There are: {', '.join(sorted(_STATUSES))}.")
    return {
        "id": plain(run.id),
        "kind": plain(run.kind),
        "name": plain(run.name),
        "status": run.status,
        "started": to_micros(run.started),
        "ended": None if run.ended is None else to_micros(run.ended),
        "parent": None if run.parent is None else plain(run.parent),
        "user": plain(run.user),
        "host": plain(run.host),
        "recipe": None if run.recipe is None else _json("A recipe", msgspec.structs.asdict(run.recipe)),
        "inputs": _json("The inputs of a run", run.inputs),
        "outputs": _json("The outputs of a run", run.outputs),
        "parameters": _json("The parameters of a run", run.parameters),
        "tags": _json("The tags of a run", run.tags),
        "key": None if run.key is None else plain(run.key),
        "key_parts": _json("The parts of a cache key", run.key_parts),
        "error": _encode(run.error),  # a message of anybody's program may hold any character
        "experiment": plain(run.experiment),
        "deleted": None if run.deleted is None else to_micros(run.deleted),
    }


def read_run(row: Row, metrics: dict[str, float], *, slim: bool = False) -> Run:
    """The run of a row and of its metrics; a slim one without what ``RunQuery.slim`` leaves out."""
    return Run(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        status=row["status"],
        started=from_micros(row["started"]),
        ended=_time(row["ended"]),
        parent=row["parent"],
        user=row["user"],
        host=row["host"],
        recipe=None if slim or row["recipe"] is None else Recipe(**_decode(row["recipe"])),
        inputs={} if slim else _decode(row["inputs"]),
        outputs={} if slim else _decode(row["outputs"]),
        parameters=_decode(row["parameters"]),
        metrics=metrics,
        tags=_decode(row["tags"]),
        key=row["key"],
        key_parts={} if slim else _decode(row["key_parts"]),
        error=_decode(row["error"]),
        experiment=row["experiment"],
        deleted=_time(row["deleted"]),
    )


def edge_rows(run: Run) -> Iterator[Cells]:
    """The edges of lineage of a run, one row each."""
    for direction, slots in (("input", run.inputs), ("output", run.outputs)):
        for slot, digest in slots.items():
            yield {"run": run.id, "direction": direction, "slot": plain(slot), "digest": plain(digest)}


def parameter_rows(parameters: Mapping[str, Any]) -> dict[str, Cells]:
    """What is looked up of parameters, by name: text in two pieces, and a number where it reads as one."""
    found = ((searchable_name(name), parameter(value)) for name, value in parameters.items())
    return {name: _texts(text or "") | {"number": number} for name, (text, number) in found}


def tag_rows(tags: Mapping[str, str]) -> dict[str, Cells]:
    """What is looked up of tags, by name."""
    return {searchable_name(name): _texts(searchable(text)) for name, text in tags.items()}


def read_parameter_rows(text: str) -> dict[str, Cells]:
    """As ``parameter_rows``, of the parameters in the row of a run."""
    return parameter_rows(_decode(text))


def read_tag_rows(text: str) -> dict[str, Cells]:
    """As ``tag_rows``, of the tags in the row of a run."""
    return tag_rows(_decode(text))


def split(text: str) -> tuple[str, str | None]:
    """``text`` in two pieces, the first of which an index can hold; most texts have no second."""
    return text[:_HEAD], text[_HEAD:] or None


def metric_row(metric: Metric) -> Cells:
    """The row of a metric."""
    if metric.step not in _INTEGERS:
        raise Invalid(f"The step {metric.step} of metric {metric.name!r} is not a whole number of 64 bits.")
    return {
        "run": metric.run,
        "name": plain(metric.name),
        "step": int(metric.step),
        "value": float(metric.value),
        "at": _micros(metric.at),
    }


def read_summary(row: Row) -> Summary:
    """The summary of a row, where null stands for NaN."""
    last = nan if row["last"] is None else row["last"]
    return Summary(row["run"], row["name"], last, row["step"], _time(row["at"]), row["min"], row["max"], row["count"])


def number_cell(value: float) -> float | None:
    """A number as databases keep it: null for NaN, which SQLite has not."""
    value = float(value)
    return None if value != value else value


def read_metric(row: Row) -> Metric:
    """The metric of a row."""
    return Metric(row["run"], row["name"], row["step"], row["value"], from_micros(row["at"]))


def pointer_row(pointer: Pointer) -> Cells:
    """The row of a pointer."""
    return {
        "name": pointer.name,
        "label": pointer.label,
        "digest": pointer.digest,
        "at": to_micros(pointer.at),
        "by": plain(pointer.by),
        "why": plain(pointer.why),
    }


def read_pointer(row: Row) -> Pointer:
    """The pointer of a row."""
    return Pointer(row["name"], row["label"], row["digest"], from_micros(row["at"]), row["by"], row["why"])


def _texts(text: str) -> Cells:
    head, rest = split(text)
    return {"text": head, "rest": rest}


def _micros(at: datetime) -> int:
    """As ``to_micros``, in a third of its time where the zone is UTC: a training tells a million of them."""
    if at.tzinfo is not UTC:
        return to_micros(at)
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _time(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _json(what: str, value: Mapping[str, Any]) -> str:
    try:
        _check_keys(value)
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as exc:
        reason = "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise Invalid(f"{what} must be JSON values (numbers, text, booleans, None, lists, dicts): {reason}.") from exc


def _check_keys(value: object) -> None:
    # JSON turns the key 1 into "1" without a word; the digest of a spec knows the difference.
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not text")
            _check_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)


def plain(text: str) -> str:
    """``text`` where every database can keep it as it is.

    Raises:
        Invalid: it cannot.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise Invalid(f"{text[:80]!r} cannot be stored: it holds half of a surrogate pair.") from exc
    if "\0" in text:
        raise Invalid(f"{text[:80]!r} cannot be stored: it holds the character NUL.")
    return text
