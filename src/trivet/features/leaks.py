"""Whether a training set knows too much: sampled rows again by the plain loop, and what gives the label away.

Three questions, none of which trusts the engine. *Recomputed*: rows at random and at the edges (first and last, days of
23 and 25 hours, the keys with most rows, moments at which something happens) are worked out again from the recorded
sources by the loop of ``trivet.features.point_in_time``, and every cell is compared. *Own value*: where a row of the
set is itself a row of a source, its label may be a column of that row; a feature that sees that very value at the
moment of asking is no prediction. *Suspicious*: a single feature that tells the label almost for sure is a hint of
something of the kind that no declaration shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl

from trivet.errors import Invalid
from trivet.features.definitions import FeatureView, Source
from trivet.features.engines.filters import satisfied
from trivet.features.engines.keys import key_columns
from trivet.features.engines.prepared import Clock
from trivet.features.point_in_time import Row, agree, feature_value
from trivet.features.references import Selected
from trivet.features.sources import Snapshots, read
from trivet.features.times import Rules, to_micros
from trivet.features.training_set import FeatureColumn, TrainingSet
from trivet.ledger import Artifact
from trivet.pipelines.context import Context
from trivet.statistics import auc
from trivet.types import Json

__all__ = ["SUSPICIOUS", "Difference", "LeakReport", "OwnValue", "Suspicion", "check_leaks", "find_leaks"]

SUSPICIOUS = 0.95
"""An area under the ROC curve (of a label of two values) or a rank correlation from which on one feature is suspect."""

_EDGE, _MOST_SHOWN, _MOST_LOOKED_AT = 6, 20, 500_000
_ROW, _AT, _LABEL, _OWN = "__row", "__at", "__label", "__own"
_UTC = pl.Datetime("us", "UTC")
_STD_DIGITS = 9  # the loop takes the deviation with exact fractions, engines with doubles
_BY_CHANCE = 1e-3


class Difference(msgspec.Struct, frozen=True):
    """A cell that the plain loop answers otherwise."""

    feature: str
    row: int
    found: Any
    expected: Any


class OwnValue(msgspec.Struct, frozen=True):
    """A feature that takes in the value from which the label of its own row comes.

    Attributes:
        feature: ``view:feature``.
        column: of the source, which tells the label.
        rows: how many rows see their own.
        of: how many rows are rows of the source.
    """

    feature: str
    column: str
    rows: int
    of: int


class Suspicion(msgspec.Struct, frozen=True):
    """A single feature that tells the label almost for sure: ``auc`` or ``correlation``, from 0 to 1."""

    feature: str
    measure: str
    value: float


class LeakReport(msgspec.Struct, frozen=True):
    """What the check of a training set found.

    Attributes:
        rows: how many were worked out again.
        cells: how many values were compared.
        wrong: how many were not the same.
        differences: the first of them.
        own_values: features that see the value which their own row's label comes from.
        suspicions: hints only.
        edges: how many of the rows were taken for which reason.
        artifact: where it is recorded, if it is.
    """

    rows: int
    cells: int
    wrong: int
    differences: list[Difference] = []
    own_values: list[OwnValue] = []
    suspicions: list[Suspicion] = []
    edges: dict[str, int] = {}
    artifact: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; hints do not count."""
        return not self.wrong and not self.own_values

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return {"ok": self.ok, **data}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        same = "all the same" if not self.wrong else f"{self.wrong:,} DIFFERENT"
        yield f"{self.rows:,} rows worked out again by the plain loop, {self.cells:,} values: {same}"
        for each in self.differences:
            yield f"  row {each.row}, {each.feature}: {each.found!r}, and should be {each.expected!r}"
        for own in self.own_values:
            yield (
                f"LEAK {own.feature} takes in the row's own {own.column!r}, which tells the label, in {own.rows:,} of "
                f"{own.of:,} rows. Declare when that is known (column_times=, known_after=), or ask with strict=True."
            )
        for hint in self.suspicions:
            yield f"hint: {hint.feature} alone tells the label ({hint.measure} {hint.value:.4f}). Known too early?"
        if self.ok and not self.suspicions:
            yield "nothing gives the label away"


