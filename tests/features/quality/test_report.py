"""The report: what it says, and that it comes back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trivet.errors import Corrupt
from trivet.features.quality.report import Finding, QualityReport, QualityReportKind
from trivet.ledger import Artifact

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GOOD = Finding(expectation="a is unique", severity="refuse", passed=True, judged=3)
WARNED = Finding(expectation="b is not null", severity="warn", passed=False, failing=1, judged=4, consequence="said")
BROKEN = Finding(
    expectation="c between 0 and 1",
    severity="refuse",
    passed=False,
    failing=1,
    judged=4,
    consequence="rows",
    found="1 of 4 rows are otherwise",
    examples=[{"row": 2, "c": 5}],
)


def test_a_warning_does_not_fail_a_report():
    assert QualityReport(subject="source.s", at=NOON, rows=4, findings=[GOOD, WARNED]).passed
    report = QualityReport(subject="source.s", at=NOON, rows=4, refused=1, findings=[GOOD, WARNED, BROKEN])
    assert not report.passed
    assert report.failed == [WARNED, BROKEN]
    assert report.stops == []
    assert WARNED.share == 0.25
    assert report.trouble == "What is expected of source s does not hold: c between 0 and 1."


def test_a_report_is_read_by_people():
    report = QualityReport(subject="source.s", at=NOON, rows=4, refused=1, findings=[GOOD, BROKEN])
    assert str(report).splitlines() == [
        "source.s at 2026-01-01 12:00:00 UTC: 4 rows, 1 refused",
        "  ok      a is unique",
        "  refuse  c between 0 and 1: 1 of 4 rows are otherwise",
        "            row 2: c = 5",
    ]


def test_a_report_comes_back(context):
    kind = QualityReportKind()
    report = QualityReport(subject="source.s", at=NOON, rows=4, findings=[GOOD, BROKEN])
    saved = kind.save(report, context.blobs)
    artifact = Artifact.of("quality_report", saved.spec, saved.files, created=NOON)
    assert kind.accepts(report)
    assert kind.load(artifact, context.blobs) == report
    damaged = Artifact.of("quality_report", saved.spec, {"report.json": context.blobs.put(b"{")}, created=NOON)
    with pytest.raises(Corrupt, match="not readable"):
        kind.load(damaged, context.blobs)
