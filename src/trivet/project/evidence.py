"""Proof: anything on record made again, all of production at once, and archives that do so without the ledger."""

from __future__ import annotations

import functools
import getpass
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivet.clock import system_clock
from trivet.config import load_settings
from trivet.errors import Invalid
from trivet.ledger import Run
from trivet.pipelines.context import Context
from trivet.plugins import open_url
from trivet.progress import Progress
from trivet.project.deployment import Delivery

if TYPE_CHECKING:
    from trivet.pipelines.archive import Manifest
    from trivet.pipelines.replay import Reproduction
    from trivet.pipelines.verification import Subject, Verification
    from trivet.serving.deployment import Deployment

__all__ = ["Evidence", "is_archive", "reproduce_file"]

PREDICTION = "prediction:"


class Evidence(Delivery):
    """Making again."""

    def reproduce(
        self,
        reference: str,
        *,
        environment: str = "locked",
        feature: str | None = None,
        entity: Mapping[str, str] | None = None,
        at: datetime | str | None = None,
        tolerance: float = 1e-9,
        diagnose: bool = True,
        progress: Callable[[str], None] | None = None,
    ) -> Reproduction:
        """Execute again what made this, in a clean place, and compare the outputs.

        A run by hand is made again by starting its script or module, in a scratch project that knows what the run read.

        Args:
            reference: an artifact, a run, ``prediction:ID``, the file of an ``export``, or with ``entity`` a feature
                (``weather:temp``).
            environment: ``locked`` builds a fresh environment from the recorded lock, ``current`` uses this one.
            feature: of a prediction: the one value that it saw, instead of its output.
            entity: of a feature: the keys of whom it tells, ``{"origin": "JFK"}``.
            at: of a feature: the moment at which a training set asked; its last row by default.
            tolerance: relative difference of numbers that the level ``metrics`` allows.
            diagnose: run what differs once more, to tell code that is not deterministic from other causes.
            progress: told in words what is being done; a bar shows it otherwise.

        Raises:
            NotFound: as ``get``, a part of the record is gone, or no value of the feature is on record.
            Invalid: nothing on record made it: it was saved by hand or said in an interactive session.
            StepFailed: the function or program failed in the clean place; the sentence says how.
        """
        from trivet.pipelines.replay import reproduce

        options: dict[str, Any] = {"environment": environment, "tolerance": tolerance, "diagnose": diagnose}
        with Progress("reproducing", shown=progress is None) as bar:
            tell = progress or (lambda text: bar.step(text, by=0))
            if entity is None and is_archive(reference):
                return reproduce_file(Path(reference), **options, progress=tell)
            run = self._run_to_reproduce(reference, feature, entity, at)
            return reproduce(self.context, run, **options, progress=tell)

    def verify_all(
        self,
        *,
        environment: str = "locked",
        predictions: int = 5,
        budget: str | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Verification:
        """Make again everything in production: an audit, recorded with its report.

        Of each deployment that answers: a sample of its predictions, its gate report, its training set, its model. What
        could not be made again, and what the budget did not reach, is in the report.

        Args:
            environment: as ``reproduce``.
            predictions: how many of each deployment, spread evenly over its latest thousand.
            budget: after this time nothing more is begun: ``"10m"``.
            progress: told what is next; a bar shows it otherwise.

        Raises:
            Invalid: the budget is no duration.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     print(project.verify_all())
            Nothing is in production, so there was nothing to verify.
        """
        from trivet.pipelines.replay import reproduce
        from trivet.pipelines.verification import verify
        from trivet.types import as_duration

        seconds = None if budget is None else as_duration(budget) / 1_000_000
        answering = [each for each in self.deployments() if each.state == "alive"]
        subjects = self._in_production(answering, predictions)
        with Progress("verifying", total=len(subjects), shown=progress is None) as bar:
            return verify(
                self.context,
                subjects,
                lambda run: reproduce(self.context, run, environment=environment),  # type: ignore[arg-type]
                inputs=[self.context.ledger.artifact(digest) for digest in dict.fromkeys(d.digest for d in answering)],
                budget=seconds,
                progress=progress or bar.step,
            )

    def _in_production(self, answering: Sequence[Deployment], predictions: int) -> list[Subject]:
        """What serves now, the cheap before the dear, each thing once."""
        from trivet.pipelines.verification import Subject

        found: list[tuple[str, str]] = []
        for each in answering:
            latest = self.predictions(deployment=each.id, limit=1_000)
            sample = [latest[place * len(latest) // predictions] for place in range(min(predictions, len(latest)))]
            found += [("prediction", f"{PREDICTION}{one['id']}") for one in sample]
        for each in answering:
            served, model = self.context.ledger.run(each.id), self.context.ledger.artifact(each.digest)
            if "gate_report" in served.inputs:
                found.append(
                    (f"gate report of {each.name}@{each.version}", f"gate_report:{served.inputs['gate_report']}")
                )
            if train := model.spec.get("training_set"):
                found.append((f"training set of {each.name}@{each.version}", f"training_set:{train}"))
            found.append((f"model {each.name}@{each.version}", f"model:{each.digest}"))
        order = ("prediction", "gate", "training", "model")
        found.sort(key=lambda one: order.index(one[0].partition(" ")[0]))
        return [
            Subject(what, reference, functools.partial(self._run_to_reproduce, reference))
            for what, reference in dict.fromkeys(found)
        ]

    def export(self, reference: str, to: str | Path) -> Manifest:
        """Write a file with all that it takes to make something again: records, code, lock and content.

        ``trivet reproduce FILE`` needs nothing but the file. The same thing gives the same bytes.

        Args:
            reference: as ``reproduce``.
            to: the file, which does not exist yet.

        Raises:
            NotFound, Invalid: as ``reproduce``.
            Conflict: the file exists.
        """
        from trivet.pipelines.archive import export_run

        with Progress("exporting"):
            return export_run(self.context, self._run_to_reproduce(reference), Path(to))

    def import_(self, file: str | Path) -> Manifest:
        """Take the records and content of a file that ``export`` wrote. What is here is kept, no name is moved.

        Raises:
            NotFound: there is no such file.
            Invalid: it is no such archive, or holds what it may not.
            Corrupt: it is damaged; nothing is recorded.
            Conflict: a run of the same id is on record and says something else.
        """
        from trivet.pipelines.archive import import_archive

        with Progress("importing"):
            return import_archive(self.context, Path(file))

    def _run_to_reproduce(
        self,
        reference: str,
        feature: str | None = None,
        entity: Mapping[str, str] | None = None,
        at: datetime | str | None = None,
    ) -> Run:
        from trivet.pipelines.replay import run_that_made

        if entity is not None:
            return self._run_of_value(reference, entity, at)
        if reference.startswith(PREDICTION):
            name = reference.removeprefix(PREDICTION)
            return self._live.run_of(name) if feature is None else self._live.run_of_feature(name, feature)
        if feature is not None or at is not None:
            raise Invalid(
                "A feature is asked of a prediction, a moment of an entity: reproduce weather:temp for origin=JFK."
            )
        record = self.get(reference)
        return record if isinstance(record, Run) else run_that_made(self.context.ledger, record)

    def _run_of_value(self, feature: str, entity: Mapping[str, str], at: datetime | str | None) -> Run:
        from trivet.features.value import recorded_value
        from trivet.pipelines.repeated import all_runs

        if not entity:
            raise Invalid(f"Of whom is {feature!r} wanted? Give the keys of an entity: origin=JFK.")
        given = {name: str(value) for name, value in entity.items()}
        return recorded_value(self.context, all_runs(self.context.ledger, kind="training_set"), feature, given, at)


def is_archive(reference: str) -> bool:
    """Whether a reference is the path of a file: ids and features hold a colon, names of models no dot and no slash.

    Example:
        >>> is_archive("run:01M7"), is_archive("delay@champion"), is_archive("./delay.trivet")
        (False, False, True)
    """
    return reference.endswith(".trivet") or ("/" in reference and Path(reference).is_file())


def reproduce_file(
    file: Path, *, environment: str, tolerance: float, diagnose: bool, progress: Callable[[str], None]
) -> Reproduction:
    """Make again what an archive is about, in a project that lasts as long as this does."""
    from trivet.pipelines.archive import import_archive
    from trivet.pipelines.replay import reproduce

    with tempfile.TemporaryDirectory(prefix="trivet-archive-", ignore_cleanup_errors=True) as name:
        context = _passing(Path(name).resolve())
        try:
            progress(f"Reading {file}.")
            subject = import_archive(context, file, names=True).subject
            return reproduce(
                context,
                subject,
                environment=environment,  # type: ignore[arg-type]
                tolerance=tolerance,
                diagnose=diagnose,
                progress=progress,
            )
        finally:
            context.ledger.close()


def _passing(root: Path) -> Context:
    """An embedded project in an empty folder, whatever the settings here are."""
    (root / ".trivet").mkdir()
    settings = load_settings(root, {})
    ledger, blobs = open_url("ledger", settings.ledger.url, root), open_url("blobs", settings.blobs.url, root)
    return Context(root, settings, ledger, blobs, system_clock, getpass.getuser(), socket.gethostname())
