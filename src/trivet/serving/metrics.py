"""The counters and timings of the prediction service, in Prometheus' words and base units.

Labels are model, version and role only, all resolved: a name that a caller made up never becomes a label, and no
entity key ever does. Edges of the buckets lie where objectives lie, so that a ratio within an objective is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from trivet.serving.records import Record

if TYPE_CHECKING:
    from trivet.serving.predictor import Deployed

__all__ = ["BUCKETS", "Metrics", "ModelMetrics"]

BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_AGES = (1, 10, 60, 300, 900, 3600, 10_800, 43_200, 86_400, 604_800, 2_592_000)
_SCORES = tuple(edge / 20 for edge in range(1, 21))
_MODEL = ("model", "version", "role")


class Metrics:
    """All metrics of one service in ``registry`` (a new one if not given)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.predictions = Counter(
            "trivet_predictions", "Predictions asked for.", (*_MODEL, "outcome"), registry=registry
        )
        self.requests = Histogram(
            "trivet_request_duration_seconds", "From request to answer.", _MODEL, buckets=BUCKETS, registry=registry
        )
        self.stages = Histogram(
            "trivet_stage_duration_seconds",
            "Where a request spends its time.",
            (*_MODEL, "stage"),
            buckets=BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge("trivet_in_flight_requests", "Requests being answered.", registry=registry)
        self.missing = Counter(
            "trivet_feature_missing",
            "Feature values that were missing or expired.",
            ("feature_view",),
            registry=registry,
        )
        self.age = Histogram(
            "trivet_feature_age_seconds",
            "Age of the oldest value of a view in a prediction.",
            ("feature_view",),
            buckets=_AGES,
            registry=registry,
        )
        self.scores = Histogram(
            "trivet_prediction_score",
            "Probability of the last class, or the value.",
            _MODEL,
            buckets=_SCORES,
            registry=registry,
        )
        self.dropped = Counter(
            "trivet_prediction_log_dropped", "Predictions that were answered and not recorded.", registry=registry
        )
        self.backlog = Gauge(
            "trivet_prediction_log_backlog_rows", "Recorded predictions not yet in the table.", registry=registry
        )
        self.info = Gauge(
            "trivet_model_info", "The models that answer.", (*_MODEL, "digest", "run_id"), registry=registry
        )
        self.last = Gauge(
            "trivet_last_prediction_timestamp_seconds", "When it last predicted.", _MODEL, registry=registry
        )

    def of(self, deployed: Deployed) -> ModelMetrics:
        """The metrics of one deployed model."""
        return ModelMetrics(self, deployed)

    def render(self) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class ModelMetrics:
    """The same with labels looked up beforehand, because looking up costs more than counting."""

    def __init__(self, metrics: Metrics, deployed: Deployed) -> None:
        labels = (deployed.name, deployed.version, deployed.role)
        metrics.info.labels(*labels, deployed.digest, deployed.deployment).set(1)
        self._outcomes = {
            outcome: metrics.predictions.labels(*labels, outcome) for outcome in ("ok", "invalid", "refused", "error")
        }
        self._stages = {
            stage: metrics.stages.labels(*labels, stage) for stage in ("parse", "features", "predict", "log")
        }
        self._requests, self._scores = metrics.requests.labels(*labels), metrics.scores.labels(*labels)
        self._last = metrics.last.labels(*labels)
        references = [column.feature for column in deployed.signature.inputs if column.feature is not None]
        views = {reference.partition(":")[0] for reference in references}
        self._views = {
            view: [reference for reference in references if reference.partition(":")[0] == view] for view in views
        }
        self._missing = {view: metrics.missing.labels(view) for view in views}
        self._ages = {view: metrics.age.labels(view) for view in views}

    def predicted(self, records: Sequence[Record], started: int, read: int, scored: int, logged: int) -> None:
        """Count predictions that were made; the moments between stages are in nanoseconds of one clock."""
        self._outcomes["ok"].inc(len(records))
        self._stages["features"].observe((read - started) / 1e9)
        self._stages["predict"].observe((scored - read) / 1e9)
        self._stages["log"].observe((logged - scored) / 1e9)
        for record in records:
            if record.score is not None:
                self._scores.observe(record.score)
            if self._views:
                self._look_at_features(record)
        if records:
            self._last.set(records[-1].received / 1e6)

    def parsed(self, seconds: float) -> None:
        """Time that decoding a request took."""
        self._stages["parse"].observe(seconds)

    def answered(self, seconds: float) -> None:
        """Time from the whole request to its answer."""
        self._requests.observe(seconds)

    def failed(self, outcome: str, count: int = 1) -> None:
        """Count requests that got no prediction: ``invalid``, ``refused`` (it could not be recorded) or ``error``."""
        self._outcomes[outcome].inc(count)

    def _look_at_features(self, record: Record) -> None:
        status, times = record.feature_status, record.feature_times
        for view, references in self._views.items():
            if missing := sum(
                status[reference] in ("missing", "expired", "unmaterialized") for reference in references
            ):
                self._missing[view].inc(missing)
            oldest = min((time for reference in references if (time := times[reference]) is not None), default=None)
            if oldest is not None:
                self._ages[view].observe((record.at - oldest) / 1e6)
