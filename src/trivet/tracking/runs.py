"""An open run: what a notebook cell or a script says about its work while it works.

    with project.run("deeper trees") as run:
        model = HistGradientBoostingClassifier(**run.params(max_iter=100)).fit(X, y)
        run.log(auc=0.74)
        run.model(model, "delay")

A run opened by ``with`` inside another becomes its child. However the block ends, the run ends with it and says how.
Writing is left to ``journal`` (in batches, behind the caller's back, with a ``spool`` on this machine), the code and
environment to ``provenance``, reading to ``search`` and ``compare``.

Invariant: an entry is checked before it is taken, and a taken entry is never dropped or silently replaced; only tags of
the same name are replaced, because people mean that.
"""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import traceback
import warnings
from collections.abc import Mapping
from contextvars import ContextVar, Token
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec.structs import replace

from trivet.clock import new_id
from trivet.digest import canonical
from trivet.errors import Conflict, Invalid, NotFound, TrivetError
from trivet.ledger import Artifact, Run, Status
from trivet.ledger.stores.memory import MemoryStore
from trivet.pipelines import values
from trivet.pipelines.context import Context
from trivet.tracking.console import NAME as CONSOLE
from trivet.tracking.console import Console
from trivet.tracking.entries import check_name, check_path, check_step, check_text, free_slot, number, parameter
from trivet.tracking.experiments import Experiments
from trivet.tracking.files import figure_bytes, image_bytes, save_file
from trivet.tracking.journal import Journal
from trivet.tracking.outbox import outbox
from trivet.tracking.processes import HOST, PID, is_stale, process_tags, running_cell
from trivet.tracking.provenance import ARGUMENTS, PLACE, Provenance, arguments, loose_source, place_in
from trivet.tracking.registry import Registry
from trivet.tracking.spool import Spool, is_outage, replay, spool_folder
from trivet.tracking.system import EVERY, Sampler

__all__ = ["ActiveRun", "current", "resume", "start"]

KIND = "experiment"
NOTE = "note"
RESUMED = "trivet.resumed"
CELL = "trivet.cell"
LONGEST_CELL = 20_000  # characters

T = TypeVar("T")

_log = logging.getLogger(__name__)

_current: ContextVar[ActiveRun | None] = ContextVar("trivet_run", default=None)
_open: dict[str, ActiveRun] = {}


def start(
    context: Context,
    name: str,
    *,
    experiment: str = "",
    parent: str | Run | ActiveRun | None = None,
    tags: Mapping[str, object] | None = None,
    console: bool = False,
    system: bool | float = False,
) -> ActiveRun:
    """Open a run. Without ``parent`` it belongs to the run whose ``with`` block it is opened in, if there is one.

    Without ``experiment``, the name of a group, it is in that of its parent. ``console`` keeps what is printed, and
    ``system`` records what the machine does, every ten seconds or every so many.

    Raises:
        Invalid: a name that cannot be one.
        NotFound: there is no run ``parent``.
        TrivetError: the ledger could not record the beginning.
    """
    _check_interval(system)
    above = _parent(context, parent)
    record = Run(
        id=new_id(context.clock),
        kind=KIND,
        name=check_name("run", name),
        status="running",
        started=context.clock(),
        parent=above.id if above else None,
        user=context.user,
        host=context.host,
        tags=_as_tags(tags or {}) | process_tags(context.host) | _started_with() | _cell(),
        experiment=_experiment(context, experiment, above),
    )
    shared = above.provenance if isinstance(above, ActiveRun) else None
    return _opened(ActiveRun(context, record, shared)).watch(console=console, system=system)


