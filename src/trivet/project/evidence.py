"""Proof: anything on record made again, all of production at once, and archives that do so without the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from trivet.errors import Invalid
from trivet.ledger import Run
from trivet.progress import Progress
from trivet.project.deployment import Delivery

if TYPE_CHECKING:
    from trivet.pipelines.replay import Reproduction

__all__ = ["Evidence"]

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
            reference: an artifact, a run, ``prediction:ID``, or a feature (``weather:temp``) with ``entity``.
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

        run = self._run_to_reproduce(reference, feature, entity, at)
        with Progress("reproducing", shown=progress is None) as bar:
            tell = progress or (lambda text: bar.step(text, by=0))
            return reproduce(
                self.context,
                run,
                environment=environment,  # type: ignore[arg-type]
                tolerance=tolerance,
                diagnose=diagnose,
                progress=tell,
            )

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
