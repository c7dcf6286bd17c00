"""What a check found: each expectation with how many rows broke it, and what follows.

Plain counts and no estimates: every row was looked at. Examples hold the place of a row and the values of the columns
that the expectation names, and nothing else of the row; of uniqueness the place alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from trivet.errors import Corrupt
from trivet.features.quality.expectation import Severity
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.values.contract import Saved

__all__ = ["Consequence", "Finding", "QualityReport", "open_kind"]

Consequence: TypeAlias = Literal["nothing", "said", "rows", "stop"]
"""Of a broken expectation: it is only ``said``, the ``rows`` are set aside, or what would use the data should ``stop``."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One expectation and what became of it.

    Attributes:
        expectation: what was expected, as a sentence.
        severity: ``refuse`` or ``warn``.
        passed: whether it held.
        failing, judged: how many rows broke it, of how many; of volume, periods; of freshness nothing.
        allowed: the share that may break it.
        consequence: what follows.
        found: what was met instead, as a sentence; empty where it held without exception.
        examples: up to five of the rows or periods that broke it.
    """

    expectation: str
    severity: Severity
    passed: bool
    failing: int = 0
    judged: int = 0
    allowed: float = 0.0
    consequence: Consequence = "nothing"
    found: str = ""
    examples: list[dict[str, Any]] = []

    @property
    def share(self) -> float | None:
        """``failing / judged``; None where nothing was judged."""
        return self.failing / self.judged if self.judged else None

    def __str__(self) -> str:
        mark = "ok    " if self.passed else f"{self.severity:<6}"
        return f"{mark}  {self.expectation}{f': {self.found}' if self.found else ''}"


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """The findings of one check.

    Attributes:
        subject: ``source.flights`` or ``view.congestion``.
        at: the moment as of which freshness, volume and the values of a view were judged.
        rows: how many there are.
        refused: how many of them break a refusing expectation of rows; those are set aside.
        findings: one for each expectation, in the order of the declaration.
    """

    __trivet_kind__ = "quality_report"

    subject: str
    at: datetime
    rows: int
    refused: int = 0
    findings: list[Finding] = []

    @property
    def passed(self) -> bool:
        """Whether no refusing expectation is broken."""
        return all(each.passed or each.severity == "warn" for each in self.findings)

    @property
    def failed(self) -> list[Finding]:
        """What is broken, warnings included."""
        return [each for each in self.findings if not each.passed]

    @property
    def stops(self) -> list[Finding]:
        """What is broken so that the data should not be used."""
        return [each for each in self.findings if each.consequence == "stop"]

    @property
    def trouble(self) -> str:
        """What refusing expectations are broken, as a sentence for an alarm; empty if none is."""
        broken = [each.expectation for each in self.failed if each.severity == "refuse"]
        whose = self.subject.replace(".", " ")
        return f"What is expected of {whose} does not hold: {'; '.join(broken)}." if broken else ""

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return {**data, "passed": self.passed}

    def __str__(self) -> str:
        refused = f", {self.refused:,} refused" if self.refused else ""
        lines = [f"{self.subject} at {self.at:%Y-%m-%d %H:%M:%S} UTC: {self.rows:,} rows{refused}"]
        for each in self.findings:
            lines.append(f"  {each}")
            lines += [f"            {_example(one)}" for one in each.examples[:2]]
        return "\n".join(lines)


def _example(example: dict[str, Any]) -> str:
    values = ", ".join(f"{name} = {value}" for name, value in example.items() if name != "row")
    place = f"row {example['row']:,}" if "row" in example else ""
    return ": ".join(filter(None, [place, values]))


class QualityReportKind:
    """Reports as artifacts: one JSON file."""

    name = "quality_report"

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a report of quality."""
        return isinstance(value, QualityReport)

    def save(self, value: QualityReport, blobs: Blobs) -> Saved:
        """Store the report; what is shown of it in lists is in the declaration."""
        spec = {"subject": value.subject, "passed": value.passed, "rows": value.rows, "refused": value.refused}
        return Saved(spec, {"report.json": blobs.put(msgspec.json.encode(value))})

    def load(self, artifact: Artifact, blobs: Blobs) -> QualityReport:
        """The report again."""
        try:
            return msgspec.json.decode(blobs.read(artifact.files["report.json"].digest), type=QualityReport)
        except msgspec.DecodeError as exc:
            raise Corrupt(f"{artifact.id} is not readable: {exc}.") from exc


def open_kind() -> QualityReportKind:
    """The kind ``quality_report``."""
    return QualityReportKind()
