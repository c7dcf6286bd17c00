"""One value of one feature for one entity, where it is on record, and the same computed again.

A value is on record in the training sets that hold it. ``recorded_value`` finds it there, and ``feature_value`` is the
importable function that computes it from the sources and views of then, with the engine of training sets. So it is a
run that can be made again, like everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from trivet import plugins
from trivet.errors import Invalid, NotFound
from trivet.features.definitions import FeatureView
from trivet.features.on_demand import OnDemand
from trivet.features.references import Definition, resolve
from trivet.features.skew.compare import as_recorded
from trivet.features.skew.offline import Offline, Vector
from trivet.features.sources import Snapshots
from trivet.features.training_set import TrainingSet
from trivet.ledger import Run
from trivet.pipelines import values
from trivet.pipelines.context import Context
from trivet.types import Micros, as_utc, to_micros

__all__ = ["ENTRY", "feature_value", "recorded_value"]

ENTRY = "trivet.features.value:feature_value"
KIND = "feature_value"


def feature_value(
    sources: Snapshots,
    views: Mapping[str, FeatureView | OnDemand],
    *,
    feature: str,
    entities: Mapping[str, Any],
    request: Mapping[str, Any],
    moments: Mapping[str, Micros],
    engine: str = "local:",
) -> Any:
    """The value, as a record has it.

    Args:
        sources: the data, by name.
        views: the views, by name.
        feature: its reference, ``view:feature``.
        entities: the entity's keys.
        request: what was sent, for features computed on demand.
        moments: when to ask each view, in UTC microseconds.
        engine: URL of the engine.

    Raises:
        NotFound, Invalid: as training sets raise them.
    """

    def find(name: str) -> Definition:
        if name not in views:
            raise NotFound("feature view", name, views)
        return views[name]

    selection = resolve([feature], find, full_names=True)
    row = Vector("", 0, 0, dict(entities), dict(request), {}, {}, {})
    offline = Offline(selection, plugins.open_url("engine", engine, Path()))
    return offline.at([row], {name: [moment] for name, moment in moments.items()}, sources)[feature][0]


def recorded_value(
    context: Context, runs: Iterable[Run], feature: str, entity: Mapping[str, str], at: datetime | str | None
) -> Run:
    """The newest record of a value among training sets, as a run that can be made again.

    Args:
        context: the project.
        runs: of training sets, newest first.
        feature: its reference.
        entity: its keys, as text.
        at: when the row asks; the last row of the entity by default.

    Raises:
        NotFound: no training set on record holds it.
        Invalid: the training set is strict.
    """
    searched = 0
    for run in runs:
        if feature not in run.parameters.get("features", ()) or not run.recipe or "result" not in run.outputs:
            continue
        searched += 1
        train: Any = values.load(context.ledger.artifact(run.outputs["result"]), context.blobs)
        row = _row(train, entity, None if at is None else as_utc(at))
        if row is not None:
            return _run(context, run, train, feature, row, entity)
    keys = ", ".join(f"{name}={value}" for name, value in entity.items())
    hint = f"{searched} training sets with this feature were searched." if searched else "No training set has it."
    raise NotFound("value on record of", f"{feature} for {keys}{f' at {at}' if at else ''}", hint=hint)


def _row(train: TrainingSet, entity: Mapping[str, str], at: datetime | None) -> dict[str, Any] | None:
    schema = train.schema
    if not entity.keys() <= set(schema):
        return None
    moment = pl.col(train.time)
    if schema[train.time] == pl.String:
        moment = moment.str.to_datetime(time_unit="us", time_zone="UTC")
    rows = train.to_lazy().with_columns(moment.dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC")).alias("__at"))
    for name, value in entity.items():
        rows = rows.filter(pl.col(name).cast(pl.String) == value)
    if at is not None:
        rows = rows.filter(pl.col("__at") == at)
    found = rows.sort("__at").tail(1).collect()
    return found.row(0, named=True) if found.height else None


def _run(
    context: Context, run: Run, train: TrainingSet, feature: str, row: Mapping[str, Any], entity: Mapping[str, str]
) -> Run:
    if train.strict:
        raise Invalid(
            f"The training set of run {run.id} is strict, and one value of it is not made again alone. Make the whole "
            f"again: reproduce run:{run.id}."
        )
    column = next(each.name for each in train.features if each.feature == feature)
    inputs = {slot: digest for slot, digest in run.inputs.items() if slot.startswith(("sources.", "views."))}
    views = [slot.removeprefix("views.") for slot in inputs if slot.startswith("views.")]
    assert run.recipe is not None
    return msgspec.structs.replace(
        run,
        kind=KIND,
        name=feature,
        recipe=msgspec.structs.replace(run.recipe, entry=ENTRY),
        inputs=inputs,
        outputs={"result": values.save(as_recorded(row[column]), context, "json").digest},
        parameters={
            "feature": feature,
            "entities": as_recorded({name: row[name] for name in entity}),
            "request": as_recorded({name: value for name, value in row.items() if name not in ("__at", column)}),
            "moments": dict.fromkeys(views, to_micros(row["__at"])),
            "engine": run.parameters.get("engine", "local:"),
        },
    )
