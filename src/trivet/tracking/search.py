"""Finding runs again, as records, as rows and as data frames.

A question is text (``trivet.tracking.grammar``) and plain words such as ``kind``; the ledger answers it in the order asked
for, page by page. ``where`` is any Python function of a run and is asked for one run after another. Invariant: never
more than ``limit``, and ``after`` goes on exactly behind the last run of a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias, overload

from msgspec.structs import replace

from trivet.errors import Invalid, NotFound
from trivet.ledger import Run, RunQuery, Status, cursor_of
from trivet.ledger.conditions import And, Compare, Condition, Field, In, Not, Or
from trivet.ledger.naming import escape, unescape
from trivet.ledger.references import resolve
from trivet.pipelines.context import Context
from trivet.tracking.grammar import parse, parse_order
from trivet.tracking.processes import is_stale, status_of
from trivet.tracking.tables import html_table, text_table
from trivet.types import Digest

__all__ = [
    "KINDS",
    "Question",
    "RunList",
    "as_table",
    "check_kind",
    "condition_of",
    "count_runs",
    "cursor_after",
    "experiment_id",
    "one_value",
    "question_of",
    "runs",
    "walk",
]

Question: TypeAlias = str | Condition
"""A query as text or as the condition that it states."""

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
_PAGE, _LARGEST_PAGE = 200, 2000
_STATUSES = ("running", "finished", "failed", "killed", "cached", "dead")


class RunList(Sequence[Run]):
    """Runs as they were when asked for, newest first: a sequence that prints as a table and becomes a data frame."""

    def __init__(self, found: Sequence[Run], *, host: str | None = None, after: str | None = None) -> None:
        self._runs, self._host, self._after = list(found), host, after

    @property
    def after(self) -> str | None:
        """What to give as ``after`` for the runs that follow these; None where there are none."""
        return self._after

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

    def to_pandas(self, columns: Sequence[str] | None = None) -> Any:
        """One row for each run as a pandas data frame; see ``as_table``."""
        import pandas as pd

        rows = as_table(self._runs, host=self._host, columns=columns)
        return pd.DataFrame(rows, columns=None if columns is None else pd.Index(columns))

    def to_polars(self, columns: Sequence[str] | None = None) -> Any:
        """One row for each run as a Polars data frame; see ``as_table``."""
        import polars as pl

        rows = as_table(self._runs, host=self._host, columns=columns)
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)

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
    query: Question = "",
    *,
    kind: str | None = None,
    name: str | None = None,
    status: Status | Literal["dead"] | None = None,
    parent: str | None = None,
    limit: int | None = 100,
    where: Callable[[Run], bool] | None = None,
    order: str = "",
    after: str | None = None,
    experiment: str | None = None,
    deleted: Literal["no", "only", "both"] = "no",
    slim: bool = False,
) -> RunList:
    """The runs that fit every condition.

    Args:
        context: the project's.
        query: such as ``metrics.auc > 0.7 and params.depth = 3``; see ``trivet.tracking.grammar``.
        kind: ``experiment``, ``pipeline``, ``task``, ``training_set``...
        name: the whole name.
        status: how it stands; ``dead`` are runs whose process on this machine is gone.
        parent: the id of the run above.
        limit: the most to answer; None for all.
        where: any function of a run, such as ``lambda run: run.metrics.get("auc", 0) > 0.7``.
        order: such as ``metrics.auc desc, started``; newest first by default.
        after: the ``after`` of the list before, of the same order.
        experiment: the name or the id of the group.
        deleted: whether runs in the bin are seen.
        slim: leave out recipes, inputs and outputs, which tables do not show.

    Raises:
        Invalid: the query or the order is not understood, a status is unknown, a limit below 0, a strange ``after``.
        NotFound: no run was ever of this kind, and Trivet knows none, or there is no such experiment; the nearest
            is offered.
    """
    words = {"kind": kind, "name": name, "parent": parent, "experiment": experiment}
    asked = question_of(context, query, status=status, order=order, deleted=deleted, after=after, slim=slim, **words)
    if limit is not None and limit < 0:
        raise Invalid(f"limit={limit} makes no sense. Ask for 0 or more.")
    dead = status == "dead"
    found, more = _first(walk(context, asked, _PAGE if where or dead or limit is None else limit + 1), limit, [
        *([where] if where else []),
        *([lambda run: is_stale(run, host=context.host)] if dead else []),
    ])  # fmt: skip
    if kind is not None and not found:
        check_kind(context, kind)
    return RunList(found, host=context.host, after=cursor_after(context, asked, found) if more else None)


def count_runs(context: Context, query: Question = "", **words: Any) -> int:
    """How many runs fit, without loading them. The words are those of ``runs``, without ``where`` and a page.

    Raises:
        Invalid: as ``runs``.
    """
    if words.get("status") == "dead":
        return len(runs(context, query, limit=None, slim=True, **words))
    return context.ledger.count(question_of(context, query, **words))


def question_of(
    context: Context, query: Question = "", *, status: str | None = None, order: str = "", **words: Any
) -> RunQuery:
    """What the ledger is asked for.

    Raises:
        Invalid: as ``runs``.
        NotFound: likewise.
    """
    if status is not None and status not in _STATUSES:
        raise Invalid(f"{status!r} is not a status of a run. There are: {', '.join(_STATUSES)}.")
    if words.get("experiment"):
        words["experiment"] = experiment_id(context, words["experiment"])
    condition = condition_of(context, query)
    return RunQuery(
        status="running" if status == "dead" else status,  # type: ignore[arg-type]
        where=None if condition == And(()) else condition,
        order=parse_order(order),
        **words,
    )


def condition_of(context: Context, query: Question) -> Condition:
    """What a query states in this project: references and names of experiments are looked up.

    Raises:
        Invalid: it is not in the grammar, or asks for a status that does not exist.
        NotFound: it names an artifact, a run or an experiment that does not exist.
    """
    if not isinstance(query, str):
        return query
    condition = parse(
        query,
        now=context.clock(),
        artifacts=lambda reference: _artifacts(context, reference),
        experiment=lambda name: experiment_id(context, name),
    )
    _check_statuses(condition)
    return condition


def experiment_id(context: Context, name: str) -> str:
    """The id of the experiment with this name or id.

    Raises:
        NotFound: there is none; the nearest is offered.
    """
    ledger = context.ledger
    for pointer in ledger.pointers(name=f"experiment/{escape(name)}") if name else ():
        if pointer.label == "holder" and pointer.digest:
            return str(ledger.artifact(pointer.digest).spec["id"])
    if not name or ledger.runs(RunQuery(experiment=name, limit=1, deleted="both", slim=True)):
        return name
    named = [unescape(one.name.partition("/")[2]) for one in ledger.pointers(name="experiment/*")]
    raise NotFound("experiment", name[:80], named)


def walk(context: Context, query: RunQuery, size: int = 200) -> Iterator[Run]:
    """All runs that fit, in order, loaded so many at a time."""
    size = max(1, min(size, _LARGEST_PAGE))
    while page := context.ledger.runs(replace(query, limit=size)):
        yield from page
        if len(page) < size:
            return
        query = replace(query, after=cursor_after(context, query, page))


def cursor_after(context: Context, query: RunQuery, page: Sequence[Run]) -> str | None:
    """The ``after`` of what follows ``page``."""
    if not page:
        return query.after
    last = page[-1]
    needed = any(one.field.stat != "last" for one in query.order)
    summaries = {one.name: one for one in context.ledger.metrics(last.id, summary=True)} if needed else None
    return cursor_of(last, query, summaries)


def check_kind(context: Context, kind: str) -> None:
    """Refuse a word that is no kind of runs.

    Raises:
        NotFound: no run was ever of this kind, and Trivet knows none; the nearest is offered.
    """
    if kind not in KINDS and not context.ledger.runs(RunQuery(kind=kind, limit=1)):
        raise NotFound("kind of runs", kind, KINDS)


def as_table(
    found: Iterable[Run], *, host: str | None = None, columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """One flat row for each run: ``id``, ``name``..., then ``params.*``, ``metrics.*`` and ``tags.*``.

    Every row has every column, None where a run has no such entry. Trivet's own tags are left out unless asked for.
    """
    if columns is not None:
        return [{column: one_value(run, column, host) for column in columns} for run in found]
    rows = [_facts(run, host) | _entries(run) for run in found]
    names = dict.fromkeys(key for row in rows for key in row)
    order = {"params": 1, "metrics": 2, "tags": 3}
    names = dict.fromkeys(sorted(names, key=lambda key: order.get(key.partition(".")[0], 0)))
    return [{column: row.get(column) for column in names} for row in rows]


def one_value(run: Run, column: str, host: str | None = None) -> Any:
    """What a run has in a column of ``as_table``, or None.

    Raises:
        NotFound: there can be no such column.
    """
    group, dot, name = column.partition(".")
    entries = {"params": run.parameters, "metrics": run.metrics, "tags": run.tags}
    if dot and group in entries:
        return entries[group].get(name)
    facts = _facts(run, host) | {"host": run.host, "ended": run.ended, "experiment": run.experiment, "error": run.error}
    if column not in facts:
        raise NotFound("column of runs", column[:80], [*facts, "params.NAME", "metrics.NAME", "tags.NAME"])
    return facts[column]


def _first(
    found: Iterator[Run], limit: int | None, conditions: Sequence[Callable[[Run], bool]]
) -> tuple[list[Run], bool]:
    """The first runs that fit, and whether there is another."""
    kept: list[Run] = []
    for run in found:
        if all(fits(run) for fits in conditions):
            if len(kept) == limit:
                return kept, True
            kept.append(run)
    return kept, False


def _artifacts(context: Context, reference: str) -> list[Digest]:
    meant = resolve(context.ledger, reference)
    return list(dict.fromkeys(meant.outputs.values())) if isinstance(meant, Run) else [meant.digest]


def _check_statuses(condition: Condition) -> None:
    match condition:
        case And(parts) | Or(parts):
            for part in parts:
                _check_statuses(part)
        case Not(part):
            _check_statuses(part)
        case Compare(Field("attribute", "status"), "=" | "!=", text):
            _check_status(text)
        case In(Field("attribute", "status"), texts):
            for text in texts:
                _check_status(text)


def _check_status(text: object) -> None:
    if text not in _STATUSES[:-1]:
        hint = " Ask for the dead with status='dead' beside the query." if text == "dead" else ""
        raise Invalid(f"{text!r} is not a status on record. There are: {', '.join(_STATUSES[:-1])}.{hint}")


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