def check_leaks(context: Context, train: TrainingSet | Artifact, *, rows: int = 300, seed: int = 0) -> LeakReport:
    """Check a recorded training set against the sources it was made from, and record what is found.

    Args:
        context: the project.
        train: the training set, or its artifact.
        rows: how many to work out again.
        seed: of the rows at random.

    Raises:
        Invalid: the set is not recorded, or is a part of one.
    """
    from trivet.pipelines.recording import record
    from trivet.pipelines.replay import run_that_made

    artifact = train if isinstance(train, Artifact) else train.artifact
    if artifact is None or artifact.kind != "training_set":
        raise Invalid(
            "Only a recorded training set can be checked. Check the whole that project.training_set answered."
        )
    made = run_that_made(context.ledger, artifact)
    inputs = {slot: context.ledger.artifact(digest) for slot, digest in made.inputs.items() if slot != "spine"}
    inputs["training_set"] = artifact
    parameters: dict[str, Json] = {"rows": rows, "seed": seed}
    name = artifact.spec.get("label") or "training set"
    _, outputs, found = record(context, "leak_check", name, find_leaks, inputs=inputs, parameters=parameters)
    report = msgspec.convert({k: v for k, v in found.items() if k != "ok"}, LeakReport)
    return msgspec.structs.replace(report, artifact=outputs["result"].id)


def find_leaks(
    training_set: TrainingSet,
    sources: Snapshots,
    views: Mapping[str, FeatureView],
    *,
    rows: int = 300,
    seed: int = 0,
) -> dict[str, Any]:
    """What ``check_leaks`` records: a ``LeakReport`` as JSON."""
    train = _Checked(training_set, sources, views)
    chosen, edges = train.sample(rows, seed)
    wrong = list(train.differences(chosen))
    report = LeakReport(
        rows=len(chosen),
        cells=len(chosen) * len(train.features),
        wrong=len(wrong),
        differences=wrong[:_MOST_SHOWN],
        own_values=list(train.own_values()),
        suspicions=list(train.suspicions()),
        edges=edges,
    )
    return report.to_json()


