"""Verdicts by bounds, slices with small groups, comparison with a baseline, and the report."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.training.models import Scorer, rows
from trivet.clock import system_clock
from trivet.digest import digest_bytes
from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact, File
from trivet.plugins import load
from trivet.training.bootstrap import bounds
from trivet.training.gate_report import worst
from trivet.training.gates import (
    Finding,
    Gate,
    GateReport,
    at_least,
    at_most,
    better_than,
    judge,
    not_worse_than,
    slices,
)

GOOD, NOISY = Scorer(x=1.0, shift=-1.6), Scorer(x=1.0, noise=1.0, shift=-1.6)


class Memory:
    """As much of a store of bytes as keeping a report asks for."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, content: bytes) -> File:
        self.kept[digest_bytes(content)] = content
        return File(digest_bytes(content), len(content))

    def read(self, digest: str) -> bytes:
        return self.kept[digest]


def only(condition: Any, model: Any = GOOD, test: Any = None, **options: Any) -> Finding:
    report = judge(model, rows() if test is None else test, Gate("g", [condition], resamples=200), **options)
    assert report.verdict == report.conditions[0].verdict
    return report.conditions[0]


@pytest.mark.parametrize(("threshold", "verdict"), [(0.70, "pass"), (0.75, "insufficient evidence"), (0.80, "fail")])
def test_the_bounds_decide_not_the_estimate(threshold: float, verdict: str) -> None:
    found = only(at_least("auc", threshold))
    assert found.low is not None
    assert found.high is not None
    assert 0.73 < found.low < 0.75 < found.high < 0.77
    assert found.verdict == verdict


@pytest.mark.parametrize(("threshold", "verdict"), [(0.55, "pass"), (0.475, "insufficient evidence"), (0.40, "fail")])
def test_a_ceiling_is_judged_by_the_upper_bound(threshold: float, verdict: str) -> None:
    assert only(at_most("log_loss", threshold)).verdict == verdict


def test_the_numbers_are_those_of_the_bounds() -> None:
    test = rows()
    found = only(at_least("auc", 0.7), test=test)
    expected = bounds("auc", test["late"], GOOD.predict_proba(test)[:, 1])
    assert (found.estimate, found.low, found.high) == pytest.approx((expected.estimate, expected.low, expected.high))
    assert (found.rows, found.positives, found.method) == (4000, int(test["late"].sum()), "delong")


def test_more_rows_turn_doubt_into_evidence() -> None:
    few, many = rows(150), rows(40_000)
    assert only(at_least("auc", 0.74), test=few).verdict == "insufficient evidence"
    assert only(at_least("auc", 0.74), test=many).verdict == "pass"


@pytest.mark.parametrize("measure", ["auc", "log_loss", "brier", "average_precision"])
def test_better_is_better_in_the_measures_own_direction(measure: str) -> None:
    assert only(better_than(measure), baseline=NOISY).verdict == "pass"
    assert only(better_than(measure), NOISY, baseline=GOOD).verdict == "fail"
    assert only(not_worse_than(measure, 0.001), NOISY, baseline=GOOD).verdict == "fail"
    assert only(not_worse_than(measure, 0.3), NOISY, baseline=GOOD).verdict == "pass"


def test_a_model_is_not_better_than_itself_and_not_worse() -> None:
    assert only(better_than("auc"), baseline=GOOD).verdict == "fail"
    assert only(not_worse_than("auc", 0.0), baseline=GOOD).verdict == "pass"


@pytest.mark.parametrize("measure", ["auc", "accuracy", "log_loss", "brier"])
def test_without_a_baseline_a_constant_is_the_rival(measure: str) -> None:
    found = only(better_than(measure), test=rows(20_000))
    assert found.verdict == "pass"
    assert "constant" in found.condition
    assert only(better_than(measure), Scorer(x=-1.0, shift=-0.5), test=rows(20_000)).verdict == "fail"


def test_a_bad_group_fails_although_the_whole_is_good() -> None:
    test = rows(9000)
    broken = test.with_columns(x=pl.when(pl.col("origin") == "LGA").then("noise").otherwise("x"))
    assert only(at_least("auc", 0.65), test=broken).verdict == "pass"
    found = only(slices("auc", ["origin"], at_least=0.65), test=broken)
    assert found.verdict == "fail"
    assert (found.groups[0].condition, found.groups[0].verdict) == ("origin=LGA", "fail")
    assert found.estimate == found.groups[0].estimate
    assert "Bonferroni over 3 groups" in found.method


