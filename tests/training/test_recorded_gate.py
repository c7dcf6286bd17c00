"""A gate as a recorded run: its lineage, its report as an artifact, and made again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.training.models import rows
from trivet import plugins
from trivet.clock import system_clock
from trivet.config import load_settings
from trivet.errors import NotFound
from trivet.ledger import Artifact, RunQuery
from trivet.pipelines import values
from trivet.pipelines.context import Context
from trivet.pipelines.replay import reproduce
from trivet.training.evaluate import evaluate
from trivet.training.fit import fit
from trivet.training.gates import Gate, at_least, at_most, better_than, gate, slices

GATE = Gate(
    "delay",
    [
        at_least("auc", 0.7),
        at_most("log_loss", 0.55),
        better_than("auc", by=0.1),
        slices("auc", ["origin"], at_least=0.65),
    ],
)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    ledger = plugins.open_url("ledger", "sqlite:///ledger.db", tmp_path)
    blobs = plugins.open_url("blobs", "file:blobs", tmp_path)
    yield Context(tmp_path, load_settings(tmp_path, {}), ledger, blobs, system_clock, "ada", "here")
    ledger.close()


def model_of(context: Context, *features: str) -> Artifact:
    model = fit(rows(2000, seed=1), "LogisticRegression", features=features, label="late")
    return values.save(model, context)


def test_a_gate_is_a_run_that_can_be_made_again(context: Context) -> None:
    model, baseline = model_of(context, "x", "origin"), model_of(context, "noise")
    test = values.save(rows(6000, seed=2), context)
    report, artifact, run = gate(context, model, test, GATE, baseline, seed=4)

    assert report.passed, str(report)
    assert (report.model, report.baseline, report.data) == (model.digest, baseline.digest, test.digest)
    assert (artifact.kind, artifact.spec["model"], artifact.spec["verdict"]) == ("gate_report", model.digest, "pass")
    assert values.load(context.ledger.artifact(artifact.digest), context.blobs) == report
    assert (run.kind, run.name, run.status) == ("gate", "delay", "finished")
    assert run.inputs == {"model": model.digest, "test": test.digest, "baseline": baseline.digest}
    assert [found.id for found in context.ledger.runs(RunQuery(kind="gate", input=model.digest))] == [run.id]

    again = reproduce(context, run, environment="current")
    assert again.level == "bytes"


def test_without_a_baseline_there_is_no_such_input(context: Context) -> None:
    model, test = model_of(context, "x"), values.save(rows(6000, seed=2), context)
    report, _, run = gate(context, model, test, GATE)
    assert "baseline" not in run.inputs
    assert report.baseline is None
    assert "auc better than a constant" in str(report)


def test_a_gate_that_cannot_be_judged_is_a_failed_run_and_a_sentence(context: Context) -> None:
    model, test = model_of(context, "x"), values.save(rows(600).drop("late"), context)
    with pytest.raises(NotFound, match="There is no column 'late'"):
        gate(context, model, test, GATE)
    (run,) = context.ledger.runs(RunQuery(kind="gate"))
    assert run.status == "failed"
    assert "There is no column 'late'" in run.error


def test_gates_and_evaluation_agree(context: Context) -> None:
    model, test = model_of(context, "x"), rows(3000, seed=3)
    report, _, _ = gate(context, model, values.save(test, context), GATE)
    measured = evaluate(values.load(model, context.blobs), test)
    assert report.conditions[0].estimate == pytest.approx(measured["auc"], abs=1e-8)
    assert report.conditions[1].estimate == pytest.approx(measured["log_loss"], abs=1e-8)


def test_text_classes_are_classes(context: Context) -> None:
    frame = rows(4000).with_columns(late=pl.when(pl.col("late") == 1).then(pl.lit("yes")).otherwise(pl.lit("no")))
    model = values.save(fit(frame.head(2000), "LogisticRegression", features=["x"], label="late"), context)
    report, _, _ = gate(context, model, values.save(frame.tail(2000), context), Gate("g", [at_least("auc", 0.6)]))
    assert report.passed
    assert report.positives == (frame.tail(2000)["late"] == "yes").sum()
