"""What recorded artifacts hold of an entity: rows, reports that name it, and declarations with its value.

A table holds it where a row has the values under the columns that were named, or, because columns are renamed, the texts
anywhere in a row. A report holds it where it is told by name or where the text stands; statistics and reports about leaks are
made of all values of a set, so those of a set that holds it do as well. What no look can decide is told apart: a
number under another name is any number.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from trivet.ledger import Artifact, Redaction, RunQuery
from trivet.pipelines.context import Context

__all__ = ["Held", "Holdings", "redacted", "same_value"]

_DATA = ("source", "training_set", "table")
_REPORTS = ("json", "quality_report")
_TOLD_OF_ALL = ("statistics", "leak_check")
_MOST = 1_000_000
ERASED = "erased"
"""What stands in a declaration for a text that was erased."""


@dataclass(frozen=True)
class Held:
    """Artifacts that hold rows of an entity or tell its values, and those that may.

    Attributes:
        content: whose content is there still and holds it, reports after what they are made from.
        declared: expectations whose declaration tells it.
        unsure: of which that cannot be decided.
    """

    content: list[Artifact]
    declared: list[Artifact]
    unsure: list[Artifact]


@dataclass(frozen=True)
class Holdings:
    """The look through a project.

    Attributes:
        context: the project.
        values: column to value.
    """

    context: Context
    values: Mapping[str, Any]

    def find(self) -> Held:
        """Look at everything that is recorded."""
        kinds = (*_DATA, *_REPORTS)
        every = [each for kind in kinds for each in self.context.ledger.artifacts(kind=kind, limit=_MOST)]
        there = {each.digest: each for each in every if not self._is_gone(each)}
        held = {digest: each for digest, each in there.items() if self._holds(each)}
        for parent in list(held.values()):
            held |= {digest: there[digest] for digest in self._made(parent, _TOLD_OF_ALL) if digest in there}
        unsure = {digest: each for digest, each in there.items() if digest not in held and self._may_hold(each, held)}
        declared = self.context.ledger.artifacts(kind="expectations", limit=_MOST)
        telling = [each for each in declared if redacted(each.spec, self.texts) != each.spec]
        models = {digest for parent in held.values() for digest in self._made(parent, None)}
        learned = [each for each in self.context.ledger.artifacts(kind="model", limit=_MOST) if each.digest in models]
        return Held(list(held.values()), telling, [*unsure.values(), *learned])

    @property
    def texts(self) -> list[str]:
        """The values that are text."""
        return [value for value in self.values.values() if isinstance(value, str) and value]

    def redactions(self, held: Held) -> list[Redaction]:
        """What the declarations say without it."""
        return [Redaction(each.digest, redacted(each.spec, self.texts)) for each in held.declared]

    def told(self, value: Any) -> bool:
        """Whether an object anywhere in a value of JSON is the entity."""
        if isinstance(value, dict):
            return self.is_meant(value) or any(map(self.told, value.values()))
        return isinstance(value, list) and any(map(self.told, value))

    def is_meant(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is the entity's: its values may be of another type than the table's."""
        return all(column in row and same_value(row[column], value) for column, value in self.values.items())

    def matches(self, schema: Mapping[str, pl.DataType]) -> pl.Expr:
        """Rows of the entity in a table whose types may differ."""
        conditions = []
        for column, value in self.values.items():
            number = schema[column].is_numeric() and isinstance(value, int | float)
            conditions += [pl.col(column) == value if number else pl.col(column).cast(pl.String) == str(value)]
        return pl.all_horizontal(conditions)

    def _is_gone(self, artifact: Artifact) -> bool:
        return bool(self.context.blobs.missing(file.digest for file in artifact.files.values()))

    def _made(self, parent: Artifact, kinds: tuple[str, ...] | None) -> Iterable[str]:
        """What runs of some kinds, or of any, made from an artifact."""
        for run in self.context.ledger.runs(RunQuery(input=parent.digest, limit=_MOST)):
            if run.kind != "erase" and (kinds is None or run.kind in kinds):
                yield from run.outputs.values()

    def _holds(self, artifact: Artifact) -> bool:
        for name, file in artifact.files.items():
            suffix = Path(name).suffix.lower()
            if suffix == ".json" and self._stands_in(msgspec.json.decode(self.context.blobs.read(file.digest))):
                return True
            if suffix in _SCANS and self._in_rows(file.digest, suffix):
                return True
        return False

    def _stands_in(self, value: Any) -> bool:
        """Whether a report tells the entity by name, or all its texts somewhere."""
        if self.told(value):
            return True
        texts = self.texts
        return len(texts) == len(self.values) and all(_tells(value, _pattern(text)) for text in texts)

    def _in_rows(self, digest: str, suffix: str) -> bool:
        with tempfile.TemporaryDirectory(prefix="trivet-erase-") as folder:
            rows = _SCANS[suffix](self.context.blobs.fetch(digest, Path(folder) / "content"))
            have = rows.collect_schema()
            found = pl.lit(value=False)
            if set(self.values) <= set(have):
                found |= self.matches(have).fill_null(value=False)
            text = [pl.col(name).cast(pl.String) for name, kind in have.items() if _is_text(kind)]
            if text and len(self.texts) == len(self.values):
                anywhere = [pl.any_horizontal([each == value for each in text]) for value in self.texts]
                found |= pl.all_horizontal(anywhere).fill_null(value=False)
            return not rows.filter(found).head(1).collect().is_empty()

    def _may_hold(self, artifact: Artifact, held: Mapping[str, Artifact]) -> bool:
        """Whether it was made from what holds it, and a number in it might be the one."""
        if len(self.texts) == len(self.values) or artifact.kind not in ("training_set", *_REPORTS):
            return False
        runs = self.context.ledger.runs(RunQuery(output=artifact.digest, limit=_MOST))
        return any(digest in held for run in runs for digest in run.inputs.values())


def redacted(spec: Any, texts: Iterable[str]) -> Any:
    """A declaration in which another word stands for each of the texts, as a value of its own or between quotes.

    Example:
        >>> redacted({"values": ["'ada'", "'adam'"], "of": "ada"}, ["ada"])
        {'values': ["'erased'", "'adam'"], 'of': 'erased'}
    """
    if isinstance(spec, dict):
        return {key: redacted(value, texts) for key, value in spec.items()}
    if isinstance(spec, list):
        return [redacted(each, texts) for each in spec]
    if isinstance(spec, str):
        for text in texts:
            spec = ERASED if spec == text else spec.replace(_literal(text), _literal(ERASED))
    return spec


def same_value(found: Any, wanted: Any) -> bool:
    """Whether two values mean the same: numbers as numbers, else by their text."""
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return found == wanted
    return str(found) == str(wanted)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")


def _tells(value: Any, text: re.Pattern[str]) -> bool:
    if isinstance(value, dict):
        return any(_tells(each, text) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return any(_tells(each, text) for each in value)
    return isinstance(value, str) and text.search(value) is not None


def _is_text(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.String | pl.Categorical | pl.Enum)


_SCANS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".parquet": pl.scan_parquet,
    ".csv": lambda path: pl.scan_csv(path, infer_schema_length=0),
    ".arrow": pl.scan_ipc,
}
