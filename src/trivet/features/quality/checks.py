"""What a project does with expectations: keeps them in versions, checks, learns, and guards what uses the data.

Expectations are an artifact of kind ``expectations`` under ``expectations/source.NAME`` or ``expectations/view.NAME``;
its alias ``current`` says which hold. A check is a run of kind ``check`` with its report as the answer, and can be
reproduced. Invariant: data that is left out is kept in ``NAME__refused`` before anything uses the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from trivet.errors import Ambiguous, Invalid, NotFound, Refused
from trivet.features.catalogue import Catalogue
from trivet.features.definitions import FeatureView, Source
from trivet.features.quality.check import check, has_own_data, logged, part, rows_of, sources_within, values_of
from trivet.features.quality.expectation import Expectation
from trivet.features.quality.expectations import Expectations
from trivet.features.quality.learning import propose
from trivet.features.quality.periods import profile
from trivet.features.quality.refusing import RowCheck, keep_refused, refused_name
from trivet.features.quality.report import QualityReport
from trivet.features.snapshots import record_source
from trivet.features.sources import Snapshot, Snapshots, SourceKind, leaves_of, snapshots_of
from trivet.features.sources.memory import FrameSnapshot
from trivet.ledger import Artifact, Run, RunQuery
from trivet.ledger.tables import Tables
from trivet.pipelines.context import Context
from trivet.types import Digest, Duration, as_duration, as_utc, to_micros

__all__ = ["Checked", "Defined", "Guarded", "Quality"]

CURRENT = "current"
_KIND = "expectations"


@dataclass(frozen=True)
class Defined:
    """Expectations as they are stored."""

    expectations: Expectations
    version: int
    digest: Digest
    applied: datetime
    by: str
    why: str

    def __str__(self) -> str:
        return f"{self.expectations} (version {self.version})"


@dataclass(frozen=True)
class Checked:
    """A check that is on record: the run, and what it found."""

    run: Run
    report: QualityReport


@dataclass
class Guarded:
    """Data that may be used, and what was found on the way.

    Attributes:
        sources: the data; of sources from which rows were left out, the frames without them.
        reports: of each source and view of which something is expected.
        left_out: by source, how many rows were left out; they are kept in ``NAME__refused``.
        runs: the checks, by subject.
    """

    sources: Snapshots
    reports: list[QualityReport] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)


class Quality:
    """The expectations of a project.

    Args:
        context: the project.
        tell: is handed every report that is about now, and none of a moment that was asked for: alarms hang on it.
    """

    def __init__(self, context: Context, tell: Callable[[QualityReport], None] | None = None) -> None:
        self._context, self._tell = context, tell

    # -- definitions ------------------------------------------------------------------------------------------

    def define(self, rules: Expectations, *, why: str = "") -> Defined:
        """Make these the current expectations of their source or view; an edit makes a new version.

        Raises:
            Invalid: the frame that a source was declared with cannot be stored.
        """
        ledger, by, name = self._context.ledger, self._context.user, f"{_KIND}/{rules.subject}"
        rules = self._anchored(rules)
        artifact = Artifact.of(_KIND, rules.to_spec(), created=self._context.clock())
        ledger.write(artifact)
        ledger.point(name, None, artifact.digest, by=by, why=why)
        for leaf in [] if rules.source is None else rules.source.leaves:
            if leaf.data is not None and not isinstance(leaf.data, str):
                data = record_source(leaf, self._context)
                ledger.point(name, f"data.{leaf.name}", data.digest, by=by, why=why)
        if not any(p.label == CURRENT and p.digest == artifact.digest for p in ledger.pointers(name=name)):
            ledger.point(name, CURRENT, artifact.digest, by=by, why=why)
        found = self.find(rules.subject)
        assert found is not None
        return found

    def all(self) -> list[Defined]:
        """All current expectations, by subject."""
        subjects = {pointer.name.partition("/")[2] for pointer in self._context.ledger.pointers(name=f"{_KIND}/*")}
        return [found for subject in sorted(subjects) if (found := self.find(subject))]

    def find(self, subject: str) -> Defined | None:
        """The current expectations of ``source.NAME`` or ``view.NAME``, or None."""
        pointers = list(self._context.ledger.pointers(name=f"{_KIND}/{subject}"))
        current = next((p for p in pointers if p.label == CURRENT and p.digest), None)
        if current is None or current.digest is None:
            return None
        version = next(int(p.label) for p in pointers if p.is_version and p.digest == current.digest)
        rules = Expectations.from_spec(self._context.ledger.artifact(current.digest).spec)
        if rules.source is not None:
            kept = {p.label.removeprefix("data."): p.digest for p in pointers if p.label.startswith("data.")}
            rules.source = rules.source.bound(
                {leaf.name: self._frame(kept[leaf.name]) for leaf in rules.source.leaves if kept.get(leaf.name)}
            )
        return Defined(rules, version, current.digest, current.at, current.by, current.why)

    def one(self, name: str) -> Defined:
        """The current expectations of a source or view by its name: ``flights``, or ``source.flights``.

        Raises:
            NotFound: nothing is expected of it; the nearest names are offered.
            Ambiguous: a source and a view are called so.
        """
        found = self.find(self._by_name(name).subject)
        assert found is not None
        return found

    def _anchored(self, rules: Expectations) -> Expectations:
        """With paths told from the project's folder, so that they mean the same in any clone of it."""
        root = self._context.root
        return rules if rules.source is None else Expectations(rules.source.anchored(root), rules.expected)

    def _frame(self, digest: Digest | None) -> object:
        assert digest is not None
        return SourceKind().load(self._context.ledger.artifact(digest), self._context.blobs)

    # -- checking ---------------------------------------------------------------------------------------------

    def check(self, of: str | Source | FeatureView, *, at: datetime | str | None = None) -> QualityReport:
        """Check what is expected of a source or a view, and record the report.

        Args:
            of: the source or view, or its name: ``flights``; ``source.weather`` where a view is called so too.
            at: the moment as of which freshness, volume and the values of a view are judged; now by default.

        Raises:
            NotFound: nothing is expected of it; the nearest names are offered.
            Ambiguous: a source and a view are called so.
            Invalid: the data cannot be read.
        """
        rules = self._rules(of)
        moment = self._context.clock() if at is None else as_utc(at)
        view = of if isinstance(of, FeatureView) else None
        if view is None and rules.source is None:
            view = self._view(rules.name)
        report, _ = self._record(rules, view, moment)
        if at is None:
            self._say(report)
        return report

    def _rules(self, of: str | Source | FeatureView) -> Expectations:
        if isinstance(of, str):
            return self._by_name(of)
        subject = f"{'source' if isinstance(of, Source) else 'view'}.{of.name}"
        found = self.find(subject)
        if found is None:
            raise self._nothing(of.name)
        if isinstance(of, Source):
            found.expectations.source = of
        return found.expectations

    def _by_name(self, name: str) -> Expectations:
        subjects = [name] if "." in name else [f"source.{name}", f"view.{name}"]
        found = [each.expectations for subject in subjects if (each := self.find(subject))]
        if len(found) > 1:
            raise Ambiguous("set of expectation", name, subjects)
        if not found:
            raise self._nothing(name)
        return found[0]

    def _nothing(self, name: str) -> NotFound:
        names = [each.expectations.name for each in self.all()]
        hint = "" if names else "Define some first, or ask project.learn_expectations for a proposal."
        return NotFound("set of expectations of", name, names, hint=hint)

    def _record(
        self,
        rules: Expectations,
        view: FeatureView | None,
        moment: datetime,
        *,
        given: Mapping[str, Artifact] = {},
        tags: Mapping[str, str] = {},
    ) -> tuple[QualityReport, Run]:
        """Run a check as a recorded function of data and declarations."""
        from trivet.pipelines import values
        from trivet.pipelines.recording import record

        rules, view = self._anchored(rules), None if view is None else view.anchored(self._context.root)
        source = view.source if view is not None else rules.source
        assert source is not None
        inputs = {"expectations": values.save(rules, self._context, kind=_KIND)}
        for name, leaf in leaves_of([source]).items():
            inputs[f"sources.{name}"] = given.get(name) or record_source(leaf, self._context)
        if view is not None:
            inputs[f"views.{view.name}"] = values.save(view, self._context, kind="feature_view")
        for name, other in self._beneath(source).items():
            if name != rules.name or view is not None:
                inputs[f"others.{name}"] = values.save(other, self._context, kind=_KIND)
        parameters = {"at": moment.isoformat(), "engine": self._context.settings.features.engine}
        run, _, report = record(
            self._context, "check", rules.subject, check, inputs=inputs, parameters=parameters, tags=tags
        )
        assert isinstance(report, QualityReport)
        return report, run

    def _beneath(self, source: Source) -> dict[str, Expectations]:
        """What is expected of the sources with data of their own that a source reads."""
        found = {leaf.name: self.find(f"source.{leaf.name}") for leaf in source.leaves}
        return {name: each.expectations for name, each in found.items() if each is not None}

    def _say(self, report: QualityReport) -> None:
        if self._tell is not None:
            self._tell(report)

    def _view(self, name: str) -> FeatureView:
        found = Catalogue(self._context).get(name)
        if not isinstance(found, FeatureView):
            raise NotFound("feature view", name, Catalogue(self._context).names("feature_view"))
        return found

    # -- guarding ---------------------------------------------------------------------------------------------

    def guard(
        self,
        views: Iterable[FeatureView],
        sources: Snapshots | None = None,
        *,
        at: datetime | None = None,
        why: str = "",
    ) -> Guarded:
        """Check all that is expected of views and their sources before they are materialized.

        Rows of a source that break a refusing expectation are kept in ``NAME__refused`` and left out. What is broken
        as a whole stops: so do the values of a view and the rows of a query, because leaving them out would let the
        store go on answering with older ones.

        Args:
            views: the views to be materialized.
            sources: their data, by the names of the sources with data of their own; as it is now by default.
            at: the moment up to which; now by default.
            why: a reason to go on all the same, which is recorded.

        Raises:
            Refused: a refusing expectation of the whole is broken, and there is no reason given. Nothing was changed.
            NotFound, Invalid: the data cannot be read.
        """
        views, moment = list(views), self._context.clock() if at is None else at
        sources = snapshots_of([view.source for view in views], self._context.root) if sources is None else sources
        guarded, tags = Guarded(dict(sources)), {"quality.override": why} if why else {}
        every = {each.name: each for view in views for each in sources_within(view.source)}
        for source in every.values():
            if (found := self.find(f"source.{source.name}")) is not None:
                found.expectations.source = source
                self._take(guarded, *self._record(found.expectations, None, moment, tags=tags))
        for view in views:
            if (found := self.find(f"view.{view.name}")) is not None:
                self._take(guarded, *self._record(found.expectations, view, moment, tags=tags))
        if at is None:
            for report in guarded.reports:
                self._say(report)
        _stop(guarded.reports, why)
        leaves = {name: source for name, source in every.items() if has_own_data(source)}
        guarded.sources = {**sources, **self._left_out(guarded, leaves, sources)}
        return guarded

    def _take(self, guarded: Guarded, report: QualityReport, run: Run) -> None:
        guarded.reports.append(report)
        guarded.runs[report.subject] = run

    def _left_out(self, guarded: Guarded, leaves: Mapping[str, Source], sources: Snapshots) -> dict[str, Snapshot]:
        """The data of those sources from which rows are left out; the rows are kept first.

        Snapshots, not frames: what may not be stored was cut away already, and is not asked for again.
        """
        staying: dict[str, Snapshot] = {}
        for report in guarded.reports:
            kind, _, name = report.subject.partition(".")
            if kind != "source" or name not in leaves or not report.refused:
                continue
            rules = self._rules(leaves[name])
            if (parted := part(rules, sources)) is not None:
                run, at = guarded.runs[report.subject].id, self._context.clock()
                keep_refused(self._tables, name, parted.refused, parted.reasons, run=run, at=at)
                guarded.left_out[name] = parted.refused.height
                staying[name] = FrameSnapshot(name, parted.stay)
        return staying

    @property
    def _tables(self) -> Tables:
        return Tables(self._context.root / self._context.settings.serving.records)

    def row_check(self, name: str) -> RowCheck | None:
        """What refuses rows of the source called ``name`` at ingestion, for one delivery; None if nothing does."""
        found = self.find(f"source.{name}")
        return None if found is None else RowCheck(found.expectations)

    def reports_of(self, run: Run) -> list[QualityReport]:
        """What was expected of the data of a training set: its sources are checked, and nothing is left out.

        Args:
            run: the run that made it; freshness and volume are judged as of then.
        """
        reports = []
        for slot, digest in run.inputs.items():
            kind, _, name = slot.partition(".")
            found = self.find(f"source.{name}") if kind == "sources" else None
            if found is not None:
                given = {name: self._context.ledger.artifact(digest)}
                reports.append(self._record(found.expectations, None, run.started, given=given)[0])
        return reports

    def reports(self, subject: str, *, limit: int = 20) -> list[Checked]:
        """The newest checks of ``source.NAME`` or ``view.NAME`` that are on record, the newest first.

        Reports that told something of someone who had it erased are left out.
        """
        runs = self._context.ledger.runs(RunQuery(kind="check", name=subject, status="finished", limit=limit))
        return [Checked(run, self._report(run)) for run in runs if self._is_kept(run)]

    def _is_kept(self, run: Run) -> bool:
        files = self._context.ledger.artifact(run.outputs["result"]).files.values()
        return not self._context.blobs.missing(file.digest for file in files)

    def _report(self, run: Run) -> QualityReport:
        from trivet.pipelines.values import load

        report = load(self._context.ledger.artifact(run.outputs["result"]), self._context.blobs)
        assert isinstance(report, QualityReport)
        return report

    def refused(self, name: str) -> pl.DataFrame:
        """The rows of a source or table that were set aside: ``reason``, the row as JSON, and when; none if none was.

        Raises:
            Invalid: the name cannot be that of a source.
        """
        try:
            return pl.DataFrame(self._tables.read(refused_name(name)))
        except NotFound:
            return pl.DataFrame(schema={"reason": pl.String, "row": pl.String, "created": pl.Datetime("us", "UTC")})

    # -- learning ---------------------------------------------------------------------------------------------

    def learn(
        self,
        of: str | Source | FeatureView,
        *,
        since: datetime | str | None = None,
        before: datetime | str | None = None,
    ) -> Expectations:
        """Propose expectations from a period that was good; see ``trivet.features.quality.learning`` for the rules.

        Args:
            of: a source or a view, or its name.
            since: rows that became known from then on; all by default.
            before: rows that became known until then; until now by default. Of a view, its values at that moment.

        Raises:
            NotFound: there is no such source or view.
            Invalid: the data cannot be read, or there are no rows in the period.
        """
        thing = self._thing(of)
        moment = to_micros(self._context.clock() if before is None else as_utc(before)) - (before is not None)
        if isinstance(thing, FeatureView):
            frame = values_of(thing, self._data(thing.source), moment, self._context.settings.features.engine)
            return Expectations(thing, _proposed(thing.name, frame, None, list(thing.served_features)))
        frame, known = self._between(thing, since, moment)
        columns = [c for c in frame.columns if c not in thing.time_columns and not thing.personal_rule(c)]
        return Expectations(thing, _proposed(thing.name, frame, known, columns))

    def profile(self, of: str | Source, *, per: Duration = "1d", since: datetime | str | None = None) -> pl.DataFrame:
        """Each column of a source in each period by the time when rows became known: see ``periods.profile``.

        Raises:
            NotFound: there is no such source.
            Invalid: the source has no times, or cannot be read.
        """
        source = self._thing(of)
        if not isinstance(source, Source) or source.static:
            raise Invalid(
                f"{source.name!r} has no rows with times, so it has no periods. Name a source with event_time=."
            )
        frame, known = self._between(source, since, to_micros(self._context.clock()))
        assert known is not None
        return profile(frame, known, as_duration(per))

    def _between(
        self, source: Source, since: datetime | str | None, until: int
    ) -> tuple[pl.DataFrame, pl.Series | None]:
        frame, known = rows_of(source, self._data(source), until)
        if known is None:
            return frame, None
        inside = known.is_not_null() if since is None else (known >= to_micros(as_utc(since))).fill_null(value=False)
        return frame.filter(inside), known.filter(inside)

    def _data(self, source: Source) -> Snapshots:
        data = snapshots_of([source], self._context.root)
        return logged(source, data, self._context.settings.features.engine)

    def _thing(self, of: str | Source | FeatureView) -> Source | FeatureView:
        """A source or view by name: sources as their expectations or the current views have them."""
        if not isinstance(of, str):
            return of
        views = [self._view(each) for each in Catalogue(self._context).names("feature_view")]
        things: dict[str, Source | FeatureView] = {f"view.{view.name}": view for view in views}
        things.update({f"source.{each.name}": each for view in views for each in sources_within(view.source)})
        for each in self.all():
            if each.expectations.source is not None:
                things[each.expectations.subject] = each.expectations.source
        found = [things[name] for name in (of, f"source.{of}", f"view.{of}") if name in things]
        if len(found) > 1:
            raise Ambiguous("source or view", of, [f"source.{of}", f"view.{of}"])
        if not found:
            raise NotFound("source or view", of, [name.partition(".")[2] for name in things])
        return found[0]


def _proposed(name: str, frame: pl.DataFrame, known: pl.Series | None, columns: Sequence[str]) -> list[Expectation]:
    if not frame.height:
        raise Invalid(f"{name!r} has no rows known in that period, so there is nothing to learn from.")
    return propose(frame, known, columns)


def _stop(reports: Iterable[QualityReport], why: str) -> None:
    broken = [
        f"{report.subject.replace('.', ' ')}: {each.expectation}; {each.found}"
        for report in reports
        for each in report.stops
    ]
    if broken and not why:
        more = f" And {len(broken) - 3} more." if len(broken) > 3 else ""
        raise Refused(
            f"What is expected does not hold, so nothing was written and the online store keeps what it had. "
            f"{'. '.join(broken[:3])}.{more} Repair the data, change the expectation, or say why= to go on."
        )
