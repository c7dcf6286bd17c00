"""Making a recorded run again in a clean place, and saying how far the new outputs are those of then.

Code comes from its archive, libraries from the lock, inputs from the blobs (verified), threads, seed and variables
from the record; the same worker runs the same entry in an empty folder with next to nothing in its environment. Of a run
by hand the entry is its program, which finds a scratch project there (``stage``). The outputs go into blobs of their
own and are compared slot by slot (``compare``); what differs is run once more, because two runs that differ in the same
place put the blame on the code. Invariant: the project's content is only read; all that is added is a run of kind
``reproduce`` that says what came out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from trivet.errors import Invalid, NotFound, StepFailed
from trivet.ledger import Artifact, Blobs, Ledger, Recipe, Run, RunQuery
from trivet.ledger.erasures import check_not_erased
from trivet.pipelines.causes import likely_causes
from trivet.pipelines.code import restore_code
from trivet.pipelines.compare import Comparison, Level, compare, worst
from trivet.pipelines.context import Context
from trivet.pipelines.environment import restore_environment
from trivet.pipelines.program import PROGRAMS, is_program
from trivet.pipelines.recording import begin, end
from trivet.pipelines.repeated import all_runs, as_outputs, changed_inputs, match, same_process
from trivet.pipelines.runners.contract import Job, Outcome, Runner
from trivet.pipelines.stage import Stage, check_program, set_up
from trivet.plugins import open_url

__all__ = ["Reproduction", "predictions_agree", "reproduce", "run_that_made"]

Where = Literal["locked", "current"]
_FRAMES = ("table", "training_set")


@dataclass(frozen=True)
class Reproduction:
    """What came of making a run again.

    Attributes:
        run: the run that was made again.
        attempt: the run of kind ``reproduce`` that recorded it.
        outputs: slot to comparison; for a pipeline the slots are ``step.slot``.
        causes: differences of the machine that are known to change results, where outputs differ.
        level: the best level that holds for every output.
    """

    run: Run
    attempt: Run
    outputs: dict[str, Comparison]
    causes: tuple[str, ...] = ()

    @property
    def level(self) -> Level:
        """The best level that holds for every output: ``bytes``, ..., ``different``."""
        return worst(comparison.level for comparison in self.outputs.values())

    @property
    def ok(self) -> bool:
        """Whether every output was made again, at whatever level."""
        return self.level != "different"

    @property
    def first_difference(self) -> str | None:
        """The first slot that is not the same to the byte and what differs in it, None if all are."""
        return next((f"{slot}: {one.difference}" for slot, one in self.outputs.items() if one.difference), None)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "run": self.run.id,
            "attempt": self.attempt.id,
            "level": self.level,
            "ok": self.ok,
            "first_difference": self.first_difference,
            "causes": list(self.causes),
            "outputs": {
                slot: {"recorded": one.recorded.digest, "repeated": one.repeated.digest, "level": one.level}
                for slot, one in self.outputs.items()
            },
        }

    def __str__(self) -> str:
        verb = "was reproduced" if self.ok else "was not reproduced"
        kind = "prediction" if self.run.kind == "prediction" else "run"
        lines = [f"{self.run.kind} {self.run.name!r} ({kind}:{self.run.id}) {verb}. Level: {self.level}."]
        width = max(map(len, self.outputs), default=0)
        for slot, one in self.outputs.items():
            lines.append(f"  {slot:<{width}}  {one.recorded.digest[:12]} -> {one.repeated.digest[:12]}  {one.level}")
        if self.first_difference:
            lines.append(f"First difference: {self.first_difference}")
        lines += [f"Likely cause: {cause}" for cause in self.causes]
        return "\n".join(lines)


def reproduce(
    context: Context,
    run: Run,
    *,
    environment: Where = "locked",
    tolerance: float = 1e-9,
    data: Artifact | None = None,
    diagnose: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Reproduction:
    """Make a run again and compare its outputs with the recorded ones.

    A cached run is made again as the run that made its outputs, a pipeline step by step, each from recorded inputs.

    Args:
        context: the project.
        run: what to make again.
        environment: ``locked`` builds the recorded libraries afresh (and keeps them in ``.trivet/environments``),
            ``current`` uses this interpreter.
        tolerance: relative difference of numbers that the level ``metrics`` allows.
        data: rows on which models that are not the same are compared by their predictions; the recorded training
            rows by default.
        diagnose: run once more what differs, to tell code that is not deterministic from another cause.
        progress: told a sentence before every long step.

    Raises:
        Invalid: the run has no recipe, was said in an interactive session or has not finished, so there is nothing to
            make again; or the program did something else this time.
        NotFound, Corrupt: recorded code or inputs are gone or damaged.
        StepFailed: the function or program failed this time.
    """
    tell = progress or (lambda _: None)
    if environment not in get_args(Where):
        raise NotFound("environment to reproduce in", str(environment), get_args(Where))
    runs = _runs_to_repeat(context, run)
    needed = [context.ledger.artifact(digest) for each in runs for digest in each.inputs.values()]
    check_not_erased(context.ledger, context.blobs, needed)
    with tempfile.TemporaryDirectory(prefix="trivet-reproduce-", ignore_cleanup_errors=True) as name:
        place = _Place(context, Path(name).resolve(), environment, data, tell, diagnose)
        attempt = _begin_attempt(context, run, runs, environment)
        try:
            outputs, causes = place.repeat_all(runs, tolerance, prefixed=run.kind == "pipeline")
        except BaseException as exc:
            end(context, attempt, "killed" if isinstance(exc, KeyboardInterrupt) else "failed", error=str(exc))
            raise
        finally:
            place.runner.close()
    result = Reproduction(run, attempt, outputs, causes)
    tags = {"level": result.level, "first_difference": result.first_difference or ""}
    return replace(result, attempt=end(context, attempt, "finished", tags=tags))


def run_that_made(ledger: Ledger, artifact: Artifact) -> Run:
    """The first run that made an artifact and can be made again.

    Raises:
        Invalid: nothing on record made it: it was put there by hand.
    """
    made = [run for run in ledger.runs(RunQuery(output=artifact.digest, limit=1000)) if run.status == "finished"]
    with_recipe = [run for run in made if run.recipe is not None and run.kind not in ("pipeline", "experiment")]
    by_hand = [run for run in made if run.recipe and run.kind == "experiment" and _entry_kind(run.recipe) in PROGRAMS]
    if not (with_recipe := with_recipe or by_hand):
        raise Invalid(
            f"No function or script on record made {artifact.id}: it was saved by hand or logged in an interactive "
            "session. What a task, a script, a training set, a gate or a prediction made can be made again."
        )
    return with_recipe[-1]


def predictions_agree(recorded: Any, repeated: Any, data: Any) -> dict[str, Any]:
    """Whether two models answer the same bits for the rows of ``data``. Runs in the restored environment."""
    import numpy as np

    methods = [name for name in ("predict", "predict_proba") if hasattr(recorded.estimator, name)]
    pairs = [(np.asarray(getattr(recorded, name)(data)), np.asarray(getattr(repeated, name)(data))) for name in methods]
    same = all(one.dtype == other.dtype and one.tobytes() == other.tobytes() for one, other in pairs)
    return {"same": bool(same and pairs), "rows": len(data)}


class _Done(NamedTuple):
    """One execution: what it left, how it ended, and what is known to be other than it was."""

    outputs: Mapping[str, Artifact]
    outcome: Outcome
    inputs: Mapping[str, Artifact]
    said: tuple[str, ...] = ()


class _Place:
    """A temporary folder with blobs of its own, where runs are made again."""

    def __init__(
        self,
        context: Context,
        folder: Path,
        environment: Where,
        data: Artifact | None,
        tell: Callable[[str], None],
        diagnose: bool,
    ) -> None:
        self.context, self.folder, self.environment, self.data, self.tell = context, folder, environment, data, tell
        self.diagnose = diagnose
        self.url = f"file:{folder / 'blobs'}"
        self.blobs: Blobs = open_url("blobs", self.url, folder)
        self.runner: Runner = open_url("runner", "local:", folder)

    def repeat_all(
        self, runs: list[Run], tolerance: float, *, prefixed: bool
    ) -> tuple[dict[str, Comparison], tuple[str, ...]]:
        """Make runs again, one after the other."""
        compared: dict[str, Comparison] = {}
        causes: list[str] = []
        for run in runs:
            self.tell(f"Running the {run.kind} {run.name!r} again.")
            done = self._repeat(run)
            found = self._compare(run, done, tolerance)
            compared |= {f"{run.name}.{slot}" if prefixed else slot: one for slot, one in found.items()}
            if any(one.level != "bytes" for one in found.values()):
                causes += [*done.said, *likely_causes(_recipe(run).active, done.outcome.active)]
            if self.diagnose and any(one.level == "different" for one in found.values()):
                causes += self._blame(run, done, tolerance, others=bool(causes))
        return compared, tuple(dict.fromkeys(causes))

    def _repeat(self, run: Run) -> _Done:
        return self._program(run) if is_program(run.kind) else self._function(run)

    def _function(self, run: Run) -> _Done:
        recipe = _recipe(run)
        inputs = {slot: self.context.ledger.artifact(digest) for slot, digest in run.inputs.items()}
        self._stage(inputs.values())
        outcome = self._finished(run, self._job(run.id, recipe, recipe.entry, inputs, run.parameters))
        return _Done(outcome.outputs, outcome, inputs)

    def _program(self, run: Run) -> _Done:
        """Start the program of a run by hand in a scratch project, and find the run in what it recorded."""
        recipe = _recipe(run)
        to = Path(tempfile.mkdtemp(dir=self.folder, prefix="program-")) / "code"
        stage = set_up(self.context, run, to, self.url, self._stage)
        outcome = self._finished(run, self._start(run, recipe, stage), stage.missing)
        inputs = {slot: self.context.ledger.artifact(digest) for slot, digest in run.inputs.items()}
        ledger = stage.ledger()
        try:
            now = [one for one in all_runs(ledger, kind=run.kind) if one.id not in stage.known]
            made = match(run, same_process(self.context.ledger, run), sorted(now, key=lambda one: one.id))
            left = as_outputs(ledger, made, self.blobs)
            outputs = {slot: one if isinstance(one, Artifact) else ledger.artifact(one) for slot, one in left.items()}
        finally:
            ledger.close()
        gone = [
            f"the file {name}, too large for the archive of the code, is not there any more." for name in stage.missing
        ]
        return _Done(outputs, outcome, inputs, (*changed_inputs(run, made), *gone))

    def _start(self, run: Run, recipe: Recipe, stage: Stage) -> Job:
        return Job(
            run=run.id,
            entry=recipe.entry,
            seed=recipe.seed,
            threads=recipe.threads,
            variables=stage.variables,
            path=stage.path,
            folder=str(stage.folder),
            blobs=self.url,
            root=str(stage.root),
            python=self._python(recipe),
            clean=True,
            program=stage.program,
            arguments=stage.arguments,
        )

    def _finished(self, run: Run, job: Job, missing: Sequence[str] = ()) -> Outcome:
        outcome = self.runner.submit(job).result()
        if outcome.status != "finished":
            gone = f" Not there any more: {', '.join(missing)}." if missing else ""
            raise StepFailed(
                f"{run.name!r} (run {run.id}) could not be run again: {outcome.error}{gone}\n{outcome.tail}".rstrip(),
                run=run.id,
            )
        return outcome

    def _compare(self, run: Run, done: _Done, tolerance: float) -> dict[str, Comparison]:
        compared = {}
        for slot, (recorded, where) in self._recorded(run).items():
            if slot not in done.outputs:
                raise Invalid(f"{run.name!r} (run {run.id}) made an output {slot!r} then, and none now.")
            repeated = done.outputs[slot]
            found = compare(recorded, repeated, where, self.blobs, tolerance=tolerance)
            if found.level == "different" and recorded.kind == repeated.kind == "model":
                found = self._by_predictions(run, done.inputs, found)
            compared[slot] = found
        return compared

    def _recorded(self, run: Run) -> dict[str, tuple[Artifact, Blobs]]:
        """What a run left, each with the blobs that hold it."""
        if not is_program(run.kind):
            return {slot: (self.context.ledger.artifact(one), self.context.blobs) for slot, one in run.outputs.items()}
        return {
            slot: (one, self.blobs)
            if isinstance(one, Artifact)
            else (self.context.ledger.artifact(one), self.context.blobs)
            for slot, one in as_outputs(self.context.ledger, run, self.blobs).items()
        }

    def _blame(self, run: Run, done: _Done, tolerance: float, *, others: bool) -> list[str]:
        """Whether it is the code: run once more in the same place."""
        self.tell(f"Running the {run.kind} {run.name!r} once more, to tell whether it is deterministic.")
        again = self._repeat(run)
        for slot, one in done.outputs.items():
            other = again.outputs.get(slot)
            found = compare(one, other, self.blobs, self.blobs, tolerance=tolerance) if other else None
            if found is None or found.level == "different":
                said = found.difference if found else "it was made once only."
                hint = " Its seed of hashes was random: set PYTHONHASHSEED." if _is_unhashed(run) else ""
                return [f"the code is not deterministic: two runs in the same place differ in {slot}: {said}{hint}"]
        if others:
            return []
        return [
            "two runs here agree with each other and nothing on record differs, so the run read something that is not on "
            "record: a file, a service, the time, a variable."
        ]

    def _by_predictions(self, run: Run, given: Mapping[str, Artifact], found: Comparison) -> Comparison:
        """Models that differ in content may still answer alike, which their own libraries can tell."""
        if (data := self.data or _training_rows(found.recorded, given)) is None:
            return found
        self._stage([found.recorded, data])
        inputs = {"recorded": found.recorded, "repeated": found.repeated, "data": data}
        entry = f"{predictions_agree.__module__}:{predictions_agree.__qualname__}"
        outcome = self.runner.submit(self._job(run.id, _recipe(run), entry, inputs, {})).result()
        if outcome.status != "finished":
            return found
        answer = msgspec.json.decode(self._only_file(outcome.outputs["result"]))
        if not answer["same"]:
            return found
        difference = f"{found.difference} Predictions on {answer['rows']} rows are the same to the bit."
        return replace(found, level="predictions", difference=difference)

    def _only_file(self, artifact: Artifact) -> bytes:
        (file,) = artifact.files.values()
        return self.blobs.read(file.digest)

    def _job(
        self, run: str, recipe: Recipe, entry: str, inputs: Mapping[str, Artifact], parameters: Mapping[str, Any]
    ) -> Job:
        work = Path(tempfile.mkdtemp(dir=self.folder, prefix="work-"))
        return Job(
            run=run,
            entry=entry,
            inputs=dict(inputs),
            parameters=dict(parameters),
            seed=recipe.seed,
            threads=recipe.threads,
            variables=recipe.variables,
            path=self._path(recipe),
            folder=str(work),
            blobs=self.url,
            root=str(self.folder),
            python=self._python(recipe),
            clean=True,
        )

    def _path(self, recipe: Recipe) -> list[str]:
        code = self.context.ledger.artifact(recipe.code)
        folders = restore_code(code, self.context.blobs, self.folder / f"code-{code.digest[:16]}")
        return [str(folder) for folder in folders]

    def _python(self, recipe: Recipe) -> str:
        if self.environment == "current":
            return ""
        artifact = self.context.ledger.artifact(recipe.environment)
        home = self.context.root / ".trivet" / "environments" / artifact.digest[:16]
        return str(restore_environment(artifact, self.context.blobs, home, self.tell))

    def _stage(self, artifacts: Any) -> None:
        """Copy content from the project's blobs, which verify it, into those of this place."""
        wanted = {file.digest for artifact in artifacts for file in artifact.files.values()}
        for digest in self.blobs.missing(wanted):
            copy = self.context.blobs.fetch(digest, self.folder / "staged")
            self.blobs.put(copy)
            copy.unlink()


