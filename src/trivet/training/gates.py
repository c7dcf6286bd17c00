"""Gates: what a model must show before it reaches anyone, and the evidence that it did.

``judge`` is a plain function of a model, rows and a declaration, which the worker can run again; ``gate`` records
it. Declarations are in ``trivet.training.conditions``, the report in ``gate_report``, the statistics in ``judging``
and ``bootstrap``. Light to import: numeric libraries are loaded by judging.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trivet.errors import Invalid
from trivet.ledger import Artifact, Run
from trivet.pipelines.context import Context
from trivet.training.conditions import (
    AtLeast,
    AtMost,
    BetterThan,
    Condition,
    Gate,
    NotWorseThan,
    Slices,
    at_least,
    at_most,
    better_than,
    not_worse_than,
    slices,
)
from trivet.training.gate_report import Finding, GateReport, Verdict, open_kind, worst
from trivet.types import Digest, Json

__all__ = [
    "AtLeast",
    "AtMost",
    "BetterThan",
    "Condition",
    "Finding",
    "Gate",
    "GateReport",
    "NotWorseThan",
    "Slices",
    "Verdict",
    "at_least",
    "at_most",
    "better_than",
    "gate",
    "judge",
    "not_worse_than",
    "open_kind",
    "slices",
]


def judge(
    model: Any,
    test: Any,
    gate: Gate | Mapping[str, Any],
    baseline: Any = None,
    seed: int = 0,
    *,
    model_digest: Digest | None = None,
    baseline_digest: Digest | None = None,
    data_digest: Digest | None = None,
) -> GateReport:
    """Judge ``model`` on the labelled rows of ``test`` by the conditions of ``gate``.

    Args:
        model: a ``tv.Model``.
        test: a training set, or any data frame that has the model's target.
        gate: the gate, or its declaration as JSON.
        baseline: the model to compare with; None compares with the best constant answer.
        seed: for bounds that are found by resampling.
        model_digest: the model that the report is bound to; ``project.gate`` fills it in, as the other two.
        baseline_digest: the baseline that the report is bound to.
        data_digest: the rows that the report is bound to.

    Raises:
        Invalid: a measure that does not fit the kind of model, labels that the model does not know, or a
            declaration that describes no gate.
        NotFound: the label, or a column to slice over, is not in ``test``.

    Example:
        >>> import polars as pl
        >>> from trivet.training.fit import fit
        >>> rows = pl.DataFrame({"x": range(400), "late": [False] * 200 + [True] * 200})
        >>> model = fit(rows, "LogisticRegression", label="late")
        >>> judge(model, rows, Gate("sane", [at_least("auc", 0.9)])).verdict
        'pass'
    """
    from trivet.training.answers import Answers
    from trivet.training.judging import judge_condition

    gate = gate if isinstance(gate, Gate) else Gate.from_json(gate)
    answers = Answers(model, test)
    other = None if baseline is None else Answers(baseline, test, label=answers.label)
    findings = tuple(judge_condition(each, gate, answers, other, seed=seed) for each in gate.conditions)
    return GateReport(
        gate=gate.name,
        verdict=worst([finding.verdict for finding in findings]),
        model=model_digest,
        baseline=baseline_digest,
        data=data_digest,
        conditions=findings,
        rows=answers.frame.height,
        positives=answers.positives,
        unlabelled=answers.unlabelled,
        level=gate.level,
        resamples=gate.resamples,
        seed=seed,
        declaration=gate.to_json(),
    )


def gate(
    context: Context,
    model: Artifact,
    test: Artifact,
    declared: Gate,
    baseline: Artifact | None = None,
    *,
    seed: int = 0,
    parent: str | None = None,
) -> tuple[GateReport, Artifact, Run]:
    """Judge a recorded model on recorded rows, and record the report with its lineage as a run of kind ``gate``.

    Raises:
        Invalid: as ``judge``, or ``model`` or ``baseline`` is something else.
        NotFound: as ``judge``.
    """
    from trivet.pipelines.recording import record

    for each in (model, *([] if baseline is None else [baseline])):
        if each.kind != "model":
            raise Invalid(f"A gate judges models, and {each.id} is none. Give the id of a model, or delay@2.")
    inputs = {"model": model, "test": test} | ({} if baseline is None else {"baseline": baseline})
    parameters: dict[str, Json] = {
        "gate": declared.to_json(),
        "seed": seed,
        "model_digest": model.digest,
        "baseline_digest": None if baseline is None else baseline.digest,
        "data_digest": test.digest,
    }
    run, outputs, report = record(
        context, "gate", declared.name, judge, inputs=inputs, parameters=parameters, parent=parent
    )
    if not isinstance(report, GateReport):
        raise Invalid(f"Run {run.id} of gate {declared.name!r} answered {type(report).__name__} and no report.")
    return report, outputs["result"], run
