"""Why two runs came out differently, found by executing what lies between them.

The causes in which they differ (``causes``) are swapped from A's to B's; each combination is executed in a clean place
(``trivet.pipelines.transplant``) and measured, and the difference is divided by Shapley values (``shapley``). Both ends
are executed too, so what cannot be made again here is said and not blamed on a cause. Where a combination cannot run,
because the code of one side does not take the parameters of the other, the two are one cause.

Each combination is recorded as a run of kind ``why`` under the one that asked, and is never executed twice. Invariant:
interrupted at any moment, nothing is lost: the same question goes on from there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from trivet.digest import digest
from trivet.errors import Invalid, NotFound, StepFailed
from trivet.ledger import Artifact, Recipe, Run, RunQuery, Status
from trivet.pipelines import values
from trivet.pipelines.context import Context
from trivet.pipelines.environment import capture_environment
from trivet.pipelines.recording import begin, end
from trivet.pipelines.transplant import Made, Mixture, Place
from trivet.tracking.attribution import PREDICTIONS, Attribution, Cause, Measure, Mixed
from trivet.tracking.causes import Side, differing, mixed, recorded_metrics, side_of
from trivet.tracking.shapley import Coalition, coalitions, inseparable, schedule, split
from trivet.types import Duration, as_duration

__all__ = ["Told", "attribute", "earlier"]

Told = Callable[[str, int, int], None]
"""Told what is done now, how many combinations are done, and how many there are."""
KIND = "why"
_FRAMES = ("training_set", "table")
_AGREE = 1e-9


def attribute(
    context: Context,
    a: Run | Artifact,
    b: Run | Artifact,
    *,
    labels: tuple[str, str],
    details: Mapping[str, str],
    budget: Duration | None = None,
    environment: str = "auto",
    seed: int = 0,
    progress: Told | None = None,
) -> Attribution:
    """Divide the difference of two runs among its causes by executing combinations of them.

    Args:
        context: the project.
        a: a pipeline's run, a model made by a pipeline, or a run of a task.
        b: another.
        labels: what to call them.
        details: what differs in each cause, in one line.
        budget: no combination is begun that is likely to end later than this; both ends are always executed.
        environment: ``auto`` uses this process' libraries where they are the recorded ones, and builds an environment
            where they are not; ``locked`` builds always, ``current`` never.
        seed: of the order in which combinations are tried.
        progress: told before every step.

    Raises:
        Invalid: there is nothing that could be executed; the sentence says why.
        StepFailed: one of the two does not run as it was, or its environment cannot be built.
    """
    began = time.monotonic()
    limit = math.inf if budget is None else as_duration(budget) / 1e6
    sides = side_of(context, a, environment), side_of(context, b, environment)
    told = _Teller(progress or (lambda *_: None))
    with Place(context, told.now) as place:
        causes = differing(place, *sides)
        if not causes:
            return Attribution(*labels, "", (), (), notes=_nothing_differs(*sides))
        asked = _begin(context, sides, labels, causes, seed)
        try:
            work = _Work(context, place, sides, causes, asked, told)
            groups = work.explore(limit, began, seed)
            found = work.answer(groups, labels, details, time.monotonic() - began)
        except BaseException as exc:
            end(context, asked, "killed" if isinstance(exc, KeyboardInterrupt) else "failed", error=str(exc))
            raise
    artifact = values.save(found.to_json(), context, "json")
    end(context, asked, "finished", outputs={"attribution": artifact}, metrics=_as_metrics(found))
    return found


def earlier(context: Context, a: Run | Artifact, b: Run | Artifact) -> Attribution | None:
    """The newest attribution of these two that is on record, if there is one."""
    try:
        key = _key(side_of(context, a, "current").run, side_of(context, b, "current").run)
    except (Invalid, NotFound):
        return None
    for run in context.ledger.runs(RunQuery(kind=KIND, key=key, status="finished", limit=5)):
        if "attribution" in run.outputs:
            plain: Any = values.load(context.ledger.artifact(run.outputs["attribution"]), context.blobs)
            return Attribution.from_json({name: value for name, value in plain.items() if name != "exact"})
    return None


class _Teller:
    """Passes on what is done now, with how far it is."""

    def __init__(self, progress: Told) -> None:
        self.progress, self.done, self.total, self.doing = progress, 0, 0, ""

    def now(self, step: str) -> None:
        self.progress(f"{self.doing}: {step}" if self.doing else step, self.done, self.total)


class _Work:
    """The combinations of one question, executed or remembered."""

    def __init__(
        self,
        context: Context,
        place: Place,
        sides: tuple[Side, Side],
        causes: tuple[str, ...],
        asked: Run,
        told: _Teller,
    ) -> None:
        self.context, self.place, self.sides, self.causes, self.asked = context, place, sides, causes, asked
        self.told = told
        self.found: dict[Coalition, Mixed] = {}
        self.predicted: dict[Coalition, list[Any]] = {}
        self.made: dict[Coalition, Made] = {}
        self.rows = _rows(context, *sides)
        self.notes: list[str] = []

    # -- executing ---------------------------------------------------------------------------------------------

    def explore(self, limit: float, began: float, seed: int) -> list[tuple[str, ...]]:
        """Try combinations until all are known or the time is up: the causes, those together that must be."""
        groups: list[tuple[str, ...]] = [(cause,) for cause in self.causes]
        while True:
            clash = self._explore(groups, limit, began, seed)
            if clash is None:
                return groups
            groups = _joined(groups, clash)

    def _explore(self, groups: list[tuple[str, ...]], limit: float, began: float, seed: int) -> tuple[str, str] | None:
        names = [" + ".join(group) for group in groups]
        planned = [(each, _members(each, names, groups)) for each in schedule(names, seed)]
        self.told.total = len(planned)
        longest, tried = 0.0, 2 + 2 * len(groups)
        for place, (_, swapped) in enumerate(planned):
            self.told.done = place
            spent = time.monotonic() - began
            if place >= 2 and swapped not in self.found and spent + longest > limit:
                break
            if swapped not in self.found:
                self._execute(swapped)
                longest = max(longest, (time.monotonic() - began - spent) if place else 0.0)
            if place >= tried - 1 and (clash := self._clash(names, planned)):
                return clash
        return self._clash(names, planned)

    def _clash(self, names: list[str], planned: Sequence[tuple[Coalition, Coalition]]) -> tuple[str, str] | None:
        known = [(each, self.found[swapped]) for each, swapped in planned if swapped in self.found]
        ran = [each for each, one in known if not one.error]
        failed = [each for each, one in known if one.error]
        return inseparable(names, ran, failed)

    def _execute(self, swapped: Coalition) -> None:
        a, b = self.sides
        mixture = mixed(a.mixture, b.mixture, swapped)
        self.told.doing = _called(swapped, self.causes)
        self.told.now("")
        key = digest("why", [mixture.key, self._here(mixture), self._asked()])
        if not self._remember(swapped, key):
            self._record(swapped, mixture, key)
        one = self.found[swapped]
        if one.error and swapped in (frozenset(), frozenset(self.causes)):
            side = b if swapped else a
            raise StepFailed(f"{side.run.name!r} (run {side.run.id}) does not run any more as it was: {one.error}")

    def _remember(self, swapped: Coalition, key: str) -> bool:
        for run in self.context.ledger.runs(RunQuery(kind=KIND, key=key, status="finished", limit=5)):
            predictions = run.outputs.get("predictions")
            if self.rows is not None and predictions is None and run.tags.get("no_predictions") is None:
                continue
            if predictions is not None:
                plain: Any = values.load(self.context.ledger.artifact(predictions), self.context.blobs)
                self.predicted[swapped] = plain["values"]
            self.found[swapped] = Mixed(_ordered(swapped, self.causes), run.id, run.metrics, reused=True)
            return True
        return False

    def _record(self, swapped: Coalition, mixture: Mixture, key: str) -> None:
        ledger, names = self.context.ledger, _ordered(swapped, self.causes)
        a, b = self.sides
        environment = (b if "environment" in swapped else a).run.recipe
        recipe = Recipe(
            mixture.entry, mixture.code, environment.environment if environment else "", mixture.seed, mixture.threads,
            mixture.variables,
        )  # fmt: skip
        run = begin(
            self.context,
            kind=KIND,
            name=_called(swapped, self.causes),
            parent=self.asked.id,
            recipe=recipe,
            inputs={slot: ledger.artifact(each) for slot, each in mixture.inputs.items()},
            parameters=mixture.parameters,
            tags={"swapped": " ".join(names)},
            key=key,
        )
        try:
            made = self.place.run(mixture)
            outputs, tags = self._predict(swapped, made)
        except BaseException as exc:
            end(self.context, run, "killed" if isinstance(exc, KeyboardInterrupt) else "failed", error=str(exc))
            raise
        metrics = {f"{step}.{name}": value for step, found in made.metrics.items() for name, value in found.items()}
        status: Status = "failed" if made.error else "finished"
        end(self.context, run, status, outputs=outputs, metrics=metrics, error=made.error, tags=tags)
        self.found[swapped] = Mixed(names, run.id, metrics, made.error)

    def _predict(self, swapped: Coalition, made: Made) -> tuple[dict[str, Artifact], dict[str, str]]:
        """The predictions of the model that was made, recorded; a tag where there are none."""
        labels = [side.model for side in self.sides if side.model in made.outputs]
        if made.error or self.rows is None or not labels:
            return {}, {"no_predictions": "there is no model or no rows"}
        self.told.now("predicting")
        try:
            found = self.place.predictions(made.mixture, made.outputs[labels[-1]], self.rows)
        except StepFailed as exc:
            self.notes.append(f"The model of {_called(swapped, self.causes)} gives no predictions: {exc}")
            return {}, {"no_predictions": str(exc)}
        self.predicted[swapped] = found
        return {"predictions": values.save({"values": found}, self.context, "json")}, {}

    def _asked(self) -> list[str]:
        """Which model is asked about which rows."""
        return [*(side.model for side in self.sides), self.rows.digest] if self.rows else []

    def _here(self, mixture: Mixture) -> str:
        """What a result depends on besides the mixture: this machine, and these libraries where they are used."""
        libraries = "" if mixture.environment else capture_environment(self.context).digest
        return f"{self.context.host} {libraries}"

    # -- answering ---------------------------------------------------------------------------------------------

    def answer(
        self, groups: list[tuple[str, ...]], labels: tuple[str, str], details: Mapping[str, str], seconds: float
    ) -> Attribution:
        """What was found, divided."""
        names = [" + ".join(group) for group in groups]
        causes = tuple(
            Cause(name, group, "; ".join(filter(None, (details.get(member, "") for member in group))))
            for name, group in zip(names, groups, strict=True)
        )
        members = {each: _members(each, names, groups) for each in coalitions(names)}
        measures = [self._predictions(names, members), *self._metrics(names, members)]
        return Attribution(
            *labels,
            run=self.asked.id,
            causes=causes,
            measures=tuple(each for each in measures if each is not None),
            mixtures=tuple(self.found.values()),
            notes=(*self._clashes(groups), *self._not_made_again(), *self.notes, *_not_swapped(*self.sides)),
            seconds=seconds,
        )

    def _predictions(self, names: list[str], members: Mapping[Coalition, Coalition]) -> Measure | None:
        everything = frozenset(self.causes)
        if frozenset() not in self.predicted or everything not in self.predicted:
            return None
        first = self.predicted[frozenset()]
        moved = {
            each: _mean_change(first, self.predicted[swapped])
            for each, swapped in members.items()
            if swapped in self.predicted
        }
        if not all(map(math.isfinite, moved.values())):
            self.notes.append("The predictions are not compared: they are not of one form, or not all numbers.")
            return None
        assert self.rows is not None
        self.notes.append(
            f"{PREDICTIONS}: the mean absolute change from those of A, on {len(first)} rows of {self.rows.id}."
        )
        return Measure(PREDICTIONS, 0.0, moved[frozenset(names)], None, None, split(names, moved))

    def _metrics(self, names: list[str], members: Mapping[Coalition, Coalition]) -> list[Measure]:
        nothing, everything = (self.found[each].metrics for each in (frozenset(), frozenset(self.causes)))
        both = [name for name in nothing if name in everything]
        recorded = [_flat(recorded_metrics(side)) for side in self.sides]
        found = []
        for name in sorted(both):
            known = {
                each: self.found[swapped].metrics[name]
                for each, swapped in members.items()
                if swapped in self.found and name in self.found[swapped].metrics
            }
            shown = _short(name, nothing, everything)
            then = recorded[0].get(name), recorded[1].get(name)
            found.append(Measure(shown, nothing[name], everything[name], then[0], then[1], split(names, known)))
        if only := sorted(nothing.keys() ^ everything.keys()):
            self.notes.append(f"Measured on one side only, so not divided: {', '.join(only)}.")
        return found

    def _clashes(self, groups: list[tuple[str, ...]]) -> list[str]:
        said = []
        for group in groups:
            if len(group) > 1:
                why = next((one.error for each, one in self.found.items() if one.error and _apart(group, each)), "")
                said.append(f"{' and '.join(group)} count as one cause, because they do not run apart: {why}")
        return said

    def _not_made_again(self) -> list[str]:
        said = []
        for side, swapped, called in zip(self.sides, (frozenset[str](), frozenset(self.causes)), "AB", strict=True):
            now, then = self.found[swapped].metrics, _flat(recorded_metrics(side))
            for name in sorted(now.keys() & then.keys()):
                if not math.isclose(now[name], then[name], rel_tol=_AGREE):
                    said.append(
                        f"{called} had {name} {then[name]:.6g} when it ran and has {now[name]:.6g} now. The rest, "
                        f"{then[name] - now[name]:+.4g}, is due to what was not swapped: hardware, undeclared inputs, chance."
                    )
        return said


def _begin(
    context: Context, sides: tuple[Side, Side], labels: tuple[str, str], causes: Sequence[str], seed: int
) -> Run:
    a, b = sides
    slots = {"a": a.run.outputs, "b": b.run.outputs}
    inputs = {f"{side}.{slot}": each for side, outputs in slots.items() for slot, each in outputs.items()}
    return begin(
        context,
        kind=KIND,
        name=f"{labels[0]} -> {labels[1]}",
        inputs={slot: context.ledger.artifact(each) for slot, each in inputs.items()},
        parameters={"a": a.run.id, "b": b.run.id, "causes": list(causes), "seed": seed},
        key=_key(a.run, b.run),
    )


def _key(a: Run, b: Run) -> str:
    return digest("why", [a.id, b.id])


def _rows(context: Context, a: Side, b: Side) -> Artifact | None:
    """The rows on which both models are asked: those that B was tested on, else those it was fitted on, else A's."""
    if not (a.model and b.model):
        return None
    for side in (b, a):
        steps = [{slot: context.ledger.artifact(each) for slot, each in run.inputs.items()} for run in side.steps]
        tested = [inputs for inputs in steps if any(one.kind == "model" for one in inputs.values())]
        for inputs in [*tested, *steps]:
            for one in inputs.values():
                if one.kind in _FRAMES:
                    return one
    return None


