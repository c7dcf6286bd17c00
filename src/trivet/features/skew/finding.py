"""The audit itself, as a function of what was served, definitions and data: what a recorded run calls, and calls again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from trivet import plugins
from trivet.errors import NotFound
from trivet.features.definitions import FeatureView
from trivet.features.on_demand import OnDemand
from trivet.features.references import resolve
from trivet.features.skew.causes import Cell, Evidence, Filled, Verdict, explain
from trivet.features.skew.compare import distances, same
from trivet.features.skew.offline import Offline, Vector
from trivet.features.skew.report import Example, FeatureSkew, SkewReport
from trivet.statistics import wilson
from trivet.types import Json, as_utc, from_micros

__all__ = ["find_skew"]

_SHOWN = 5


def find_skew(
    served: Sequence[Mapping[str, Any]],
    views: Mapping[str, FeatureView | OnDemand] = {},
    sources: Mapping[str, Any] = {},
    recorded: Mapping[str, Any] = {},
    versions: Mapping[str, FeatureView] = {},
    *,
    features: Sequence[str],
    deployment: str,
    model: str,
    at: str,
    since: str | None = None,
    rows: int = 500,  # noqa: ARG001 - for the record
    seed: int = 0,  # noqa: ARG001 - for the record
    tolerance: float = 0.0,
    delay: int = 0,
    filled: Sequence[Mapping[str, Any]] = (),
    watermarks: Mapping[str, int] = {},
    notes: Sequence[str] = (),
    engine: str = "local:",
) -> dict[str, Json]:
    """Compute served vectors again and compare: a ``SkewReport`` as JSON.

    Args:
        served: the vectors, as ``Vector`` in JSON.
        views: the very versions that were served, by name.
        sources: the data as they are now, by name.
        recorded: data on record from before, by digest.
        versions: other versions of the views.
        features: the references that the model reads.
        deployment: for the report.
        model: for the report.
        at: of the audit, for the report.
        since: from when on vectors were drawn, for the report.
        rows: how many should be drawn, for the record.
        seed: by which they were drawn, for the record.
        notes: for the report.
        tolerance: up to which relative distance numbers are the same.
        delay: how far the store may be behind, in microseconds.
        filled: the fillings of the online store on record, oldest first, see ``causes.Filled``; sources by digest.
        watermarks: up to when the store has each view today.
        engine: URL of the engine.

    Raises:
        NotFound, Invalid: the data cannot be read.
    """
    vectors = [msgspec.convert(each, Vector) for each in served]
    found: list[FeatureSkew] = []
    if vectors and features:

        def find(name: str) -> FeatureView | OnDemand:
            if name not in views:
                raise NotFound("feature view", name, views)
            return views[name]

        offline = Offline(resolve(features, find, full_names=True), plugins.open_url("engine", engine, Path()))
        moments = {view.name: [row.at for row in vectors] for view in offline.selection.views}
        evidence = Evidence(
            offline,
            vectors,
            sources,
            offline.at(vectors, moments, sources),
            [_filled(each, recorded) for each in filled],
            watermarks,
            list(versions.values()),
            partial(same, tolerance=tolerance),
        )
        found = _compared(evidence, features, delay)
    report = SkewReport(
        deployment=deployment,
        model=model,
        at=as_utc(at),
        rows=len(vectors),
        since=None if since is None else as_utc(since),
        tolerance=tolerance,
        delay=delay,
        features=found,
        notes=list(notes),
    )
    return report.to_json()


def _filled(each: Mapping[str, Any], recorded: Mapping[str, Any]) -> Filled:
    sources = {name: recorded[digest] for name, digest in each["sources"].items() if digest in recorded}
    return Filled(each["at"], tuple(each["views"]), sources, each["until"])


def _compared(evidence: Evidence, features: Sequence[str], delay: int) -> list[FeatureSkew]:
    cells = [
        (number, reference)
        for reference in features
        for number, row in enumerate(evidence.rows)
        if not evidence.same(row.values.get(reference), evidence.now[reference][number])
    ]
    verdicts = explain(evidence, cells) if cells else {}
    return [_of(reference, evidence, verdicts, delay) for reference in features]


def _of(reference: str, evidence: Evidence, verdicts: Mapping[Cell, Verdict], delay: int) -> FeatureSkew:
    own = {row: verdict for (row, name), verdict in sorted(verdicts.items()) if name == reference}
    late = [verdict.age or 0 for verdict in own.values() if verdict.cause == "stale"]
    wrong = {row: each for row, each in own.items() if not _is_excused(each, delay)}
    pairs = [(evidence.rows[row].values.get(reference), evidence.now[reference][row]) for row in wrong]
    bounds = wilson(len(wrong), len(evidence.rows))
    absolute, relative = distances(pairs)
    return FeatureSkew(
        feature=reference,
        rows=len(evidence.rows),
        mismatches=len(wrong),
        stale=sum(age <= delay for age in late),
        revised=sum(each.cause == "revised" for each in own.values()),
        low=bounds.low,
        high=bounds.high,
        only_online=sum(online is not None and offline is None for online, offline in pairs),
        only_offline=sum(online is None and offline is not None for online, offline in pairs),
        absolute_error=absolute,
        relative_error=relative,
        oldest=max(late, default=None),
        causes=dict(Counter(each.cause for each in wrong.values())),
        examples=[_example(evidence, reference, row, each) for row, each in list(wrong.items())[:_SHOWN]],
    )


def _is_excused(verdict: Verdict, delay: int) -> bool:
    return verdict.cause == "revised" or (verdict.cause == "stale" and (verdict.age or 0) <= delay)


def _example(evidence: Evidence, reference: str, number: int, verdict: Verdict) -> Example:
    row = evidence.rows[number]
    return Example(
        prediction=row.id,
        at=from_micros(row.at),
        entities=row.entities,
        online=row.values.get(reference),
        offline=evidence.now[reference][number],
        status=row.status.get(reference, "missing"),
        cause=verdict.cause,
        age=verdict.age if verdict.cause == "stale" else None,
    )
