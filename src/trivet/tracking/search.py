"""Finding runs again, as records, as rows and as data frames.

The ledger answers the conditions that it indexes; ``where`` is any Python function of a run and is asked page by
page. Invariant: newest first, and never more than ``limit``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, overload

from msgspec.structs import replace

from trivet.errors import Invalid, NotFound
from trivet.ledger import Run, RunQuery, Status
from trivet.pipelines.context import Context
from trivet.tracking.processes import is_stale, status_of
from trivet.tracking.tables import html_table, text_table

__all__ = ["KINDS", "RunList", "as_table", "check_kind", "runs"]

KINDS = (
    *("experiment", "pipeline", "task", "training_set", "gate", "serve", "predict", "monitor", "reproduce", "why"),
    *(
        "materialize",
        "ingest",
        "erase",
        "compact",
        "statistics",
        "profile",
        "check",
        "leak_check",
        "skew_audit",
        "serve_features",
    ),
    "retire",
)
"""What Trivet itself records. A run may be of any other kind, too."""

SHOWN = 30  # rows of a printed list
_PAGE = 200
_STATUSES = ("running", "finished", "failed", "killed", "cached", "dead")


class RunList(Sequence[Run]):
    """Runs as they were when asked for, newest first: a sequence that prints as a table and becomes a data frame."""

    def __init__(self, found: Sequence[Run], *, host: str | None = None) -> None:
        self._runs, self._host = list(found), host

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> RunList: ...
    def __getitem__(self, index: int | slice) -> Run | RunList:
        if isinstance(index, slice):
            return RunList(self._runs[index], host=self._host)
        return self._runs[index]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def to_pandas(self) -> Any:
        """One row for each run as a pandas data frame; see ``as_table``."""
        import pandas as pd

        return pd.DataFrame(as_table(self._runs, host=self._host))

    def to_polars(self) -> Any:
        """One row for each run as a Polars data frame; see ``as_table``."""
        import polars as pl

        return pl.DataFrame(as_table(self._runs, host=self._host), infer_schema_length=None, strict=False)

    def __repr__(self) -> str:
        if not self._runs:
            return "No runs."
        columns, rows = self._shown()
        more = len(self) - SHOWN
        return text_table(columns, rows) + (f"\n... and {more} more" if more > 0 else "")

    def _repr_html_(self) -> str:
        return html_table(*self._shown()) if self._runs else "<p>No runs.</p>"

    def _shown(self) -> tuple[list[str], list[list[object]]]:
        """What a person reads first: who and when, then metrics, then the parameters that vary."""
        shown = self._runs[:SHOWN]
        table = as_table(shown, host=self._host)
        fixed = ["id", "name", "status", "started", "took"]
        found = list(table[0])
        metrics = [key for key in found if key.startswith("metrics.")]
        varying = [key for key in found if key.startswith("params.") and _varies(row[key] for row in table)]
        rows: list[list[object]] = [
            [row["id"][:12], row["name"], row["status"], row["started"], _took(row["seconds"])]
            + [row[key] for key in metrics + varying]
            for row in table
        ]
        return fixed + [key.partition(".")[2] for key in metrics + varying], rows


def runs(
    context: Context,
    *,
    kind: str | None = None,
    name: str | None = None,
    status: Status | Literal["dead"] | None = None,
    parent: str | None = None,
    limit: int = 100,
    where: Callable[[Run], bool] | None = None,
) -> RunList:
    """The newest runs that fit every condition.

    Args:
        context: the project's.
        kind: ``experiment``, ``pipeline``, ``task``, ``training_set``...
        name: the whole name.
        status: how it stands; ``dead`` are runs whose process on this machine is gone.
        parent: the id of the run above.
        limit: the most to answer.
        where: any function of a run, such as ``lambda run: run.metrics.get("auc", 0) > 0.7``.

    Raises:
        Invalid: an unknown status, or a limit below 0.
        NotFound: no run was ever of this kind, and Trivet knows none; the nearest is offered.
    """
    if status is not None and status not in _STATUSES:
        raise Invalid(f"{status!r} is not a status of a run. There are: {', '.join(_STATUSES)}.")
    if limit < 0:
        raise Invalid(f"limit={limit} makes no sense. Ask for 0 or more.")
    query = RunQuery(kind=kind, name=name, status="running" if status == "dead" else status, parent=parent)
    found: list[Run] = []
    for run in _pages(context, query, _PAGE if where or status == "dead" else limit):
        if len(found) == limit:
            break
        fits = status != "dead" or is_stale(run, host=context.host)
        if fits and (where is None or where(run)):
            found.append(run)
    if kind is not None and not found:
        check_kind(context, kind)
    return RunList(found, host=context.host)


def check_kind(context: Context, kind: str) -> None:
    """Refuse a word that is no kind of runs.

    Raises:
        NotFound: no run was ever of this kind, and Trivet knows none; the nearest is offered.
    """
    if kind not in KINDS and not context.ledger.runs(RunQuery(kind=kind, limit=1)):
        raise NotFound("kind of runs", kind, KINDS)


def as_table(found: Sequence[Run], *, host: str | None = None) -> list[dict[str, Any]]:
    """One flat row for each run: ``id``, ``name``..., then ``params.*``, ``metrics.*`` and ``tags.*``.

    Every row has every column, None where a run has no such entry. Trivet's own tags are left out.
    """
    rows = [_facts(run, host) | _entries(run) for run in found]
    columns = dict.fromkeys(key for row in rows for key in row)
    order = {"params": 1, "metrics": 2, "tags": 3}
    columns = dict.fromkeys(sorted(columns, key=lambda key: order.get(key.partition(".")[0], 0)))
    return [{column: row.get(column) for column in columns} for row in rows]


def _pages(context: Context, query: RunQuery, size: int) -> Iterator[Run]:
    while page := context.ledger.runs(replace(query, limit=size)):
        yield from page
        if len(page) < size:
            return
        query = replace(query, before=page[-1].id)


def _facts(run: Run, host: str | None) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.kind,
        "status": status_of(run, host=host),
        "started": run.started,
        "seconds": run.seconds,
        "user": run.user,
        "parent": run.parent,
    }


def _entries(run: Run) -> dict[str, Any]:
    tags = {name: value for name, value in run.tags.items() if not name.startswith("trivet.")}
    groups = {"params": run.parameters, "metrics": run.metrics, "tags": tags}
    return {f"{group}.{name}": value for group, entries in groups.items() for name, value in sorted(entries.items())}


def _varies(values: Iterator[object]) -> bool:
    return len({repr(value) for value in values}) > 1


def _took(seconds: float | None) -> str | None:
    """A length of time as people say it: ``8.25s``, ``2m 05s``, ``3h 20m``."""
    if seconds is None or seconds < 60:
        return None if seconds is None else f"{seconds:.3g}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest:02}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02}m"
