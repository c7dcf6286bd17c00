"""Leg three as methods of a project: pipelines, gates, serving, monitoring."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from trivet.ledger import Artifact
from trivet.progress import Progress
from trivet.types import as_duration, as_utc, to_micros

if TYPE_CHECKING:
    from trivet.features.skew.report import SkewReport
    from trivet.features.training_set import TrainingSet
    from trivet.monitoring.alarms import OpenAlarm
    from trivet.monitoring.report import MonitorReport
    from trivet.pipelines.cache import Explanation
    from trivet.pipelines.execution import Event, Execution
    from trivet.pipelines.task import Pipeline
    from trivet.serving.deployment import Deployment
    from trivet.serving.feature_server import FeatureServer
    from trivet.tracking.attribution import Attribution
    from trivet.training.gates import Gate, GateReport
    from trivet.types import Duration
from trivet.project.data import Data
from trivet.project.tracking import Tracking

__all__ = ["Delivery"]


class Delivery(Data, Tracking):
    """Deployment."""

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

    @overload
    def why(self, a: str) -> Explanation: ...
    @overload
    def why(
        self,
        a: str,
        b: str,
        *,
        budget: Duration | None = ...,
        environment: str = ...,
        progress: Callable[[str], None] | None = ...,
    ) -> Attribution: ...
    def why(
        self,
        a: str,
        b: str | None = None,
        *,
        budget: Duration | None = None,
        environment: str = "auto",
        progress: Callable[[str], None] | None = None,
    ) -> Explanation | Attribution:
        """Why two runs or models came out differently; of a single step, why it ran, or why it did not.

        Of two, what differs (code, data, environment, parameters, seed) is swapped from ``a`` to ``b``, all combinations
        are executed in a clean place, and the difference of each metric, and of the predictions, is divided among the
        causes by Shapley values. Of a model made by a pipeline, the pipeline is executed.

        Args:
            a: a run, a model, or another artifact that a task made; ``delay@2026-10-01`` is what was in force then. Alone,
                a step's name, for its newest run, or a run's id.
            b: the other.
            budget: how long it may take, such as ``"10m"``; what was not tried by then is estimated, with bounds.
            environment: ``auto`` builds the recorded libraries where they are not those of this process, ``locked``
                always, ``current`` never.
            progress: told in words what is being done; a bar shows it otherwise.

        Raises:
            NotFound: there is no such step, run or artifact.
            Invalid: it was a script or logged by hand, so that nothing in it can be swapped.
            StepFailed: ``a`` or ``b`` does not run any more as it was.
        """
        if b is None:
            from trivet.pipelines.cache import why

            return why(self.context, a)
        from trivet.tracking.why import attribute

        with Progress("why", shown=progress is None) as bar:
            tell = (lambda text, *_: progress(text)) if progress else bar.to
            return attribute(
                self.context,
                self.get(a),
                self.get(b),
                labels=(a, b),
                details=self.diff(a, b).in_a_line(),
                budget=budget,
                environment=environment,
                progress=tell,
            )

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

    def feature_servers(self) -> list[FeatureServer]:
        """Every server that answers features or has answered them without a model, newest first."""
        return self._live.feature_servers()

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
            Conflict: it never came to answer.
        """
        return self._live.monitor(self.deployment(reference), every=every, record=record)

    def audit(
        self,
        reference: str,
        *,
        rows: int = 500,
        seed: int = 0,
        since: datetime | str | None = None,
        tolerance: float = 0.0,
        delay: str | None = None,
    ) -> SkewReport:
        """Draw served predictions, compute their features again as training would, and compare bit for bit; recorded.

        A share of differences that is certainly above ``[monitoring] skew`` raises an alarm.

        Args:
            reference: a deployment's id, or a model's name for its newest deployment.
            rows: how many predictions to draw.
            seed: which ones.
            since: of those received from then on.
            tolerance: the relative distance up to which numbers are the same.
            delay: how far the online store may be behind (``"15m"``); ``[features] delay`` by default.

        Raises:
            NotFound: there is no such deployment.
            Invalid: a source's data cannot be read and are not on record either.
        """
        moment = None if since is None else as_utc(since)
        found = self.deployment(reference)
        with Progress("auditing"):
            return self._live.audit(found, rows=rows, seed=seed, since=moment, tolerance=tolerance, delay=delay)

    def last_audit(self, reference: str) -> SkewReport | None:
        """The newest audit of a deployment, None if there was none.

        Raises:
            NotFound: there is no such deployment.
        """
        return self._live.last_audit(self.deployment(reference))

    def audit_is_due(self, reference: str) -> bool:
        """Whether the last audit of a deployment is older than ``[monitoring] audit_every``, or there is none.

        Raises:
            NotFound: there is no such deployment.
        """
        last = self.last_audit(reference)
        every = as_duration(self.context.settings.monitoring.audit_every)
        return last is None or to_micros(self.context.clock()) - to_micros(last.at) >= every

    def base_rate(self, deployment: Deployment) -> float | None:
        """The share of positive labels in training of a deployment's model; None where the label is a number."""
        return self._live.base_rate(deployment)

    def alarms(self) -> list[OpenAlarm]:
        """The alarms that are open, the longest trouble first."""
        from trivet.monitoring.alarms import open_alarms

        return open_alarms(self.context)
