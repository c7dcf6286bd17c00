"""Running a pipeline: each step as soon as what it needs is there, in a process of its own, unless the cache answers.

``graph`` says what there is to do, ``cache`` what was done before, a runner does the rest; this module decides the
order and writes the ledger. Invariant: whatever happens (a task raises, a worker or this process is killed, Ctrl-C),
the ledger holds whole runs only, finished steps stay finished, and the same call again goes on from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any, Literal

import msgspec

from trivet.clock import new_id
from trivet.errors import Invalid, NotFound, StepFailed
from trivet.ledger import Artifact, Metric, Run, RunQuery
from trivet.pipelines import cache as step_cache
from trivet.pipelines import entry as entries
from trivet.pipelines import values
from trivet.pipelines.context import Context
from trivet.pipelines.graph import Graph, Handle, Step, as_json
from trivet.pipelines.recording import begin, end, settle_abandoned, variables
from trivet.pipelines.runners.contract import Job, Outcome, Runner
from trivet.pipelines.snapshot import Snapshot
from trivet.pipelines.task import Pipeline
from trivet.plugins import open_url

__all__ = ["Event", "Execution", "execute"]

_GLANCE = 0.2  # seconds: a signal that another thread was given does not wake this one from waiting without an end


class Event(msgspec.Struct, frozen=True):
    """Something happened to a step. ``done`` of ``total`` steps have their outputs."""

    kind: Literal["started", "finished", "cached", "failed", "killed", "skipped"]
    step: str
    run: Run | None
    done: int
    total: int


@dataclass(frozen=True)
class Execution:
    """A pipeline that has run.

    Attributes:
        run: of the pipeline.
        steps: the run of each step by name, in the order of the graph.
    """

    run: Run
    steps: dict[str, Run]
    context: Context = field(repr=False)

    def artifact(self, name: str) -> Artifact:
        """The output of a step: ``"fit"``, or ``"split.test"`` where the task names its outputs.

        Raises:
            NotFound: there is no such step or output; those that exist are offered.
        """
        labels = {
            Handle(step, slot).label: digest for step, run in self.steps.items() for slot, digest in run.outputs.items()
        }
        if name not in labels:
            raise NotFound("output", name, labels)
        return self.context.ledger.artifact(labels[name])

    def value(self, name: str) -> Any:
        """The value of an output, loaded.

        Raises:
            NotFound: as ``artifact``.
        """
        return values.load(self.artifact(name), self.context.blobs)


def execute(
    context: Context,
    pipeline: Pipeline[..., Any],
    inputs: Mapping[str, object],
    *,
    force: Collection[str] = (),
    cache: bool = True,
    parent: str | None = None,
    progress: Callable[[Event], None] | None = None,
) -> Execution:
    """Run a pipeline and record it.

    Args:
        context: the project.
        pipeline: what to run.
        inputs: its parameters by name: JSON values, artifacts, or values of any kind that can be stored.
        force: names of steps that run even if the cache has their answer.
        cache: False runs every step.
        parent: the run that this is part of.
        progress: called in this thread after every change.

    Raises:
        Invalid, NotFound: the pipeline or its inputs are wrong; nothing was run or recorded.
        StepFailed: a step failed or was killed. Steps that do not depend on it were finished first.
    """
    _check(context, pipeline)
    graph = pipeline.trace(**inputs)
    for name in force:
        graph.step(name)
    settle_abandoned(context, kind="pipeline", name=pipeline.name)
    snapshot = Snapshot.take(context, pipeline, graph)
    saved = _save_values(context, graph)
    tell = progress or (lambda _: None)
    session = _Session(context, graph, snapshot, saved, force=frozenset(force), cache=cache, progress=tell)
    session.begin(pipeline, inputs, parent)
    try:
        session.work()
        return session.conclude()
    except StepFailed:
        raise
    except BaseException as exc:
        session.abort(exc)
        raise
    finally:
        session.runner.close()


class _Session:
    """The state of one execution."""

    def __init__(
        self,
        context: Context,
        graph: Graph,
        snapshot: Snapshot,
        saved: Mapping[int, Artifact],
        *,
        force: frozenset[str],
        cache: bool,
        progress: Callable[[Event], None],
    ) -> None:
        self.context, self.graph, self.snapshot, self.saved = context, graph, snapshot, saved
        self.force, self.cache, self.progress = force, cache, progress
        settings = context.settings.pipelines
        self.runner: Runner = open_url("runner", settings.runner, context.root)
        self.workers = max(1, settings.workers)
        self.sorter = TopologicalSorter({step.name: step.needs for step in graph.steps.values()})
        self.flying: dict[Future[Outcome], tuple[Step, Run]] = {}
        self.runs: dict[str, Run] = {}
        self.outputs: dict[tuple[str, str], Artifact] = {}
        self.failures: list[tuple[Run, str]] = []

    def begin(self, pipeline: Pipeline[..., Any], inputs: Mapping[str, object], parent: str | None) -> None:
        """Write that the pipeline's run begins."""
        found = {name: self.saved.get(id(value), value) for name, value in _spread(inputs).items()}
        plain = {name: as_json(value, name) for name, value in inputs.items()}
        known, threads = self.snapshot.known, self.context.settings.pipelines.threads
        self.run = begin(
            self.context,
            kind="pipeline",
            name=pipeline.name,
            parent=parent,
            recipe=known.recipe(pipeline.entry.text, seed=0, threads=threads),
            inputs={name: value for name, value in found.items() if isinstance(value, Artifact)},
            parameters={name: value for name, (fits, value) in plain.items() if fits},
            tags={**known.facts, "steps": str(len(self.graph.steps))},
        )

    def work(self) -> None:
        """Run everything that can run."""
        self.sorter.prepare()
        ready: deque[str] = deque()
        while True:
            ready.extend(self.sorter.get_ready())
            if ready and len(self.flying) < self.workers:
                self._start(self.graph.step(ready.popleft()))
            elif self.flying:
                landed, _ = wait(self.flying, timeout=_GLANCE, return_when=FIRST_COMPLETED)
                for future in landed:
                    self._land(future)
            else:
                return

    def conclude(self) -> Execution:
        """Write the end of the pipeline's run.

        Raises:
            StepFailed: not all steps have finished.
        """
        for name in self.graph.steps.keys() - self.runs.keys():
            self._tell("skipped", name, None)
        if self.failures:
            failed, tail = self.failures[0]
            message = _failure(self.run, self.failures, tail)
            end(self.context, self.run, "failed", error=message.partition("\n")[0])
            raise StepFailed(message, run=failed.id)
        outputs = {slot: self.outputs[handle.step, handle.slot] for slot, handle in self.graph.outputs.items()}
        ended = end(self.context, self.run, "finished", outputs=outputs)
        steps = {name: self.runs[name] for name in self.graph.steps}
        return Execution(ended, steps, self.context)

    def abort(self, exc: BaseException) -> None:
        """Stop the workers and write down that their runs did not end by themselves."""
        self.runner.close()
        interrupted = isinstance(exc, KeyboardInterrupt)
        why = "It was interrupted." if interrupted else f"The execution broke off: {exc}"
        for run in self.context.ledger.runs(RunQuery(parent=self.run.id, status="running", limit=1000)):
            end(self.context, run, "killed", error=why)
        end(self.context, self.run, "killed" if interrupted else "failed", error=why)

    def _start(self, step: Step) -> None:
        inputs = {slot: self._artifact(value) for slot, value in step.inputs.items()}
        parts = self._key_parts(step, inputs)
        key = step_cache.key_of(parts)
        cached, reason = self._look_up(step, key)
        if cached is not None:
            self._take(step, cached, inputs, parts, key)
            return
        recipe = self.snapshot.known.recipe(step.task.entry.text, seed=step.seed, threads=self._threads(step))
        run = begin(
            self.context,
            kind="task",
            name=step.name,
            parent=self.run.id,
            recipe=recipe,
            inputs=inputs,
            parameters=step.parameters,
            tags={"pipeline": self.run.name, **({step_cache.REASON: reason} if reason else {})},
            key=key,
            key_parts=parts,
        )
        self.flying[self.runner.submit(self._job(step, run, inputs))] = (step, run)
        self._tell("started", step.name, run)

    def _look_up(self, step: Step, key: str) -> tuple[Run | None, str]:
        if step.name in self.force:
            return None, "forced"
        if not (self.cache and step.task.cache):
            return None, "uncached"
        return step_cache.find(self.context, key)

    def _take(self, step: Step, origin: Run, inputs: Mapping[str, Artifact], parts: dict[str, str], key: str) -> None:
        """Record that an earlier run answers for this step."""
        now = self.context.clock()
        run = Run(
            id=new_id(self.context.clock),
            kind="task",
            name=step.name,
            status="cached",
            started=now,
            ended=now,
            parent=self.run.id,
            user=self.context.user,
            host=self.context.host,
            recipe=origin.recipe,
            inputs={slot: artifact.digest for slot, artifact in inputs.items()},
            outputs=origin.outputs,
            parameters=step.parameters,
            metrics=origin.metrics,
            tags={"pipeline": self.run.name, "cached_from": origin.tags.get("cached_from", origin.id)},
            key=key,
            key_parts=parts,
        )
        self.context.ledger.write(run, *(Metric(run.id, name, 0, value, now) for name, value in run.metrics.items()))
        outputs = {slot: self.context.ledger.artifact(digest) for slot, digest in run.outputs.items()}
        self._succeed(step, run, outputs, "cached")

    def _land(self, future: Future[Outcome]) -> None:
        outcome = future.result()
        step, run = self.flying[future]
        assert run.recipe is not None
        log = self._log(outcome)
        ended = end(
            self.context,
            run,
            outcome.status,
            outputs=outcome.outputs,
            metrics=outcome.metrics,
            artifacts=[*outcome.artifacts, *log],
            error=outcome.error,
            recipe=msgspec.structs.replace(run.recipe, active=outcome.active),
            tags={"log": log[0].digest} if log else {},
        )
        del self.flying[future]
        if outcome.status == "finished":
            self._succeed(step, ended, outcome.outputs, "finished")
        else:
            self.runs[step.name] = ended
            self.failures.append((ended, outcome.tail))
            self._tell(outcome.status, step.name, ended)

    def _succeed(
        self, step: Step, run: Run, outputs: Mapping[str, Artifact], kind: Literal["finished", "cached"]
    ) -> None:
        self.runs[step.name] = run
        self.outputs |= {(step.name, slot): artifact for slot, artifact in outputs.items()}
        self.sorter.done(step.name)
        self._tell(kind, step.name, run)

    def _artifact(self, value: object) -> Artifact:
        if isinstance(value, Handle):
            return self.outputs[value.step, value.slot]
        return value if isinstance(value, Artifact) else self.saved[id(value)]

    def _key_parts(self, step: Step, inputs: Mapping[str, Artifact]) -> dict[str, str]:
        entry = step.task.entry.text
        return step_cache.key_parts(
            entry=entry,
            code=self.snapshot.closures[entry],
            distributions=self.snapshot.versions[entry],
            inputs=inputs,
            parameters=step.parameters,
            seed=step.seed,
            threads=self._threads(step),
            outputs=step.task.outputs,
            variables=variables(),
        )

    def _threads(self, step: Step) -> int:
        return step.task.threads or self.context.settings.pipelines.threads

    def _job(self, step: Step, run: Run, inputs: dict[str, Artifact]) -> Job:
        assert run.recipe is not None
        root = str(self.context.root.resolve())
        return Job(
            run=run.id,
            entry=run.recipe.entry,
            inputs=inputs,
            parameters=step.parameters,
            seed=run.recipe.seed,
            threads=run.recipe.threads,
            variables=run.recipe.variables,
            path=self.snapshot.path(),
            folder=root,
            blobs=self.context.settings.blobs.url,
            root=root,
        )

    def _log(self, outcome: Outcome) -> list[Artifact]:
        if outcome.log is None:
            return []
        return [Artifact.of("log", {}, {"log.txt": outcome.log}, created=self.context.clock())]

    def _tell(self, kind: Any, step: str, run: Run | None) -> None:
        done = sum(run.status in ("finished", "cached") for run in self.runs.values())
        self.progress(Event(kind, step, run, done, len(self.graph.steps)))


