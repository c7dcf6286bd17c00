"""Leg one as methods of a project: definitions, training sets, the online store, own tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trivet.errors import Invalid, NotFound, Refused, TrivetError
from trivet.plugins import open_url
from trivet.progress import Progress
from trivet.types import as_utc, from_micros, to_micros

if TYPE_CHECKING:
    import polars as pl

    from trivet.features.catalogue import Catalogue, Listed
    from trivet.features.definitions import Entity, FeatureView, Source
    from trivet.features.deprecation import Deprecation
    from trivet.features.freshness import Freshness
    from trivet.features.inventory import ListedEntity, ListedSource
    from trivet.features.leaks import LeakReport
    from trivet.features.materialize import Materializer
    from trivet.features.plan import Plan
    from trivet.features.push import Push, Pushed
    from trivet.features.quality.checks import Defined, Quality
    from trivet.features.quality.expectations import Expectations
    from trivet.features.quality.report import QualityReport
    from trivet.features.reader import FeatureVector
    from trivet.features.references import Definition, Selection
    from trivet.features.search import Found
    from trivet.features.series import TimeSeries
    from trivet.features.statistics import Statistics
    from trivet.features.tables import EventTables
    from trivet.features.training_set import TrainingSet
    from trivet.features.usage import Users
    from trivet.ledger import Artifact
    from trivet.types import Duration
from trivet.project.records import Records

__all__ = ["Data"]


class Data(Records):
    """Access to data."""

    def define(
        self,
        *definitions: Definition | Expectations,
        why: str = "",
        allow_breaking: str | None = None,
        unchecked: str | None = None,
    ) -> list[Any]:
        """Store feature views, on-demand views, services and expectations; an edited one becomes a new version.

        From then on references such as ``"visits:*"`` and ``"visits:count_7d"`` name their features. What they were
        declared with as objects is stored too, and their functions are tried in a clean process.

        Args:
            definitions: what ``tv.feature_view``, ``tv.on_demand``, ``tv.FeatureService`` or ``tv.Expectations`` declared.
            why: the reason, kept in the history of each name.
            allow_breaking: the reason to take away what something alive uses; see ``plan``. Kept as ``why`` is.
            unchecked: the reason to store what contradicts the data that is at hand. What is new is tried on the first
                rows of its sources; those that are not there yet are no obstacle. Kept as ``why`` is.

        Raises:
            Refused: a feature or key goes away that a deployment, a model with an alias, a service or an on-demand view
                uses, and no reason was given.
            Invalid: a source's data cannot be read or its times have no zone, a function does not run in a clean process,
                or a name is taken.
            NotFound: an input, a column or a service's feature does not exist; the nearest names are offered.

        Example:
            >>> import trivet as tv
            >>> source = tv.Source("visits", "visits.parquet", event_time="came")
            >>> view = tv.FeatureView("visits", entity=tv.Entity("shop"), source=source, features=["spent"])
            >>> with tv.open() as project:
            ...     [listed] = project.define(view)
            ...     listed.version, listed.features
            (1, ['visits:spent'])
        """
        from trivet.data_alarms import forget_quality
        from trivet.features.corrections import warn_of_corrections
        from trivet.features.definitions import FeatureView
        from trivet.features.plan import check
        from trivet.features.quality.expectations import Expectations
        from trivet.features.trial import check_trial

        plain = [each for each in definitions if not isinstance(each, Expectations)]
        if not (allow_breaking or "").strip():
            check(self.context, plain)
        if not (unchecked or "").strip():
            rules = [each for each in definitions if isinstance(each, Expectations)]
            check_trial([*self._catalogue.unstored(*plain), *rules], self.root)
        why = "; ".join(filter(None, [why, allow_breaking, unchecked]))
        listed: list[Listed | Defined] = list(self._catalogue.apply(*plain, why=why))
        for place, each in enumerate(definitions):
            if isinstance(each, Expectations):
                listed.insert(place, self.quality.define(each, why=why))
                forget_quality(self.context, each.subject, map(str, each))
        warn_of_corrections(self.context, [e for e in plain if isinstance(e, FeatureView)])
        return listed

    def plan(self, *definitions: Definition | Expectations, complete: bool = False) -> Plan:
        """What ``define`` would do: what is new, what differs in words, who uses it, and whether it would be refused.

        Args:
            definitions: as for ``define``. Nothing is stored.
            complete: these are meant to be all: stored definitions that are not among them are listed as ``absent``.

        Example:
            >>> import trivet as tv
            >>> def sales(window):
            ...     source = tv.Source("sales", "sales.parquet", event_time="sold")
            ...     features = {"amount": tv.sum("amount", window)}
            ...     return tv.FeatureView("sales", entity=tv.Entity("shop"), source=source, features=features)
            >>> with tv.open() as project:
            ...     _ = project.define(sales("1h"))
            ...     print(project.plan(sales("1d")))
            sales (feature view): version 1 becomes 2, changes values
              feature amount was sum('amount', '1h'), is sum('amount', '1d') [changes values]
              used by nobody
              not there yet: Source 'sales' reads ...
        """
        from trivet.features.plan import plan

        return plan(self.context, *definitions, complete=complete)

    def find_definitions(self, target: str | Path) -> list[Definition | Expectations]:
        """The definitions of a Python file, or of the ``features.py`` of a folder, in their order.

        Raises:
            NotFound: there is no such file.
            Invalid: the file cannot be imported or declares nothing.
        """
        from trivet.features.finding import find_definitions

        return find_definitions(Path(target))

    def find_features(
        self,
        words: str = "",
        *,
        tag: str | None = None,
        owner: str | None = None,
        entity: str | None = None,
        kind: str | None = None,
    ) -> list[Found]:
        """Search the features and services that are stored, the best fit first.

        Args:
            words: each must occur in a name, a tag, a description, a column, an entity or a source; a word that occurs
                nowhere stands for the nearest, which ``near`` of what is found says.
            tag: only those with this tag: ``"live"`` or ``"team=ops"``.
            owner: only those of this owner.
            entity: only those of this entity.
            kind: only ``feature_view``, ``on_demand`` or ``feature_service``.

        Raises:
            NotFound: there is no such kind.
        """
        from trivet.features.search import find_features

        asked: dict[str, Any] = {"tag": tag, "owner": owner, "entity": entity, "kind": kind}
        said = self.deprecations()
        return [
            msgspec.structs.replace(each, deprecated=str(said.get(each.reference) or said.get(each.name) or ""))
            for each in find_features(self.definitions(kind), words, **asked)
        ]

    def usage(self, name: str) -> Users:
        """Who uses a definition, in whatever version: training sets, models, deployments, services, other views.

        Raises:
            NotFound: there is no such definition.
        """
        from trivet.features.usage import Usage

        return Usage(self.context).of(name)

    def remove(self, name: str, *, why: str = "") -> list[str]:
        """Take a view, an on-demand view or a service out of the catalogue, and its rows out of the online store.

        Its versions stay on record: ``weather@1`` can be asked for, and what was made with it can be made again.
        Defined again, it goes on counting versions. What is expected of it is taken away too.

        Returns:
            Who used it in the past, in words.

        Raises:
            NotFound: nothing is called so.
            Refused: a deployment, a feature server, a model with an alias, a service or an on-demand view uses it.
        """
        from trivet.data_alarms import forget_quality
        from trivet.features.removal import check_unused, take_away

        users = check_unused(self.context, name)
        for each in self._catalogue.versions(name):
            if each.kind == "feature_view":
                self._forget(each.view)
        take_away(self.context, name, why=why)
        forget_quality(self.context, f"view.{name}")
        return [str(each) for each in users.uses]

    def deprecate(
        self, reference: str, *, after: date | datetime | str, why: str = "", instead: str = ""
    ) -> Deprecation:
        """Say that a feature, a view or a service shall not be used from a date on.

        Training sets that use it warn until then and are refused afterwards. What was made with it is made again as
        ever, and models that read it are served on.

        Args:
            reference: ``"weather:temp"``, or ``"weather"`` for all of it.
            after: a day such as ``"2027-01-01"`` (its first moment in UTC), or a moment with its zone.
            why: the reason.
            instead: what to use: ``"weather:temperature"``.

        Raises:
            NotFound: there is no such feature; the nearest names are offered.
            Invalid: ``after`` is no date.
        """
        from trivet.features.deprecation import Deprecations

        return Deprecations(self.context).add(reference, after=after, why=why, instead=instead)

    def undeprecate(self, reference: str, *, why: str = "") -> None:
        """Take a deprecation back; that it was there stays on record.

        Raises:
            NotFound: it is not deprecated.
        """
        from trivet.features.deprecation import Deprecations

        Deprecations(self.context).remove(reference, why=why)

    def deprecations(self) -> dict[str, Deprecation]:
        """What is deprecated now, by reference."""
        from trivet.features.deprecation import Deprecations

        return Deprecations(self.context).all()

    @cached_property
    def quality(self) -> Quality:
        """What is expected of sources and views: ``all``, ``check``, ``learn``, ``profile``, ``row_check``, ``guard``."""
        from trivet.data_alarms import settle_quality
        from trivet.features.quality.checks import Quality

        return Quality(self.context, lambda report: settle_quality(self.context, report))

    def check(self, of: str | Source | FeatureView, *, at: datetime | str | None = None) -> QualityReport:
        """Check what is expected of a source or a view, and record the report; see ``Quality.check``."""
        return self.quality.check(of, at=at)

    def learn_expectations(self, of: str | Source | FeatureView, **period: datetime | str | None) -> Expectations:
        """Propose expectations from a period (``since=``, ``before=``) that was good; see ``Quality.learn``."""
        return self.quality.learn(of, **period)

    def feature_views(self) -> list[Listed]:
        """The current version of every stored feature view, by name."""
        return self._catalogue.list("feature_view")

    def definitions(self, kind: str | None = None) -> list[Listed]:
        """Feature views, on-demand views and feature services as they are now; of one ``kind`` where it is given."""
        return self._catalogue.list(kind)

    def sources(self) -> list[ListedSource]:
        """The sources of the current feature views, by name, with the views that read each."""
        from trivet.features.inventory import sources

        return sources(self.context)

    def entities(self) -> list[ListedEntity]:
        """The entities of the current feature views, by name, with the views and features of each."""
        from trivet.features.inventory import entities

        return entities(self.context)

    def freshness(self, reference: str) -> Freshness:
        """How far the online store is with a view, ``"congestion"`` or ``"congestion@2"``: by materialization and by pushes.

        Raises:
            NotFound: there is no such view or version; the nearest names are offered.
            Invalid: it is no feature view.
        """
        from dataclasses import replace

        from trivet.features.freshness import freshness

        listed = self.feature_view(reference)
        anchored = replace(listed, definition=listed.view.anchored(self.root))
        return freshness(anchored, self._online, self.tables, self.context.clock())

    def definition_versions(self, name: str) -> list[Listed]:
        """All versions of a definition, the oldest first.

        Raises:
            NotFound: there is no such definition.
        """
        return list(self._catalogue.versions(name))

    def feature_view(self, reference: str) -> Listed:
        """One stored definition: ``congestion``, or ``congestion@2`` for another version.

        Raises:
            NotFound: there is no such view or version; the nearest names are offered.
        """
        return self._catalogue.describe(reference)

    @property
    def _catalogue(self) -> Catalogue:
        from trivet.features.catalogue import Catalogue

        return Catalogue(self.context)

    def training_set(
        self,
        spine: Any,
        features: Sequence[Definition | str] | Definition | str,
        *,
        time: str,
        label: str | None = None,
        strict: bool = False,
        full_names: bool = False,
        as_known_at: datetime | str | None = None,
        memory: str | int | None = None,
        timezone: str | None = None,
    ) -> TrainingSet:
        """Join features to a spine as they were known at each row's time; recorded, one row out per row in.

        Args:
            spine: entity keys, a time, and whatever else should stay in it: a pandas, Polars or Arrow frame, or the path of
                a file.
            features: views, services, or references such as ``"weather:*"`` and ``"planes:seats"``. What is given as an
                object is stored as a version of its name when the set is made, and as the current one only where the
                name is new: an attempt changes nothing for others. ``define`` makes it current.
            time: the column with the moment at which each row asks.
            label: the column to be predicted.
            strict: see only what was known before the row's time, not at it.
            full_names: name columns ``view__feature``.
            as_known_at: answer what this call would have answered at that moment: from what tables had then, and what
                was on record of files; ``report.as_known`` says which.
            memory: join in pieces so that no more than this is taken: ``"2GB"``; ``[features] memory`` by default.
            timezone: the zone of the spine's times where they have none: ``"UTC"``.

        Raises:
            Invalid: the spine lacks a key or its time, a time has no zone, two features share a name.
            NotFound: an unknown view, feature or column; the nearest names are offered.

        Example:
            >>> import polars as pl
            >>> import trivet as tv
            >>> hours = ["2026-01-01T10:00Z", "2026-01-01T11:00Z", "2026-01-01T12:00Z"]
            >>> reports = pl.DataFrame({"place": "Graz", "hour": hours, "temp": [1, 2, 3]})
            >>> weather = tv.Source("weather", reports, event_time="hour", known_after="1h")
            >>> view = tv.FeatureView("weather", entity=tv.Entity("place"), source=weather, features=["temp"])
            >>> spine = pl.DataFrame({"place": ["Graz"], "t": ["2026-01-01T12:30Z"]})
            >>> with tv.open() as project:
            ...     project.training_set(spine, [view], time="t").to_polars()["temp"].to_list()
            [2]
        """
        from trivet.features.training_set import training_set

        wanted = list(features) if isinstance(features, Sequence) and not isinstance(features, str) else [features]
        handed = [each for each in wanted if not isinstance(each, str) and each is not None]
        self._catalogue.check(*handed)
        with Progress("training set"):
            made = training_set(
                self.context,
                spine,
                features,
                time=time,
                label=label,
                strict=strict,
                full_names=full_names,
                as_known_at=as_known_at,
                memory=memory or self.context.settings.features.memory,
                timezone=timezone,
            )
        assert made.run is not None
        self._catalogue.keep(*handed)
        made.quality = tuple(self.quality.reports_of(made.run))
        self._note_reading(made.artifact)
        return made

    def spine(
        self,
        of: FeatureView | Source | str,
        entity: Entity | Sequence[Entity] | None = None,
        *,
        at: Any = None,
        every: Duration | None = None,
        start: Any = None,
        end: Any = None,
        where: str | None = None,
        columns: Sequence[str] = (),
        time: str = "t",
        timezone: str | None = None,
    ) -> pl.DataFrame:
        """A spine made for you: whom to ask about, and when. Entities appear from when they are known.

        Args:
            of: a view, its name, or a source with the keys.
            entity: for a source: the entity or entities whose keys are wanted.
            at: a moment, or several, at which all entities are asked about; without it and ``every``, the events of
                the source are the moments.
            every: ask again after each such length, from ``start`` to ``end``.
            start: the first moment.
            end: the moment before which it ends.
            where: only rows of the source that satisfy this condition: ``"cancelled = 0"``.
            columns: of the source to keep beside the keys, such as the label.
            time: what to call the column of moments.
            timezone: the zone of moments and days without one; the source's by default.

        Raises:
            Invalid: the times do not fit together or have no zone, or a static source has no events.
            NotFound: a column or view does not exist; the nearest are named.
        """
        from trivet.features.spines import spine

        times = {"at": at, "every": every, "start": start, "end": end, "time": time, "timezone": timezone}
        return spine(self.context, of, entity, where=where, columns=columns, **times)

    def check_leaks(self, training_set: TrainingSet | Artifact | str, *, rows: int = 300, seed: int = 0) -> LeakReport:
        """Compute sampled rows again with a plain loop, and look for features that give the label away; recorded.

        Raises:
            NotFound: there is no such training set, or its sources are gone.
        """
        from trivet.features.leaks import check_leaks

        found = self.artifact(training_set) if isinstance(training_set, str) else training_set
        return check_leaks(self.context, found, rows=rows, seed=seed)

    def statistics(self, training_set: TrainingSet | Artifact | str) -> Statistics:
        """What each column of a training set holds: counts, ranges, quantiles, histograms. Worked out once.

        Raises:
            NotFound: there is no such training set.
        """
        from trivet.features.statistics import statistics

        found = self.artifact(training_set) if isinstance(training_set, str) else training_set
        return statistics(self.context, found)

    def materializer(
        self,
        features: Sequence[Definition | str] | Definition | str,
        *,
        afresh: bool = False,
        until: datetime | None = None,
        why: str = "",
    ) -> Materializer:
        """What brings the online store up to a moment, again and again, without reading its sources anew.

        ``afresh`` forgets first what the store has of these views, for a replay of the past. What is expected of views
        and sources is checked as of ``until``; ``why`` goes on where that does not hold.
        """
        return self._materializer(features, checked=until, afresh=afresh, why=why)

    def _materializer(
        self, features: Any, *, checked: datetime | None, until: datetime | None = None, afresh: bool = False, why: str
    ) -> Materializer:
        from trivet.features.materialize import Materializer, record_materialization
        from trivet.features.sources import snapshots_of

        views = self._selected(features, full_names=True).views
        sources = snapshots_of([view.source for view in views], self.root)
        guarded = self.quality.guard(views, sources, at=checked, why=why)
        if afresh:
            for view in views:
                self._forget(view)
        engine = open_url("engine", self.context.settings.features.engine, self.root)
        materializer = Materializer(views, guarded.sources, self._online, engine)
        record_materialization(self.context, views, guarded.sources, until=until, left_out=guarded.left_out)
        return materializer

    def materialize(
        self,
        features: Sequence[Definition | str] | Definition | str | None = None,
        *,
        until: datetime | str | None = None,
        afresh: bool = False,
        why: str = "",
    ) -> dict[str, int]:
        """Bring the online store up to ``until`` (now by default) and answer how many rows each view wrote.

        Args:
            features: views, or references to them; by default all stored views, and older versions that a deployment
                answers with (``weather@1``).
            until: an aware time or its text, not in the future; what was known at that moment is written.
            afresh: forget first what the store has of these views, and so also how far they were.
            why: a reason to write although what is expected of the data does not hold; recorded.

        Raises:
            NotFound: an unknown view.
            Refused: a refusing expectation is broken as a whole; the store keeps what it had.
            Invalid: ``until`` has no zone or is in the future, or a source cannot be read. Of several views the others are
                brought up to date all the same.
        """
        from trivet.features.usage import Usage

        wanted = (
            features if features is not None else [one.name for one in self.feature_views() if one.view.served_features]
        )
        now = self.context.clock()
        moment = now if until is None else as_utc(until)
        if moment > now:
            raise Invalid(
                f"until={until!r} is in the future, and a store that is ahead answers nothing before then. Ask for a moment "
                "up to now; a simulation moves project.materializer(views) to any moment."
            )
        options: dict[str, Any] = {
            "checked": None if until is None else moment,
            "until": moment,
            "afresh": afresh,
            "why": why,
        }
        with Progress("materializing"):
            written = self._advance(wanted, moment, **options)
            for each in Usage(self.context).served() if features is None else ():
                older = self._materializer([each], **options)
                [written[each]] = older.advance(moment).values()
            self._push.catch_up_with(self._selected(wanted, full_names=True).views)
        return written

    def _advance(self, wanted: Any, moment: datetime, **options: Any) -> dict[str, int]:
        """Bring views to a moment together, or one by one where one of them cannot be."""
        views = self._selected(wanted, full_names=True).views
        try:
            return self._materializer(wanted, **options).advance(moment)
        except (Invalid, NotFound, Refused):
            if len(views) == 1:
                raise
        written: dict[str, int] = {}
        failed: dict[str, TrivetError] = {}
        for view in views:
            try:
                written |= self._materializer([view], **options).advance(moment)
            except (Invalid, NotFound, Refused) as exc:
                failed[view.name] = exc
        if failed:
            several = "\n".join(f"  {name}: {exc}" for name, exc in failed.items())
            fine = ", ".join(written) or "none"
            kind = Refused if all(isinstance(exc, Refused) for exc in failed.values()) else Invalid
            raise kind(f"{len(failed)} of {len(views)} views are not materialized:\n{several}\nUp to date: {fine}.")
        return written

    def online_features(
        self,
        features: Sequence[Definition | str] | Definition | str,
        entities: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Any,
        *,
        at: datetime | str | None = None,
        request: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
    ) -> list[FeatureVector]:
        """The features of some entities as the online store has them, expired where too old ``at`` that time.

        Args:
            features: views, or references to them and their features.
            entities: keys by name, of one entity or of several: ``{"customer": 7}``, a list of those, a data frame.
            at: an aware time or its text; now by default.
            request: what on-demand views ask the caller for: the same for all, or a list with those of each.

        Raises:
            NotFound: an unknown view or feature.
            Invalid: a key is missing or of no usable type.

        Example:
            >>> import polars as pl
            >>> import trivet as tv
            >>> rows = pl.DataFrame({"place": ["Graz"], "hour": ["2026-01-01T10:00Z"], "temp": [21.5]})
            >>> source = tv.Source("weather", rows, event_time="hour")
            >>> view = tv.FeatureView("weather", entity=tv.Entity("place"), source=source, features=["temp"], ttl="6h")
            >>> with tv.open() as project:
            ...     project.materialize([view], until="2026-01-01T12:00Z")
            ...     for hour in (13, 17):
            ...         [vector] = project.online_features([view], {"place": "Graz"}, at=f"2026-01-01T{hour}:00Z")
            ...         vector.values, vector.status
            {'weather': 1}
            ({'weather:temp': 21.5}, {'weather:temp': 'present'})
            ({'weather:temp': None}, {'weather:temp': 'expired'})
        """
        from trivet.features.frames import as_polars, is_frame
        from trivet.features.reader import FeatureReader

        several = as_polars(entities).to_dicts() if is_frame(entities) else entities
        asked = [several] if isinstance(several, Mapping) else list(several)
        if wrong := [entity for entity in asked if not isinstance(entity, Mapping)]:
            raise Invalid(f"{wrong[0]!r} is no entity. Give its keys by name, for example {{'origin': 'JFK'}}.")
        moment = self.context.clock() if at is None else as_utc(at)
        sent = [request] * len(asked) if isinstance(request, Mapping) else request
        selection = self._selected(features, full_names=True)
        known = list(selection.request)
        if unknown := next((name for each in sent for name in each if name not in known), None):
            raise NotFound("request value that is asked for here called", unknown, known)
        return FeatureReader(selection, self._online)(asked, to_micros(moment), sent)

    def online_frame(
        self,
        features: Sequence[Definition | str] | Definition | str,
        frame: Any,
        *,
        at: datetime | str | None = None,
        times: bool = False,
        status: bool = False,
        full_names: bool = False,
    ) -> pl.DataFrame:
        """The features of many entities for batch scoring: a data frame in, a Polars frame out, a column for each feature.

        Args:
            features: views and services, or references to them.
            frame: pandas, Polars or Arrow, with the keys and what on-demand views ask the caller for.
            at: an aware time or its text; now by default.
            times: add ``FEATURE__time``, when each value happened.
            status: add ``FEATURE__status``, why a value is missing.
            full_names: name columns ``view__feature``.

        Raises:
            NotFound: an unknown view or feature, or a key that the frame lacks.
            Invalid: a key of no usable type, or a moment before that of the store.
        """
        from trivet.features.batch import read_frame
        from trivet.features.reader import FeatureReader

        moment = self.context.clock() if at is None else as_utc(at)
        reader = FeatureReader(self._selected(features, full_names=full_names), self._online)
        return read_frame(reader, frame, to_micros(moment), times=times, status=status)

    def serve_features(
        self,
        features: Sequence[Definition | str] | Definition | str,
        *,
        host: str | None = None,
        port: int | None = None,
        ready: Callable[[str], None] | None = None,
    ) -> None:
        """Answer features over HTTP without a model, and take pushed events, until told to stop; arguments as ``serve``."""
        self._live.serve_features(
            self._selected(features, full_names=True), host=host, port=port, ready=ready, push=self.push
        )

    @cached_property
    def tables(self) -> EventTables:
        """Tables of events of the project's own: ``ingest``, ``read``, ``erase``."""
        from trivet.features.tables import EventTables

        return EventTables(self.context, lambda: self._online, self.quality.row_check)

    @cached_property
    def series(self) -> TimeSeries:
        """Values over time under a name: ``write`` and ``read``, on a grid where ``freq`` is given."""
        from trivet.features.series import TimeSeries

        return TimeSeries(self.context, self.tables)

    def push(self, source: str | Source, events: Any) -> Pushed:
        """Add events to a table of the project and, in the same call, to the features online that are made from it.

        Reading sees them when this returns, with windows that slide: at any later moment the values are those that a
        training set has for that moment. A push that is repeated adds nothing, and one that was killed is completed
        by the next.

        Args:
            source: the name of a table, or ``project.tables.source(name)``.
            events: a frame, a list of dicts, one dict, or the path of a file.

        Raises:
            NotFound: there is no such table, or it lacks a column that a view reads.
            Invalid: the rows do not fit the table; nothing of them is kept.

        Example:
            >>> import trivet as tv
            >>> with tv.open() as project:
            ...     table = project.tables.create("orders", key="order", event_time="at", keep="first")
            ...     project.push("orders", {"order": 1, "customer": 42, "at": "2026-01-01T10:00Z", "amount": 20}).updated
            {}
        """
        return self._push(source, events)

    @cached_property
    def _push(self) -> Push:
        from trivet.features.push import Push

        return Push(self.context, self.tables, self._online)

    def _forget(self, view: FeatureView) -> None:
        from trivet.features.live import live_name

        self._online.drop(view.online_name)
        self._online.drop(live_name(view))

    def watermark(self, view: FeatureView) -> datetime | None:
        """Up to when a view was last materialized, None if never."""
        moment: int | None = self._online.watermark(view.anchored(self.root).online_name)
        return None if moment is None else from_micros(moment)

    def _selected(self, features: Sequence[Definition | str] | Definition | str, *, full_names: bool) -> Selection:
        from trivet.features.references import resolve

        return resolve(features, self._catalogue.get, full_names=full_names, root=self.root)
