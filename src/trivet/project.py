"""The one place that wires legs, engines and settings together: what a user holds in a hand.

A ``Project`` is a folder with a ledger. Its methods are the public API of the three legs; each hands the
context down to one function of one leg and leaves the work there. Nothing but this module knows more than
one leg: serving, for one, is given plain callables for features and scores.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trivet.clock import Clock, system_clock
from trivet.config import find_root, load_settings
from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact, Run
from trivet.pipelines.context import Context
from trivet.plugins import open_url
from trivet.progress import Progress
from trivet.types import as_utc, from_micros, to_micros

if TYPE_CHECKING:
    import polars as pl

    from trivet.features.catalogue import Catalogue, Listed
    from trivet.features.definitions import FeatureView
    from trivet.features.materialize import Materializer
    from trivet.features.reader import FeatureVector
    from trivet.features.references import Definition, Selection
    from trivet.features.tables import EventTables
    from trivet.features.training_set import TrainingSet
    from trivet.ledger.lineage import Lineage
    from trivet.live import Live
    from trivet.monitoring.alarms import OpenAlarm
    from trivet.monitoring.report import MonitorReport
    from trivet.pipelines.cache import Explanation
    from trivet.pipelines.execution import Event, Execution
    from trivet.pipelines.replay import Reproduction
    from trivet.pipelines.task import Pipeline
    from trivet.serving.deployment import Deployment
    from trivet.tracking.compare import Comparison
    from trivet.tracking.difference import Difference
    from trivet.tracking.registry import ModelVersion, Registry
    from trivet.tracking.runs import ActiveRun
    from trivet.tracking.search import RunList
    from trivet.training.gates import Gate, GateReport

__all__ = ["Project", "open"]


def open(  # noqa: A001 - reads as tv.open()
    path: str | Path | None = None, *, clock: Clock = system_clock, environment: Mapping[str, str] | None = None
) -> Project:
    """The project of a folder: ``trivet.toml`` or ``.trivet`` upwards from it, else a new one in ``.trivet``.

    Nothing needs to be set up first. Every setting has a default without a server; see ``trivet.config``.

    Args:
        path: the folder; the current one by default.
        clock: where the present comes from; a ``FixedClock`` for tests and replays.
        environment: the environment variables that settings are read from; those of the process by default.

    Raises:
        NotFound: there is no such folder.
        ConfigError: ``trivet.toml`` or a ``TRIVET_...`` variable cannot be used.
        MissingExtra: an engine that the settings name is not installed.

    Example:
        >>> import trivet as tv
        >>> with tv.open() as project:
        ...     artifact = project.save({"rate": 2.5})
        ...     project.load(artifact.id)
        {'rate': 2.5}
    """
    folder = Path.cwd() if path is None else Path(path).resolve()
    if not folder.is_dir():
        raise NotFound("folder", str(folder), hint="Create it, or open another.")
    root = find_root(folder)
    settings = load_settings(root, environment)
    return Project(
        Context(
            root=settings.root,
            settings=settings,
            ledger=open_url("ledger", settings.ledger.url, settings.root),
            blobs=open_url("blobs", settings.blobs.url, settings.root),
            clock=clock,
            user=getpass.getuser(),
            host=socket.gethostname(),
        )
    )


class Project:
    """A folder with a ledger, and everything that can be done with them. ``trivet.open()`` answers one.

    Use it as a context manager, or call ``close`` when done; either is optional in a script. What is given as a
    *reference* is any text that ``get`` understands.
    """

    def __init__(self, context: Context) -> None:
        self.context = context

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Project {self.context.root}>"

    def close(self) -> None:
        """Release what is open."""
        if "_online" in self.__dict__:
            self.__dict__.pop("_online").close()
        self.context.ledger.close()

    @property
    def root(self) -> Path:
        """The folder of the project."""
        return self.context.root

    # -- anything recorded ------------------------------------------------------------------------------------

    def get(self, reference: str) -> Artifact | Run:
        """The record that a pasted id means: ``model:3f2a9c``, ``run:01J...``, ``delay@champion``, a bare prefix.

        Raises:
            NotFound: there is no such thing; the nearest names are offered.
            Ambiguous: a shortened id fits several things.
            Invalid: the text is no reference.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     saved = project.save([1, 2, 3])
            ...     project.get(saved.digest[:12]) == project.get(saved.id) == saved
            True
        """
        from trivet.ledger.references import resolve

        return resolve(self.context.ledger, reference)

    def artifact(self, reference: str | Artifact) -> Artifact:
        """As ``get``, for artifacts only; of a run with one output, that output.

        Raises:
            NotFound: as ``get``.
            Ambiguous: as ``get``.
            Invalid: the reference means a run with no output, or with several.
        """
        record = self.get(reference) if isinstance(reference, str) else reference
        if isinstance(record, Artifact):
            return record
        if len(record.outputs) == 1:
            return self.context.ledger.artifact(next(iter(record.outputs.values())))
        raise Invalid(
            f"{reference!r} is a run with {len(record.outputs)} outputs. Name one: "
            f"{', '.join(f'{slot} ({digest[:12]})' for slot, digest in record.outputs.items()) or 'it has none'}."
        )

    def load(self, reference: str | Artifact) -> Any:
        """The value of an artifact again: a frame, a model, a training set, a report.

        Raises:
            NotFound: as ``get``, or the content is gone.
            Invalid: as ``artifact``.
            Corrupt: the stored bytes are not those that were stored.
            Refused: a model holds types that are not loaded without trust.
        """
        from trivet.pipelines.values import load

        return load(self.artifact(reference), self.context.blobs)

    def save(self, value: Any, *, kind: str | None = None) -> Artifact:
        """Record a value as an artifact: JSON, a data frame, a folder (``Path``), a model, a training set.

        The same value has the same digest, and saving it again changes nothing.

        Args:
            value: what to keep.
            kind: of the artifact, where several accept the value; the first that does by default.

        Raises:
            Invalid: no kind accepts the value.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     project.save({"b": 2, "a": 1}).digest == project.save({"a": 1, "b": 2}).digest
            True
        """
        from trivet.pipelines.values import save

        return save(value, self.context, kind)

    def lineage(self, reference: str | Artifact, *, down: bool = False, depth: int | None = None) -> Lineage:
        """Where an artifact came from, or with ``down`` what came of it.

        Args:
            reference: an artifact, or what ``artifact`` understands.
            down: what was made from it, instead of what it was made from.
            depth: how many generations of runs away at most; all by default.

        Raises:
            NotFound: as ``get``.
            Invalid: as ``artifact``, or ``depth`` is negative.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     with project.run("count") as run:
            ...         made = run.output("total", {"total": 6})
            ...     [run.name for run in project.lineage(f"run:{run.id}").runs]
            ['count']
        """
        from trivet.ledger.lineage import ancestors, descendants

        question = descendants if down else ancestors
        return question(self.context.ledger, self.artifact(reference).digest, depth)

    def diff(self, a: str, b: str) -> Difference:
        """What differs between two runs, models, training sets or other artifacts.

        Parameters, metrics, inputs, code line by line, libraries, columns and rows; models are followed to the runs
        that made them. ``compare`` shows many runs side by side instead.

        Raises:
            NotFound: as ``get``.
        """
        from trivet.tracking.difference import diff

        return diff(self.context, self.get(a), self.get(b))

    def reproduce(
        self, reference: str, *, environment: str = "locked", progress: Callable[[str], None] | None = None
    ) -> Reproduction:
        """Execute again what made this, in a clean place, and compare the outputs.

        Args:
            reference: an artifact, a run or ``prediction:ID``.
            environment: ``locked`` builds a fresh environment from the recorded lock, ``current`` uses this one.
            progress: told in words what is being done; a bar shows it otherwise.

        Raises:
            NotFound: as ``get``, or a part of the record is gone.
            Invalid: nothing on record made it: it was saved by hand or logged in a run.
            StepFailed: the function failed in the clean place; the sentence says how.
        """
        from trivet.pipelines.replay import reproduce

        run = self._run_to_reproduce(reference)
        with Progress("reproducing", shown=progress is None) as bar:
            tell = progress or (lambda text: bar.step(text, by=0))
            return reproduce(self.context, run, environment=environment, progress=tell)  # type: ignore[arg-type]

    def _run_to_reproduce(self, reference: str) -> Run:
        from trivet.pipelines.replay import run_that_made

        if reference.startswith("prediction:"):
            return self._live.run_of(reference.removeprefix("prediction:"))
        record = self.get(reference)
        return record if isinstance(record, Run) else run_that_made(self.context.ledger, record)

    # -- leg one: access to data ------------------------------------------------------------------------------

    @cached_property
    def _online(self) -> Any:
        return open_url("online", self.context.settings.features.online, self.root)

    def define(self, *definitions: Definition, why: str = "") -> list[Listed]:
        """Store feature views, on-demand views and services; an edited one becomes a new version.

        From then on references such as ``"visits:*"`` and ``"visits:count_7d"`` name their features. What they were
        declared with as objects is stored too, and their functions are tried in a clean process.

        Args:
            definitions: what ``tv.feature_view``, ``tv.on_demand`` or ``tv.FeatureService`` declared.
            why: the reason, kept in the history of each name.

        Raises:
            Invalid: a source's data cannot be read, a function does not run in a clean process, or a name is taken.
            NotFound: an input or a service's feature does not exist; the nearest names are offered.

        Example:
            >>> import trivet as tv
            >>> source = tv.Source("visits", "visits.parquet", event_time="came")
            >>> view = tv.FeatureView("visits", entity=tv.Entity("shop"), source=source, features=["spent"])
            >>> with tv.open() as project:
            ...     [listed] = project.define(view)
            ...     listed.version, listed.features
            (1, ['visits:spent'])
        """
        return self._catalogue.apply(*definitions, why=why)

    def feature_views(self) -> list[Listed]:
        """The current version of every stored feature view, by name."""
        return self._catalogue.list("feature_view")

    def feature_view(self, reference: str) -> Listed:
        """One stored definition: ``congestion``, or ``congestion@2`` for another version.

        Raises:
            NotFound: there is no such view or version; the nearest names are offered.
        """
        return self._catalogue.describe(reference)

    @property
    def _catalogue(self) -> Catalogue:
        from trivet.features.catalogue import Catalogue

        return Catalogue(self.context)

    def training_set(
        self,
        spine: Any,
        features: Sequence[Definition | str] | Definition | str,
        *,
        time: str,
        label: str | None = None,
        strict: bool = False,
        full_names: bool = False,
        as_known_at: datetime | str | None = None,
    ) -> TrainingSet:
        """Join features to a spine as they were known at each row's time; recorded, one row out per row in.

        Args:
            spine: pandas, Polars or Arrow frame of entity keys, a time, and whatever else should stay in it.
            features: views, services, or references such as ``"weather:*"`` and ``"planes:seats"``.
            time: the column with the moment at which each row asks.
            label: the column to be predicted.
            strict: see only what was known before the row's time, not at it.
            full_names: name columns ``view__feature``.
            as_known_at: answer what this call would have answered at that moment, from the data on record then.

        Raises:
            Invalid: the spine lacks a key or its time, a time has no zone, two features share a name.
            NotFound: an unknown view, feature or column; the nearest names are offered.

        Example:
            >>> import polars as pl
            >>> import trivet as tv
            >>> hours = ["2026-01-01T10:00Z", "2026-01-01T11:00Z", "2026-01-01T12:00Z"]
            >>> reports = pl.DataFrame({"place": "Graz", "hour": hours, "temp": [1, 2, 3]})
            >>> weather = tv.Source("weather", reports, event_time="hour", known_after="1h")
            >>> view = tv.FeatureView("weather", entity=tv.Entity("place"), source=weather, features=["temp"])
            >>> spine = pl.DataFrame({"place": ["Graz"], "t": ["2026-01-01T12:30Z"]})
            >>> with tv.open() as project:
            ...     project.training_set(spine, [view], time="t").to_polars()["temp"].to_list()
            [2]
        """
        from trivet.features.training_set import training_set

        wanted = list(features) if isinstance(features, Sequence) and not isinstance(features, str) else [features]
        self.define(*(each for each in wanted if not isinstance(each, str)))
        return training_set(
            self.context,
            spine,
            features,
            time=time,
            label=label,
            strict=strict,
            full_names=full_names,
            as_known_at=as_known_at,
        )

    def materializer(
        self, features: Sequence[Definition | str] | Definition | str, *, afresh: bool = False
    ) -> Materializer:
        """What brings the online store up to a moment, again and again, without reading its sources anew.

        ``afresh`` forgets first what the store has of these views, for a replay of the past.
        """
        from trivet.features.materialize import Materializer, record_materialization
        from trivet.features.sources import snapshots_of

        views = self._selected(features).views
        if afresh:
            for view in views:
                self._online.drop(view.online_name)
        sources = snapshots_of([view.source for view in views], self.root)
        materializer = Materializer(views, sources, self._online)
        record_materialization(self.context, views, sources)
        return materializer

    def materialize(
        self,
        features: Sequence[Definition | str] | Definition | str | None = None,
        *,
        until: datetime | str | None = None,
    ) -> dict[str, int]:
        """Bring the online store up to ``until`` (now by default) and answer how many rows each view wrote.

        Args:
            features: views, or references to them; all stored views by default.
            until: an aware time or its text; what was known at that moment is written.

        Raises:
            NotFound: an unknown view.
            Invalid: ``until`` has no zone, or a source cannot be read.
        """
        wanted = (
            features if features is not None else [one.name for one in self.feature_views() if one.view.served_features]
        )
        moment = self.context.clock() if until is None else as_utc(until)
        with Progress("materializing"):
            return self.materializer(wanted).advance(moment)

    def online_features(
        self,
        features: Sequence[Definition | str] | Definition | str,
        entities: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Any,
        *,
        at: datetime | str | None = None,
        request: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
    ) -> list[FeatureVector]:
        """The features of some entities as the online store has them, expired where too old ``at`` that time.

        Args:
            features: views, or references to them and their features.
            entities: keys by name, of one entity or of several: ``{"customer": 7}``, a list of those, a data frame.
            at: an aware time or its text; now by default.
            request: what on-demand views ask the caller for: the same for all, or a list with those of each.

        Raises:
            NotFound: an unknown view or feature.
            Invalid: a key is missing or of no usable type.

        Example:
            >>> import polars as pl
            >>> import trivet as tv
            >>> rows = pl.DataFrame({"place": ["Graz"], "hour": ["2026-01-01T10:00Z"], "temp": [21.5]})
            >>> source = tv.Source("weather", rows, event_time="hour")
            >>> view = tv.FeatureView("weather", entity=tv.Entity("place"), source=source, features=["temp"], ttl="6h")
            >>> with tv.open() as project:
            ...     project.materialize([view], until="2026-01-01T12:00Z")
            ...     for hour in (13, 17):
            ...         [vector] = project.online_features([view], {"place": "Graz"}, at=f"2026-01-01T{hour}:00Z")
            ...         vector.values, vector.status
            {'weather': 1}
            ({'weather:temp': 21.5}, {'weather:temp': 'present'})
            ({'weather:temp': None}, {'weather:temp': 'expired'})
        """
        from trivet.features.frames import as_polars, is_frame
        from trivet.features.reader import FeatureReader

        several = as_polars(entities).to_dicts() if is_frame(entities) else entities
        asked = [several] if isinstance(several, Mapping) else list(several)
        if wrong := [entity for entity in asked if not isinstance(entity, Mapping)]:
            raise Invalid(f"{wrong[0]!r} is no entity. Give its keys by name, for example {{'origin': 'JFK'}}.")
        moment = self.context.clock() if at is None else as_utc(at)
        sent = [request] * len(asked) if isinstance(request, Mapping) else request
        return FeatureReader(self._selected(features), self._online)(asked, to_micros(moment), sent)

    def online_frame(
        self,
        features: Sequence[Definition | str] | Definition | str,
        frame: Any,
        *,
        at: datetime | str | None = None,
        times: bool = False,
        status: bool = False,
    ) -> pl.DataFrame:
        """The features of many entities for batch scoring: a data frame in, a Polars frame out, a column for each feature.

        Args:
            features: views and services, or references to them.
            frame: pandas, Polars or Arrow, with the keys and what on-demand views ask the caller for.
            at: an aware time or its text; now by default.
            times: add ``FEATURE__time``, when each value happened.
            status: add ``FEATURE__status``, why a value is missing.

        Raises:
            NotFound: an unknown view or feature, or a key that the frame lacks.
            Invalid: a key of no usable type, or a moment before that of the store.
        """
        from trivet.features.batch import read_frame
        from trivet.features.reader import FeatureReader

        moment = self.context.clock() if at is None else as_utc(at)
        reader = FeatureReader(self._selected(features), self._online)
        return read_frame(reader, frame, to_micros(moment), times=times, status=status)

    def serve_features(
        self,
        features: Sequence[Definition | str] | Definition | str,
        *,
        host: str | None = None,
        port: int | None = None,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        """Answer features over HTTP without a model, until told to stop; arguments as for ``serve``."""
        self._live.serve_features(self._selected(features), host=host, port=port, ready=ready)

    @cached_property
    def tables(self) -> EventTables:
        """Tables of events of the project's own: ``ingest``, ``read``, ``erase``."""
        from trivet.features.tables import EventTables

        return EventTables(self.context, lambda: self._online)

    def watermark(self, view: FeatureView) -> datetime | None:
        """Up to when a view was last materialized, None if never."""
        moment: int | None = self._online.watermark(view.anchored(self.root).online_name)
        return None if moment is None else from_micros(moment)

    def _selected(self, features: Sequence[Definition | str] | Definition | str) -> Selection:
        from trivet.features.references import resolve

        return resolve(features, self._catalogue.get, root=self.root)

    # -- leg two: keeping track -------------------------------------------------------------------------------

    def run(self, name: str, *, tags: Mapping[str, str] | None = None, parent: str | None = None) -> ActiveRun:
        """Record what happens inside ``with project.run("deeper trees") as run:``.

        Args:
            name: what is tried, for people.
            tags: more about it, by name; they may be changed later.
            parent: the id of another run that this one belongs to; the run around it by default.

        Raises:
            NotFound: there is no such parent.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     with project.run("deeper trees") as run:
            ...         depth = run.params(max_depth=3)["max_depth"]
            ...         run.log(auc=0.7)
            ...     project.get(f"run:{run.id}").metrics
            {'auc': 0.7}
        """
        from trivet.tracking.runs import start

        return start(self.context, name, tags=tags or {}, parent=parent)

    def runs(self, **conditions: Any) -> RunList:
        """Recorded runs, newest first, as a list that prints as a table and converts with ``to_pandas()``.

        Args:
            conditions: ``kind``, ``name``, ``status``, ``parent``, ``limit`` and others of
                ``trivet.tracking.search.runs``; ``where`` is a function that a run must satisfy.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     for depth in (1, 2, 3):
            ...         with project.run(f"depth {depth}") as run:
            ...             run.log(score=depth)
            ...     [run.name for run in project.runs(where=lambda run: run.metrics.get("score", 0) > 1)]
            ['depth 3', 'depth 2']
        """
        from trivet.tracking.search import runs

        return runs(self.context, **conditions)

    def compare(self, *references: str) -> Comparison:
        """What differs among runs, side by side.

        Raises:
            NotFound: as ``get``.
            Invalid: a reference means an artifact; ``diff`` takes those.
        """
        from trivet.tracking.compare import compare

        records = [self.get(reference) for reference in references]
        for reference, record in zip(references, records, strict=True):
            if isinstance(record, Artifact):
                raise Invalid(f"{reference!r} is an artifact, and only runs are compared. Ask `diff` for artifacts.")
        return compare([record for record in records if isinstance(record, Run)])

    def register(self, name: str, model: Artifact | str, *, why: str = "") -> ModelVersion:
        """Give a model a name; the version number is the next one, or the one that this very model has.

        Raises:
            Invalid: ``name`` cannot name a model, or the artifact is no model.
            NotFound: the model is not recorded.
        """
        return self.registry.register(name, self.artifact(model), why=why)

    def promote(self, name: str, version: int, alias: str = "champion", *, why: str = "") -> ModelVersion:
        """Point an alias at a version.

        Whether a model may serve is not decided here, but by its gate report.

        Raises:
            NotFound: there is no such model or version.
            Invalid: ``alias`` is a number or no name.
        """
        return self.registry.promote(name, version, alias, why=why)

    def model(self, reference: str) -> ModelVersion:
        """A registered model: ``delay@champion``, ``delay@2``, or ``delay`` for its newest version.

        Raises:
            NotFound: there is no such model, version or alias; the nearest is named.
        """
        return self.registry.get(reference)

    def models(self) -> list[ModelVersion]:
        """Every version of every registered model."""
        return [version for name in self.registry.names() for version in self.registry.versions(name)]

    @property
    def registry(self) -> Registry:
        """The registered models: versions, aliases, their history, and how to take an alias away."""
        from trivet.tracking.registry import Registry

        return Registry(self.context)

    # -- pipelines --------------------------------------------------------------------------------------------

    def execute(
        self,
        pipeline: Pipeline[..., Any],
        *,
        force: Collection[str] = (),
        cache: bool = True,
        progress: Callable[[Event], None] | None = None,
        **inputs: Any,
    ) -> Execution:
        """Run a pipeline, each step in its own process; steps whose key is known are taken from the cache.

        Args:
            pipeline: what ``tv.pipeline`` decorated, in a file that another process can import.
            force: names of steps to run even if their key is known.
            cache: False runs every step.
            progress: told what happens to each step; a bar shows it otherwise.
            inputs: the pipeline's own arguments: JSON values, artifacts, data frames, training sets, models.

        Raises:
            Invalid: an argument is missing or unknown, or a task cannot be imported by another process.
            StepFailed: a task raised or was killed; steps that did not need it have finished.
        """
        from trivet.pipelines.execution import execute

        prepared = {
            name: value.artifact if getattr(value, "artifact", None) is not None else value
            for name, value in inputs.items()
        }
        with Progress(pipeline.name, shown=progress is None) as bar:
            tell = progress or (lambda event: bar.to(event.step, event.done, event.total))
            return execute(self.context, pipeline, prepared, force=force, cache=cache, progress=tell)

    def find_pipeline(self, target: str | Path, name: str | None = None) -> Pipeline[..., Any]:
        """A pipeline of a Python file, or of ``pipeline.py`` in a folder; ``name`` chooses among several.

        Raises:
            NotFound: there is no such file or pipeline.
            Invalid: the file cannot be imported, or has several pipelines and no name was given.
        """
        from trivet.pipelines.finding import find_pipeline

        return find_pipeline(Path(target), name)

    def why(self, step: str) -> Explanation:
        """Which part of its key made a step run, or why it did not.

        Args:
            step: a step's name, for its newest run, or a run's id.

        Raises:
            NotFound: there is no such step or run.
        """
        from trivet.pipelines.cache import why

        return why(self.context, step)

    # -- leg three: training, serving, monitoring -------------------------------------------------------------

    def gate(
        self,
        model: Artifact | str,
        test: TrainingSet | Artifact | str,
        gate: Gate,
        *,
        baseline: Artifact | str | None = None,
    ) -> GateReport:
        """Judge a model on a test set; the report is stored and bound to the model's digest.

        Args:
            model: an artifact, ``delay@2``, an id.
            test: a training set, or a recorded table that has the model's target.
            gate: what must hold.
            baseline: the model to compare with; without one, the best constant answer.

        Raises:
            NotFound: as ``get``, or a column that the gate asks for is not there.
            Invalid: a measure does not fit the kind of model.

        Example:
            >>> import polars as pl
            >>> import trivet as tv
            >>> rows = pl.DataFrame({"x": range(400), "late": [False] * 200 + [True] * 200})
            >>> with tv.open() as project:
            ...     model = project.save(tv.fit(rows, "LogisticRegression", label="late"))
            ...     report = project.gate(model, project.save(rows), tv.Gate("sane", [tv.at_least("auc", 0.9)]))
            ...     report.verdict
            'pass'
        """
        from trivet.training.gates import gate as judge

        data = test if isinstance(test, Artifact | str) else test.artifact or self.save(test)
        against = None if baseline is None else self.artifact(baseline)
        report, _, _ = judge(self.context, self.artifact(model), self.artifact(data), gate, baseline=against)
        return report

    def gate_report(self, digest: str) -> Artifact | None:
        """The newest gate report about a model, None if it was never judged."""
        from trivet.serving.admission import newest_report

        return newest_report(self.context.ledger, digest)

    @cached_property
    def _live(self) -> Live:
        from trivet.live import Live

        return Live(self.context, self._online)

    def deploy(
        self,
        model: str,
        *,
        role: str = "champion",
        max_silence: str | None = None,
        allow_ungated: str | None = None,
    ) -> Deployment:
        """Record that a registered model begins to answer; only one with a passing gate report may.

        Args:
            model: ``delay@champion``, ``delay@2``.
            role: champion, canary or shadow.
            max_silence: longer without a prediction raises the dead-model alarm; ``[monitoring] max_silence``.
            allow_ungated: the reason to serve a model without a passing report; kept with who gave it.

        Raises:
            NotFound: there is no such model.
            Refused: there is no passing gate report for this very model, and no reason was given.

        Example:
            >>> import polars as pl
            >>> import trivet as tv
            >>> rows = pl.DataFrame({"x": range(9), "y": range(9)})
            >>> with tv.open() as project:
            ...     version = project.register("line", project.save(tv.fit(rows, "LinearRegression", label="y")))
            ...     try:
            ...         project.deploy("line@1")
            ...     except tv.errors.Refused as refusal:
            ...         print(refusal)
            model:... has no gate report, and nothing ungated is served. ...
        """
        silence = max_silence or self.context.settings.monitoring.max_silence
        return self._live.deploy(self.model(model), role=role, max_silence=silence, allow_ungated=allow_ungated)

    def serve(
        self,
        deployment: Deployment,
        *,
        host: str | None = None,
        port: int | None = None,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        """Answer over HTTP until told to stop (Ctrl-C, SIGTERM); then the deployment ends.

        Args:
            deployment: from ``deploy``.
            host: where; ``[serving] host`` by default.
            port: where; ``[serving] port`` by default, 0 for any that is free.
            ready: called with the address once it answers.

        Raises:
            Refused: an address that others can reach; there is no authentication yet.
        """
        self._live.serve(deployment, host=host, port=port, ready=ready)

    def deployments(self) -> list[Deployment]:
        """Everything that answers or has answered, newest first."""
        return self._live.deployments()

    def deployment(self, reference: str) -> Deployment:
        """A deployment by the start of its id, or the newest of a model's name.

        Raises:
            NotFound: there is none.
        """
        return self._live.deployment(reference)

    def retire(self, reference: str, *, why: str) -> Deployment:
        """Say that a deployment has done its work: it is watched no more, and its alarms end. Who and why is recorded.

        Args:
            reference: a deployment's id, or a model's name for its newest deployment.
            why: the reason.

        Raises:
            NotFound: there is no such deployment.
            Invalid: the reason is blank.
            Conflict: it still answers (stop it first), or is retired already.
        """
        return self._live.retire(self.deployment(reference), why=why)

    def predictions(self, *, deployment: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """The latest recorded predictions, newest first, with their labels where they have come."""
        return self._live.predictions(deployment, limit)

    def prediction(self, id: str) -> dict[str, Any]:  # noqa: A002 - the field's name
        """One recorded prediction: what was asked, what the model saw and since when, what it answered.

        Raises:
            NotFound: no prediction has an id that starts so, or fewer than six characters of it were given.
            Ambiguous: several predictions have an id that starts so.
        """
        return self._live.prediction(id)

    def labels(self, frame: Any) -> int:
        """Say how predictions turned out, and answer how many labels were added.

        Args:
            frame: a data frame with ``prediction`` (the id), ``label`` (a number) and ``at`` (when it became known).

        Raises:
            Invalid: a column is missing, or ``at`` has no time zone.
        """
        return self._live.add_labels(frame)

    def monitor(self, reference: str, *, every: str | None = None, record: bool = True) -> MonitorReport:
        """Check a deployment: labels, performance, drift, heartbeats; raise and clear alarms.

        Args:
            reference: a deployment's id, or a model's name for its newest deployment.
            every: the length of the periods of performance: hour, day, week, month, or a duration.
            record: False looks without recording or raising anything.

        Raises:
            NotFound: there is no such deployment.
        """
        return self._live.monitor(self.deployment(reference), every=every, record=record)

    def base_rate(self, deployment: Deployment) -> float | None:
        """The share of positive labels in training of a deployment's model; None where the label is a number."""
        return self._live.base_rate(deployment)

    def alarms(self) -> list[OpenAlarm]:
        """The alarms that are open, the longest trouble first."""
        from trivet.monitoring.alarms import open_alarms

        return open_alarms(self.context)
