"""Whether a training set knows too much: sampled rows again by the plain loop, and what gives the label away.

Three questions, none of which trusts the engine. *Recomputed*: rows at random and at the edges (first and last, days of
23 and 25 hours, the keys with most rows, moments at which something happens) are worked out again from the recorded
sources by the loop of ``trivet.features.point_in_time``, what is computed on demand row by row of that, and every cell is
compared. *Own value*: where a row of the set is itself a row of a source (``own_rows``), its label may be a column of that
row; a feature that sees that very value at the moment of asking is no prediction. *Suspicious*: a single feature that
tells the label almost for sure is a hint of something of the kind that no declaration shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeAlias

import msgspec
import numpy as np
import polars as pl

from trivet.errors import Invalid
from trivet.features.computed import Computation
from trivet.features.definitions import FeatureView, Source
from trivet.features.engines.filters import satisfied
from trivet.features.engines.keys import key_columns
from trivet.features.engines.local import LocalEngine
from trivet.features.engines.prepared import Clock
from trivet.features.frames import as_polars
from trivet.features.logs import with_logs
from trivet.features.on_demand import OnDemand
from trivet.features.own_rows import AT, OWN, ROW, Ways, comparable
from trivet.features.point_in_time import Row, agree, feature_value
from trivet.features.references import Computed, Selected, resolve
from trivet.features.sources import Snapshots, read
from trivet.features.sources.reading import schema_of
from trivet.features.times import Rules, to_micros
from trivet.features.training_set import TrainingSet
from trivet.ledger import Artifact
from trivet.pipelines.context import Context
from trivet.statistics import auc
from trivet.types import Json

__all__ = ["SUSPICIOUS", "Difference", "LeakReport", "OwnValue", "Suspicion", "check_leaks", "find_leaks"]

SUSPICIOUS = 0.95
"""An area under the ROC curve (of a label of two values) or a rank correlation from which on one feature is suspect."""

_EDGE, _MOST_SHOWN, _MOST_LOOKED_AT = 6, 20, 500_000
_LABEL = "__label"
_Told: TypeAlias = "dict[str, pl.DataFrame]"
_UTC = pl.Datetime("us", "UTC")
_DIGITS = 9  # the loop takes deviations with exact fractions, and functions of one row may round otherwise than of many
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
    needed = {slot: digest for slot, digest in made.inputs.items() if slot.startswith(("sources.", "views."))}
    inputs = {slot: context.ledger.artifact(digest) for slot, digest in needed.items()}
    inputs["training_set"] = artifact
    parameters: dict[str, Json] = {"rows": rows, "seed": seed}
    name = artifact.spec.get("label") or "training set"
    _, outputs, found = record(context, "leak_check", name, find_leaks, inputs=inputs, parameters=parameters)
    report = msgspec.convert({k: v for k, v in found.items() if k != "ok"}, LeakReport)
    return msgspec.structs.replace(report, artifact=outputs["result"].id)


def find_leaks(
    training_set: TrainingSet,
    sources: Snapshots,
    views: Mapping[str, FeatureView | OnDemand],
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
        cells=len(chosen) * (len(train.features) + len(train.computed)),
        wrong=len(wrong),
        differences=wrong[:_MOST_SHOWN],
        own_values=list(train.own_values()),
        suspicions=list(train.suspicions()),
        edges=edges,
    )
    return report.to_json()


class _Checked:
    """A training set with what it was made from.

    Attributes:
        features: those of views, under the column of the set that they fill.
        read: these, and the features that are only read for what is computed on demand.
        computed: what is, with its column.
    """

    def __init__(self, train: TrainingSet, sources: Snapshots, views: Mapping[str, FeatureView | OnDemand]) -> None:
        self.train = train
        columns = {each.feature: each.name for each in train.features if each.feature.partition(":")[0] in views}
        self.selection = resolve(columns, views.__getitem__, full_names=True) if columns else None
        asked = self.selection.columns if self.selection else ()
        self.computed = [(each, columns[each.reference]) for each in asked if isinstance(each, Computed)]
        self.read = [
            Selected(each.view, each.feature, columns.get(each.reference, each.reference))
            for each in (self.selection.read if self.selection else ())
        ]
        self.features = [each for each in self.read if each.reference in columns]
        self.sources = with_logs([each.view.source for each in self.read], sources, LocalEngine().point_in_time)
        moments = train.to_lazy().select(train.time).collect()[train.time]
        self.at = to_micros(moments, Rules("the training set", timezone="UTC")).rename(AT)
        self._tables: dict[tuple[Source, tuple[str, ...]], _Table] = {}
        self._pairs: dict[Source, list[pl.DataFrame]] = {}

    def table(self, source: Source, keys: tuple[str, ...]) -> _Table:
        """The rows of a source, read once."""
        if (source, keys) not in self._tables:
            wanted = [each for each in self.read if (each.view.source, each.view.entity.keys) == (source, keys)]
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
            keys = self.keys_of(view.entity.keys).with_columns(self.at).with_row_index(ROW)
            busiest = table.rows.group_by(view.entity.keys).len().sort("len", *view.entity.keys, descending=True)
            busy = keys.join(busiest.head(_EDGE), on=view.entity.keys, maintain_order="left")
            found[f"busiest keys of {view.name}"] = busy.unique(view.entity.keys, maintain_order=True)[ROW].to_list()
            for what, moments in table.moments().items():
                meets = keys.join(moments, on=[*view.entity.keys, AT], how="semi", maintain_order="left")
                found[f"at {what} of {view.name}"] = _spread(meets[ROW])
            if view.source.timezone is not None:
                found[f"days of 23 and 25 hours in {view.source.timezone}"] = _odd_days(self.at, view.source.timezone)
        return found

    def differences(self, chosen: np.ndarray[Any, Any]) -> Iterator[Difference]:
        """Cells that the plain loop answers otherwise."""
        expected = {each.reference: self._by_loop(each, chosen) for each in self.read}
        for each in self.features:
            table = self.table(each.view.source, each.view.entity.keys)
            digits = _DIGITS if each.aggregate.operation == "std" else None
            found = table.as_read(each, self._cells(each.column, chosen))
            yield from _unlike(each.reference, chosen, found, expected[each.reference], digits)
        for reference, column, answers in self._alone(expected, chosen):
            yield from _unlike(reference, chosen, self._cells(column, chosen).to_list(), answers, _DIGITS)

    def _cells(self, column: str, chosen: np.ndarray[Any, Any]) -> pl.Series:
        return self.train.to_lazy().select(column).collect().to_series()[chosen]

    def _by_loop(self, each: Selected, chosen: np.ndarray[Any, Any]) -> list[Any]:
        """A feature of some rows, by the plain loop."""
        table, view = self.table(each.view.source, each.view.entity.keys), each.view
        answers = []
        for key, at in zip(self.keys_of(view.entity.keys, chosen).rows(), self.at.gather(chosen), strict=True):
            near = table.near(each, key, at) if at is not None and None not in key else []
            answers.append(feature_value(near, view, each.feature, key, at, strict=self.train.strict))
        return answers

    def _alone(
        self, expected: Mapping[str, list[Any]], chosen: np.ndarray[Any, Any]
    ) -> Iterator[tuple[str, str, list[Any]]]:
        """What is computed on demand, each row by itself: reference, column, and the values."""
        if self.selection is None or not self.computed:
            return
        sent = self.train.to_lazy().select(list(self.selection.request)).collect()[chosen]
        read = [pl.Series(each.column, expected[each.reference], strict=False) for each in self.selection.read]
        frame, computation = pl.DataFrame([*sent, *read]), Computation(self.selection)
        rows = [computation.columns(frame[place : place + 1]) for place in range(frame.height)]
        for each, column in self.computed:
            yield each.reference, column, [row[each.reference].item() for row in rows]

    # -- the label's own value --------------------------------------------------------------------------------

    def own_values(self) -> Iterator[OwnValue]:
        """Features that see the value of their own row from which the label comes."""
        if self.train.label is None:
            return
        told: dict[tuple[Source, tuple[str, ...]], list[_Told]] = {}
        for each in self.read:
            group = each.view.source, each.view.entity.keys
            if each.view.source.static:
                continue
            if group not in told:
                told[group] = [found for way in self._ways(each.view.source) if (found := self._telling(*group, way))]
            taken = [own for found in told[group] if (own := self._taken_in(each, found)) is not None]
            if taken:
                yield max(taken, key=lambda own: own.rows)

    def _telling(self, source: Source, keys: tuple[str, ...], pairs: pl.DataFrame) -> _Told:
        """By column that tells the label, the rows of the set with their rows of the source."""
        table = self.table(source, keys)
        own = pairs.join(self._labels, on=OWN).join(table.rows, on=ROW, maintain_order="left")
        return {column: found for column in table.values if (found := _telling(own, column)) is not None}

    def _taken_in(self, each: Selected, told: _Told) -> OwnValue | None:
        for column in each.aggregate.columns:
            if (own := told.get(column)) is not None:
                rows = _seen(own, each, column, self._answers(each), strict=self.train.strict)
                if rows:
                    return OwnValue(each.reference, column, rows, own.height)
        return None

    @cached_property
    def _labels(self) -> pl.DataFrame:
        """Rows of the set with their moments and labels; of a long set some, from all over."""
        labels = self.train.to_lazy().select(pl.col(self.train.label or "").alias(_LABEL)).collect().to_series()
        known = pl.DataFrame([self.at, labels]).with_row_index(OWN)
        return known[:: _stride(known.height)].drop_nulls()

    def _ways(self, source: Source) -> list[pl.DataFrame]:
        """In which ways rows of the set may be rows of a source: pairs, for each."""
        if source not in self._pairs:
            schema, own = schema_of(source, self.sources), self.train.to_lazy().drop(self._made, strict=False)
            keys = [key for each in self.read if each.view.source == source for key in each.view.entity.keys]
            keys = list(dict.fromkeys(keys))
            shared = [name for name in own.collect_schema().names() if name in schema and name not in keys]
            times = [name for name, dtype in schema.items() if name in source.time_columns or _is_moment(dtype)]
            rows, rules = read(source, [*keys, *shared, *times], self.sources), _rules(source)
            moments = [to_micros(rows[name], rules).alias(f"__time_{name}") for name in times]
            there = key_columns(rows, keys, rules.owner).with_columns(
                *(comparable(rows[name]) for name in shared), *moments
            )
            here = self.keys_of(keys).with_columns(*map(comparable, own.select(shared).collect()), self.at)
            here = here.with_row_index(OWN)[:: _stride(here.height)].drop_nulls(AT)
            ways = Ways(here, there.with_row_index(ROW), keys, [each.name for each in moments])
            self._pairs[source] = [pairs for pairs in ways if pairs.height]
        return self._pairs[source]

    @property
    def _made(self) -> list[str]:
        """Columns of the set that say nothing of whose row a row is by being equal: features, label and time."""
        return [*(each.name for each in self.train.features), self.train.label or "", self.train.time]

    def _answers(self, each: Selected) -> pl.Series:
        """A feature for all rows; what is only read for others is not in the set."""
        if each.column in self.train.schema:
            return self.train.to_lazy().select(each.column).collect().to_series()
        spine = self.train.to_lazy().select(*each.view.entity.keys, self.train.time).collect()
        joined = LocalEngine().point_in_time(
            spine, [each], self.sources, time=self.train.time, strict=self.train.strict
        )
        return as_polars(joined.frame)[each.column]

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
        self.rules = _rules(source)
        self.times = {f"__time_{name}": name for name in dict.fromkeys(times)}
        micros = [to_micros(rows[name], self.rules).alias(place) for place, name in self.times.items()]
        self.rows = (
            rows.with_columns(key_columns(rows, keys, self.rules.owner)).with_columns(micros).with_row_index(ROW)
        )
        self._clocks = clocks
        self._of_key: dict[tuple[Any, ...], pl.DataFrame] = {}

    def moments(self) -> dict[str, pl.DataFrame]:
        """Keys and moments at which something happens or becomes known."""
        found = {}
        for times in (clock.times for clock in self._clocks if clock.times is not None):
            found[f"{times.event}"] = pl.col(f"__time_{times.event}")
            found["first known"] = pl.col(f"__time_{times.known or times.event}") + times.after
        return {what: self.rows.select(*self.keys, when.alias(AT)).drop_nulls() for what, when in found.items()}

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


def _rules(source: Source) -> Rules:
    rule = {"ambiguous": source.ambiguous, "nonexistent": source.nonexistent}
    return Rules(f"source {source.name!r}", timezone=source.timezone, **rule)


def _is_moment(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None


def _unlike(
    reference: str, rows: Iterable[int], found: Sequence[Any], expected: Sequence[Any], digits: int | None
) -> Iterator[Difference]:
    for row, one, other in zip(rows, found, expected, strict=True):
        if not agree(one, other, digits=digits):
            yield Difference(reference, int(row), _json(one), _json(other))


def _spread(rows: pl.Series) -> list[int]:
    """Some of the rows, from all over."""
    return rows.gather_every(max(len(rows) // _EDGE, 1), offset=len(rows) // (2 * _EDGE)).head(_EDGE).to_list()


def _odd_days(at: pl.Series, zone: str) -> list[int]:
    """Some rows on days of 23 or 25 hours."""
    day = at.cast(_UTC).dt.convert_time_zone(zone).dt.truncate("1d")
    odd = (day.dt.offset_by("1d") - day) != timedelta(days=1)
    return _spread(odd.arg_true())


def _seen(own: pl.DataFrame, each: Selected, column: str, answers: pl.Series, *, strict: bool) -> int:
    """How many rows of the set take in ``column`` of their own row of the source."""
    feature, source = each.aggregate, each.view.source
    clock, asked = Clock.of(source, feature), pl.col(AT) - feature.lag
    assert clock.times is not None
    event = pl.col(f"__time_{clock.times.event}")
    known = [pl.col(f"__time_{t.known or t.event}") + t.after for t in (clock.times, *clock.also)]
    known += [pl.col(f"__time_{source.created}")] if source.created else []
    visible = [moment < asked if strict else moment <= asked for moment in known]
    if feature.predicate is not None and column not in feature.predicate.columns:  # else what is left out tells as well
        own = own.filter(pl.Series(satisfied(feature.predicate, own)))
    if feature.window is not None:
        return own.filter(*visible, event >= asked - feature.window, event < asked).height
    ttl = each.view.ttl_of(each.feature)
    found = own.filter(*visible, event <= asked, pl.lit(value=True) if ttl is None else event > asked - ttl)
    return int((found[feature.column or ""] == answers.gather(found[OWN])).sum())


def _telling(own: pl.DataFrame, column: str) -> pl.DataFrame | None:
    """The rows that have a value, if it tells their label: by being it, or by a threshold."""
    own = own.drop_nulls(column)
    label, values = own[_LABEL], own[column]
    if label.n_unique() < 2:
        return None
    comparable = label.dtype == values.dtype or (_is_number(label) and _is_number(values))
    if comparable and (label == values).all():
        return own
    if _by_chance(own.height, int((label == label[0]).sum())) > _BY_CHANCE or not _is_number(values):
        return None
    return own if label.n_unique() == 2 and _association(label, values)[1] == 1 else None


def _by_chance(rows: int, of_one_class: int) -> float:
    """How likely a line between two classes is by chance: two of all orders, whose number is a binomial coefficient."""
    orders = math.lgamma(rows + 1) - math.lgamma(of_one_class + 1) - math.lgamma(rows - of_one_class + 1)
    return 2 * math.exp(-orders)


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
