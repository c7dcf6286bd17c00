"""What is live: joins a deployed model, its features, its records and its monitors. Only ``project`` uses it.

Serving, features and monitoring do not know one another; here each is handed what it needs of the others as
plain callables and frames.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from trivet.clock import new_id
from trivet.errors import Conflict, Invalid, NotFound, Refused
from trivet.ledger import Artifact, Run, RunQuery
from trivet.pipelines.context import Context
from trivet.types import Digest, as_duration, from_micros, to_micros

if TYPE_CHECKING:
    import polars as pl

    from trivet.features.online.contract import OnlineStore
    from trivet.features.reader import FeatureReader
    from trivet.features.references import Definition, Selection
    from trivet.features.skew.report import SkewReport
    from trivet.ledger.tables import Tables
    from trivet.monitoring.heartbeats import Heartbeat
    from trivet.monitoring.report import MonitorReport
    from trivet.serving.deployment import Deployment
    from trivet.serving.feature_server import FeatureServer
    from trivet.serving.features import FeatureRoute
    from trivet.serving.history import History
    from trivet.serving.metrics import Metrics
    from trivet.serving.predictor import Predictor
    from trivet.serving.records import PredictionLog
    from trivet.tracking.registry import ModelVersion

__all__ = ["Live", "profile_of"]

LABELS = "labels"
SPOOL = Path(".trivet") / "spool"
_COLUMNS = ("id", "at", "received", "model", "version", "digest", "deployment", "role", "score", "latency_us")
_WATCHED = 50_000
_FEW = 100  # predictions below which nothing is said about how long a healthy pause may last
_REQUEST = {"int": "number", "float": "number", "bool": "boolean"} | dict.fromkeys(
    ("string", "date", "time"), "category"
)
_JSON = ("entities", "request", "features", "feature_times", "feature_status", "output")


class Live:
    """The live side of a project."""

    def __init__(self, context: Context, online: OnlineStore) -> None:
        self._context, self._online = context, online
        self._profiles: dict[Digest, dict[str, Any]] = {}

    @cached_property
    def tables(self) -> Tables:
        """Tables of the project's own: predictions, labels."""
        from trivet.ledger.tables import Tables

        return Tables(self._context.root / self._context.settings.serving.records)

    @cached_property
    def history(self) -> History:
        """What was predicted."""
        from trivet.serving.history import History

        return History(self.tables.read)

    # -- deploying --------------------------------------------------------------------------------------------

    def deploy(self, version: ModelVersion, *, role: str, max_silence: str, allow_ungated: str | None) -> Deployment:
        """Let a model version in, if it may, and record that it begins to answer."""
        from trivet.pipelines.recording import recipe_of
        from trivet.serving.admission import admit
        from trivet.serving.deployment import deploy
        from trivet.serving.replay import predict_again

        as_duration(max_silence)
        context = self._context
        self._check_strict(version.digest)
        admission = admit(context.ledger, version.digest, override=allow_ungated, by=context.user, clock=context.clock)
        return deploy(
            context,
            name=version.name,
            version=version.version,
            digest=version.digest,
            role=role,
            admission=admission,
            max_silence=max_silence,
            online=self._materializations(version.digest),
            recipe=recipe_of(context, predict_again, threads=context.settings.pipelines.threads),
        )

    def serve(
        self, deployment: Deployment, *, host: str | None, port: int | None, ready: Callable[[str], None] | None
    ) -> None:
        """Answer over HTTP until told to stop; then the last records are written and the deployment ends."""
        from threadpoolctl import threadpool_limits

        from trivet.serving.app import App
        from trivet.serving.deployment import end
        from trivet.serving.metrics import Metrics
        from trivet.serving.service import run

        run_of_it = self._context.ledger.run(deployment.id)
        if run_of_it.status != "running":
            raise Conflict(f"The deployment {deployment.id} has ended. Deploy {deployment.name} again to serve it.")
        if not {"gate_report", "override"} & {*run_of_it.inputs, *(k for k, v in run_of_it.tags.items() if v)}:
            raise Refused(f"The deployment {deployment.id} was let in by nothing on record. Deploy the model anew.")
        settings, metrics = self._context.settings.serving, Metrics()
        self.adopt()
        log = self.log(deployment, metrics)
        answered = False

        def answers(host: str, port: int) -> None:
            nonlocal answered
            answered = True
            if ready is not None:
                ready(f"http://{host}:{port}")

        try:
            predictor = self.predictor(deployment, log=log, metrics=metrics)
            app = App([predictor], metrics=metrics, features=self._feature_route(deployment), on_close=log.close)
            where = settings.port if port is None else port
            # A single row gains nothing from threads, and threads that wait for one another cost milliseconds.
            with threadpool_limits(limits=self._context.settings.pipelines.threads):
                run(app, host or settings.host, where, on_ready=answers)
        finally:
            log.close()
            end(self._context, deployment.id, answered=answered)

    def serve_features(
        self,
        selected: Selection,
        *,
        host: str | None,
        port: int | None,
        ready: Callable[[str], None] | None,
        push: Callable[[str, list[dict[str, Any]]], Any] | None = None,
    ) -> None:
        """Answer features over HTTP, without a model, and take events, until told to stop."""
        from trivet.serving.deployment import end
        from trivet.serving.features import FeatureService
        from trivet.serving.service import run

        settings, started = self._context.settings.serving, list[str]()
        app = FeatureService(self._route_of(selected, {}), push=push)
        inputs = self._definitions_of(selected)

        def answers(host: str, port: int) -> None:
            address = f"http://{host}:{port}"
            started.append(self._record_features(selected, inputs, address))
            if ready is not None:
                ready(address)

        try:
            run(app, host or settings.host, settings.port if port is None else port, on_ready=answers)
        finally:
            for each in started:
                end(self._context, each)

    def feature_servers(self) -> list[FeatureServer]:
        """Everything that answers features or has answered them without a model, newest first."""
        from trivet.serving.feature_server import feature_servers

        return feature_servers(self._context)

    def _definitions_of(self, selected: Selection) -> dict[str, Digest]:
        """What takes part in a selection, stored, and from what the online store was filled last."""
        from trivet.pipelines.values import save

        found: dict[str, Digest] = {}
        for each in selected.definitions.values():
            found[f"views.{each.name}"] = save(each, self._context, kind=each.__trivet_kind__).digest
        for service in selected.services:
            found[f"services.{service.name}"] = save(service, self._context, kind="feature_service").digest
        return found | self._filled_from({name[6:]: view for name, view in found.items() if name.startswith("views.")})

    def _record_features(self, selected: Selection, inputs: Mapping[str, Digest], address: str) -> str:
        from trivet.serving.feature_server import start

        services = [service.name for service in selected.services]
        name = ", ".join([*services, *selected.definitions])
        features = [each.reference for each in selected]
        about = start(self._context, name=name, features=features, services=services, address=address, inputs=inputs)
        return about.id

    def deployments(self) -> list[Deployment]:
        """Everything that answers or has answered, newest first."""
        from trivet.serving.deployment import deployments

        return deployments(self._context, self.history.served())

    def deployment(self, reference: str) -> Deployment:
        """One of them."""
        from trivet.serving.deployment import deployment

        return deployment(self._context, reference, self.history.served())

    def retire(self, deployment: Deployment, *, why: str) -> Deployment:
        """Say that a deployment has done its work; its alarms end unless another of this version is watched."""
        from trivet.monitoring.alarms import settle_alarms
        from trivet.serving.deployment import retire

        retired = retire(self._context, deployment, why=why)
        versions = {(each.name, each.version) for each in self.deployments() if each.state not in {"failed", "retired"}}
        if (retired.name, retired.version) not in versions:
            subject = f"{retired.name}@{retired.version}"
            kinds = ("silence.prediction", "drift", "skew")
            settle_alarms(self._context, [], checked=[(kind, subject) for kind in kinds])
        return retired

    # -- answering --------------------------------------------------------------------------------------------

    def predictor(self, deployment: Deployment, *, log: PredictionLog, metrics: Metrics) -> Predictor:
        """What answers requests for a deployment."""
        from trivet.pipelines.values import load
        from trivet.serving.predictor import Deployed, Predictor

        model: Any = load(self._context.ledger.artifact(deployment.digest), self._context.blobs)
        selected = self._selected(model)
        deployed = Deployed(
            name=deployment.name,
            version=str(deployment.version),
            digest=deployment.digest,
            signature=model.signature,
            entity_keys=self._key_types(model, selected),
            deployment=deployment.id,
            role=deployment.role,
            request={name: _REQUEST[kind] for name, kind in selected.request.items()},
        )
        reader = self._reader(selected)
        return Predictor(
            deployed, reader, model.score, log.add, metrics=metrics.of(deployed), clock=self._context.clock
        )

    def log(self, deployment: Deployment, metrics: Metrics) -> PredictionLog:
        """The record of a deployment's predictions; each commit of it is an artifact made by a run."""
        from trivet.serving.records import TABLE, PredictionLog, held_by

        return PredictionLog(
            self._context.root / SPOOL / deployment.id,
            self.tables.append,
            recorded=held_by(self.tables.read),
            compact=lambda: self.tables.compact(TABLE),
            on_flush=lambda version, rows: self._flushed(deployment, TABLE, version, rows),
            flush_every=as_duration(self._context.settings.serving.flush_every) / 1_000_000,
            unrecorded=self._context.settings.serving.unrecorded,
            metrics=metrics,
        )

    def _feature_route(self, deployment: Deployment) -> FeatureRoute | None:
        """What answers ``POST /features`` beside a model: the features that it reads, if it reads any."""
        from trivet.pipelines.values import load

        model: Any = load(self._context.ledger.artifact(deployment.digest), self._context.blobs)
        selected = self._selected(model)
        return self._route_of(selected, {deployment.name: [each.reference for each in selected]}) if selected else None

    def _route_of(self, selected: Selection, services: Mapping[str, Sequence[str]]) -> FeatureRoute:
        from trivet.features.served import ServedFeatures
        from trivet.serving.features import FeatureRoute

        served = ServedFeatures(selected, self._online, services)
        return FeatureRoute(
            served.reader,
            keys=served.keys,
            request=served.request,
            features=served.features,
            services=served.services,
            clock=self._context.clock,
            waits=served.remote,
        )

    def _reader(self, selected: Selection) -> FeatureReader:
        from trivet.features.reader import FeatureReader

        return FeatureReader(selected, self._online)

    def adopt(self) -> None:
        """Bring into the table what processes that died left in the spools of their deployments."""
        from trivet.serving.metrics import Metrics

        for folder in sorted((self._context.root / SPOOL).glob("*/")):
            if any(folder.iterdir()) and self.deployment(folder.name).state != "alive":
                self.log(self.deployment(folder.name), Metrics()).close()

    def _check_strict(self, model: Digest) -> None:
        train = self._context.ledger.artifact(model).spec.get("training_set")
        if train is not None and self._context.ledger.artifact(train).spec.get("strict"):
            raise Invalid(
                "The model was trained on a strict training set, which sees only what was known before each moment, and "
                "the online store keeps what is known at it. Train it without strict=True to serve it."
            )

    def _materializations(self, model: Digest) -> dict[str, Digest]:
        """From what the online store was filled last, for each feature view that a model reads."""
        spec = self._context.ledger.artifact(model).spec
        read = {
            each["feature"].partition(":")[0]: each["view"] for each in spec["signature"]["inputs"] if each.get("view")
        }
        return self._filled_from({**self._definitions(spec.get("training_set")), **read})

    def _filled_from(self, views: Mapping[str, Digest]) -> dict[str, Digest]:
        found: dict[str, Digest] = {}
        for name, view in views.items():
            if runs := self._context.ledger.runs(RunQuery(kind="materialize", input=view, limit=1)):
                found[f"online.{name}"] = runs[0].outputs["online_features"]
        return found

    def _definitions(self, train: Digest | None) -> dict[str, Digest]:
        """The views that a training set with on-demand views was made with, by name."""
        spec = self._context.ledger.artifact(train).spec if train else {}
        return dict(spec.get("definitions", {}))

    def _key_types(self, model: Any, selected: Selection) -> dict[str, str]:
        """The type of each entity key, as the model's training set had it; any scalar where that is not known."""
        spec = self._context.ledger.artifact(model.training_set).spec if model.training_set else {}
        columns = spec.get("columns", {})
        keys = dict.fromkeys(key for each in selected.read for key in each.view.entity.keys)
        return {key: _key_type(str(columns.get(key, ""))) for key in keys}

    def _selected(self, model: Any) -> Selection:
        """The features that a model reads, each by the very version of its view that the model was fitted with."""
        from trivet.features.references import Selection, resolve
        from trivet.pipelines.values import load

        columns = [column for column in model.signature.inputs if column.feature is not None]
        if not columns:
            return Selection((), ())
        used = self._definitions(model.training_set) | {c.feature.partition(":")[0]: c.view for c in columns}

        def find(name: str) -> Definition:
            if name not in used:
                raise NotFound("view that the model was fitted with, called", name, used)
            found: Any = load(self._context.ledger.artifact(used[name]), self._context.blobs)
            return cast("Definition", found)

        return resolve([column.feature for column in columns], find, full_names=True)

    def _flushed(self, deployment: Deployment, table: str, version: int, rows: int) -> None:
        """Record a commit of predictions: an artifact that a run made from the model."""
        now = self._context.clock()
        spec = {"table": table, "version": version, "rows": rows, "deployment": deployment.id}
        batch = Artifact.of("predictions", spec, created=now)
        run = Run(
            id=new_id(self._context.clock),
            kind="predict",
            name=f"{deployment.name}@{deployment.version}",
            status="finished",
            started=now,
            ended=now,
            parent=deployment.id,
            user=self._context.user,
            host=self._context.host,
            inputs=self._context.ledger.run(deployment.id).inputs,
            outputs={"predictions": batch.digest},
            metrics={"rows": float(rows)},
        )
        self._context.ledger.write(batch, run)

    # -- what was answered ------------------------------------------------------------------------------------

    def predictions(self, deployment: str | None, limit: int) -> list[dict[str, Any]]:
        """The latest predictions, newest first, with their labels where they have come."""
        newest = self.history.latest(limit, now=self._context.clock(), deployment=deployment)
        labels = self._labels_of(newest["id"].to_list())
        return [_plain(row, labels) for row in newest.iter_rows(named=True)]

    def prediction(self, id: str) -> dict[str, Any]:  # noqa: A002 - the field's name
        """One prediction by its id, or by the only id that starts so.

        Raises:
            NotFound: there is none, or fewer than six characters were given of a longer id.
            Ambiguous: several ids start so.
        """
        row = self.history.one(id)
        return _plain(row, self._labels_of([row["id"]]))

    def run_of(self, id: str) -> Run:  # noqa: A002 - the field's name
        """A prediction as a run that can be made again: the model, the recorded values, the recorded output."""
        from trivet.pipelines.values import save

        found = self.prediction(id)
        served = self._context.ledger.run(found["deployment"])
        output = save(found["output"], self._context, "json")
        moment = datetime.fromisoformat(found["received"])
        return Run(
            id=found["id"],
            kind="prediction",
            name=f"{found['model']}@{found['version']}",
            status="finished",
            started=moment,
            ended=moment,
            parent=served.id,
            recipe=served.recipe,
            inputs={"model": found["digest"]},
            outputs={"result": output.digest},
            parameters={
                "features": found["features"],
                "request": found["request"],
                "entities": found["entities"],
            },
        )

    def run_of_feature(self, id: str, feature: str) -> Run:  # noqa: A002 - the field's name
        """A value that a prediction saw as a run that can be made again: from what the online store was filled with.

        Raises:
            NotFound: the prediction saw no such feature, or no filling of the online store is on record.
        """
        from trivet.features.value import ENTRY, KIND
        from trivet.pipelines.values import load, save

        found = self.prediction(id)
        if feature not in found["features"]:
            raise NotFound(f"feature of the prediction {found['id']} called", feature, found["features"])
        context, received = self._context, datetime.fromisoformat(found["received"])
        selected = self._selected(load(context.ledger.artifact(found["digest"]), context.blobs))
        inputs, moments = dict[str, Digest](), dict[str, int]()
        for view in selected.views:
            filled = self._filling(view.name, received)
            inputs |= {slot: digest for slot, digest in filled.inputs.items() if slot.startswith("sources.")}
            moments[view.name] = filled.parameters.get("until") or to_micros(filled.started)
        for name, each in selected.definitions.items():
            inputs[f"views.{name}"] = save(each, context, kind=each.__trivet_kind__).digest
        recipe = context.ledger.run(found["deployment"]).recipe
        assert recipe is not None
        return Run(
            id=found["id"],
            kind=KIND,
            name=feature,
            status="finished",
            started=received,
            ended=received,
            parent=found["deployment"],
            recipe=msgspec.structs.replace(recipe, entry=ENTRY),
            inputs=inputs,
            outputs={"result": save(found["features"][feature], context, "json").digest},
            parameters={
                "feature": feature,
                "entities": found["entities"],
                "request": found["request"],
                "moments": moments,
                "engine": context.settings.features.engine,
            },
        )

    def _filling(self, view: str, before: datetime) -> Run:
        """The run that filled the online store with a view last before a moment."""
        for run in self._context.ledger.runs(RunQuery(kind="materialize", limit=1_000)):
            if f"views.{view}" in run.inputs and run.started <= before:
                return run
        raise NotFound("materialization on record of", view, hint="It was filled by other means, such as a push.")

    # -- watching ---------------------------------------------------------------------------------------------

    def monitor(self, deployment: Deployment, *, every: str | None, record: bool) -> MonitorReport:
        """The health of a deployment: what it predicted, how that turned out, what changed, whether it lives."""
        from trivet.monitoring.alarms import settle_alarms
        from trivet.monitoring.drift import Profile
        from trivet.monitoring.performance import Reference
        from trivet.monitoring.report import Subject, monitor

        if deployment.state == "failed":
            again = f"trivet serve {deployment.name}@{deployment.version}"
            raise Conflict(
                f"The deployment {deployment.id} never came to answer, so there is no health to tell: {again}."
            )
        context = self._context
        remembered, retired = self._remembered(deployment), deployment.state == "retired"
        predictions = self._watched(deployment)
        positives, rows = remembered.get("positives"), remembered.get("rows", 0)
        report = monitor(
            Subject(deployment.name, str(deployment.version), deployment.digest, deployment.id),
            predictions,
            self.labels(predictions["id"].to_list()),
            now=context.clock(),
            profile=Profile.from_json(remembered["profile"]) if remembered and not retired else None,
            heartbeats=[] if retired else [_heartbeat(deployment, predictions["received"].sort().to_list())],
            every=every or _suitable_period(predictions["at"]),
            kind="classification" if positives is not None else "regression",
            reference=None if positives is None else Reference(positives, rows),
            windows=context.settings.monitoring.drift_windows,
        )
        if record and not retired:
            subject = report.subject.name
            settle_alarms(context, report.alarms, checked=[("silence.prediction", subject), ("drift", subject)])
            self._record_report(deployment, report)
        return report

    def _watched(self, deployment: Deployment) -> pl.DataFrame:
        """The deployment's latest predictions, with all that the model saw under the names of its inputs."""
        import polars as pl

        since = deployment.started - timedelta(days=1)  # clocks are put back now and then
        latest = self.history.latest(_WATCHED, now=self._context.clock(), deployment=deployment.id, since=since)
        mine = latest.sort("received").unique("id")
        spec = self._context.ledger.artifact(deployment.digest).spec
        names = {column["feature"]: column["name"] for column in spec["signature"]["inputs"] if column.get("feature")}
        decode = msgspec.json.decode
        seen = [
            {**decode(entities), **{names.get(key, key): value for key, value in decode(features).items()}}
            for entities, features in mine.select("entities", "features").iter_rows()
        ]
        texts = [msgspec.json.encode(values).decode() for values in seen]
        return mine.with_columns(features=pl.Series(texts, dtype=pl.String))

    def base_rate(self, deployment: Deployment) -> float | None:
        """The share of positive labels that the deployment's model was trained on; None where labels are numbers."""
        remembered = self._remembered(deployment)
        return remembered["positives"] / remembered["rows"] if remembered.get("positives") is not None else None

    def _remembered(self, deployment: Deployment) -> dict[str, Any]:
        """What is remembered of the training set of a deployment's model; kept here, for it never changes."""
        if deployment.digest not in self._profiles:
            self._profiles[deployment.digest] = self._profile(deployment)
        return self._profiles[deployment.digest]

    def _profile(self, deployment: Deployment) -> dict[str, Any]:
        """The same, worked out once and recorded."""
        from trivet.pipelines.recording import record
        from trivet.pipelines.values import load

        context = self._context
        spec = context.ledger.artifact(deployment.digest).spec
        train, signature = spec.get("training_set"), spec["signature"]
        if train is None:
            return {}
        parameters = {
            "columns": [column["name"] for column in signature["inputs"]],
            "label": signature["target"],
        }
        for run in context.ledger.runs(RunQuery(kind="profile", input=train, status="finished")):
            if run.parameters == parameters:
                found: Any = load(context.ledger.artifact(run.outputs["result"]), context.blobs)
                return dict(found)
        inputs = {"train": context.ledger.artifact(train)}
        return dict(record(context, "profile", deployment.name, profile_of, inputs=inputs, parameters=parameters)[2])

    def _record_report(self, deployment: Deployment, report: MonitorReport) -> None:
        from trivet.pipelines.values import save

        now, context = self._context.clock(), self._context
        artifact = save(report.to_json(), context, "json")
        run = Run(
            id=new_id(context.clock),
            kind="monitor",
            name=report.subject.name,
            status="finished",
            started=report.at,
            ended=now,
            parent=deployment.id,
            user=context.user,
            host=context.host,
            inputs={"model": deployment.digest},
            outputs={"report": artifact.digest},
            metrics={"alarms": float(len(report.alarms)), "predictions": float(report.predictions)},
        )
        context.ledger.write(run)

    # -- skew -------------------------------------------------------------------------------------------------

    def audit(
        self,
        deployment: Deployment,
        *,
        rows: int,
        seed: int,
        since: datetime | None,
        tolerance: float,
        delay: str | None,
    ) -> SkewReport:
        """Compute what a deployment was served again as training would, and raise or clear the alarm about it."""
        from trivet.features.skew.audit import audit
        from trivet.features.skew.offline import Vector
        from trivet.monitoring.alarms import settle_alarms
        from trivet.pipelines.values import load

        if rows < 1 or not 0 <= tolerance < 1:
            raise Invalid(f"An audit needs rows >= 1 and 0 <= tolerance < 1, not rows={rows}, tolerance={tolerance}.")
        allowed = as_duration(delay or self._context.settings.features.delay)
        model: Any = load(self._context.ledger.artifact(deployment.digest), self._context.blobs)
        self.adopt()
        drawn = self.history.sample(rows, deployment=deployment.id, seed=seed, since=since)
        report = audit(
            self._context,
            self._selected(model),
            [Vector(**_vector(row)) for row in drawn.iter_rows(named=True)],
            deployment=deployment.id,
            model=f"{deployment.name}@{deployment.version}",
            watermark=lambda view: self._online.watermark(view.online_name),
            since=since,
            rows=rows,
            seed=seed,
            tolerance=tolerance,
            delay=allowed,
        )
        if report.rows and deployment.state != "retired":
            from trivet.data_alarms import skew_alarms

            alarms = skew_alarms(report, self._context.settings.monitoring.skew)
            settle_alarms(self._context, alarms, checked=[("skew", report.model)])
        return report

    def last_audit(self, deployment: Deployment) -> SkewReport | None:
        """The newest audit of a deployment."""
        from trivet.features.skew.audit import last_audit

        return last_audit(self._context, deployment.id)

    # -- labels -----------------------------------------------------------------------------------------------

    def add_labels(self, frame: Any) -> int:
        """Append labels as they become known and answer how many.

        Raises:
            Invalid: a column is missing, an id is no text, a label is no finite number, or a time is missing or has
                no zone. Then no label of the frame is added.
        """
        import polars as pl

        rows = _checked_labels(frame)
        if rows.height:
            batch = pl.lit(new_id(self._context.clock)).alias("batch")  # tables keep no order of their own
            self.tables.append(LABELS, rows.with_columns(batch).to_arrow())
        return rows.height

    def labels(self, of: Collection[str] | None = None) -> pl.DataFrame:
        """The labels of these predictions, of all by default, in the order in which they came."""
        import polars as pl

        if LABELS not in self.tables.names():
            return pl.DataFrame(schema={"prediction": pl.String, "label": pl.Float64, "at": pl.Datetime("us", "UTC")})
        among = [] if of is None else [("prediction", "in", list(of))]
        rows = pl.DataFrame(pl.from_arrow(self.tables.read(LABELS, where=among)))
        if "batch" not in rows.columns:  # a table of before deliveries were told apart
            return rows
        return rows.sort("batch", maintain_order=True).drop("batch")

    def _labels_of(self, ids: Collection[str]) -> dict[str, float]:
        """The label that was known last, and of those known at once the one that came last."""
        mine = self.labels(ids).sort("at", maintain_order=True)
        mine = mine.unique("prediction", keep="last", maintain_order=True)
        return dict(zip(mine["prediction"].to_list(), mine["label"].to_list(), strict=True))