def _joined(groups: Sequence[tuple[str, ...]], clash: tuple[str, str]) -> list[tuple[str, ...]]:
    """The groups with the two named ones as one, in the place of the first."""
    one, other = (next(group for group in groups if " + ".join(group) == name) for name in clash)
    return [(*one, *other) if group == one else group for group in groups if group != other]


def _members(each: Coalition, names: Sequence[str], groups: Sequence[tuple[str, ...]]) -> Coalition:
    return frozenset(member for name, group in zip(names, groups, strict=True) if name in each for member in group)


def _apart(group: Sequence[str], swapped: Coalition) -> bool:
    return 0 < len(swapped & frozenset(group)) < len(group)


def _ordered(swapped: Coalition, causes: Sequence[str]) -> tuple[str, ...]:
    return tuple(cause for cause in causes if cause in swapped)


def _called(swapped: Coalition, causes: Sequence[str]) -> str:
    if not swapped:
        return "A as it was"
    return "B as it was" if len(swapped) == len(causes) else f"A with B's {', '.join(_ordered(swapped, causes))}"


def _mean_change(first: list[Any], other: list[Any]) -> float:
    """The mean absolute difference of numbers (of all classes), or the share of labels that differ; NaN of unlike ones."""
    if first and isinstance(first[0], str):
        return sum(bool(one != two) for one, two in zip(first, other, strict=True)) / len(first)
    one, two = np.asarray(first, dtype=float), np.asarray(other, dtype=float)
    if one.shape != two.shape or not one.size:
        return math.nan
    change: float = np.abs(two - one).mean().item()
    return change


