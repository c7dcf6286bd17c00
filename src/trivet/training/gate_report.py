"""The evidence of a gate: what was asked, what was found, how sure that is, and what follows.

A report binds the digests of the model, the baseline and the data, so that serving can ask whether *this* model
passed. It is JSON through and through; numbers are rounded to nine digits, so that the last bits of a sum are no
part of its identity. Light to import: it computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from trivet.digest import digest
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.values.contract import Kind, Saved
from trivet.types import Digest

__all__ = ["Finding", "GateReport", "Verdict", "open_kind", "worst"]

Verdict: TypeAlias = Literal["pass", "fail", "insufficient evidence"]
_SHOWN = 6  # groups shown of a condition over slices; all are in the JSON


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one condition found, or one group within a condition over slices.

    Attributes:
        condition: the condition in words, or the name of the group.
        comparison, threshold: what the value must satisfy.
        verdict: pass when the bounds lie wholly on the right side of the threshold, fail when wholly on the wrong.
        measure: its name.
        estimate, low, high: the value and its bounds; None where the rows define none.
        level: the confidence of the bounds; higher in groups, where the bounds of all groups hold at once.
        method: how the bounds were found (see ``trivet.training.bootstrap``).
        rows, positives: what they rest on; ``positives`` is None where there are no two classes.
        members: the groups that were too small to stand alone and are judged in this one.
        groups: the findings of the groups; the numbers above are then those of the worst.
        unjudged: rows in groups that were too small even together.
    """

    condition: str
    comparison: Literal[">=", "<=", ">"]
    threshold: float
    verdict: Verdict
    measure: str
    estimate: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    rows: int
    positives: int | None = None
    members: tuple[str, ...] = ()
    groups: tuple[Finding, ...] = ()
    unjudged: int = 0


class GateReport(msgspec.Struct, frozen=True):
    """The evidence of a gate. ``print(report)`` shows it as a table.

    Attributes:
        gate: the gate's name; ``declaration`` is the whole of it.
        verdict: fail if any condition failed, else insufficient evidence if any has too little, else pass.
        model, baseline, data: digests of what was judged.
        conditions: what each condition found, in the order of the declaration.
        rows, positives: how many rows were judged; ``unlabelled`` had no label and were left out.
        level, resamples, seed: of the bounds.
    """

    gate: str
    verdict: Verdict
    model: Digest | None
    baseline: Digest | None
    data: Digest | None
    conditions: tuple[Finding, ...]
    rows: int
    positives: int | None
    unlabelled: int
    level: float
    resamples: int
    seed: int
    declaration: dict[str, Any]

    __trivet_kind__: ClassVar[str] = "gate_report"

    @property
    def passed(self) -> bool:
        """Whether the verdict is ``pass``."""
        return self.verdict == "pass"

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values: the spec of its artifact."""
        spec: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return spec

    def __str__(self) -> str:
        head = f"Gate {self.gate}: {self.verdict.upper()}"
        about = [f"model {self.model[:12]}"] if self.model else []
        about += [f"baseline {self.baseline[:12]}"] if self.baseline else []
        about += [f"{self.rows:,} rows"]
        about += [f"{self.positives:,} positive"] if self.positives is not None else []
        about += [f"{self.unlabelled:,} without a label left out"] if self.unlabelled else []
        lines = [head, ", ".join(about), ""]
        header = ("condition", "estimate", f"{100 * self.level:g} % bounds", "needs", "rows", "verdict")
        return "\n".join([*lines, *_table([header, *(row for each in self.conditions for row in _rows(each))])])


class GateReportKind:
    """Stores a report as its own declaration, and as ``report.json`` for those who come without Trivet."""

    name = "gate_report"

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a report."""
        return isinstance(value, GateReport)

    def save(self, value: GateReport, blobs: Blobs) -> Saved:
        """Store the report."""
        spec = value.to_json()
        text = msgspec.json.format(msgspec.json.encode(spec, order="deterministic"), indent=2)
        return Saved(spec, {"report.json": blobs.put(text)}, digest("gate_report", spec))

    def load(self, artifact: Artifact, blobs: Blobs) -> GateReport:  # noqa: ARG002 - the spec is the whole report
        """The report again."""
        return msgspec.convert(artifact.spec, GateReport)


def open_kind() -> Kind:
    """The kind ``gate_report``."""
    return GateReportKind()


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict of all together: any failure fails, any lack of evidence lacks it, else all pass.

    Example:
        >>> worst(["pass", "insufficient evidence", "pass"])
        'insufficient evidence'
    """
    ranked: tuple[Verdict, ...] = ("fail", "insufficient evidence", "pass")
    return min(verdicts, key=ranked.index, default="insufficient evidence")


def _rows(finding: Finding) -> list[tuple[str, ...]]:
    """The finding as lines of the table: itself, then its groups, those in trouble and the worst first."""
    judged = [group for group in finding.groups if group.method != "none"]
    unjudged = [group for group in finding.groups if group.method == "none"]
    rest = judged[_SHOWN:]
    rows = [_row(finding.condition, finding)]
    rows += [row for group in judged[:_SHOWN] for row in _with_members(group)]
    if rest:
        together = worst([group.verdict for group in rest])
        fewest = min(each.rows for each in rest)  # no sum: a row is in a group of each column
        rows.append((f"  and {len(rest)} more groups", "", "", "", f"≥ {fewest:,}", together))
    return rows + [row for group in unjudged for row in _with_members(group)]


def _with_members(group: Finding) -> list[tuple[str, ...]]:
    members = [(f"    {', '.join(group.members)}",)] if group.members else []
    return [_row(f"  {group.condition}", group), *members]


def _row(name: str, finding: Finding) -> tuple[str, ...]:
    sign = {">=": "≥", "<=": "≤", ">": ">"}[finding.comparison]
    estimate = "" if finding.estimate is None else f"{finding.estimate:.4f}"
    low, high = (f"{bound:.4f}" if bound is not None else "?" for bound in (finding.low, finding.high))
    bounds = "" if finding.low is None and finding.high is None else f"{low} … {high}"
    return name, estimate, bounds, f"{sign} {finding.threshold:g}", f"{finding.rows:,}", finding.verdict


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns side by side: the first and the last to the left, numbers to the right; a lone cell as it is."""
    whole = [row for row in rows if len(row) > 1]
    widths = [max(len(row[column]) for row in whole) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        middle = "  ".join(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=len(row) > 1))
        lines.append(f"{row[0].ljust(widths[0])}  {middle}  {row[-1]}".rstrip() if len(row) > 1 else row[0])
    return lines