def _checked_labels(frame: Any) -> pl.DataFrame:
    import polars as pl

    from trivet.features.frames import as_polars

    rows = as_polars(frame, "What holds the labels")
    for column in ("prediction", "label", "at"):
        if column not in rows.columns:
            raise Invalid(
                f"Labels need the columns prediction (its id), label and at (when it became known); {column!r} is "
                f"missing among {', '.join(rows.columns)}."
            )
    given = rows.schema
    if given["prediction"] != pl.String:
        raise Invalid(f"The column 'prediction' of the labels holds {given['prediction']}. Give the ids, as text.")
    if not (given["label"].is_numeric() or given["label"] == pl.Boolean):
        raise Invalid(f"The column 'label' of the labels holds {given['label']}. Give numbers, for classes 0 and 1.")
    if not isinstance(given["at"], pl.Datetime) or given["at"].time_zone is None:
        raise Invalid("The column 'at' of the labels has no time zone. Say when each label became known, in UTC.")
    plain = rows.select(
        "prediction",
        pl.col("label").cast(pl.Float64),
        pl.col("at").dt.convert_time_zone("UTC").dt.cast_time_unit("us"),
    )
    for name, usable in (
        ("prediction", pl.col("prediction").is_not_null()),
        ("label", pl.col("label").is_finite().fill_null(value=False)),
        ("at", pl.col("at").is_not_null()),
    ):
        if bad := plain.height - plain.filter(usable).height:
            raise Invalid(
                f"{bad} of {plain.height} labels have no usable {name!r}, so none was added. Leave out what is not known "
                "yet and send it when it is."
            )
    return plain