def test_bounds_of_groups_hold_at_once() -> None:
    found = only(slices("auc", ["origin"], at_least=0.65), test=rows(9000))
    part = rows(9000).filter(pl.col("origin") == found.groups[0].condition.removeprefix("origin="))
    expected = bounds("auc", part["late"], GOOD.predict_proba(part)[:, 1], level=1 - 0.05 / 3)
    assert (found.groups[0].low, found.groups[0].high) == pytest.approx((expected.low, expected.high))


def test_small_groups_are_judged_together_and_named() -> None:
    test = rows(6000, carrier=["UA"] * 5000 + ["OO"] * 60 + ["HA"] * 40 + ["YV"] * 900)
    found = only(slices("auc", ["carrier"], at_least=0.5, min_rows=100, min_positives=20), test=test)
    together = next(group for group in found.groups if group.members)
    assert together.members == ("carrier=HA", "carrier=OO")
    assert (together.rows, together.condition) == (100, "carrier: small groups")
    assert {group.condition for group in found.groups if not group.members} == {"carrier=UA", "carrier=YV"}


def test_what_is_too_small_even_together_is_listed_and_counts() -> None:
    test = rows(6000, carrier=["UA"] * 5950 + ["OO"] * 50)
    found = only(slices("auc", ["carrier"], at_least=0.6), test=test)
    assert found.verdict == "pass"
    assert found.unjudged == 50
    assert (found.groups[-1].verdict, found.groups[-1].members) == ("insufficient evidence", ("carrier=OO",))
    strict = only(slices("auc", ["carrier"], at_least=0.6, unjudged=0.0), test=test)
    assert strict.verdict == "insufficient evidence"


def test_only_small_groups_are_no_evidence() -> None:
    found = only(slices("auc", ["origin"], at_least=0.1, unjudged=1.0, min_rows=10_000))
    assert found.verdict == "insufficient evidence"
    assert found.estimate is None


def test_groups_by_two_columns_and_by_null() -> None:
    test = rows(4000, night=[True, None] * 2000)
    found = only(slices("auc", [("origin", "night")], at_least=0.5), test=test)
    assert len(found.groups) == 6
    assert "origin=EWR, night=null" in {group.condition for group in found.groups}


def test_the_worst_verdict_is_the_verdict() -> None:
    assert worst(["pass", "insufficient evidence", "fail"]) == "fail"
    assert worst([]) == "insufficient evidence"
    conditions = [at_least("auc", 0.7), at_least("auc", 0.75), at_least("auc", 0.9)]
    verdicts = [judge(GOOD, rows(), Gate("g", conditions[:count])).verdict for count in (1, 2, 3)]
    assert verdicts == ["pass", "insufficient evidence", "fail"]


@pytest.mark.parametrize(
    "condition",
    [at_least("auc", 0.1), better_than("log_loss"), at_most("brier", 1), slices("accuracy", ["origin"], at_least=0.1)],
)
def test_no_rows_are_no_evidence(condition: Any) -> None:
    assert only(condition, test=rows().clear()).verdict == "insufficient evidence"


def test_rows_without_a_label_are_left_out_and_counted() -> None:
    test = rows(1000).with_columns(late=pl.when(pl.int_range(pl.len()) < 100).then(None).otherwise("late"))
    report = judge(GOOD, test, Gate("g", [at_least("auc", 0.5)]))
    assert (report.rows, report.unlabelled) == (900, 100)


def test_numbers_and_several_classes_can_be_judged() -> None:
    test = rows().with_columns(late=pl.col("x") + 0.1 * pl.col("noise"))
    regression = Scorer(classes=None, x=1.0)
    assert only(at_most("rmse", 0.12), regression, test).verdict == "pass"
    assert only(better_than("r2", by=0.9), regression, test).verdict == "pass"
    assert only(slices("mae", ["origin"], at_most=0.2), regression, test).positives is None

    class Three(Scorer):
        def predict_proba(self, frame: pl.DataFrame) -> np.ndarray:
            return np.tile([0.5, 0.3, 0.2], (len(frame), 1))

        def predict(self, frame: pl.DataFrame) -> np.ndarray:
            return np.array(["a"] * len(frame))

    test = rows(300).with_columns(late=pl.Series(["a", "b", "c"] * 100))
    three = Three(classes=("a", "b", "c"))
    assert only(at_least("accuracy", 0.2), three, test).estimate == pytest.approx(1 / 3, abs=1e-8)
    assert only(at_most("log_loss", 2), three, test).estimate == pytest.approx(-np.log([0.5, 0.3, 0.2]).mean())
    assert only(better_than("log_loss"), three, test).verdict == "fail"
    with pytest.raises(Invalid, match="needs a probability cannot judge a model that predicts one of several"):
        only(at_least("auc", 0.5), three, test)


