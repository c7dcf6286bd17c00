"""The health of deployments as Prometheus text: what dashboards draw and alerting rules watch.

Names and units follow Prometheus' conventions (base units, ``_seconds``, ``_ratio``). Labels are a model, its
resolved version and names from declarations; never ids of entities, predictions or runs, so that the number of
series is bounded. Times of things that never happened are 0, so that a rule on their age fires.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trivet.monitoring.alarms import Alarm
from trivet.monitoring.report import MonitorReport

__all__ = ["render"]

_LAST = ("prediction", "label", "materialization", "training", "monitor")


def render(reports: Sequence[MonitorReport], alarms: Iterable[Alarm] = ()) -> bytes:
    """The newest report of each deployment, and all open alarms, in Prometheus' text format.

    Args:
        reports: one for each deployment.
        alarms: those open in the ledger; the reports' own are counted with them, each trouble once.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Health(reports, alarms))
    return generate_latest(registry)


class _Health(Collector):
    def __init__(self, reports: Sequence[MonitorReport], alarms: Iterable[Alarm]) -> None:
        self.reports, self.alarms = reports, list(alarms)

    def collect(self) -> Iterator[Metric]:
        for family in (*_signs(self.reports), *_drift(self.reports), *_quality(self.reports)):
            if family.samples:
                yield family
        yield _alarms(self.reports, self.alarms)


def _signs(reports: Sequence[MonitorReport]) -> list[GaugeMetricFamily]:
    families = {
        kind: GaugeMetricFamily(
            f"trivet_last_{kind}_timestamp_seconds", f"When the last {kind} was seen; 0 if never.", labels=("subject",)
        )
        for kind in _LAST
    }
    allowed = GaugeMetricFamily(
        "trivet_expected_interval_seconds", "How long a sign of life may stay away.", labels=("subject", "kind")
    )
    seen = {(each.kind, each.subject): each for report in reports for each in report.heartbeats}
    for (kind, subject), heartbeat in sorted(seen.items()):
        families[kind].add_metric((subject,), heartbeat.last.timestamp() if heartbeat.last else 0.0)
        allowed.add_metric((subject, kind), heartbeat.expected / 1e6)
    return [*families.values(), allowed]


def _drift(reports: Sequence[MonitorReport]) -> list[GaugeMetricFamily]:
    labels = ("model", "version", "column")
    score = GaugeMetricFamily("trivet_drift_score", "Population stability index against training.", labels=labels)
    threshold = GaugeMetricFamily(
        "trivet_drift_threshold", "What the score must reach: a size that matters, above chance.", labels=labels
    )
    drifted = GaugeMetricFamily("trivet_drift_detected", "1 where the verdict is drift.", labels=labels)
    for report in reports:
        for each in report.drift:
            if each.verdict == "not enough data":
                continue
            named = (report.subject.model, report.subject.version, each.column)
            score.add_metric(named, each.score)
            threshold.add_metric(named, each.threshold)
            drifted.add_metric(named, float(each.verdict == "drift"))
    return [score, threshold, drifted]


def _quality(reports: Sequence[MonitorReport]) -> list[GaugeMetricFamily]:
    """The latest period that has labels, with its bounds; label coverage of the latest that is matured."""
    labels = ("model", "version", "metric", "slice")
    names = {"estimate": "trivet_metric_value", "low": "trivet_metric_low", "high": "trivet_metric_high"}
    families = {
        field: GaugeMetricFamily(name, f"A measure on labelled predictions: the {field}.", labels=labels)
        for field, name in names.items()
    }
    coverage = GaugeMetricFamily(
        "trivet_label_coverage_ratio", "Share of matured predictions with a label.", labels=labels[:2]
    )
    for report in reports:
        subject = (report.subject.model, report.subject.version)
        judged = [period for period in report.performance if period.metrics]
        for name, found in judged[-1].metrics.items() if judged else ():
            for field, family in families.items():
                family.add_metric((*subject, name, "all"), getattr(found, field))
        if covered := [period.coverage for period in report.performance if period.coverage is not None]:
            coverage.add_metric(subject, covered[-1])
    return [*families.values(), coverage]


def _alarms(reports: Sequence[MonitorReport], alarms: Sequence[Alarm]) -> GaugeMetricFamily:
    family = GaugeMetricFamily("trivet_alarm_open", "Open alarms by kind.", labels=("kind",))
    known = {alarm.name: alarm.kind for alarm in (*alarms, *(each for report in reports for each in report.alarms))}
    for kind, count in sorted(Counter(known.values()).items()):
        family.add_metric((kind,), count)
    return family
