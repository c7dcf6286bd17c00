"""An audit by doing: many things made again, one after the other within a budget of time, and a report of what held.

What is to be verified is the caller's affair (``project.verify_all`` names what is in production); here each is made again and
the outcome written down, whatever it is. Invariant: everything that was to be verified is in the report, also what failed and
what the budget did not reach, and ``ok`` is true only where all of it held.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from trivet.errors import TrivetError
from trivet.ledger import Artifact, Run
from trivet.pipelines import values
from trivet.pipelines.context import Context
from trivet.pipelines.recording import begin, end
from trivet.pipelines.replay import Reproduction

__all__ = ["Subject", "Verification", "Verified", "verify"]

KIND = "verification"
Outcome: TypeAlias = Literal["same", "different", "failed", "skipped"]


class Subject(NamedTuple):
    """Something to be verified: what it is to people, its reference, and how to find the run that made it."""

    what: str
    reference: str
    find: Callable[[], Run]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one of them.

    Attributes:
        outcome: ``failed`` could not be made again, ``skipped`` was not reached in time.
        level: how far it is the same, empty where it was not made again.
        said: the first difference, or what went wrong, or why it was skipped.
    """

    what: str
    reference: str
    outcome: Outcome
    level: str = ""
    said: str = ""
    causes: list[str] = []
    seconds: float = 0.0


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The report of an audit, recorded as the run ``run``."""

    found: list[Verified]
    seconds: float
    run: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything was made again the same."""
        return all(one.outcome == "same" for one in self.found)

    @property
    def status(self) -> int:
        """Exit status: 0 all the same, 1 something differs, 3 something failed or was not reached."""
        outcomes = {one.outcome for one in self.found}
        return 1 if "different" in outcomes else 3 if outcomes - {"same"} else 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return {"ok": self.ok, **data}

    def __str__(self) -> str:
        if not self.found:
            return "Nothing is in production, so there was nothing to verify."
        counts = {outcome: sum(one.outcome == outcome for one in self.found) for outcome in Outcome.__args__}  # type: ignore[attr-defined]
        head = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        lines = [f"{len(self.found)} verified in {self.seconds:.1f} s: {head}."]
        width = max(len(one.what) for one in self.found)
        for one in self.found:
            lines.append(f"  {one.outcome:<9}  {one.level:<11}  {one.what:<{width}}  {one.reference}")
            lines += [f"             {text}" for text in (one.said, *one.causes) if text and one.outcome != "same"]
        return "\n".join(lines)


def verify(
    context: Context,
    subjects: Sequence[Subject],
    reproduce: Callable[[Run], Reproduction],
    *,
    inputs: Sequence[Artifact] = (),
    budget: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Make everything again that there is time for, and record the report as a run of kind ``verification``.

    Args:
        context: the project.
        subjects: in the order in which they are tried; the same run is made again once.
        reproduce: makes one run again.
        inputs: what the audit is about, for lineage.
        budget: seconds after which nothing more is begun; no limit by default.
        progress: told what is next.
    """
    tell, started = progress or (lambda _: None), time.monotonic()
    slots = {f"{one.kind}.{number}": one for number, one in enumerate(inputs, 1)}
    run = begin(context, kind=KIND, name="production", inputs=slots, parameters={"budget": budget})
    known: dict[str, Verified] = {}
    found = []
    try:
        for number, each in enumerate(subjects, 1):
            if budget is not None and time.monotonic() - started >= budget:
                said = f"The budget of {budget:g} s was used up."
                found.append(Verified(what=each.what, reference=each.reference, outcome="skipped", said=said))
                continue
            tell(f"{number} of {len(subjects)}: {each.what} {each.reference}")
            found.append(_verified(each, reproduce, known))
    except BaseException as exc:
        end(context, run, "killed", error=f"Interrupted after {len(found)} of {len(subjects)}: {type(exc).__name__}.")
        raise
    report = Verification(found=found, seconds=time.monotonic() - started, run=run.id)
    artifact = values.save(report.to_json(), context, "json")
    counted = {outcome: float(sum(one.outcome == outcome for one in found)) for outcome in Outcome.__args__}  # type: ignore[attr-defined]
    end(context, run, "finished", outputs={"report": artifact}, metrics=counted)
    return report


def _verified(each: Subject, reproduce: Callable[[Run], Reproduction], known: dict[str, Verified]) -> Verified:
    began = time.monotonic()
    try:
        run = each.find()
        if run.id in known:
            return msgspec.structs.replace(known[run.id], what=each.what, reference=each.reference, seconds=0.0)
        result = reproduce(run)
    except TrivetError as exc:
        said = str(exc).partition("\n")[0]
        seconds = time.monotonic() - began
        return Verified(what=each.what, reference=each.reference, outcome="failed", said=said, seconds=seconds)
    known[run.id] = found = Verified(
        what=each.what,
        reference=each.reference,
        outcome="same" if result.ok else "different",
        level=result.level,
        said=result.first_difference or "",
        causes=list(result.causes),
        seconds=time.monotonic() - began,
    )
    return found