def resume(
    context: Context,
    id_: str,
    *,
    tags: Mapping[str, object] | None = None,
    console: bool = False,
    system: bool | float = False,
) -> ActiveRun:
    """Go on with a run whose process died or that has ended; its metrics go on from their last steps.

    One that has ended keeps its status in the ledger until it ends again.

    Raises:
        NotFound: there is no such run.
        Conflict: it is at work, in this process or in another one of this machine, or it lies in the bin.
        TrivetError: the ledger cannot be read.
    """
    _check_interval(system)
    replay(context.ledger, context.root)  # what its process left behind belongs before what comes now
    stored = context.ledger.run(id_.removeprefix("run:"))
    if stored.id in _open and _open[stored.id].record.ended is None:
        raise Conflict(f"The run {stored.name!r} is open in this process. Go on with that one, or with run.child(...).")
    if stored.deleted is not None:
        raise Conflict(f"The run {stored.name!r} ({stored.id}) lies in the bin. Take it out before you resume it.")
    here = process_tags(context.host)
    if stored.status == "running" and stored.tags.get(HOST) == context.host and not is_stale(stored, host=context.host):
        raise Conflict(
            f"The run {stored.name!r} is at work in process {stored.tags.get(PID)}. Open another with "
            f"parent={stored.id!r}, or wait until it ends."
        )
    again = {RESUMED: str(int(stored.tags.get(RESUMED, "0")) + 1)}
    record = replace(
        stored, status="running", ended=None, error="", tags=stored.tags | _as_tags(tags or {}) | here | again
    )
    return _opened(ActiveRun(context, record, resumed=True)).watch(console=console, system=system)


def _opened(run: ActiveRun) -> ActiveRun:
    if not _open:
        # Registered late, so that it runs before whatever the project registered: exits run last in, first out.
        atexit.unregister(_end_all)
        atexit.register(_end_all)
    _open[run.id] = run
    return run


