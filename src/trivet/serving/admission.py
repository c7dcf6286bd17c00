"""Who may serve: a model with a passing gate report of this very digest, or a named reason on record.

The newest gate report decides, so a model that failed its last gate is refused although it passed an earlier one.
Names and aliases play no part: what is admitted is the content.
"""

from __future__ import annotations

import msgspec

from trivet.clock import Clock, new_id, system_clock
from trivet.errors import Invalid, Refused
from trivet.ledger import Artifact, Ledger, Run, RunQuery
from trivet.types import Digest

__all__ = ["Admission", "admit", "newest_report"]


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
    if report is not None and report.spec.get("verdict") == "pass":
        return Admission(report=report.digest)
    if override is None:
        raise Refused(_refusal(model, report))
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
    """The newest report about this model; reports in which it was only the baseline do not count."""
    before = None
    while runs := ledger.runs(RunQuery(kind="gate", input=model, before=before)):
        for run in runs:
            for output in run.outputs.values():
                artifact = ledger.artifact(output)
                if artifact.kind == "gate_report" and artifact.spec.get("model") == model:
                    return artifact
        before = runs[-1].id
    return None


def _refusal(model: Artifact, report: Artifact | None) -> str:
    if report is None:
        found = "has no gate report"
    else:
        found = f"has the gate report {report.id} with the verdict {str(report.spec.get('verdict', 'none'))!r}"
    return (
        f"{model.id} {found}, and nothing ungated is served. Run a gate that it passes, or give a reason on record: "
        'serve it with --allow-ungated "reason".'
    )