class _Checked:
    """A training set with what it was made from."""

    def __init__(self, train: TrainingSet, sources: Snapshots, views: Mapping[str, FeatureView]) -> None:
        self.train, self.sources = train, sources
        self.features = [found for each in train.features if (found := _selected(each, views)) is not None]
        moments = train.to_lazy().select(train.time).collect()[train.time]
        self.at = to_micros(moments, Rules("the training set", timezone="UTC")).rename(_AT)
        self._tables: dict[tuple[Source, tuple[str, ...]], _Table] = {}

    def table(self, source: Source, keys: tuple[str, ...]) -> _Table:
        """The rows of a source, read once."""
        if (source, keys) not in self._tables:
            wanted = [each for each in self.features if (each.view.source, each.view.entity.keys) == (source, keys)]
            self._tables[source, keys] = _Table(source, keys, wanted, self.sources)
        return self._tables[source, keys]

    def keys_of(self, keys: Sequence[str], rows: np.ndarray[Any, Any] | None = None) -> pl.DataFrame:
        """The keys of the set, as those of a source are written."""
        frame = self.train.to_lazy().select(list(keys)).collect()
        return key_columns(frame if rows is None else frame[rows], keys, "the training set")

    # -- recomputed -------------------------------------------------------------------------------------------

    def sample(self, size: int, seed: int) -> tuple[np.ndarray[Any, Any], dict[str, int]]:
        """Rows to work out again: edges first, the rest at random; and how many for which reason."""
        chosen: dict[int, str] = {}
        for reason, rows in self._edges().items():
            for row in rows:
                if len(chosen) < size:
                    chosen.setdefault(int(row), reason)
        others = np.random.default_rng(seed).permutation(len(self.at))
        for row in others[: size + len(chosen)]:
            if len(chosen) < size:
                chosen.setdefault(int(row), "at random")
        edges = {reason: list(chosen.values()).count(reason) for reason in dict.fromkeys(chosen.values())}
        return np.array(sorted(chosen), dtype=np.int64), edges

    def _edges(self) -> dict[str, Sequence[int]]:
        order = self.at.arg_sort(nulls_last=True)
        found: dict[str, Sequence[int]] = {"first": order[:_EDGE].to_list(), "last": order[-_EDGE:].to_list()}
        for view in {each.view.name: each.view for each in self.features}.values():
            table = self.table(view.source, view.entity.keys)
            keys = self.keys_of(view.entity.keys).with_columns(self.at).with_row_index(_ROW)
            busiest = table.rows.group_by(view.entity.keys).len().sort("len", *view.entity.keys, descending=True)
            busy = keys.join(busiest.head(_EDGE), on=view.entity.keys, maintain_order="left")
            found[f"busiest keys of {view.name}"] = busy.unique(view.entity.keys, maintain_order=True)[_ROW].to_list()
            for what, moments in table.moments().items():
                meets = keys.join(moments, on=[*view.entity.keys, _AT], how="semi", maintain_order="left")
                found[f"at {what} of {view.name}"] = _spread(meets[_ROW])
            if view.source.timezone is not None:
                found[f"days of 23 and 25 hours in {view.source.timezone}"] = _odd_days(self.at, view.source.timezone)
        return found

    def differences(self, chosen: np.ndarray[Any, Any]) -> Iterator[Difference]:
        """Cells that the plain loop answers otherwise."""
        strict = self.train.strict
        shown = self.train.to_lazy().select([each.column for each in self.features]).collect()[chosen]
        moments = self.at.gather(chosen).to_list()
        for each in self.features:
            table = self.table(each.view.source, each.view.entity.keys)
            keys = self.keys_of(each.view.entity.keys, chosen).rows()
            digits = _STD_DIGITS if each.aggregate.operation == "std" else None
            for row, key, at, found in zip(chosen, keys, moments, table.as_read(each, shown[each.column]), strict=True):
                near = table.near(each, key, at) if at is not None and None not in key else []
                expected = feature_value(near, each.view, each.feature, key, at, strict=strict)
                if not agree(found, expected, digits=digits):
                    yield Difference(each.reference, int(row), _json(found), _json(expected))

    # -- the label's own value --------------------------------------------------------------------------------

    def own_values(self) -> Iterator[OwnValue]:
        """Features that see the value of their own row from which the label comes."""
        label = self.train.label
        if label is None:
            return
        told: dict[tuple[Source, tuple[str, ...]], dict[str, pl.DataFrame]] = {}
        for each in self.features:
            if each.aggregate.column is None or each.view.source.static:
                continue
            group = each.view.source, each.view.entity.keys
            if group not in told:
                told[group] = self._own_rows(*group, label)
            own = told[group].get(each.aggregate.column)
            if own is None:
                continue
            answers = self.train.to_lazy().select(each.column).collect().to_series()
            if rows := _seen(own, each, answers, strict=self.train.strict):
                yield OwnValue(each.reference, each.aggregate.column, rows, own.height)

    def _own_rows(self, source: Source, keys: tuple[str, ...], label: str) -> dict[str, pl.DataFrame]:
        """By column that tells the label, the rows of the source that are rows of the set, with their moments."""
        table = self.table(source, keys)
        spine = self.keys_of(keys).with_columns(
            self.at, self.train.to_lazy().select(pl.col(label).alias(_LABEL)).collect().to_series()
        )
        spine = spine.with_row_index(_OWN)[:: _stride(spine.height)].drop_nulls()
        parts = []
        for name in table.times:
            rows = table.rows.drop_nulls(name).with_columns(pl.col(name).alias(_AT))
            parts.append(spine.join(rows, on=[*keys, _AT], nulls_equal=False, maintain_order="left_right"))
        own = pl.concat(parts).unique([_OWN, _ROW], keep="first", maintain_order=True)
        once = own.filter(pl.len().over(_OWN) == 1)
        return {column: found for column in table.values if (found := _telling(once, column)) is not None}

    # -- suspicions -------------------------------------------------------------------------------------------

    def suspicions(self) -> Iterator[Suspicion]:
        """Single features that tell the label almost for sure."""
        if self.train.label is None:
            return
        schema = self.train.schema
        for each in self.features:
            if schema[each.column].is_numeric() or schema[each.column] == pl.Boolean:
                pair = self.train.to_lazy().select(self.train.label, each.column).collect().drop_nulls()
                pair = pair[:: _stride(pair.height)]
                measure, value = _association(pair[self.train.label], pair[each.column])
                if value >= SUSPICIOUS:
                    yield Suspicion(each.reference, measure, value)


