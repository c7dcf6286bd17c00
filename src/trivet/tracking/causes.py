"""What may be to blame for the difference of two runs: the parts in which they differ and that can be swapped.

There are five: code, data, environment, parameters and seed. A *side* is a run with its parts, as ``transplant``
executes them; ``mixed`` takes some from one side and the rest from the other. Code differs where what the entry
reaches does, the environment where packages do that the code uses. Invariant: with nothing swapped a mixture is the
older run, with every cause swapped the newer.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact, Ledger, Recipe, Run, RunQuery
from trivet.ledger.erasures import check_not_erased
from trivet.pipelines.context import Context
from trivet.pipelines.distributions import installed
from trivet.pipelines.replay import run_that_made
from trivet.pipelines.transplant import Mixture, Place
from trivet.tracking.locks import pinned
from trivet.types import Digest

__all__ = ["CAUSES", "Side", "Where", "differing", "mixed", "recorded_metrics", "side_of"]

Where: TypeAlias = Literal["auto", "locked", "current"]
CAUSES = ("code", "data", "environment", "parameters", "seed")
_SEEDS = frozenset({"seed", "random_state"})
_WHOLE = frozenset({"script", "module", "program", "notebook", "interactive"})
_INTERPRETER = ("python", "implementation")


class Side(msgspec.Struct, frozen=True):
    """One of the two that are compared.

    Attributes:
        run: a pipeline's, or that of a single function.
        steps: the runs of a pipeline's steps; the run itself where there is no pipeline.
        mixture: its own parts.
        uses: version by name of the packages that its code imports, and of the interpreter.
        model: where its model is among the outputs of a mixture; empty if it has none.
    """

    run: Run
    steps: tuple[Run, ...]
    mixture: Mixture
    uses: dict[str, str]
    model: str


def side_of(context: Context, record: Run | Artifact, where: str) -> Side:
    """The run that made ``record`` with all that is needed to execute it: the whole pipeline, if it was a step of one.

    Raises:
        Invalid: nothing on record made it, it has not finished, or it was a script and no function.
        NotFound: ``where`` is none of ``auto``, ``locked``, ``current``, or a part of the record is gone.
    """
    if where not in get_args(Where):
        raise NotFound("environment to execute in", where, get_args(Where))
    made = run_that_made(context.ledger, record) if isinstance(record, Artifact) else record
    run = _pipeline_of(context.ledger, made) if isinstance(record, Artifact) else made
    recipe = _recipe(run)
    steps = _steps(context.ledger, run)
    check_not_erased(context.ledger, context.blobs, [context.ledger.artifact(each) for each in run.inputs.values()])
    uses = _uses(context, recipe, steps)
    mixture = Mixture(
        pipeline=run.kind == "pipeline",
        entry=recipe.entry,
        code=recipe.code,
        environment="" if where == "current" or (where == "auto" and _is_here(uses)) else recipe.environment,
        threads=recipe.threads,
        variables=recipe.variables,
        inputs=run.inputs,
        parameters=run.parameters,
        seed=recipe.seed,
    )
    asked = record if isinstance(record, Artifact) and record.kind == "model" else None
    return Side(run, steps, mixture, uses, _model(context.ledger, run, steps, asked))


def differing(place: Place, a: Side, b: Side) -> tuple[str, ...]:
    """The causes in which two sides differ.

    Raises:
        Invalid: one is a pipeline and the other is none.
    """
    if a.mixture.pipeline != b.mixture.pipeline:
        raise Invalid(
            f"{a.run.name!r} is a {a.run.kind} and {b.run.name!r} a {b.run.kind}: nothing of the one can be put into the "
            "other. Give two pipelines, two models made by pipelines, or two runs of a task."
        )
    one, other = a.mixture, b.mixture
    found = {
        "code": one.entry != other.entry or _code_differs(place, one, other),
        "data": one.inputs != other.inputs,
        "environment": a.uses != b.uses or (one.threads, one.variables) != (other.threads, other.variables),
        "parameters": _without_seed(one.parameters) != _without_seed(other.parameters),
        "seed": (one.seed, _only_seed(one.parameters)) != (other.seed, _only_seed(other.parameters)),
    }
    return tuple(cause for cause in CAUSES if found[cause])


def mixed(a: Mixture, b: Mixture, swapped: Collection[str]) -> Mixture:
    """``a`` with the causes of ``swapped`` as they are in ``b``."""
    code, data, environment, parameters, seed = (b if cause in swapped else a for cause in CAUSES)
    return Mixture(
        pipeline=a.pipeline,
        entry=code.entry,
        code=code.code,
        environment=environment.environment,
        threads=environment.threads,
        variables=environment.variables,
        inputs=data.inputs,
        parameters=_without_seed(parameters.parameters) | _only_seed(seed.parameters),
        seed=seed.seed,
    )


def recorded_metrics(side: Side) -> dict[str, dict[str, float]]:
    """What was measured when it ran, by the name of the step."""
    return {_step_name(side, run): run.metrics for run in side.steps}


def _step_name(side: Side, run: Run) -> str:
    return run.name if side.mixture.pipeline else side.mixture.entry.partition(":")[2]


def _pipeline_of(ledger: Ledger, run: Run) -> Run:
    if run.kind == "task" and run.parent is not None:
        around = ledger.run(run.parent)
        if around.kind == "pipeline" and around.status == "finished":
            return around
    return run


def _recipe(run: Run) -> Recipe:
    if run.recipe is None:
        raise Invalid(
            f"The {run.kind} {run.name!r} (run {run.id}) has no recipe: it was logged by hand, not run as a function, so "
            "it cannot be executed with a part of another. Make it a task or a pipeline."
        )
    if run.recipe.entry.partition(":")[0] in _WHOLE:
        raise Invalid(
            f"The {run.kind} {run.name!r} (run {run.id}) is what {run.recipe.entry!r} said while it ran, which is no function "
            "with inputs and parameters, so nothing in it can be swapped. `trivet diff` shows what differs; write it as a "
            "pipeline to have it attributed."
        )
    if run.status not in ("finished", "cached"):
        raise Invalid(f"{run.name!r} (run {run.id}) is {run.status}, so there is nothing to explain.")
    return run.recipe


def _steps(ledger: Ledger, run: Run) -> tuple[Run, ...]:
    if run.kind != "pipeline":
        return (run,)
    children = ledger.runs(RunQuery(parent=run.id, limit=10_000))
    return tuple(sorted((each for each in children if each.kind == "task"), key=lambda each: each.id))


def _uses(context: Context, recipe: Recipe, steps: Collection[Run]) -> dict[str, str]:
    """Of a task its key says what its code imports; of anything else all of the lock counts."""
    environment = context.ledger.artifact(recipe.environment)
    pins = pinned(environment, context.blobs)
    if all(step.key_parts for step in steps):
        parts = [part.partition(" ") for step in steps for part in step.key_parts]
        imported = {name for kind, _, name in parts if kind == "distribution"}
        pins = {name: version for name, version in pins.items() if name in imported}
    return pins | {name: str(environment.spec[name]) for name in _INTERPRETER if name in environment.spec}


def _is_here(uses: Mapping[str, str]) -> bool:
    """Whether this process has the very packages."""
    known = {name: one.version for name, one in installed().items()}
    known |= {"python": platform.python_version(), "implementation": platform.python_implementation()}
    return all(known.get(name) == version for name, version in uses.items())


def _code_differs(place: Place, a: Mixture, b: Mixture) -> bool:
    if a.code == b.code:
        return False
    reached = [place.closure(each.code, each.entry) for each in (a, b)]
    return None in reached or reached[0] != reached[1]


def _model(ledger: Ledger, run: Run, steps: Collection[Run], asked: Artifact | None) -> str:
    """The place of the model that was asked for, else of the first that is returned, else of the last that was made."""
    returned = [(slot, digest) for slot, digest in run.outputs.items()]
    inner = [
        (step.name if slot == "result" else f"{step.name}.{slot}", digest)
        for step in reversed(list(steps))
        for slot, digest in step.outputs.items()
    ]
    candidates = [*returned, *inner] if run.kind == "pipeline" else returned
    for label, digest in candidates:
        if (asked is None and _kind(ledger, digest) == "model") or (asked is not None and digest == asked.digest):
            return label
    return ""


def _kind(ledger: Ledger, digest: Digest) -> str:
    try:
        return ledger.artifact(digest).kind
    except NotFound:
        return ""


def _without_seed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in _SEEDS}


def _only_seed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name in _SEEDS}