class ActiveRun:
    """A run that is open for writing. Made by ``project.run(...)``; safe to share among threads."""

    def __init__(
        self, context: Context, record: Run, provenance: Provenance | None = None, *, resumed: bool = False
    ) -> None:
        self.context, self._id = context, record.id
        self._journal = Journal(context.ledger, record, spool=_spool(context, record), resumed=resumed)
        self._saving = dataclasses.replace(context, ledger=outbox(context.ledger, self._journal))
        self.provenance = provenance or Provenance(context)
        self._tokens: list[Token[ActiveRun | None]] = []
        self._known: set[str] = set()  # names of metrics that were checked before
        self._process = os.getpid()
        self._console: Console | None = None
        self._sampler: Sampler | None = None

    # What it is

    @property
    def record(self) -> Run:
        """The run as the ledger will show it in a moment."""
        return self._journal.run

    @property
    def id(self) -> str:
        """The id of the run."""
        return self._id

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.record.name

    @property
    def status(self) -> Status:
        """``running`` until it ends."""
        return self.record.status

    def __repr__(self) -> str:
        run = self.record
        what = [f"{key}={value:.6g}" for key, value in list(run.metrics.items())[:4]]
        error = [run.error.splitlines()[0]] if run.error else []
        return f"<run {run.name!r} {run.id[:12]} {', '.join([run.status, *error, *what])}>"

    # What it takes

    def params(self, given: Mapping[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
        """Record parameters and answer them, so that ``Model(**run.params(max_iter=100))`` reads as one thing.

        Raises:
            Conflict: one was recorded before with another value.
            Invalid: one is not data (see ``trivet.tracking.entries.parameter``).
        """
        asked = {**(given or {}), **more}
        plain = {check_name("parameter", name): parameter(name, value) for name, value in asked.items()}

        def alter(run: Run) -> Run:
            for name in plain.keys() & run.parameters.keys():
                if canonical(plain[name]) != canonical(run.parameters[name]):
                    raise Conflict(
                        f"The parameter {name!r} of run {run.name!r} is {run.parameters[name]!r} and cannot become "
                        f"{plain[name]!r}. Open another run for other parameters."
                    )
            return replace(run, parameters=run.parameters | plain)

        self._journal.change(alter)
        return asked

    def log(self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None, **metrics: Any) -> None:
        """Record metrics at ``step``. Without one, each name counts its own steps: 0, 1, 2...

        A repeated step is a further point. Names that are no Python names go into a dict: ``run.log({"val/auc": 0.7})``.
        A run that has ended still takes metrics: a score is often known later.

        Raises:
            Invalid: a value is no number, or the step no whole number from 0.
            Conflict: the run was opened by the process that this one was forked from.
        """
        at = self.context.clock()
        if values:
            metrics = {**values, **metrics}
        points = [
            (name if name in self._known else self._metric_name(name), number(name, value))
            for name, value in metrics.items()
        ]
        self._journal.measure(None if step is None else check_step(step), points, at)
        if self._id not in _open:
            _opened(self)  # a late metric is written before the process ends, too

    def tag(self, given: Mapping[str, object] | None = None, /, **more: object) -> None:
        """Put tags on the run; a tag of the same name is replaced."""
        tags = _as_tags({**(given or {}), **more})
        self._journal.change(lambda run: replace(run, tags=run.tags | tags))

    def note(self, text: str) -> None:
        """Add a paragraph to the run's note, for whoever reads it in a year."""
        self._journal.change(
            lambda run: replace(run, tags=run.tags | {NOTE: "\n\n".join(filter(None, [run.tags.get(NOTE), text]))})
        )

    def input(self, thing: T, name: str | None = None) -> T:
        """Record that the run uses ``thing`` (an artifact, a training set, a frame, a folder) and answer it.

        Raises:
            Invalid: it is no artifact and of no kind that can become one.
        """
        artifact = self._as_artifact(thing)
        slot = check_name("input", name or artifact.kind)
        place = place_in(self.context.root, thing) if isinstance(thing, Path) else None
        self._take_in(slot, artifact.digest, place)
        return thing

    def read(self, artifact: Artifact) -> None:
        """Take note that something on record was read in this run; what the run knows or made itself is no news."""
        if artifact.digest not in {*self.record.inputs.values(), *self.record.outputs.values()}:
            self.input(artifact)

    def output(self, name: str, value: object) -> Artifact:
        """Keep a value (JSON, a table, a folder, a model) as an output of the run.

        Another value under a name that is taken becomes ``name-2``, so that no output loses its run.
        """
        return self._put_out(name, self._as_artifact(value))

    def table(self, frame: object, name: str) -> Artifact:
        """Keep a pandas, Polars or Arrow table as an output."""
        return self._put_out(name, values.save(frame, self._saving, "table"))

    def file(self, content: bytes | str | Path, name: str | None = None) -> Artifact:
        """Keep a file, a folder (both by path) or bytes as an output, named as it is unless told otherwise.

        Raises:
            NotFound: there is no such file.
            Invalid: bytes without a name, or a name that is no relative path.
        """
        if isinstance(content, bytes):
            if name is None:
                raise Invalid("Bytes have no name of their own. Write run.file(content, 'log.txt').")
            return self._put_out(name, save_file(self._saving, content, name))
        path = Path(content)
        name = check_path(name or path.name)
        if path.is_dir():
            return self._put_out(name, values.save(path, self._saving, "folder"))
        if not path.is_file():
            raise NotFound("file", str(path), [str(p) for p in path.parent.glob("*")] if path.parent.is_dir() else [])
        return self._put_out(name, save_file(self._saving, path, name))

    def text(self, text: str, name: str = "text.txt") -> Artifact:
        """Keep a text as an output: a report, a prompt, a configuration."""
        return self._put_out(name, save_file(self._saving, text.encode("utf-8", "surrogatepass"), name))

    def image(self, image: object, name: str) -> Artifact:
        """Keep an image as an output: a Pillow image or a NumPy array (as PNG), or the bytes of an image file.

        Raises:
            Invalid: it is no image.
        """
        name, (content, ending) = check_path(name), image_bytes(image)
        name = name if PurePosixPath(name).suffix else name + ending
        return self._put_out(name, save_file(self._saving, content, name))

    def figure(self, figure: object, name: str) -> Artifact:
        """Keep a Matplotlib figure (as PNG) or a Plotly figure (as JSON, it stays interactive) as an output.

        Raises:
            Invalid: it is no figure.
        """
        content, ending = figure_bytes(figure)
        name = name if name.endswith(ending) else name + ending
        return self._put_out(name, save_file(self._saving, content, name))

    def model(self, model: object, name: str | None = None) -> Artifact:
        """Keep a ``tv.Model`` or a fitted scikit-learn estimator; under ``name`` it also becomes a model's version.

        Raises:
            Invalid: it is not fitted, or ``name`` is no name for a model.
        """
        if name is not None:
            Registry.check(name)
        artifact = self._put_out(name or "model", values.save(_wrapped(model), self._saving, "model"))
        if trained_on := getattr(model, "training_set", None):
            self._take_in("training_set", trained_on)
        if name is not None:
            self._register(name, artifact)
        return artifact

    def child(self, name: str, *, tags: Mapping[str, object] | None = None) -> ActiveRun:
        """Open a run under this one, from any thread."""
        return start(self.context, name, parent=self, tags=tags)

    def watch(self, *, console: bool = False, system: bool | float = False) -> Self:
        """Keep what is printed from now on, and record what the machine does, every ten seconds or every so many.

        Raises:
            Invalid: the interval is no positive number.
        """
        _check_interval(system)
        if console and self._console is None:
            self._console = Console(self.context.root, self.id)
        if system and self._sampler is None:
            self._sampler = Sampler(self.log, self.context.root, EVERY if system is True else float(system))
        return self

    # How it ends

    def flush(self) -> None:
        """Write everything taken so far, now: to the ledger or, while that is away, to the spool on this machine.

        What was flushed survives whatever becomes of the process.

        Raises:
            TrivetError: neither could be written to; everything is kept.
        """
        self._journal.secure()

    def end(self, status: Status = "finished", error: str = "") -> Run:
        """End the run and write everything. Ending it again changes nothing.

        A ledger that is away for some seconds is waited for; after that the spool on this machine holds the rest, one
        warning says so, and it is handed in as soon as the ledger is back: by this process, the next ``tv.open()`` or
        ``trivet sync``.

        Raises:
            TrivetError: neither could be written to; everything is kept, and ``end()`` may be called again.
        """
        if self.record.ended is None:
            self._stop_watching()
            self._keep_provenance()
        self._journal.close(lambda run: replace(run, status=status, ended=self.context.clock(), error=error))
        _open.pop(self.id, None)
        return self.record

    def __enter__(self) -> Self:
        if self.record.ended is not None:
            raise Conflict(f"The run {self.name!r} has ended ({self.status}). Open another with project.run(...).")
        self._tokens.append(_current.set(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, where: TracebackType | None
    ) -> None:
        _current.reset(self._tokens.pop())
        if exc is None:
            self.end()
            return
        status, error = _verdict(exc)
        try:
            if status == "failed" and isinstance(exc, Exception):
                self.file("".join(traceback.format_exception(exc)).encode(), "traceback.txt")
            self.end(status, error)
        except TrivetError as second:  # the block's own error is the one to see
            exc.add_note(f"The run {self.name!r} could not be written: {second}")

    # Within

    def _as_artifact(self, thing: object) -> Artifact:
        made = thing if isinstance(thing, Artifact) else getattr(thing, "artifact", None)
        return made if isinstance(made, Artifact) else values.save(thing, self._saving)

    def _put_out(self, name: str, artifact: Artifact) -> Artifact:
        slot = check_path(name)
        self._journal.change(
            lambda run: replace(
                run, outputs=run.outputs | {free_slot(run.outputs, slot, artifact.digest): artifact.digest}
            )
        )
        self._journal.secure()
        return artifact

    def _take_in(self, slot: str, digest: str, place: str | None = None) -> None:
        def alter(run: Run) -> Run:
            free = free_slot(run.inputs, slot, digest)
            tags = {PLACE + free: place} if place else {}
            return replace(run, inputs=run.inputs | {free: digest}, tags=run.tags | tags)

        self._journal.change(alter)

    def _register(self, name: str, artifact: Artifact) -> None:
        try:
            Registry(self.context).register(name, artifact, why=f"run {self.name!r} ({self.id[:12]})")
        except TrivetError as exc:
            if not is_outage(exc):
                raise
            _log.warning(
                "The model %s of run %r is kept, but could not be registered as %r (%s). "
                "Register it with project.register(%r, %r) later.",
                *(artifact.id, self.name, name, exc, name, artifact.digest),
            )

    def _metric_name(self, name: object) -> str:
        checked = check_name("metric", name)
        self._known.add(checked)
        return checked

    def _stop_watching(self) -> None:
        if self._sampler is not None:
            self._sampler.stop()
            self._sampler = None
        if self._console is not None:
            console, self._console = self._console, None
            self._put_out(CONSOLE, save_file(self._saving, console.stop(), CONSOLE))
            console.forget()

    def _keep_provenance(self) -> None:
        recipe, tags = self.provenance.recipe(), self.provenance.tags()
        self._journal.change(lambda run: replace(run, recipe=recipe, tags=tags | run.tags))
        if (source := loose_source(self.context.root)) is not None:
            name, content = source
            self.input(save_file(self._saving, content, name), "script")


def _check_interval(system: bool | float) -> None:
    if not isinstance(system, bool) and not system > 0:
        raise Invalid(f"system={system!r} is no interval. Write system=True for every {EVERY:.0f} seconds.")


def _cell() -> dict[str, str]:
    """The source of the notebook's cell in which this happens; none elsewhere."""
    return {} if (source := running_cell()) is None else {CELL: source[:LONGEST_CELL]}


def _spool(context: Context, record: Run) -> Spool | None:
    """A ledger in memory dies with the process, and nothing could be handed in to it."""
    if isinstance(context.ledger, MemoryStore):
        return None
    return Spool(spool_folder(context.root), record.id)


def _parent(context: Context, parent: str | Run | ActiveRun | None) -> Run | ActiveRun | None:
    if isinstance(parent, str):
        return context.ledger.run(parent)
    if parent is not None:
        return parent
    return current(context)


def current(context: Context) -> ActiveRun | None:
    """The run of this project in whose ``with`` block we are, if there is one that is open."""
    around = _current.get()
    if around is None or around.context.ledger is not context.ledger or around.status != "running":
        return None
    return around


def _experiment(context: Context, name: str, above: Run | ActiveRun | None) -> str:
    if name:
        return Experiments(context).get_or_make(name).id
    around = above.record if isinstance(above, ActiveRun) else above
    return around.experiment if around else ""


def _as_tags(tags: Mapping[str, object]) -> dict[str, str]:
    return {check_name("tag", name): check_text("tag", name, str(value)) for name, value in tags.items()}


def _started_with() -> dict[str, str]:
    given = arguments()
    return {ARGUMENTS: given} if given else {}


def _wrapped(model: object) -> object:
    if getattr(model, "__trivet_kind__", None) == "model":
        return model
    from trivet.pipelines.values.model import Model

    return Model.wrap(model)


def _verdict(exc: BaseException) -> tuple[Status, str]:
    """How a block that raised ``exc`` ended, and the sentence."""
    match exc:
        case KeyboardInterrupt():
            return "killed", "Interrupted from the keyboard."
        case SystemExit(code=None | 0):
            return "finished", ""
        case SystemExit():
            return "failed", f"Left with exit status {exc.code!r}."
        case TrivetError():
            return "failed", str(exc)
        case Exception():
            return "failed", f"{type(exc).__name__}: {exc}".rstrip(": ")
    return "killed", f"Stopped by {type(exc).__name__}."


def _end_all() -> None:
    for run in [run for run in _open.values() if run._process == os.getpid()]:
        try:
            run.end("killed", "The process ended without run.end(); what was recorded until then is here.")
        except TrivetError as exc:
            warnings.warn(f"The run {run.name!r} could not be written at exit: {exc}", RuntimeWarning, stacklevel=1)
