"""Several runs side by side, only what differs. For two things in depth, down to lines of code, see ``difference``.

A comparison is also drawn: learning curves, parallel coordinates, points and the importance of parameters, as Plotly
figures. The same numbers without figures are in ``curve_of``, ``column`` and ``weights``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import UNSET

from trivet.digest import canonical
from trivet.errors import Invalid, NotFound
from trivet.ledger import Ledger, Run
from trivet.tracking.curves import At, curve
from trivet.tracking.importance import Importance, importance_of
from trivet.tracking.runs import ActiveRun
from trivet.tracking.tables import html_table, text_table

__all__ = ["Comparison", "Row", "compare", "entries"]

SECTIONS = ("parameters", "metrics", "tags", "inputs", "code", "environment")


@dataclass(frozen=True)
class Row:
    """One thing that differs: its section, its name and its value in each run (``UNSET`` where there is none)."""

    section: str
    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Comparison:
    """What differs among ``runs``, in the order of ``parameters, metrics, tags, inputs, code, environment``."""

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    ledger: Ledger | None = field(default=None, repr=False, compare=False)

    # As numbers

    def curve_of(self, metric: str, *, most: int = 1000, smoothing: float = 0.0) -> dict[str, list[At]]:
        """The points of a metric of each run that has it, by label, thinned so that no extreme is lost.

        Raises:
            NotFound: no run has this metric; the nearest is offered.
            Invalid: ``smoothing`` is not from 0 to below 1.
        """
        self._known("metric", metric, {name for run in self.runs for name in run.metrics})
        if self.ledger is None:
            raise Invalid("Curves need the ledger: compare the runs with project.compare(...).")
        labelled = zip(self.labels, self.runs, strict=True)
        return {
            label: curve(self.ledger, run.id, metric, most=most, smoothing=smoothing)
            for label, run in labelled
            if metric in run.metrics
        }

    def column(self, name: str) -> list[Any]:
        """What each run has of ``params.depth``, ``metrics.auc``, ``seconds``..., None where it has nothing.

        Raises:
            NotFound: no run has it; the nearest is offered.
        """
        from trivet.tracking.search import as_table, one_value

        if name.partition(".")[0] in {"params", "metrics", "tags"}:
            self._known("column", name, list(as_table(self.runs)[0]))
        return [one_value(run, name) for run in self.runs]

    def weights(self, metric: str) -> Importance:
        """How the parameters go with a metric, and on how many runs that rests; see ``trivet.tracking.importance``.

        Raises:
            Invalid: fewer than three of the runs have the metric.
        """
        return importance_of(self.runs, metric)

    # As figures

    def curves(self, metric: str, *, smoothing: float = 0.0, log: bool = False) -> Any:
        """A Plotly figure of the learning curves of a metric.

        Raises:
            NotFound, Invalid: as ``curve_of``.
            MissingExtra: Plotly is not installed.
        """
        from trivet.tracking.figures import draw_curves

        return draw_curves(self.curve_of(metric, smoothing=smoothing), metric, log=log)

    def parallel(self, metric: str, parameters: Sequence[str] | None = None) -> Any:
        """A Plotly figure of parallel coordinates: the parameters that differ, or those named, and the metric.

        Raises:
            NotFound: as ``column``.
            MissingExtra: Plotly is not installed.
        """
        from trivet.tracking.figures import draw_parallel

        names = [f"params.{name}" for name in (self.varying if parameters is None else parameters)]
        axes = [*names, f"metrics.{metric}"]
        return draw_parallel({name: self.column(name) for name in axes}, axes[-1])

    def scatter(self, x: str, y: str) -> Any:
        """A Plotly figure with a point for each run: ``scatter("params.depth", "metrics.auc")``.

        Raises:
            NotFound: as ``column``.
            MissingExtra: Plotly is not installed.
        """
        from trivet.tracking.figures import draw_scatter

        return draw_scatter(self.labels, self.column(x), self.column(y), (x, y))

    def importance(self, metric: str) -> Any:
        """A Plotly figure of ``weights``.

        Raises:
            Invalid: as ``weights``.
            MissingExtra: Plotly is not installed.
        """
        from trivet.tracking.figures import draw_importance

        return draw_importance(self.weights(metric))

    @property
    def varying(self) -> list[str]:
        """The parameters that differ."""
        return [row.name for row in self.rows if row.section == "parameters"]

    def export(self, path: str | Path) -> Path:
        """Write the table of differences to a file that ends in ``.csv`` or ``.parquet``, a row for each.

        Raises:
            Invalid: it ends otherwise.
            MissingExtra: Parquet needs ``trivet[features]``.
        """
        from trivet.tracking.exports import write_table

        columns = ["section", "name", *(run.id for run in self.runs)]
        return write_table(Path(path), columns, [[row.section, row.name, *row.values] for row in self.rows])

    def _known(self, noun: str, name: str, available: Collection[str]) -> None:
        if name not in available:
            raise NotFound(f"{noun} of these runs", name[:80], available)

    @property
    def labels(self) -> list[str]:
        """A heading for each run: its name, and the beginning of its id where names repeat."""
        names = [run.name for run in self.runs]
        return [run.name if names.count(run.name) == 1 else f"{run.name} {run.id[:12]}" for run in self.runs]

    def as_dict(self) -> dict[str, Any]:
        """JSON values: the runs' ids and, for each row, the values by id; a run without the entry is not in it."""
        return {
            "runs": [run.id for run in self.runs],
            "rows": [
                {
                    "section": row.section,
                    "name": row.name,
                    "values": {
                        run.id: value for run, value in zip(self.runs, row.values, strict=True) if value is not UNSET
                    },
                }
                for row in self.rows
            ],
        }

    def to_pandas(self) -> Any:
        """A data frame with a row for each difference and a column for each run."""
        import pandas as pd

        index = pd.MultiIndex.from_tuples([(row.section, row.name) for row in self.rows], names=["section", "name"])
        cells = [[None if value is UNSET else value for value in row.values] for row in self.rows]
        return pd.DataFrame(cells, index=index, columns=self.labels, dtype=object)

    def __str__(self) -> str:
        return text_table(*self._table()) if self.rows else f"The {len(self.runs)} runs do not differ."

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_table(*self._table()) if self.rows else f"<p>{self}</p>"

    def _table(self) -> tuple[list[str], list[list[object]]]:
        body: list[list[object]] = [[row.section, row.name, *row.values] for row in self.rows]
        for before, row in zip(self.rows, body[1:], strict=False):
            row[0] = "" if before.section == row[0] else row[0]
        return ["", "", *self.labels], body