def _check(context: Context, pipeline: object) -> None:
    if not isinstance(pipeline, Pipeline):
        raise Invalid(f"{pipeline!r} is no pipeline. Decorate the function that calls the tasks with @pipeline.")
    if (module := entries.importing()) is not None:
        raise Invalid(
            f"The module {module} runs the pipeline {pipeline.name!r} while it is being imported, so every step would "
            'run it again. Put that call under if __name__ == "__main__":.'
        )
    if context.settings.blobs.url.startswith("memory:"):
        raise Invalid(
            "Steps run in processes of their own, which cannot reach blobs kept in memory. "
            "Set [blobs] url to file:FOLDER."
        )


def _save_values(context: Context, graph: Graph) -> dict[int, Artifact]:
    """Artifacts of the values that steps were given from outside, by the identity of the value.

    The graph keeps the values alive, so an identity stays its value's own.
    """
    given = {id(value): value for step in graph.steps.values() for value in step.inputs.values()}
    return {
        key: values.save(value, context) for key, value in given.items() if not isinstance(value, (Handle, Artifact))
    }


def _spread(inputs: Mapping[str, object]) -> dict[str, object]:
    """Inputs by slot, as steps have them: a dict that holds no plain JSON is spread into ``sources.flights``."""
    found: dict[str, object] = {}
    for name, value in inputs.items():
        if isinstance(value, dict) and not as_json(value, name)[0]:
            found |= {f"{name}.{key}": item for key, item in value.items()}
        else:
            found[name] = value
    return found


def _failure(pipeline: Run, failures: list[tuple[Run, str]], tail: str) -> str:
    first = failures[0][0]
    verb = "was killed" if first.status == "killed" else "failed"
    text = f"Step {first.name!r} of pipeline {pipeline.name!r} {verb} (run {first.id}): {first.error}"
    if others := [run.name for run, _ in failures[1:]]:
        text += f" Also failed: {', '.join(others)}."
    return f"{text}\n{tail}" if tail else text
