"""What Prometheus reads: well formed, each series once, worked out once for several scrapers."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from trivet.server.health import Health, watched
from trivet.serving.deployment import Deployment


def test_drift_performance_and_alarms_of_the_deployment(client):
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    found = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)
    assert found["trivet_alarm_open", ("kind", "silence.prediction")] == 1.0
    assert ("trivet_drift_score", ("column", "wind_1h"), ("model", "delay"), ("version", "1")) in found
    auc = found["trivet_metric_value", ("metric", "auc"), ("model", "delay"), ("slice", "all"), ("version", "1")]
    assert 0.3 < auc < 0.7  # the labels were drawn by chance


def test_several_scrapers_share_one_answer(project, monkeypatch):
    asked = []
    monkeypatch.setattr(type(project), "deployments", lambda self: asked.append(1) or [])
    health = Health(project, fresh=3600)
    assert health.text() == health.text()
    assert len(asked) == 1


def deployment(name: str, version: int, state: str = "stopped", role: str = "champion") -> Deployment:
    return Deployment(name, "delay", version, "d" * 64, role, state, "pass", "", "1d", datetime(2026, 1, 1, tzinfo=UTC))


def test_replaced_versions_are_not_watched_and_no_version_twice():
    newest_first = [
        deployment("5", 3), deployment("4", 3, "alive"), deployment("3", 2, "alive", "canary"), deployment("2", 2),
        deployment("1", 1),
    ]  # fmt: skip
    assert {each.id for each in watched(newest_first)} == {"5", "3"}
    assert watched([]) == []
