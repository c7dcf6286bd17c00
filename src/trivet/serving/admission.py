"""Who may serve: a model with a passing gate report of this very digest, or a named reason on record.

Of each gate that judged it the newest report counts, and all of these must pass: a model that failed its last gate is
refused although it passed an earlier one, and no easier gate can make up for that. A report counts only where the run
that made it is on record, and not where the model was judged on the rows it was trained on.
Names and aliases play no part: what is admitted is the content.
"""

from __future__ import annotations

import msgspec

from trivet.clock import Clock, new_id, system_clock
from trivet.errors import Invalid, Refused
from trivet.ledger import Artifact, Ledger, Run, RunQuery
from trivet.types import Digest

__all__ = ["Admission", "admit", "newest_report"]

JUDGE = "trivet.training.gates:judge"
_ORDER = {"fail": 0, "insufficient evidence": 1, "pass": 2}


class Admission(msgspec.Struct, frozen=True):
    """Why a model may serve: the report that it passed, or the run that records an override."""

    report: Digest | None = None
    override: str | None = None


def admit(
    ledger: Ledger, digest: Digest, *, override: str | None = None, by: str, clock: Clock = system_clock
) -> Admission:
    """Let a model in, or refuse it.

    Args:
        ledger: where gates are recorded.
        digest: of the model artifact.
        override: why an ungated model may serve all the same; recorded as a run of kind ``override``.
        by: who asks.
        clock: when it is recorded.

    Raises:
        Refused: the newest gate report does not pass or there is none, and no reason was given.
        Invalid: the reason is blank.
        NotFound: no such artifact.
    """
    model = ledger.artifact(digest)
    if override is not None and not override.strip():
        raise Invalid("An override needs a reason that others can read later. Give one.")
    report = newest_report(ledger, model.digest)
    seen = report is not None and report.spec.get("data") == model.spec.get("training_set")
    if report is not None and report.spec.get("verdict") == "pass" and not seen:
        return Admission(report=report.digest)
    if override is None:
        raise Refused(_refusal(model, report, seen=seen))
    now = clock()
    inputs = {"model": model.digest} | ({"report": report.digest} if report else {})
    run = Run(
        id=new_id(clock),
        kind="override",
        name="serve without a passing gate",
        status="finished",
        started=now,
        ended=now,
        user=by,
        inputs=inputs,
        tags={"by": by, "why": override.strip()},
    )
    ledger.write(run)
    return Admission(override=run.id)


def newest_report(ledger: Ledger, model: Digest) -> Artifact | None:
    """The report that decides about this model: of each gate the newest counts, and the worst of these decides."""
    newest: dict[str, Artifact] = {}
    before = None
    while runs := ledger.runs(RunQuery(kind="gate", input=model, status="finished", before=before)):
        for run in runs:
            report = _report_of(ledger, run, model)
            if report is not None:
                newest.setdefault(str(report.spec.get("gate")), report)
        before = runs[-1].id
    ranked = sorted(newest.values(), key=lambda report: _ORDER.get(str(report.spec.get("verdict")), 0))
    return ranked[0] if ranked else None


def _report_of(ledger: Ledger, run: Run, model: Digest) -> Artifact | None:
    """The report that a gate's run made about this model; one in which it was only the baseline does not count.

    It counts as evidence only where the record shows how it came about: a run of the judging function, on the very
    model and rows that the report names.
    """
    if run.recipe is None or run.recipe.entry != JUDGE or run.inputs.get("model") != model:
        return None
    for output in run.outputs.values():
        artifact = ledger.artifact(output)
        bound = artifact.spec.get("model") == model and artifact.spec.get("data") == run.inputs.get("test")
        if artifact.kind == "gate_report" and bound:
            return artifact
    return None


def _refusal(model: Artifact, report: Artifact | None, *, seen: bool) -> str:
    if report is None:
        found = "has no gate report"
    elif seen:
        found = f"was judged only on the rows it was trained on ({report.id})"
    else:
        found = f"has the gate report {report.id} with the verdict {str(report.spec.get('verdict', 'none'))!r}"
    return (
        f"{model.id} {found}, and nothing ungated is served. Run a gate that it passes, or give a reason on record: "
        'serve it with --allow-ungated "reason".'
    )
