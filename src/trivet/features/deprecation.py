"""Features that shall no longer be used: from when on, why, and what to use instead.

A deprecation is an artifact that the pointer ``deprecation/VIEW`` names, under the label of the feature or of the whole
view; taking it back takes the label away, and the history keeps both. It is said of a name and not of a version. Using
the feature in a training set warns until its date and is refused afterwards. What was made stays: old training sets are
made again as ever, and models that read the feature are served on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any

import msgspec

from trivet.errors import Invalid, NotFound
from trivet.features.catalogue import Catalogue
from trivet.features.references import Selection
from trivet.features.services import FeatureService
from trivet.ledger import Artifact
from trivet.pipelines.context import Context
from trivet.types import as_utc

__all__ = ["DeprecatedFeature", "Deprecation", "Deprecations"]

KIND = "deprecation"
WHOLE = "_all"
"""The label of a whole view: no feature begins with an underscore."""

_TOLD: set[tuple[str, str]] = set()
"""What this process was warned of, by project: Python's own memory is forgotten whenever a library touches filters."""


class DeprecatedFeature(FutureWarning):
    """A feature is used that will be refused from a date on, or that something better exists for."""


class Deprecation(msgspec.Struct, frozen=True):
    """What is said of a feature, a view or a service.

    Attributes:
        reference: ``weather:temp`` or ``weather``.
        after: the moment from which new training sets refuse it.
        instead: what to use, as a reference; empty where nothing was named.
        by, at: who said so, and when.
    """

    reference: str
    after: datetime
    why: str
    instead: str
    by: str
    at: datetime

    def over(self, now: datetime) -> bool:
        """Whether its date has come."""
        return now >= self.after

    @property
    def told(self) -> str:
        """What is said, without what to use instead."""
        day = f"{self.after:%Y-%m-%d}" if self.after.time() == time() else f"{self.after:%Y-%m-%d %H:%M} UTC"
        why = f": {self.why.rstrip('.')}" if self.why else ""
        return f"{self.reference} is deprecated, and refused from {day} on{why}."

    def __str__(self) -> str:
        return f"{self.told} Use {self.instead} instead." if self.instead else self.told

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data | {"told": self.told}


class Deprecations:
    """What is deprecated in a project."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def add(self, reference: str, *, after: date | datetime | str, why: str = "", instead: str = "") -> Deprecation:
        """Say that a feature, a view or a service shall no longer be used; said again it replaces what was said.

        Args:
            reference: ``weather:temp``, or ``weather`` for all of it.
            after: a day (its first moment in UTC) or a moment with its zone.
            why: the reason.
            instead: what to use.

        Raises:
            NotFound: there is no such thing, or nothing such as ``instead``; the nearest names are offered.
            Invalid: ``after`` is no date, or ``instead`` is the thing itself.
        """
        name, label = self._parse(reference)
        if instead:
            self._parse(instead)
            if instead == reference or instead.partition(":")[0] == reference:
                raise Invalid(f"{instead!r} cannot stand in for {reference!r}, which holds it. Name another.")
        moment = _moment(after)
        spec = {"reference": reference, "after": moment.isoformat(), "why": why, "instead": instead}
        artifact = Artifact.of(KIND, spec, created=self._context.clock())
        self._context.ledger.write(artifact)
        self._context.ledger.point(f"{KIND}/{name}", label, artifact.digest, by=self._context.user, why=why)
        return self.all()[reference]

    def remove(self, reference: str, *, why: str = "") -> None:
        """Take a deprecation back.

        Raises:
            NotFound: it is not deprecated.
        """
        name, _, feature = reference.partition(":")
        said = self.all()
        if reference not in said:
            raise NotFound("deprecation of", reference, said)
        self._context.ledger.point(f"{KIND}/{name}", feature or WHOLE, None, by=self._context.user, why=why)

    def all(self) -> dict[str, Deprecation]:
        """Everything that is deprecated now, by reference."""
        found = {}
        for pointer in self._context.ledger.pointers(name=f"{KIND}/*"):
            if pointer.digest is not None:
                spec = self._context.ledger.artifact(pointer.digest).spec
                after = datetime.fromisoformat(spec["after"])
                said = Deprecation(spec["reference"], after, spec["why"], spec["instead"], pointer.by, pointer.at)
                found[said.reference] = said
        return dict(sorted(found.items()))

    def check(self, selected: Selection) -> None:
        """Warn, once in a process, of what is deprecated in what a training set is made from; refuse it after its date.

        Raises:
            Invalid: a feature's date has come.
        """
        said = self.all()
        if not said:
            return
        names = [each.name for each in selected.services]
        for each in (*selected.columns, *selected.read):
            names += [each.view.name, each.reference]
        names += [step.name for step in selected.steps]
        now = self._context.clock()
        for found in [said[name] for name in dict.fromkeys(names) if name in said]:
            if found.over(now):
                raise Invalid(f"{found} The date has come; project.undeprecate({found.reference!r}) allows it again.")
            if (told := (str(self._context.root), str(found))) not in _TOLD:
                _TOLD.add(told)
                warnings.warn(str(found), DeprecatedFeature, stacklevel=4)

    def _parse(self, reference: str) -> tuple[str, str]:
        name, colon, feature = reference.partition(":")
        definition = Catalogue(self._context).describe(name).definition
        if "@" in name:
            raise Invalid(f"{reference!r} names a version, and a name is deprecated as a whole. Leave out '@...'.")
        if not colon:
            return name, WHOLE
        features: Iterable[str] = () if isinstance(definition, FeatureService) else definition.features
        if feature not in features:
            raise NotFound("feature", reference, [f"{name}:{each}" for each in features])
        return name, feature


def _moment(after: date | datetime | str) -> datetime:
    if isinstance(after, str):
        try:
            after = date.fromisoformat(after)
        except ValueError:
            return as_utc(str(after))
    return as_utc(after) if isinstance(after, datetime) else datetime.combine(after, time(), UTC)