def _training_rows(model: Artifact, inputs: Mapping[str, Artifact]) -> Artifact | None:
    """What the model was fitted on: the training set that it names, else the input ``train``, else any frame."""
    frames = {slot: one for slot, one in inputs.items() if one.kind in _FRAMES}
    named = [one for one in frames.values() if one.digest == model.spec.get("training_set")]
    return next(iter([*named, *(frames[slot] for slot in ("train",) if slot in frames), *frames.values()]), None)


def _runs_to_repeat(context: Context, run: Run) -> list[Run]:
    if run.kind == "pipeline":
        steps = sorted(context.ledger.runs(RunQuery(parent=run.id, limit=10_000)), key=lambda step: step.id)
        runs = [_origin(context, step) for step in steps if step.kind == "task"]
    else:
        runs = [_origin(context, run)]
    if not runs:
        raise Invalid(f"The pipeline {run.name!r} (run {run.id}) has no steps on record, so none can be made again.")
    for one in runs:
        _check(one)
    return runs


def _origin(context: Context, run: Run) -> Run:
    """The run that made the outputs: another one if ``run`` was answered by the cache. It keeps its step's name."""
    if (made_by := run.tags.get("cached_from")) is None:
        return run
    try:
        return msgspec.structs.replace(context.ledger.run(made_by), name=run.name)
    except NotFound:
        return run