def _key_type(dtype: str) -> str:
    """The type of a key for a request, from the name of its Polars type; empty for any scalar."""
    if dtype.startswith(("Int", "UInt")):
        return "integer"
    return {"String": "text", "Categorical": "text", "Boolean": "boolean"}.get(dtype, "")


def _heartbeat(deployment: Deployment, received: Sequence[datetime]) -> Heartbeat:
    """Every deployed model is expected to predict, from the moment it is deployed, without anyone asking."""
    from trivet.monitoring.heartbeats import Heartbeat, false_alarm_rate, rate_per_hour

    expected = as_duration(deployment.max_silence)
    return Heartbeat(
        subject=f"{deployment.name}@{deployment.version}",
        kind="prediction",
        last=deployment.last_prediction,
        expected=expected,
        since=deployment.started,
        false_alarms=false_alarm_rate(received, expected) if len(received) > _FEW else None,
        rate=rate_per_hour(received),
    )


def _vector(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of ``predictions`` as the features that were served."""
    decoded = {name: msgspec.json.decode(row[name]) for name in _JSON if name != "output"}
    return {
        "id": row["id"],
        "at": to_micros(row["at"]),
        "received": to_micros(row["received"]),
        "entities": decoded["entities"],
        "request": decoded["request"],
        "values": decoded["features"],
        "times": decoded["feature_times"],
        "status": decoded["feature_status"],
    }


def _suitable_period(moments: pl.Series) -> str:
    """A calendar period that gives a chart a handful of points and each point some rows."""
    if moments.is_empty():
        return "day"
    days = (moments.max() - moments.min()).total_seconds() / 86_400  # type: ignore[operator, union-attr]
    return next(name for name, most in (("hour", 2), ("day", 14), ("week", 60), ("month", 1e9)) if days <= most)


def profile_of(train: Any, columns: Sequence[str], label: str) -> dict[str, Any]:
    """What to remember of a training set to judge live data by: its columns' distributions and its base rate."""
    from trivet.features.frames import as_polars
    from trivet.monitoring.drift import profile

    frame = train.to_polars() if hasattr(train, "to_polars") else as_polars(train, "The training set")
    remembered: dict[str, Any] = {"profile": profile(frame, list(columns)).to_json(), "rows": frame.height}
    if set(frame[label].drop_nulls().unique().to_list()) <= {0, 1}:
        remembered["positives"] = float(frame[label].sum())
    return remembered


def _plain(row: Mapping[str, Any], labels: Mapping[str, float]) -> dict[str, Any]:
    """A row of ``predictions`` as JSON values: times as text, the JSON columns decoded."""
    plain = {name: row[name] for name in _COLUMNS}
    plain |= {name: msgspec.json.decode(row[name]) for name in _JSON}
    plain |= {name: row[name].isoformat() for name in ("at", "received")}
    plain["feature_times"] = {
        name: None if moment is None else from_micros(moment).isoformat()
        for name, moment in plain["feature_times"].items()
    }
    return plain | {"label": labels.get(row["id"])}
