"""What is on record in a project: anything by its id, where it came from and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from trivet.errors import Invalid
from trivet.ledger import Artifact, Run
from trivet.pipelines.context import Context
from trivet.plugins import open_url

if TYPE_CHECKING:
    from trivet.ledger.lineage import Lineage
    from trivet.live import Live
    from trivet.tracking.attribution import Attribution
    from trivet.tracking.difference import DefinitionChange, Difference

__all__ = ["Records"]


class Records:
    """A folder with a ledger."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Project {self.context.root}>"

    def close(self) -> None:
        """Release what is open."""
        if "_online" in self.__dict__:
            self.__dict__.pop("_online").close()
        self.context.ledger.close()

    @property
    def root(self) -> Path:
        """The folder of the project."""
        return self.context.root

    @cached_property
    def _online(self) -> Any:
        return open_url("online", self.context.settings.features.online, self.root)

    @cached_property
    def _live(self) -> Live:
        from trivet.live import Live

        return Live(self.context, self._online)

    def get(self, reference: str) -> Artifact | Run:
        """The record that a pasted id means: ``model:3f2a9c``, ``run:01J...``, ``delay@champion``, a bare prefix.

        ``delay@2026-10-01`` is what was in force under the name when that day began; see ``trivet.tracking.moments``.

        Raises:
            NotFound: there is no such thing; the nearest names are offered.
            Ambiguous: a shortened id fits several things.
            Invalid: the text is no reference.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     saved = project.save([1, 2, 3])
            ...     project.get(saved.digest[:12]) == project.get(saved.id) == saved
            True
        """
        from trivet.tracking.moments import resolve_at

        return resolve_at(self.context.ledger, reference)

    def artifact(self, reference: str | Artifact) -> Artifact:
        """As ``get``, for artifacts only; of a run with one output, that output.

        Raises:
            NotFound: as ``get``.
            Ambiguous: as ``get``.
            Invalid: the reference means a run with no output, or with several.
        """
        record = self.get(reference) if isinstance(reference, str) else reference
        if isinstance(record, Artifact):
            return record
        if len(record.outputs) == 1:
            return self.context.ledger.artifact(next(iter(record.outputs.values())))
        raise Invalid(
            f"{reference!r} is a run with {len(record.outputs)} outputs. Name one: "
            f"{', '.join(f'{slot} ({digest[:12]})' for slot, digest in record.outputs.items()) or 'it has none'}."
        )

    def load(self, reference: str | Artifact) -> Any:
        """The value of an artifact again: a frame, a model, a training set, a report.

        Within ``with project.run(...)`` it becomes an input of that run.

        Raises:
            NotFound: as ``get``, or the content is gone.
            Invalid: as ``artifact``.
            Corrupt: the stored bytes are not those that were stored.
            Refused: a model holds types that are not loaded without trust.
        """
        from trivet.ledger.erasures import check_not_erased
        from trivet.pipelines.values import load

        artifact = self.artifact(reference)
        check_not_erased(self.context.ledger, self.context.blobs, [artifact])
        self._note_reading(artifact)
        return load(artifact, self.context.blobs)

    def _note_reading(self, artifact: Artifact | None) -> None:
        """What is read within ``with project.run(...)`` is an input of that run."""
        from trivet.tracking.runs import current

        if artifact is not None and (run := current(self.context)) is not None:
            run.read(artifact)

    def save(self, value: Any, *, kind: str | None = None) -> Artifact:
        """Record a value as an artifact: JSON, a data frame, a folder (``Path``), a model, a training set.

        The same value has the same digest, and saving it again changes nothing.

        Args:
            value: what to keep.
            kind: of the artifact, where several accept the value; the first that does by default.

        Raises:
            Invalid: no kind accepts the value.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     project.save({"b": 2, "a": 1}).digest == project.save({"a": 1, "b": 2}).digest
            True
        """
        from trivet.pipelines.values import save

        return save(value, self.context, kind)

    def lineage(self, reference: str | Artifact, *, down: bool = False, depth: int | None = None) -> Lineage:
        """Where something came from, or with ``down`` what came of it.

        Args:
            reference: an artifact, what ``get`` understands, or ``prediction:ID``. A prediction came from the deployment
                that answered: from its model, its gate report and what was in its online store when it began.
            down: what was made from it, instead of what it was made from.
            depth: how many generations of runs away at most; all by default.

        Raises:
            NotFound: as ``get``.
            Invalid: ``depth`` is negative, or with ``down``: a prediction, or as ``artifact``.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     with project.run("count") as run:
            ...         made = run.output("total", {"total": 6})
            ...     [run.name for run in project.lineage(f"run:{run.id}").runs]
            ['count']
        """
        from trivet.ledger.lineage import ancestors, descendants

        if down:
            return descendants(self.context.ledger, self.artifact(reference).digest, depth)
        start = self._with_origin(reference) if isinstance(reference, str) else reference
        return ancestors(self.context.ledger, start if isinstance(start, Run) else start.digest, depth)

    def _with_origin(self, reference: str) -> Artifact | Run:
        if reference.startswith("prediction:"):
            found = self._live.prediction(reference.removeprefix("prediction:"))
            return self.context.ledger.run(found["deployment"])
        return self.get(reference)

    def diff(self, a: str, b: str, *, key: Sequence[str] | str | None = None) -> Difference:
        """What differs between two runs, models, training sets, feature views, predictions or other artifacts.

        Parameters, metrics, inputs, rows by key and how columns moved, definitions of features, code line by line,
        libraries, seeds, hardware; models are followed to the runs that made them. ``delay@2026-10-01`` is what was in
        force then, ``prediction:ID`` one prediction. ``compare`` shows many runs side by side instead, and
        ``why(a, b)`` says what each difference does to the result.

        Args:
            a: the one.
            b: the other.
            key: the columns that say which row of a table is which; found where it is not given.

        Raises:
            NotFound: as ``get``, or a column of the key is not there.
            Invalid: one is a run and the other an artifact.

        Example:
            >>> import polars as pl
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     old = project.save(pl.DataFrame({"id": [1, 2], "price": [5, 6]}))
            ...     new = project.save(pl.DataFrame({"id": [2, 3], "price": [7, 8]}))
            ...     [rows] = project.diff(old.id, new.id).data
            ...     rows.summary
            '1 added, 1 removed, 1 changed'
        """
        from trivet.tracking.difference import diff

        names = [key] if isinstance(key, str) else key
        found = self._compared(a), self._compared(b)
        labels = None if all(isinstance(each, Run) and each.kind != "prediction" for each in found) else (a, b)
        return diff(self.context, *found, key=names, describe=self._describe, labels=labels)

    def _compared(self, reference: str) -> Artifact | Run:
        """What a reference means; a prediction as a run that took its model in and was given what the model saw."""
        if not reference.startswith("prediction:"):
            return self.get(reference)
        found = self._live.prediction(reference.removeprefix("prediction:"))
        words = ("entities", "request", "features", "feature_times", "output")
        served = self.context.ledger.run(found["deployment"])
        return replace(
            served,
            id=found["id"],
            kind="prediction",
            name=f"{found['model']}@{found['version']}",
            inputs={"model": found["digest"]},
            outputs={},
            parameters={word: found[word] for word in words if found[word]},
            tags={},
        )

    def attribution(self, a: str, b: str) -> Attribution | None:
        """What ``why(a, b)`` found when it was last asked; None if it never was.

        Raises:
            NotFound: as ``get``.
        """
        from trivet.tracking.why import earlier

        if any(each.startswith("prediction:") for each in (a, b)):
            return None
        return earlier(self.context, self.get(a), self.get(b))

    def _describe(self, a: Artifact, b: Artifact) -> list[DefinitionChange]:
        """What differs between two stored definitions, in the words of the catalogue."""
        from trivet.features.changes import differences
        from trivet.pipelines.values import load
        from trivet.tracking.difference import DefinitionChange

        before: Any = load(a, self.context.blobs)
        after: Any = load(b, self.context.blobs)
        return [
            DefinitionChange(after.name, change.what, change.effect, change.diff)
            for change in differences(before, after)
        ]