def _check(run: Run) -> None:
    if run.recipe is None:
        raise Invalid(
            f"The {run.kind} {run.name!r} (run {run.id}) has no recipe: it was logged by hand, not run as a function. "
            "Make it a task to have it made again."
        )
    if is_program(run.kind):
        check_program(run, run.recipe)
    if run.status not in ("finished", "cached"):
        raise Invalid(f"{run.name!r} (run {run.id}) is {run.status}, so there are no outputs to compare with.")


def _is_unhashed(run: Run) -> bool:
    return _recipe(run).active.get("hash_seed") == "random"


def _entry_kind(recipe: Recipe) -> str:
    return recipe.entry.partition(":")[0]


def _recipe(run: Run) -> Recipe:
    if run.recipe is None:
        raise Invalid(f"The run {run.id} has no recipe.")
    return run.recipe


def _begin_attempt(context: Context, run: Run, runs: list[Run], environment: Where) -> Run:
    prefixed = run.kind == "pipeline"
    inputs = {
        (f"{one.name}.{slot}" if prefixed else slot): context.ledger.artifact(digest)
        for one in runs
        for slot, digest in one.outputs.items()
    }
    parameters = {"run": run.id, "environment": environment}
    return begin(context, kind="reproduce", name=run.name, inputs=inputs, parameters=parameters)
