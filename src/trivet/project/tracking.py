"""Leg two as methods of a project: runs, comparison, the registry of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trivet.errors import Invalid
from trivet.ledger import Artifact, Run

if TYPE_CHECKING:
    from trivet.tracking.compare import Comparison
    from trivet.tracking.experiments import Experiments
    from trivet.tracking.registry import ModelVersion, Registry
    from trivet.tracking.runs import ActiveRun
    from trivet.tracking.search import Question, RunList
    from trivet.tracking.spool import Replayed
from trivet.project.records import Records

__all__ = ["Tracking"]


class Tracking(Records):
    """Keeping track."""

    def run(
        self,
        name: str = "",
        *,
        experiment: str = "",
        tags: Mapping[str, str] | None = None,
        parent: str | None = None,
        resume: str | None = None,
        console: bool = False,
        system: bool | float = False,
    ) -> ActiveRun:
        """Record what happens inside ``with project.run("deeper trees") as run:``.

        Args:
            name: what is tried, for people.
            experiment: the name of the group that it belongs to, made if there is none yet; that of the run around it
                by default.
            tags: more about it, by name; they may be changed later.
            parent: the id of another run that this one belongs to; the run around it by default.
            resume: the id of a run to go on with instead of opening one, after its process died or it ended.
            console: keep what is printed, as the output ``console.txt``.
            system: record what the machine does, as metrics named ``system/...``, every ten seconds or every so many.

        Raises:
            NotFound: there is no such parent, or no run to resume.
            Conflict: the run to resume is at work.
            Invalid: the name cannot name a run, that of the experiment is longer than 500 characters, or something else
                is said of a run to resume.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     with project.run("deeper trees") as run:
            ...         depth = run.params(max_depth=3)["max_depth"]
            ...         run.log(auc=0.7)
            ...     project.get(f"run:{run.id}").metrics
            {'auc': 0.7}
        """
        from trivet.tracking.runs import resume as resumed
        from trivet.tracking.runs import start

        if resume is not None:
            if name or experiment or parent:
                raise Invalid("A resumed run keeps its name, experiment and parent. Write project.run(resume=ID).")
            return resumed(self.context, resume, tags=tags, console=console, system=system)
        return start(
            self.context,
            name,
            experiment=experiment,
            tags=tags or {},
            parent=parent,
            console=console,
            system=system,
        )

    def autolog(self, on: bool = True) -> None:
        """Record every fit of an estimator from now on, in this project, without a call at each.

        scikit-learn (searches with their candidates as children), XGBoost, LightGBM, and the optimizer's parameters of
        PyTorch: parameters, the score on the training data, curves of boosting, the model. Inside an open run the
        first fit goes into that run. What cannot be recorded never breaks a fit; one warning says so.

        Args:
            on: False records no more.
        """
        from trivet.tracking.autolog import disable, enable

        if on:
            enable(self.context)
        else:
            disable()

    def sync(self) -> list[Replayed]:
        """Hand in what runs of dead processes left in the spool, because they were killed or the ledger was away.

        ``tv.open()`` does this, too, and the answer tells of all that was handed in since. It is safe at any moment, from
        several processes at once, and again.

        Raises:
            TrivetError: the ledger cannot be written to; nothing is lost.
        """
        from trivet.tracking.console import collect
        from trivet.tracking.spool import replay

        self._handed_in = [*getattr(self, "_handed_in", []), *replay(self.context.ledger, self.context.root)]
        collect(self.context)
        return self._handed_in

    @property
    def experiments(self) -> Experiments:
        """The groups of runs: made by their first run, renamed, described, put into the bin and taken out again."""
        from trivet.tracking.experiments import Experiments

        return Experiments(self.context)

    def runs(self, query: Question = "", **words: Any) -> RunList:
        """Recorded runs, newest first, as a list that prints as a table and converts with ``to_pandas()``.

        Args:
            query: such as ``metrics.auc > 0.7 and (params.depth = 3 or tags.team in ('a', 'b'))``; the grammar is
                that of ``trivet.tracking.grammar``.
            words: ``order="metrics.auc desc"``, ``limit`` (100; None for all), ``after`` (that of the list before),
                ``experiment``, ``deleted``, ``kind``, ``name``, ``status``, ``parent`` and others of
                ``trivet.tracking.search.runs``; ``where`` is a function that a run must satisfy.

        Raises:
            Invalid: something of this is not understood; the place in the query is shown.
            NotFound: a kind, an experiment or a reference that does not exist.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     for depth in (1, 2, 3):
            ...         with project.run(f"tree {depth}") as run:
            ...             run.log(score=run.params(depth=depth)["depth"])
            ...     [run.name for run in project.runs("metrics.score > 1 and name like 'tree%'")]
            ...     [run.name for run in project.runs("name like 'tree%'", order="metrics.score", limit=1)]
            ['tree 3', 'tree 2']
            ['tree 1']
        """
        from trivet.tracking.search import runs

        return runs(self.context, query, **words)

    def count_runs(self, query: Question = "", **words: Any) -> int:
        """How many runs fit, without loading them; the words are those of ``runs``, without a page and ``where``.

        Raises:
            Invalid: as ``runs``.
            NotFound: likewise.
        """
        from trivet.tracking.search import count_runs

        return count_runs(self.context, query, **words)

    def compare(self, *references: str | Run, query: Question | None = None, **words: Any) -> Comparison:
        """What differs among runs, side by side; also as curves, parallel coordinates, points and importance.

        Args:
            references: ids of runs, or runs such as those of ``project.runs(...)``.
            query: compare also the runs that fit this; ``words`` are those of ``runs`` (``order``, ``limit``...).
            words: likewise.

        Raises:
            NotFound: as ``get``.
            Invalid: fewer than two runs, or a reference means an artifact; ``diff`` takes those.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     for depth in (1, 2, 3):
            ...         with project.run(f"depth {depth}") as run:
            ...             run.log(score=run.params(depth=depth)["depth"] ** 2)
            ...     compared = project.compare(query="metrics.score > 0", order="metrics.score")
            >>> compared.weights("score")
            score: rank correlation over 3 runs
            parameter  importance  correlation
            depth               1            1
        """
        from trivet.tracking.compare import compare

        records: list[Run | Artifact] = [self.get(one) if isinstance(one, str) else one for one in references]
        for reference, record in zip(references, records, strict=True):
            if isinstance(record, Artifact):
                raise Invalid(f"{reference!r} is an artifact, and only runs are compared. Ask `diff` for artifacts.")
        if query is not None or words:
            records += self.runs(query or "", **words)
        chosen = {record.id: record for record in records if isinstance(record, Run)}
        return compare(chosen.values(), self.context.ledger)

    def register(self, name: str, model: Artifact | str, *, why: str = "") -> ModelVersion:
        """Give a model a name; the version number is the next one, or the one that this very model has.

        Raises:
            Invalid: ``name`` cannot name a model, or the artifact is no model.
            NotFound: the model is not recorded.
        """
        return self.registry.register(name, self.artifact(model), why=why)

    def promote(self, name: str, version: int, alias: str = "champion", *, why: str = "") -> ModelVersion:
        """Point an alias at a version.

        Whether a model may serve is not decided here, but by its gate report.

        Raises:
            NotFound: there is no such model or version.
            Invalid: ``alias`` is a number or no name.
        """
        return self.registry.promote(name, version, alias, why=why)

    def model(self, reference: str) -> ModelVersion:
        """A registered model: ``delay@champion``, ``delay@2``, or ``delay`` for its newest version.

        Raises:
            NotFound: there is no such model, version or alias; the nearest is named.
        """
        return self.registry.get(reference)

    def models(self) -> list[ModelVersion]:
        """Every version of every registered model."""
        return [version for name in self.registry.names() for version in self.registry.versions(name)]

    @property
    def registry(self) -> Registry:
        """The registered models: versions, aliases, their history, and how to take an alias away."""
        from trivet.tracking.registry import Registry

        return Registry(self.context)