class _Table:
    """The rows of a source in the order it has, with their times as microseconds beside them."""

    def __init__(self, source: Source, keys: tuple[str, ...], wanted: Sequence[Selected], sources: Snapshots) -> None:
        self.source, self.keys = source, keys
        self.values = list(dict.fromkeys(c for each in wanted for c in each.aggregate.columns if c not in keys))
        clocks = [Clock.of(source, each.aggregate) for each in wanted]
        times = [*(c for clock in clocks for c in clock.columns), *([source.created] if source.created else [])]
        rows = read(source, [*keys, *times, *self.values], sources)
        owner = f"source {source.name!r}"
        self.rules = Rules(owner, timezone=source.timezone, ambiguous=source.ambiguous, nonexistent=source.nonexistent)
        self.times = {f"__time_{name}": name for name in dict.fromkeys(times)}
        micros = [to_micros(rows[name], self.rules).alias(place) for place, name in self.times.items()]
        self.rows = rows.with_columns(key_columns(rows, keys, owner)).with_columns(micros).with_row_index(_ROW)
        self._clocks = clocks
        self._of_key: dict[tuple[Any, ...], pl.DataFrame] = {}

    def moments(self) -> dict[str, pl.DataFrame]:
        """Keys and moments at which something happens or becomes known."""
        found = {}
        for times in (clock.times for clock in self._clocks if clock.times is not None):
            found[f"{times.event}"] = pl.col(f"__time_{times.event}")
            found["first known"] = pl.col(f"__time_{times.known or times.event}") + times.after
        return {what: self.rows.select(*self.keys, when.alias(_AT)).drop_nulls() for what, when in found.items()}

    def near(self, each: Selected, key: tuple[Any, ...], at: int) -> list[Row]:
        """The rows of a key that could matter at a moment, for the plain loop to judge.

        Windows need those whose event lies within; the latest value those not older than the newest that is visible
        for sure, which the loop then looks for among them.
        """
        feature, clock = each.aggregate, Clock.of(self.source, each.aggregate)
        rows, asked = self._rows_of(key), at - feature.lag
        if clock.times is None:
            return self._plain(rows)
        event = pl.col(f"__time_{clock.times.event}")
        rows = rows.filter(event <= asked)
        if feature.window is not None:
            return self._plain(rows.filter(event >= asked - feature.window))
        if feature.predicate is not None:
            return self._plain(rows)
        known = [pl.col(f"__time_{t.known or t.event}") + t.after for t in (clock.times, *clock.also)]
        known += [pl.col(f"__time_{self.source.created}")] if self.source.created else []
        sure = rows.filter(pl.all_horizontal(moment < asked for moment in known))
        if feature.skip_nulls:
            sure = sure.drop_nulls(feature.column)
        newest = sure.select(event.max()).item()
        return self._plain(rows if newest is None else rows.filter(event >= newest))

    def _rows_of(self, key: tuple[Any, ...]) -> pl.DataFrame:
        if key not in self._of_key:
            mine = [pl.col(name) == value for name, value in zip(self.keys, key, strict=True)]
            self._of_key[key] = self.rows.filter(mine)
        return self._of_key[key]

    def _plain(self, rows: pl.DataFrame) -> list[Row]:
        """As the loop wants them: times as moments, in place of what was written."""
        instants = [pl.col(place).cast(_UTC).alias(f"__moment_{name}") for place, name in self.times.items()]
        found = rows.with_columns(instants).to_dicts()
        return [{**row, **{name: row[f"__moment_{name}"] for name in self.times.values()}} for row in found]

    def as_read(self, each: Selected, answers: pl.Series) -> list[Any]:
        """Answers as the loop gives them: what is a time of the source is a moment."""
        if each.aggregate.column not in self.times.values() or answers.dtype.is_numeric():
            return answers.to_list()
        return to_micros(answers, self.rules).cast(_UTC).to_list()


