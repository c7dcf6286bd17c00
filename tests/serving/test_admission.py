from datetime import UTC, datetime
from pathlib import Path

import pytest

from trivet.clock import new_id
from trivet.errors import Invalid, NotFound, Refused
from trivet.ledger import Artifact, Recipe, Run, RunQuery
from trivet.plugins import open_url
from trivet.serving.admission import JUDGE, Admission, admit

T = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def ledger():
    ledger = open_url("ledger", "memory:", Path())
    yield ledger
    ledger.close()


@pytest.fixture
def model(ledger):
    model = Artifact.of("model", {"n": 1}, created=T)
    ledger.write(model)
    return model


def gate(ledger, model, verdict, *, about=None, status="finished", name="delay", data="d" * 64, entry=JUDGE):
    number = len(ledger.runs(RunQuery(kind="gate")))
    spec = {"verdict": verdict, "model": about or model.digest, "gate": name, "data": data, "n": number}
    report = Artifact.of("gate_report", spec, created=T)
    run = Run(
        new_id(),
        "gate",
        name,
        status,
        T,
        T,
        recipe=Recipe(entry, "c" * 64, "e" * 64) if entry else None,
        inputs={"model": model.digest, "test": "d" * 64},
        outputs={"result": report.digest} if status == "finished" else {},
    )
    ledger.write(report, run)
    return report


def test_a_passing_report_of_this_digest_admits(ledger, model):
    report = gate(ledger, model, "pass")
    assert admit(ledger, model.digest, by="ada") == Admission(report=report.digest)
    assert ledger.runs(RunQuery(kind="override")) == []


def test_without_a_report_it_is_refused(ledger, model):
    with pytest.raises(Refused, match=r"has no gate report.*--allow-ungated"):
        admit(ledger, model.digest, by="ada")


@pytest.mark.parametrize("verdict", ["fail", "insufficient evidence", "PASS", None])
def test_any_other_verdict_refuses_and_is_named(ledger, model, verdict):
    report = gate(ledger, model, verdict)
    with pytest.raises(Refused) as caught:
        admit(ledger, model.digest, by="ada")
    assert report.id in caught.value.message
    assert repr(str(verdict)) in caught.value.message


def test_the_newest_report_decides(ledger, model):
    gate(ledger, model, "pass")
    gate(ledger, model, "fail")
    with pytest.raises(Refused):
        admit(ledger, model.digest, by="ada")
    newest = gate(ledger, model, "pass")
    assert admit(ledger, model.digest, by="ada").report == newest.digest


def test_an_easier_gate_does_not_make_up_for_one_that_was_failed(ledger, model):
    failed = gate(ledger, model, "fail")
    gate(ledger, model, "pass", name="trivial")
    with pytest.raises(Refused) as caught:
        admit(ledger, model.digest, by="ada")
    assert failed.id in caught.value.message


@pytest.mark.parametrize("forged", [{"entry": None}, {"entry": "forger:judge"}, {"data": "f" * 64}])
def test_a_report_that_no_judging_made_does_not_count(ledger, model, forged):
    gate(ledger, model, "pass", **forged)
    with pytest.raises(Refused, match="has no gate report"):
        admit(ledger, model.digest, by="ada")


def test_rows_that_the_model_was_trained_on_are_no_evidence(ledger):
    model = Artifact.of("model", {"training_set": "d" * 64}, created=T)
    ledger.write(model)
    gate(ledger, model, "pass")
    with pytest.raises(Refused, match="only on the rows it was trained on"):
        admit(ledger, model.digest, by="ada")


def test_reports_about_others_and_gates_that_broke_do_not_count(ledger, model):
    report = gate(ledger, model, "pass")
    gate(ledger, model, "fail", about="e" * 64)
    gate(ledger, model, "fail", status="failed")
    assert admit(ledger, model.digest, by="ada").report == report.digest


def test_old_reports_are_found_behind_many_others(ledger, model):
    report = gate(ledger, model, "pass")
    for _ in range(120):
        gate(ledger, model, "fail", about="e" * 64)
    assert admit(ledger, model.digest, by="ada").report == report.digest


def test_an_override_admits_and_is_on_record(ledger, model):
    failed = gate(ledger, model, "fail")
    admission = admit(ledger, model.digest, override=" the champion is worse ", by="ada")
    run = ledger.run(admission.override)
    assert admission.report is None
    assert run.inputs == {"model": model.digest, "report": failed.digest}
    assert run.tags == {"by": "ada", "why": "the champion is worse"}
    assert (run.kind, run.status, run.user) == ("override", "finished", "ada")


def test_an_override_that_is_not_needed_is_not_used(ledger, model):
    report = gate(ledger, model, "pass")
    assert admit(ledger, model.digest, override="just in case", by="ada") == Admission(report=report.digest)


def test_a_blank_reason_is_none(ledger, model):
    with pytest.raises(Invalid, match="needs a reason"):
        admit(ledger, model.digest, override="  ", by="ada")


def test_a_model_nobody_recorded(ledger):
    with pytest.raises(NotFound):
        admit(ledger, "f" * 64, override="why", by="ada")
