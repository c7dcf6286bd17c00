"""What defining something would do, before it is done: what differs, who uses it, and whether it may be done.

A definition that is edited gets a new version, and everything that was made with the old one keeps it. So an edit breaks
nothing of the past; what it can break is what is alive, and asks for features by name. ``plan`` says it, and ``check``
refuses an edit that takes something away from a living user unless a reason is given, which the ledger keeps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from trivet.errors import NotFound, Refused
from trivet.features.catalogue import Catalogue, Listed
from trivet.features.changes import Change, Expand, differences, worst
from trivet.features.definitions import FeatureView
from trivet.features.quality.checks import Quality
from trivet.features.quality.expectations import Expectations
from trivet.features.references import Definition
from trivet.features.services import FeatureService
from trivet.features.trial import Problem, problems
from trivet.features.usage import Usage, Use, Users
from trivet.pipelines.context import Context

__all__ = ["Plan", "Planned", "check", "plan"]

_MOST = 6
_VERDICTS = {"": "", "safe": "safe", "values": "changes values", "breaking": "breaking"}


class Planned(msgspec.Struct, frozen=True):
    """What would become of one definition.

    Attributes:
        status: ``new``, ``same``, ``changed``, or ``absent``: stored, and not among the definitions.
        version: the current one; None of a new one.
        next: the version that it would have.
        verdict: ``safe``, ``values`` (other values under the same name), ``breaking`` (something is taken away).
        changes: what differs.
        users: of what is changed or absent, who uses it now, in whatever version.
        advice: what to do about the living users that go on with an older version.
        blocked: why it would be refused, as a sentence; empty where it would not.
        problems: of what is new or changed, why it cannot work with the data as they are.
    """

    name: str
    kind: str
    status: Literal["new", "same", "changed", "absent"]
    version: int | None
    next: int | None
    verdict: str
    changes: tuple[Change, ...] = ()
    users: Users = Users()
    advice: tuple[str, ...] = ()
    blocked: str = ""
    problems: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        kind = self.kind.replace("_", " ")
        if self.status == "changed":
            head = f"version {self.version} becomes {self.next}, {_VERDICTS[self.verdict]}"
        else:
            head = {"new": "new", "same": f"the same, version {self.version}", "absent": "stored, not among these"}[
                self.status
            ]
        lines = [f"{self.name} ({kind}): {head}"]
        lines += [f"  {line}" for change in self.changes for line in str(change).splitlines()]
        if self.status in ("changed", "absent") and self.kind != "expectations":
            lines += [f"  used by {self.users}"]
        lines += [f"  {each}" for each in self.advice] + [f"  {self.blocked}"] * bool(self.blocked)
        return "\n".join([*lines, *(f"  {'not there yet' if p.absent else 'wrong'}: {p}" for p in self.problems)])


class Plan(msgspec.Struct, frozen=True):
    """What defining some definitions would do, each of them in order."""

    definitions: tuple[Planned, ...]

    @property
    def verdict(self) -> str:
        """The gravest of all: ``safe``, ``values`` or ``breaking``."""
        return worst(change for each in self.definitions for change in each.changes)

    @property
    def blocked(self) -> list[str]:
        """Why it would be refused; empty where it would not."""
        return [each.blocked for each in self.definitions if each.blocked]

    @property
    def problems(self) -> list[Problem]:
        """Why what is new or changed cannot work with the data as they are; each sentence once."""
        return list(dict.fromkeys(problem for each in self.definitions for problem in each.problems))

    def __getitem__(self, name: str) -> Planned:
        found = next((each for each in self.definitions if each.name == name), None)
        if found is None:
            raise NotFound("definition in this plan called", name, [each.name for each in self.definitions])
        return found

    def __str__(self) -> str:
        return "\n".join(map(str, self.definitions)) or "Nothing is defined."

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data | {
            "verdict": self.verdict,
            "blocked": self.blocked,
            "problems": [each.what for each in self.problems],
        }


def plan(context: Context, *definitions: Definition | Expectations, complete: bool = False) -> Plan:
    """What ``define`` would do with these. Nothing is stored; of sources the first rows are read, see ``trial``.

    Args:
        context: the project.
        definitions: what would be defined; what they were handed as objects is planned before them.
        complete: these are meant to be all; stored definitions that are not among them are listed as ``absent``.
            Defining leaves those as they are.
    """
    catalogue = Catalogue(context)
    prepared = catalogue.prepared(*(each for each in definitions if not isinstance(each, Expectations)))
    stored = {each.name: each for each in catalogue.list()}
    usage = Usage(context, prepared)
    planned = [_planned(catalogue, usage, each, stored, prepared) for each in prepared]
    names = {each.name for each in prepared}
    absent = [each for name, each in stored.items() if complete and name not in names]
    planned += [Planned(e.name, e.kind, "absent", e.version, None, "", users=usage.of(e.name)) for e in absent]
    expected = [each for each in definitions if isinstance(each, Expectations)]
    tried = {(each.name, each.__trivet_kind__): each for each in (*prepared, *expected)}
    planned += [_expected(context, each) for each in expected]
    return Plan(tuple(_tried(each, tried.get((_plain(each), each.kind)), context) for each in planned))


def _plain(planned: Planned) -> str:
    return planned.name.partition(".")[2] if planned.kind == "expectations" else planned.name


def _tried(planned: Planned, definition: Definition | Expectations | None, context: Context) -> Planned:
    """With what is wrong with it; what is stored as it is was tried when it was stored."""
    if definition is None or planned.status not in ("new", "changed"):
        return planned
    return msgspec.structs.replace(planned, problems=tuple(problems(definition, context.root)))


def check(context: Context, definitions: Iterable[Definition]) -> None:
    """Refuse edits that take something away from a living user.

    Raises:
        Refused: there is one; the sentence names what is gone, who reads it, and what to do.
    """
    catalogue = Catalogue(context)
    prepared = catalogue.prepared(*definitions)
    usage = Usage(context, prepared)
    for each in prepared:
        current = _current(catalogue, each.name)
        if current is None or current.digest == each.digest:
            continue
        changes = differences(current.definition, each, _expansions(prepared, catalogue))
        if worst(changes) == "breaking" and (blocked := _blocked(each.name, changes, usage.of(each.name))):
            raise Refused(blocked)


def _planned(
    catalogue: Catalogue, usage: Usage, definition: Definition, stored: dict[str, Listed], prepared: list[Definition]
) -> Planned:
    name, kind, current = definition.name, definition.__trivet_kind__, stored.get(definition.name)
    if current is None or current.kind != kind:
        return Planned(name, kind, "new", None, 1, "")
    if current.digest == definition.digest:
        return Planned(name, kind, "same", current.version, current.version, "")
    changes = tuple(differences(current.definition, definition, _expansions(prepared, catalogue)))
    users = usage.of(name)
    return Planned(
        name,
        kind,
        "changed",
        current.version,
        _next(catalogue, definition),
        worst(changes),
        changes,
        users,
        tuple(_advice(current, definition, users)),
        _blocked(name, changes, users),
    )


def _expected(context: Context, rules: Expectations) -> Planned:
    """What would become of expectations: they take nothing away from anyone."""
    found, subject = Quality(context).find(rules.subject), rules.subject
    if found is None:
        return Planned(subject, "expectations", "new", None, 1, "")
    old, new = ([f"{each.severity} unless {each}" for each in one] for one in (found.expectations, rules))
    changes = [Change(f"no longer: {each}", "safe") for each in old if each not in new]
    changes += [Change(f"expected: {each}", "safe") for each in new if each not in old]
    if rules.source is not None and found.expectations.source is not None:
        was, now = found.expectations.source, rules.source.anchored(context.root)
        changes += [Change("the declaration of the source differs", "safe")] * (was.to_spec() != now.to_spec())
    if not changes:
        return Planned(subject, "expectations", "same", found.version, found.version, "")
    return Planned(subject, "expectations", "changed", found.version, found.version + 1, "safe", tuple(changes))


def _next(catalogue: Catalogue, definition: Definition) -> int:
    """An edit that goes back to an earlier definition gets its version again."""
    versions = catalogue.versions(definition.name)
    return next((each.version for each in versions if each.digest == definition.digest), versions[-1].version + 1)


def _advice(current: Listed, definition: Definition, users: Users) -> Iterable[str]:
    """The online rows of an older version are brought up to date only where that version is named."""
    if not isinstance(definition, FeatureView) or not isinstance(current.definition, FeatureView):
        return
    if definition.online_name == current.definition.online_name:
        return
    serving = [use for use in users.of("deployment", "feature_server") if use.alive]
    for version in sorted({use.version for use in serving if use.version is not None}):
        served = [use.name for use in serving if use.version == version]
        yield (
            f"{', '.join(dict.fromkeys(served))} goes on with version {version}: materialize() keeps its online rows "
            f"fresh too, and materialize('{current.name}@{version}') those alone."
        )


def _blocked(name: str, changes: Iterable[Change], users: Users) -> str:
    for change in changes:
        if change.effect != "breaking":
            continue
        hurt = [use for use in users.reading(change.features).alive if use.kind != "feature_view"]
        if hurt:
            return (
                f"Of {name!r}: {change.what}, and {_named(hurt)} use{'s' * (len(hurt) == 1)} it. Keep it beside the new "
                "one, choose another name, or give the reason: define(..., allow_breaking='why'), --allow-breaking."
            )
    return ""


def _named(uses: list[Use]) -> str:
    shown = [str(each) for each in uses[:_MOST]]
    shown += [f"{len(uses) - _MOST:,} more"] if len(uses) > _MOST else []
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _current(catalogue: Catalogue, name: str) -> Listed | None:
    try:
        return catalogue.describe(name)
    except NotFound:
        return None


def _expansions(prepared: list[Definition], catalogue: Catalogue) -> tuple[Expand, Expand]:
    """What ``"weather:*"`` means with the stored definitions, and with those that would be stored."""
    own = {each.name: each for each in prepared}

    def before(reference: str) -> list[str]:
        current = _current(catalogue, reference.partition(":")[0])
        return _meant(reference, None if current is None else current.definition)

    def after(reference: str) -> list[str]:
        name = reference.partition(":")[0]
        return _meant(reference, own[name]) if name in own else before(reference)

    return before, after


def _meant(reference: str, definition: Definition | None) -> list[str]:
    name, _, feature = reference.partition(":")
    if feature != "*" or definition is None or isinstance(definition, FeatureService):
        return [reference]
    return [f"{name}:{each}" for each in definition.features]