def _flat(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{step}.{name}": value for step, found in metrics.items() for name, value in found.items()}


def _short(name: str, *ends: Mapping[str, float]) -> str:
    """The metric without its step where no other step measures one of that name."""
    plain = name.partition(".")[2]
    return plain if all(sum(each.partition(".")[2] == plain for each in one) == 1 for one in ends) else name


def _as_metrics(found: Attribution) -> dict[str, float]:
    return {
        f"{measure.name} by {share.player}": share.amount
        for measure in found.measures
        for share in measure.split.shares
    }


def _nothing_differs(a: Side, b: Side) -> tuple[str, ...]:
    said = (
        "Code, data, the libraries that the code uses, parameters and seed are the same, so there is nothing to swap."
    )
    return (said, *_not_swapped(a, b))


def _not_swapped(a: Side, b: Side) -> list[str]:
    """Differences of the machines, which nothing here can swap."""
    said = []
    if a.run.host != b.run.host:
        said.append(f"A ran on {a.run.host} and B on {b.run.host}, which was not swapped.")
    found = [{repr(msgspec.to_builtins(run.recipe.active)) for run in side.steps if run.recipe} for side in (a, b)]
    if found[0] != found[1] and all(found):
        said.append("Processor or numeric libraries in force differed between A and B; `trivet diff` shows them.")
    return said