def compare(runs: Iterable[Run | ActiveRun], ledger: Ledger | None = None) -> Comparison:
    """What differs among two or more runs. Their curves are drawn from ``ledger``.

    Raises:
        Invalid: fewer than two runs.
    """
    records = [run.record if isinstance(run, ActiveRun) else run for run in runs]
    if len(records) < 2:
        raise Invalid(f"Comparing takes two runs or more, not {len(records)}.")
    tables = [entries(run) for run in records]
    rows = [row for section in SECTIONS for row in _rows(section, [table[section] for table in tables])]
    return Comparison(tuple(records), tuple(rows), ledger)


def entries(run: Run) -> dict[str, dict[str, Any]]:
    """Everything about a run that can differ, by section and name. Digests are shortened to be read."""
    recipe = run.recipe
    return {
        "parameters": run.parameters,
        "metrics": run.metrics,
        "tags": {name: text for name, text in run.tags.items() if not name.startswith("trivet.")},
        "inputs": {slot: digest[:12] for slot, digest in run.inputs.items()},
        "code": {"archive": recipe.code[:12], "entry": recipe.entry} if recipe else {},
        "environment": {"lock": recipe.environment[:12]} if recipe else {},
    }


def _rows(section: str, columns: Sequence[dict[str, Any]]) -> list[Row]:
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [Row(section, name, tuple(column.get(name, UNSET) for column in columns)) for name in names]
    return [row for row in rows if len({_identity(value) for value in row.values}) > 1]


def _identity(value: Any) -> bytes:
    """NaN equals NaN and 1 is not 1.0 here; absent equals only absent."""
    return b"" if value is UNSET else canonical(value)
