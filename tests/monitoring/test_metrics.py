"""Prometheus text, read by Prometheus' own client and, where it is installed, checked by promtool."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from datetime import timedelta

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.monitoring.predictions import START
from tests.monitoring.test_report import report
from trivet.monitoring.alarms import Alarm
from trivet.monitoring.heartbeats import Heartbeat
from trivet.monitoring.metrics import render
from trivet.monitoring.report import Subject


class Samples(dict[tuple[str, frozenset[str]], float]):
    """Samples by name and the values of their labels, in any order."""

    def __getitem__(self, key: tuple[str, Iterable[str]]) -> float:
        return super().__getitem__((key[0], frozenset(key[1])))


def samples(text: bytes) -> Samples:
    families = text_string_to_metric_families(text.decode())
    return Samples(
        ((sample.name, frozenset(sample.labels.values())), sample.value)
        for family in families
        for sample in family.samples
    )


def test_every_number_of_the_report_is_there() -> None:
    found = report(shift=1.0, silent=True)
    read = samples(render([found]))
    last = found.heartbeats[0].last
    assert last is not None
    assert read["trivet_last_prediction_timestamp_seconds", ("delay@3",)] == last.timestamp()
    assert read["trivet_expected_interval_seconds", ("delay@3", "prediction")] == 3600
    for each in found.drift:
        assert read["trivet_drift_score", ("delay", "3", each.column)] == each.score
        assert read["trivet_drift_threshold", ("delay", "3", each.column)] == each.threshold
    assert read["trivet_drift_detected", ("delay", "3", "x")] == 1
    auc = found.performance[-1].metrics["auc"]
    names = ("trivet_metric_value", "trivet_metric_low", "trivet_metric_high")
    assert tuple(read[name, ("delay", "3", "auc", "all")] for name in names) == (auc.estimate, auc.low, auc.high)
    assert read["trivet_label_coverage_ratio", ("delay", "3")] == 1.0
    assert read["trivet_alarm_open", ("drift",)] == read["trivet_alarm_open", ("silence.prediction",)] == 1


def test_an_alarm_in_report_and_ledger_counts_once() -> None:
    found = report(shift=1.0)
    other = Alarm("drift", "price@1", START, "drifted")
    assert samples(render([found], [*found.alarms, other]))["trivet_alarm_open", ("drift",)] == 2


def test_what_never_happened_is_older_than_any_rule() -> None:
    never = Heartbeat("delay@3", "training", None, 1, START)
    found = msgspec.structs.replace(report(), heartbeats=(never,))
    assert samples(render([found]))["trivet_last_training_timestamp_seconds", ("delay@3",)] == 0


@pytest.mark.parametrize("nasty", ['a"b', "a\\b", "a\nb", "a{b}=c,", "ü"])
def test_names_are_escaped(nasty: str) -> None:
    found = msgspec.structs.replace(report(), subject=Subject(nasty, "1"))
    assert samples(render([found]))["trivet_label_coverage_ratio", (nasty, "1")] == 1.0


def test_nothing_to_tell_is_still_valid_text() -> None:
    assert samples(render([])) == {}


def test_two_deployments_share_their_families() -> None:
    one = report()
    two = msgspec.structs.replace(one, subject=Subject("delay", "4"), at=one.at + timedelta(hours=1))
    text = render([one, two]).decode()
    assert text.count("# TYPE trivet_drift_score gauge") == 1
    assert len([line for line in text.splitlines() if line.startswith("trivet_drift_score{")]) == 4


def test_promtool_finds_nothing_to_complain_about() -> None:
    text = render([report(shift=1.0, silent=True)])
    assert text.endswith(b"\n")
    if promtool := shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
