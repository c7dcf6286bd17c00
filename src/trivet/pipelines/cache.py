"""When an earlier run may answer in the place of a new one, and why it may or may not.

The key of a step covers all that its answer can depend on: the code that it reaches, the content of its inputs,
parameters, seed, threads, declared outputs, the distributions that the code imports, the interpreter and the class
of the platform. The parts are stored with the run, so that ``why`` compares instead of guessing. What code is
reached is ``closure``'s business. Invariant: a hit is never a failed run, and all of its content is there.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from trivet.digest import digest
from trivet.errors import NotFound
from trivet.ledger import Artifact, Run, RunQuery
from trivet.pipelines.context import Context
from trivet.types import Digest, Json

__all__ = ["REASON", "Change", "Explanation", "find", "key_of", "key_parts", "why"]

REASON = "reason"
"""The tag that says why a step was executed although nothing had changed: ``forced``, ``uncached``, ``gone``."""

_SUCCESSFUL = ("finished", "cached")
_REASONS = {
    "forced": "it was forced",
    "uncached": "its cache is off",
    "gone": "the stored outputs of the run before are gone",
}
_SHORT = 4


def key_parts(
    *,
    entry: str,
    code: Mapping[str, Digest],
    distributions: Mapping[str, str],
    inputs: Mapping[str, Artifact],
    parameters: Mapping[str, Json],
    seed: int,
    threads: int,
    outputs: Sequence[str] | None,
    variables: Mapping[str, str],
) -> dict[str, str]:
    """All that the answer of a step can depend on, part by part, as text.

    Example:
        >>> parts = key_parts(entry="m:f", code={"m.f": "3f2a"}, distributions={}, inputs={}, seed=0, threads=1,
        ...                   parameters={"max_iter": 100}, outputs=None, variables={})
        >>> parts["code m.f"], parts["parameter max_iter"]
        ('3f2a', '100')
    """
    return {
        "entry": entry,
        **{f"code {name}": value for name, value in code.items()},
        **{f"distribution {name}": version for name, version in distributions.items()},
        **{f"input {slot}": artifact.digest for slot, artifact in inputs.items()},
        **{
            f"parameter {name}": msgspec.json.encode(value, order="sorted").decode()
            for name, value in parameters.items()
        },
        **{f"variable {name}": value for name, value in variables.items()},
        "seed": str(seed),
        "threads": str(threads),
        "outputs": "" if outputs is None else ", ".join(outputs),
        **_machine(),
    }


def key_of(parts: Mapping[str, str]) -> Digest:
    """The cache key that the parts make."""
    return digest("cache-key", dict(parts))


def find(context: Context, key: Digest) -> tuple[Run | None, str]:
    """The newest successful run with this key whose outputs are all there; if there is none, the reason if known."""
    candidates = [run for run in context.ledger.runs(RunQuery(key=key, limit=20)) if run.status in _SUCCESSFUL]
    hit = next((run for run in candidates if _is_present(context, run)), None)
    return hit, "gone" if hit is None and candidates else ""


@dataclass(frozen=True)
class Change:
    """One part of the key that differs; None where it did not exist."""

    part: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        kind, _, name = self.part.partition(" ")
        if kind == "code":
            verb = {(True, False): "is new", (False, True): "is no longer used"}
            return f"code of {_code_name(name)} {verb.get((self.before is None, self.after is None), 'changed')}"
        label = name if kind == "distribution" else self.part
        if self.before is None:
            return f"{label} is new ({_shown(kind, self.after)})"
        if self.after is None:
            return f"{label} is gone (was {_shown(kind, self.before)})"
        return f"{label} {_shown(kind, self.before)} -> {_shown(kind, self.after)}"


@dataclass(frozen=True)
class Explanation:
    """Why a run was executed, or why it was not.

    Attributes:
        run: the run that is explained.
        previous: the run it is compared with: the newest earlier one of the same step, None if there was none.
        changes: the parts of the key that differ.
    """

    run: Run
    previous: Run | None
    changes: tuple[Change, ...]

    @property
    def hit(self) -> bool:
        """Whether an earlier run answered."""
        return self.run.status == "cached"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        changes: list[Any] = msgspec.to_builtins(self.changes)
        previous = self.previous.id if self.previous else None
        return {"run": self.run.id, "hit": self.hit, "previous": previous, "changes": changes, "because": str(self)}

    def __str__(self) -> str:
        name = self.run.name
        if self.hit:
            origin = self.run.tags.get("cached_from", "")
            return f"{name} did not run: code, inputs, parameters and environment are those of run {origin}."
        verb = "is running" if self.run.status == "running" else "ran"
        return f"{name} {verb} because {self._because()}."

    def _because(self) -> str:
        reason = self.run.tags.get(REASON, "")
        if self.previous is None:
            return "it had never run before"
        if reason == "forced":
            return "; ".join([_REASONS["forced"], *map(str, self.changes)])
        if self.changes:
            return "; ".join(map(str, self.changes))
        if self.previous.status not in _SUCCESSFUL:
            return f"nothing changed and the run before, {self.previous.id}, {_ended(self.previous)}"
        return _REASONS.get(reason, f"the run before, {self.previous.id}, had not yet finished")


def why(context: Context, step: str) -> Explanation:
    """Why a step ran, or why it did not: its newest run, or the run with this id, beside the one before.

    Raises:
        NotFound: no run of a step has this name or id.
    """
    run = _newest(context, step)
    earlier = context.ledger.runs(RunQuery(kind=run.kind, name=run.name, before=run.id, limit=50))
    same = [one for one in earlier if one.tags.get("pipeline") == run.tags.get("pipeline")]
    previous = same[0] if same else None
    return Explanation(run, previous, _changes(previous, run))


def _newest(context: Context, step: str) -> Run:
    if found := context.ledger.runs(RunQuery(kind="task", name=step, limit=1)):
        return found[0]
    try:
        return context.ledger.run(step.removeprefix("run:"))
    except NotFound as exc:
        names = {run.name for run in context.ledger.runs(RunQuery(kind="task", limit=1000))}
        raise NotFound("step or run", step, names) from exc


def _changes(previous: Run | None, run: Run) -> tuple[Change, ...]:
    if previous is None:
        return ()
    before, after = previous.key_parts, run.key_parts
    parts = [part for part in after if before.get(part) != after[part]]
    parts += [part for part in before if part not in after]
    return tuple(Change(part, before.get(part), after.get(part)) for part in parts)


def _is_present(context: Context, run: Run) -> bool:
    try:
        artifacts = [context.ledger.artifact(output) for output in run.outputs.values()]
    except NotFound:
        return False
    return not context.blobs.missing({file.digest for artifact in artifacts for file in artifact.files.values()})


@cache
def _machine() -> dict[str, str]:
    return {
        "python": f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}",
        "platform": f"{sys.platform} {platform.machine()}",
    }


def _code_name(name: str) -> str:
    return name.removesuffix(":*").replace(":<effects>", " (what its import does)").replace(":", ".")


def _shown(kind: str, value: str | None) -> str:
    return (value or "")[:_SHORT] if kind == "input" else value or "nothing"


def _ended(run: Run) -> str:
    return {"failed": "failed", "killed": "was killed"}.get(run.status, "had not ended")
