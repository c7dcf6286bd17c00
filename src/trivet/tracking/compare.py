"""Several runs side by side, only what differs. For two things in depth, down to lines of code, see ``difference``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from trivet.digest import canonical
from trivet.errors import Invalid
from trivet.ledger import Run
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


def compare(runs: Iterable[Run | ActiveRun]) -> Comparison:
    """What differs among two or more runs.

    Raises:
        Invalid: fewer than two runs.
    """
    records = [run.record if isinstance(run, ActiveRun) else run for run in runs]
    if len(records) < 2:
        raise Invalid(f"Comparing takes two runs or more, not {len(records)}.")
    tables = [entries(run) for run in records]
    rows = [row for section in SECTIONS for row in _rows(section, [table[section] for table in tables])]
    return Comparison(tuple(records), tuple(rows))


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