def test_the_same_seed_gives_the_same_report() -> None:
    gate = Gate("g", [at_most("log_loss", 0.6), at_least("average_precision", 0.4)])
    assert judge(GOOD, rows(), gate, seed=1) == judge(GOOD, rows(), gate.to_json(), seed=1)
    assert judge(GOOD, rows(), gate, seed=1) != judge(GOOD, rows(), gate, seed=2)


@pytest.mark.parametrize("convert", [lambda frame: frame.to_pandas(), lambda frame: frame.to_arrow()])
def test_rows_come_in_any_frame(convert: Any) -> None:
    gate = Gate("g", [at_least("auc", 0.7)])
    assert judge(GOOD, convert(rows()), gate) == judge(GOOD, rows(), gate)


def test_a_training_set_knows_its_label() -> None:
    class Trained:
        label = "was_late"

        def to_polars(self) -> pl.DataFrame:
            return rows().rename({"late": "was_late"})

    gate = Gate("g", [at_least("auc", 0.7), better_than("auc")])
    report = judge(GOOD, Trained(), gate, baseline=NOISY)
    assert report.passed
    assert report.conditions == judge(GOOD, rows(), gate, baseline=NOISY).conditions


def test_refusals_are_sentences() -> None:
    with pytest.raises(NotFound, match=r"There is no column 'orgin'\. Did you mean 'origin'"):
        only(slices("auc", ["orgin"], at_least=0.5))
    with pytest.raises(NotFound, match="There is no column 'late'"):
        only(at_least("auc", 0.5), test=rows().drop("late"))
    with pytest.raises(Invalid, match="holds 2; the model knows the classes 0, 1"):
        only(at_least("auc", 0.5), test=rows().with_columns(late=pl.col("late") * 2))
    with pytest.raises(Invalid, match="nothing to compare"):
        only(better_than("auc"), baseline=Scorer(x=1.0, classes=(False, True, None)))
    with pytest.raises(Invalid, match="would make 4,000 groups"):
        only(slices("auc", ["x"], at_least=0.5))
    with pytest.raises(Invalid, match="A table is expected"):
        only(at_least("auc", 0.5), test=7)


def load_kind() -> Any:
    return load("kind", "gate_report")()  # type: ignore[call-arg]


def report() -> GateReport:
    test = rows(20_000, carrier=["UA"] * 19_900 + ["OO"] * 60 + ["HA"] * 40)
    gate = Gate("delay", [at_least("auc", 0.7), better_than("auc", by=0.02), slices("auc", "carrier", at_least=0.6)])
    return judge(
        GOOD, test, gate, baseline=NOISY, model_digest="ab" * 32, baseline_digest="cd" * 32, data_digest="ef" * 32
    )


def test_a_report_comes_back_from_its_artifact() -> None:
    kind, blobs = load_kind(), Memory()
    saved = kind.save(report(), blobs)
    artifact = Artifact.of("gate_report", saved.spec, saved.files, content=saved.content, created=system_clock())
    assert kind.accepts(report())
    assert kind.load(artifact, blobs) == report()
    assert (artifact.spec["model"], artifact.spec["verdict"]) == ("ab" * 32, "pass")
    assert json.loads(blobs.read(artifact.files["report.json"].digest)) == artifact.spec


def test_different_reports_have_different_content() -> None:
    kind, blobs = load_kind(), Memory()
    other = judge(NOISY, rows(), Gate("delay", [at_least("auc", 0.7)]))
    assert kind.save(report(), blobs).content != kind.save(other, blobs).content


def test_a_report_reads_as_a_table() -> None:
    lines = str(report()).splitlines()
    assert lines[0] == "Gate delay: PASS"
    assert lines[1].startswith("model abababababab, baseline cdcdcdcdcdcd, 20,000 rows, ")
    assert lines[3].split() == ["condition", "estimate", "95", "%", "bounds", "needs", "rows", "verdict"]
    assert "auc better than the baseline" in lines[5]
    assert "carrier=HA, carrier=OO" in lines[-1]
    assert len({line.rstrip().endswith(("pass", "verdict", "evidence")) for line in lines[3:-1]}) == 1
