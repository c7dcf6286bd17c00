"""Executing what never was: the code of one run with the data, parameters or libraries of another.

A ``Mixture`` says what comes from where; ``Place.run`` executes it in a clean temporary folder and answers what it
measured. A pipeline is drawn anew by its own code (``drawing``) and executed step by step; steps that two mixtures
share are executed once. Code comes from its archive, libraries from the lock, inputs from the blobs (verified).
Invariant: the project's content is only read, and a mixture that cannot run is an answer, not an error.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from trivet.digest import digest
from trivet.errors import Invalid, NotFound, StepFailed
from trivet.ledger import Artifact, Blobs
from trivet.pipelines import drawing
from trivet.pipelines.closure import code_closure
from trivet.pipelines.code import restore_code
from trivet.pipelines.context import Context
from trivet.pipelines.environment import restore_environment
from trivet.pipelines.runners.contract import Job, Outcome, Runner
from trivet.plugins import open_url
from trivet.types import Digest

__all__ = ["Made", "Mixture", "Place"]

_SHIPPED = "trivet_drawing"


class Mixture(msgspec.Struct, frozen=True, kw_only=True):
    """What is executed: a pipeline or a single function, with everything that its answer depends on.

    Attributes:
        pipeline: whether ``entry`` is one; else it is a task or a function.
        environment: of the libraries; empty for those of this process.
        inputs: slot to the digest of an artifact of the project.
    """

    pipeline: bool
    entry: str
    code: Digest
    environment: Digest
    threads: int
    variables: dict[str, str]
    inputs: dict[str, Digest]
    parameters: dict[str, Any]
    seed: int

    @property
    def key(self) -> Digest:
        """The same for mixtures that are the same."""
        return digest("mixture", msgspec.to_builtins(self))


@dataclass(frozen=True)
class Made:
    """What came of a mixture.

    Attributes:
        metrics: the numbers of each step by the step's name.
        outputs: artifacts by ``step`` or ``step.slot``; what a pipeline returns also by its own name.
        error: why it could not run, in a sentence; empty if it did.
    """

    mixture: Mixture
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    error: str = ""


class _Step(msgspec.Struct, frozen=True):
    name: str
    entry: str
    inputs: Mapping[str, Any]
    parameters: Mapping[str, Any]
    seed: int
    threads: int | None
    outputs: list[str] | None

    @property
    def whole(self) -> bool:
        """Whether it has one output without a name of its own."""
        return self.outputs is None


class Place:
    """A temporary folder with blobs of its own. Use it as a context manager.

    Args:
        context: the project.
        tell: told a sentence before every long step.
    """

    def __init__(self, context: Context, tell: Callable[[str], None]) -> None:
        self.context, self.tell = context, tell

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="trivet-why-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self.url = f"file:{self.folder / 'blobs'}"
        self.blobs: Blobs = open_url("blobs", self.url, self.folder)
        self._runner: Runner = open_url("runner", "local:", self.folder)
        self._done: dict[Digest, Outcome] = {}
        shipped = self.folder / "shipped"
        shipped.mkdir()
        shutil.copy(drawing.__file__, shipped / f"{_SHIPPED}.py")
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()
        self._temporary.cleanup()

    def run(self, mixture: Mixture) -> Made:
        """Execute a mixture.

        Raises:
            NotFound, Corrupt: recorded code or inputs are gone or damaged.
            StepFailed, MissingExtra: its environment cannot be built.
        """
        inputs = {slot: self.context.ledger.artifact(each) for slot, each in mixture.inputs.items()}
        self.stage(inputs.values())
        try:
            return self._pipeline(mixture, inputs) if mixture.pipeline else self._single(mixture, inputs)
        except _CannotRun as exc:
            return Made(mixture, error=str(exc))

    def predictions(self, mixture: Mixture, model: Artifact, data: Artifact) -> list[Any]:
        """What ``model``, which is in this place, answers for the rows of ``data``, which is in the project.

        Raises:
            StepFailed: it cannot answer for them.
        """
        self.stage([data])
        outcome = self._perform(mixture, f"{_SHIPPED}:answers", {"model": model, "data": data}, {}, mixture.seed, None)
        if outcome.status != "finished":
            raise StepFailed(outcome.error)
        found: list[Any] = self._read(outcome.outputs["result"])["values"]
        return found

    def closure(self, code: Digest, entry: str) -> dict[str, Digest] | None:
        """What an entry reaches of an archive of code: digests by qualified name; None where that cannot be told."""
        try:
            return code_closure(entry, self._project(code))
        except (Invalid, NotFound):
            return None

    def stage(self, artifacts: Iterable[Artifact]) -> None:
        """Copy content from the project's blobs, which verify it, into those of this place."""
        for each in self.blobs.missing({file.digest for artifact in artifacts for file in artifact.files.values()}):
            copy = self.context.blobs.fetch(each, self.folder / "staged")
            self.blobs.put(copy)
            copy.unlink()

    def _single(self, mixture: Mixture, inputs: Mapping[str, Artifact]) -> Made:
        name = mixture.entry.partition(":")[2]
        outcome = self._shared(mixture, mixture.entry, inputs, mixture.parameters, mixture.seed, None)
        if outcome.status != "finished":
            raise _CannotRun(_failure(name, outcome))
        return Made(mixture, {name: outcome.metrics}, outcome.outputs)

    def _pipeline(self, mixture: Mixture, inputs: Mapping[str, Artifact]) -> Made:
        steps, returned = self._drawn(mixture, inputs)
        outputs: dict[tuple[str, str], Artifact] = {}
        metrics: dict[str, Mapping[str, float]] = {}
        named: dict[str, Artifact] = {}
        for step in steps:
            self.tell(step.name)
            given = {slot: _input(each, outputs) for slot, each in step.inputs.items()}
            outcome = self._shared(mixture, step.entry, given, step.parameters, step.seed, step)
            if outcome.status != "finished":
                raise _CannotRun(_failure(step.name, outcome))
            metrics[step.name] = outcome.metrics
            for slot, artifact in outcome.outputs.items():
                outputs[step.name, slot] = artifact
                named[step.name if step.whole else f"{step.name}.{slot}"] = artifact
        return Made(mixture, metrics, named | {slot: outputs[place] for slot, place in returned.items()})

    def _drawn(
        self, mixture: Mixture, inputs: Mapping[str, Artifact]
    ) -> tuple[list[_Step], dict[str, tuple[str, str]]]:
        asked = {
            "pipeline": mixture.entry,
            "arguments": mixture.parameters,
            "artifacts": {slot: msgspec.to_builtins(artifact) for slot, artifact in inputs.items()},
            "blobs": self.url,
            "root": str(self.folder),
        }
        outcome = self._perform(mixture, f"{_SHIPPED}:draw", {}, asked, mixture.seed, None)
        if outcome.status != "finished":
            raise _CannotRun(outcome.error)
        graph = self._read(outcome.outputs["result"])
        returned = {slot: (step, inner) for slot, (step, inner) in graph["outputs"].items()}
        return [msgspec.convert(step, _Step) for step in graph["steps"]], returned

    def _shared(
        self,
        mixture: Mixture,
        entry: str,
        inputs: Mapping[str, Artifact],
        parameters: Mapping[str, Any],
        seed: int,
        step: _Step | None,
    ) -> Outcome:
        """As ``_perform``, once for the same work."""
        threads = step.threads if step else None
        key = digest(
            "step",
            {
                "entry": entry,
                "code": self.closure(mixture.code, entry) or {"archive": mixture.code},
                "environment": mixture.environment,
                "inputs": {slot: artifact.digest for slot, artifact in inputs.items()},
                "parameters": dict(parameters),
                "seed": seed,
                "threads": threads or mixture.threads,
                "variables": mixture.variables,
                "outputs": step.outputs if step else None,
            },
        )
        if key not in self._done:
            outcome = self._perform(mixture, entry, inputs, parameters, seed, threads)
            if outcome.status == "killed":
                return outcome
            self._done[key] = outcome
        return self._done[key]

    def _perform(
        self,
        mixture: Mixture,
        entry: str,
        inputs: Mapping[str, Artifact],
        parameters: Mapping[str, Any],
        seed: int,
        threads: int | None,
    ) -> Outcome:
        work = Path(tempfile.mkdtemp(dir=self.folder, prefix="work-"))
        job = Job(
            run="",
            entry=entry,
            inputs=dict(inputs),
            parameters=dict(parameters),
            seed=seed,
            threads=threads or mixture.threads,
            variables=mixture.variables,
            path=[*map(str, self._path(mixture.code)), str(self.folder / "shipped")],
            folder=str(work),
            blobs=self.url,
            root=str(self.folder),
            python=self._python(mixture.environment),
            clean=True,
        )
        try:
            return self._runner.submit(job).result()
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _path(self, code: Digest) -> list[Path]:
        artifact = self.context.ledger.artifact(code)
        return restore_code(artifact, self.context.blobs, self.folder / f"code-{code[:16]}")

    def _project(self, code: Digest) -> list[Path]:
        """The folders of the project's own code, without the distributions that were archived beside it."""
        beside = self.folder / f"code-{code[:16]}" / "distributions"
        return [folder for folder in self._path(code) if not folder.is_relative_to(beside)]

    def _python(self, environment: Digest) -> str:
        if not environment:
            return ""
        artifact = self.context.ledger.artifact(environment)
        home = self.context.root / ".trivet" / "environments" / artifact.digest[:16]
        return str(restore_environment(artifact, self.context.blobs, home, self.tell))

    def _read(self, artifact: Artifact) -> Any:
        (file,) = artifact.files.values()
        return msgspec.json.decode(self.blobs.read(file.digest))


class _CannotRun(Exception):
    """A mixture that does not fit together; carries the sentence."""


def _failure(step: str, outcome: Outcome) -> str:
    return f"{step}: {outcome.error}"


def _input(each: Mapping[str, Any], outputs: Mapping[tuple[str, str], Artifact]) -> Artifact:
    if "artifact" in each:
        return msgspec.convert(each["artifact"], Artifact, strict=False)
    return outputs[each["step"], each["slot"]]