def _stride(rows: int) -> int:
    return max(-(-rows // _MOST_LOOKED_AT), 1)


def _selected(each: FeatureColumn, views: Mapping[str, FeatureView]) -> Selected | None:
    name, _, feature = each.feature.partition(":")
    view = views.get(name)
    return Selected(view, feature, each.name) if view is not None and feature in view.features else None


def _spread(rows: pl.Series) -> list[int]:
    """Some of the rows, from all over."""
    return rows.gather_every(max(len(rows) // _EDGE, 1), offset=len(rows) // (2 * _EDGE)).head(_EDGE).to_list()


def _odd_days(at: pl.Series, zone: str) -> list[int]:
    """Some rows on days of 23 or 25 hours."""
    day = at.cast(_UTC).dt.convert_time_zone(zone).dt.truncate("1d")
    odd = (day.dt.offset_by("1d") - day) != timedelta(days=1)
    return _spread(odd.arg_true())


def _seen(own: pl.DataFrame, each: Selected, answers: pl.Series, *, strict: bool) -> int:
    """How many rows of the set take in the value of their own row of the source."""
    feature, source = each.aggregate, each.view.source
    clock, asked = Clock.of(source, feature), pl.col(_AT) - feature.lag
    assert clock.times is not None
    event = pl.col(f"__time_{clock.times.event}")
    known = [pl.col(f"__time_{t.known or t.event}") + t.after for t in (clock.times, *clock.also)]
    known += [pl.col(f"__time_{source.created}")] if source.created else []
    visible = [moment < asked if strict else moment <= asked for moment in known]
    if feature.predicate is not None:
        own = own.filter(pl.Series(satisfied(feature.predicate, own)))
    if feature.window is not None:
        return own.filter(*visible, event >= asked - feature.window, event < asked).height
    ttl = each.view.ttl_of(each.feature)
    found = own.filter(*visible, event <= asked, pl.lit(value=True) if ttl is None else event > asked - ttl)
    return int((found[feature.column or ""] == answers.gather(found[_OWN])).sum())


def _telling(own: pl.DataFrame, column: str) -> pl.DataFrame | None:
    """The rows that have a value, if it tells their label: by being it, or by a threshold."""
    own = own.drop_nulls(column)
    label, values = own[_LABEL], own[column]
    if label.n_unique() < 2:
        return None
    comparable = label.dtype == values.dtype or (_is_number(label) and _is_number(values))
    if comparable and (label == values).all():
        return own
    by_chance = 2 / math.comb(own.height, int((label == label[0]).sum()))  # of a line between two classes
    if by_chance > _BY_CHANCE or not _is_number(values):
        return None
    return own if label.n_unique() == 2 and _association(label, values)[1] == 1 else None


def _association(label: pl.Series, values: pl.Series) -> tuple[str, float]:
    """How well numbers tell a label: the area under the ROC curve for two classes, else the rank correlation."""
    values = values.cast(pl.Float64)
    kept = ~(values.is_nan() | values.is_null() | label.is_null())
    ranks, values = label.filter(kept).rank("dense"), values.filter(kept)
    classes = ranks.n_unique()
    if classes < 2 or values.n_unique() < 2:
        return "correlation", 0.0
    if classes == 2:
        area = auc((ranks - 1).to_numpy(), values.to_numpy())
        return "auc", max(area, 1 - area)
    found = pl.select(pl.corr(ranks, values, method="spearman")).item()
    return "correlation", 0.0 if found is None or found != found else abs(float(found))


def _is_number(values: pl.Series) -> bool:
    return bool(values.dtype.is_numeric() or values.dtype == pl.Boolean)


def _json(value: Any) -> Json:
    """A value as a report shows it."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
