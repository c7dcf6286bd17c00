"""What a runner promises: to execute one job somewhere and to say truthfully how it ended.

A ``Job`` is everything that a worker needs, as JSON, so it can cross to another process, another machine or another
version of Trivet: fields are only ever added, with defaults. Scheduling, caching and the ledger stay with
``execution``; a runner never sees a graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from trivet.ledger import Artifact, File

if TYPE_CHECKING:
    from concurrent.futures import Future  # a worker starts without it

__all__ = ["Job", "Outcome", "Runner"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a function.

    Attributes:
        run: the id of the run that this executes.
        entry: ``module:function``.
        inputs: slot to artifact; ``sources.flights`` arrives as ``sources={"flights": ...}``.
        parameters: JSON values by name.
        seed: of Python's and NumPy's random generators, and of the hashes of text.
        threads: of numeric libraries, set before they are imported.
        variables: environment variables that change results.
        path: folders from which the function's module can be imported.
        folder: where it runs.
        blobs: the URL of the blobs that hold the inputs and take the outputs; relative to ``root``.
        root: the folder of the project.
        python: the interpreter; empty for the one of this process.
        clean: pass on nothing of this process' environment but what every program needs.
        program: ``script:FILE`` or ``module:NAME`` to run instead of a function, with ``arguments``.
    """

    run: str
    entry: str
    inputs: dict[str, Artifact] = {}
    parameters: dict[str, Any] = {}
    seed: int = 0
    threads: int = 1
    variables: dict[str, str] = {}
    path: list[str] = []
    folder: str = "."
    blobs: str
    root: str
    python: str = ""
    clean: bool = False
    program: str = ""
    arguments: list[str] = []


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended.

    Attributes:
        status: ``killed`` when the process was ended from outside.
        outputs: slot to artifact; their blobs are stored, the ledger does not know them yet.
        artifacts: every artifact that came about, those of ``outputs`` included.
        metrics: the numbers of outputs that are flat dicts of numbers.
        error: one sentence.
        active: what was in force: interpreter, BLAS libraries with kernel and threads.
        log: what was printed, None if nothing was; ``tail`` is its end as text.
    """

    status: Literal["finished", "failed", "killed"]
    outputs: dict[str, Artifact] = {}
    artifacts: list[Artifact] = []
    metrics: dict[str, float] = {}
    error: str = ""
    active: dict[str, Any] = {}
    log: File | None = None
    tail: str = ""


class Runner(Protocol):
    """Executes jobs. Obligations of an implementation:

    * every submitted job starts at once; how many there are at a time is the caller's affair;
    * each job runs in a process of its own, in which nothing numeric was imported before its threads were set;
    * a future never fails because of the job: whatever happens to it, there is an ``Outcome``;
    * when the process of the caller dies, its jobs die.
    """

    def submit(self, job: Job) -> Future[Outcome]:
        """Start a job."""
        ...

    def close(self) -> None:
        """End what still runs (those jobs are ``killed``) and wait for it. Calling it twice is no error."""
        ...
