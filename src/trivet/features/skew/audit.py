"""An audit on record: gathers the views as they were served and the data now and then, and runs ``find_skew``.

What cannot be had any more (a file that is gone, data that were erased) is left out and noted; an audit answers about what is
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from trivet.errors import NotFound, TrivetError
from trivet.features.catalogue import Catalogue
from trivet.features.definitions import FeatureView
from trivet.features.references import Selection
from trivet.features.skew.finding import find_skew
from trivet.features.skew.offline import Vector
from trivet.features.skew.report import SkewReport
from trivet.features.snapshots import record_source
from trivet.features.sources import leaves_of
from trivet.ledger import Artifact, Run, RunQuery
from trivet.pipelines.context import Context
from trivet.types import Json, to_micros

__all__ = ["KIND", "audit", "last_audit"]

KIND = "skew_audit"
_FILLINGS = 200  # of each view that are looked at, newest first


def audit(
    context: Context,
    selection: Selection,
    served: Sequence[Vector],
    *,
    deployment: str,
    model: str,
    watermark: Callable[[FeatureView], int | None],
    since: datetime | None,
    rows: int,
    seed: int,
    tolerance: float,
    delay: int,
) -> SkewReport:
    """Audit served vectors and record what is found as a run of kind ``skew_audit``.

    Args:
        context: the project.
        selection: what the model reads, in the versions that it was fitted with.
        served: the vectors that were drawn.
        deployment: the id of the run that served them.
        model: ``delay@3``.
        watermark: up to when the online store has a view.
        since: from when on vectors were drawn, for the record.
        rows: how many should be drawn, for the record.
        seed: by which they were drawn, for the record.
        tolerance: up to which relative distance numbers are the same.
        delay: how far the store may be behind, in microseconds.

    Raises:
        Invalid: data cannot be read, or a request value is missing in a record.
    """
    from trivet.pipelines import values
    from trivet.pipelines.recording import record

    gathered = _Gathered(context, selection)
    inputs = {"served": values.save([msgspec.to_builtins(each) for each in served], context, "json")}
    for name, view in selection.definitions.items():
        inputs[f"views.{name}"] = values.save(view, context, kind=view.__trivet_kind__)
    inputs |= gathered.inputs()
    watermarks = {view.name: watermark(view) for view in selection.views}
    parameters: dict[str, Json] = {
        "features": [each.reference for each in selection],
        "deployment": deployment,
        "model": model,
        "at": context.clock().isoformat(),
        "since": None if since is None else since.isoformat(),
        "rows": rows,
        "seed": seed,
        "tolerance": tolerance,
        "delay": delay,
        "filled": gathered.filled,
        "watermarks": {name: moment for name, moment in watermarks.items() if moment is not None},
        "notes": list(gathered.notes),
        "engine": context.settings.features.engine,
    }
    _, outputs, found = record(context, KIND, model, find_skew, inputs=inputs, parameters=parameters, parent=deployment)
    return msgspec.structs.replace(SkewReport.from_json(found), artifact=outputs["result"].id)


def last_audit(context: Context, deployment: str) -> SkewReport | None:
    """The newest audit of a deployment, None if there was none."""
    from trivet.pipelines import values

    runs = context.ledger.runs(RunQuery(kind=KIND, parent=deployment, status="finished", limit=1))
    if not runs:
        return None
    artifact = context.ledger.artifact(runs[0].outputs["result"])
    found: Any = values.load(artifact, context.blobs)
    return msgspec.structs.replace(SkewReport.from_json(found), artifact=artifact.id)


class _Gathered:
    """The data that an audit takes, as artifacts."""

    def __init__(self, context: Context, selection: Selection) -> None:
        self._context, self._selection = context, selection
        self._runs = self._fillings()
        self.notes: list[str] = []
        self.filled: list[Json] = [self._told(run) for run in self._runs]

    def inputs(self) -> dict[str, Artifact]:
        """By slot: sources as they are now, data on record, other versions of the views."""
        from trivet.pipelines import values

        views = [self._bound(view) for view in self._selection.views]
        found = {f"sources.{name}": data for name, data in self._now(views).items()}
        for run in self._runs:
            for digest in _sources(run).values():
                if (data := self._kept(digest)) is not None:
                    found[f"recorded.{digest}"] = data
        for name, view in self._versions():
            found[f"versions.{name}"] = values.save(view, self._context, kind="feature_view")
        return found

    def _now(self, views: Sequence[FeatureView]) -> dict[str, Artifact]:
        found = {}
        for name, leaf in leaves_of(view.source for view in views).items():
            try:
                found[name] = record_source(leaf, self._context)
            except TrivetError as exc:
                last = next((kept for run in reversed(self._runs) if (kept := self._last(run, name))), None)
                if last is None:
                    raise
                found[name] = last
                self.notes.append(f"Source {name!r} cannot be read now, so the data on record were taken: {exc}")
        return found

    def _last(self, run: Run, source: str) -> Artifact | None:
        digest = _sources(run).get(source)
        return None if digest is None else self._kept(digest)

    def _bound(self, view: FeatureView) -> FeatureView:
        """With the frames that its sources were declared with, which are no part of a declaration."""
        without = [leaf.name for leaf in view.source.leaves if leaf.data is None]
        if not without:
            return view
        try:
            current = Catalogue(self._context).get(view.name)
        except NotFound:
            return view
        leaves = current.source.leaves if isinstance(current, FeatureView) else ()
        return view.bound({leaf.name: leaf.data for leaf in leaves if leaf.name in without and leaf.data is not None})

    def _versions(self) -> Iterator[tuple[str, FeatureView]]:
        """Other versions of the views that were served."""
        for view in self._selection.views:
            pointers = self._context.ledger.pointers(name=f"feature_view/{view.name}")
            for pointer in pointers:
                if pointer.is_version and pointer.digest not in (None, view.digest):
                    spec = self._context.ledger.artifact(pointer.digest or "").spec
                    yield f"{view.name}@{pointer.label}", FeatureView.from_spec(spec)

    def _fillings(self) -> list[Run]:
        """The runs that filled the online store with these views, oldest first."""
        runs: dict[str, Run] = {}
        for view in self._selection.views:
            query = RunQuery(kind="materialize", input=view.digest, limit=_FILLINGS)
            runs |= {run.id: run for run in self._context.ledger.runs(query)}
        return sorted(runs.values(), key=lambda run: (run.started, run.id))

    def _told(self, run: Run) -> dict[str, Json]:
        digests = {view.digest: view.name for view in self._selection.views}
        until = run.parameters.get("until")
        return {
            "at": to_micros(run.started),
            "views": [digests[each] for each in run.inputs.values() if each in digests],
            "sources": dict(_sources(run)),
            "until": until if isinstance(until, int) else None,
        }

    def _kept(self, digest: str) -> Artifact | None:
        """Data on record, if they are still there."""
        try:
            artifact = self._context.ledger.artifact(digest)
        except NotFound:
            return None
        return None if self._context.blobs.missing(file.digest for file in artifact.files.values()) else artifact


def _sources(run: Run) -> Mapping[str, str]:
    return {slot.partition(".")[2]: digest for slot, digest in run.inputs.items() if slot.startswith("sources.")}
