"""Feature views as decorated functions: a dict of features, a query, or a function over lazy frames.

The function runs once, when it is declared, and what it says becomes a ``FeatureView``: of its own features, or of
rows that a derived ``Source`` makes. Its name and docstring are the view's. Nothing is read here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from trivet.errors import Invalid, NotFound
from trivet.features.aggregates import Feature
from trivet.features.definitions import Entity, FeatureView, Personal, Source, Times
from trivet.features.functions import Portable, described_error
from trivet.types import Duration

__all__ = ["Columns", "Described", "described", "feature_view"]

_LINE = re.compile(r"\s*(Owner|Tags):\s*(.*?)\s*\Z")


class Described(NamedTuple):
    """What a docstring says."""

    description: str
    owner: str
    tags: dict[str, str]


def described(docstring: str | None) -> Described:
    r"""Description, owner and tags from a docstring with lines ``Owner: ada`` and ``Tags: delay, team=ops``.

    Example:
        >>> described("How late planes leave.\n\nOwner: ada\nTags: delay, team=ops")
        Described(description='How late planes leave.', owner='ada', tags={'delay': '', 'team': 'ops'})
    """
    lines, found = [], {"Owner": "", "Tags": ""}
    for line in inspect.cleandoc(docstring or "").splitlines():
        if match := _LINE.match(line):
            found[match[1]] = match[2]
        else:
            lines.append(line)
    tags = [tag.partition("=") for tag in found["Tags"].split(",") if tag.strip()]
    return Described("\n".join(lines).strip(), found["Owner"], {name.strip(): value.strip() for name, _, value in tags})


class Columns:
    """What a view's function is handed: ``t.dep_delay`` is the name of the column, for editors and for eyes."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


def feature_view(
    *,
    entity: Entity,
    source: Source | FeatureView | Sequence[Source | FeatureView],
    features: Sequence[str] | Mapping[str, Feature] | None = None,
    ttl: Duration | None = None,
    name: str | None = None,
    owner: str = "",
    tags: Mapping[str, str] | Sequence[str] | None = None,
    event_time: str | None = None,
    known_at: str | None = None,
    known_after: Duration | None = None,
    created: str | None = None,
    column_times: Mapping[str, str | Times] | None = None,
    timezone: str | None = None,
    personal: Mapping[str, Personal] | None = None,
) -> Callable[[Callable[..., Any]], FeatureView]:
    """Make a function into a view; its name is the view's, its docstring the description, owner and tags.

    Without ``features`` the function answers them, as a dict. With ``features`` it says what the rows are: a function
    without parameters answers SQL text over the inputs; one whose parameters are called like the inputs is given them
    as Narwhals lazy frames and answers one. Such rows need their times declared, as a source does.

    Args:
        entity: what the features describe.
        source: where the rows come from; for SQL and frames also several.
        features: of the rows that the function makes, as in ``FeatureView``.
        ttl: how old a latest value may be.
        name: another name than the function's.
        owner: instead of the docstring's.
        tags: instead of the docstring's.
        event_time: of the rows that the function makes, as in ``Source``; so are the following.
        known_at: the column of the known-at time.
        known_after: how much later a value is known.
        created: the column of the time at which a row reached us.
        column_times: columns with times of their own.
        timezone: the zone of times that have none.
        personal: columns of these rows that are ``"do not serve"`` or ``"do not store"``; to be said where sources have any.

    Raises:
        Invalid: the function takes or answers something else, or cannot be stored; see ``Portable``.

    Example:
        >>> flights = Source("flights", "flights.parquet", event_time="dep_utc")
        >>> @feature_view(entity=Entity("origin"), source=flights, event_time="dep_utc", features=["dep_delay"])
        ... def late():
        ...     "Flights that left late."
        ...     return "SELECT origin, dep_utc, dep_delay FROM flights WHERE dep_delay > 15"
        >>> late.source.sql, late.description
        ('SELECT origin, dep_utc, dep_delay FROM flights WHERE dep_delay > 15', 'Flights that left late.')
    """
    times: dict[str, Any] = {
        "event_time": event_time,
        "known_at": known_at,
        "known_after": known_after,
        "created": created,
        "column_times": column_times,
        "timezone": timezone,
        "personal": personal,
    }

    def declare(function: Callable[..., Any]) -> FeatureView:
        called, said = name or function.__name__, described(function.__doc__)
        rows: Source | FeatureView
        rows = (
            _single(called, source, times) if features is None else _derived(called, function, _sources(source), times)
        )
        return FeatureView(
            called,
            entity=entity,
            source=rows,
            features=_answered(called, function) if features is None else features,
            ttl=ttl,
            description=said.description,
            owner=owner or said.owner,
            tags=said.tags if tags is None else tags,
        )

    return declare


def _sources(source: Source | FeatureView | Sequence[Source | FeatureView]) -> tuple[Source, ...]:
    """All of them, with the log of its values for a view."""
    several = source if isinstance(source, Sequence) else [source]
    return tuple(Source.of_view(each) if isinstance(each, FeatureView) else each for each in several)


def _single(
    view: str, source: Source | FeatureView | Sequence[Source | FeatureView], times: Mapping[str, Any]
) -> Source | FeatureView:
    """The source of a view whose function answers features."""
    if isinstance(source, Sequence):
        raise Invalid(f"View {view!r} has several sources. Say what its rows are, with features=[...] and a query.")
    if given := [option for option, value in times.items() if value is not None]:
        raise Invalid(f"View {view!r} is given {given[0]}=, which its source says. Declare it there.")
    return source


def _answered(view: str, function: Callable[..., Any]) -> Mapping[str, Feature]:
    """The features that the function of a view answers."""
    if (arguments := len(inspect.signature(function).parameters)) > 1:
        raise Invalid(
            f"The function of view {view!r} takes {arguments} arguments. It is given one, the columns; with "
            "features=[...] its parameters are its sources."
        )
    features = function(Columns()) if arguments else function()
    if isinstance(features, str):
        raise Invalid(f"The function of view {view!r} answers text. For a query say features=[...] as well.")
    if not isinstance(features, Mapping):
        raise Invalid(f"The function of view {view!r} answers {features!r}. Return a dict of name to feature.")
    return features


def _derived(view: str, function: Callable[..., Any], inputs: tuple[Source, ...], times: Mapping[str, Any]) -> Source:
    """The source of the rows that the function of a view makes of ``inputs``."""
    for each in inputs:
        if times["event_time"] is None and not getattr(each, "static", False):
            raise Invalid(
                f"View {view!r} makes rows of {each.name!r}, which happen in time, so they need a time as well. Say "
                "event_time= with the column that has it."
            )
    parameters = list(inspect.signature(function).parameters)
    if not parameters:
        return Source(view, sql=_query(view, function), inputs=inputs, **times)
    names = [each.name for each in inputs]
    for parameter in parameters:
        if parameter not in names:
            raise NotFound(f"source of view {view!r} called", parameter, names, hint="Parameters are called like them.")
    if missing := [each for each in names if each not in parameters]:
        raise Invalid(f"The function of view {view!r} does not take its source {missing[0]!r}. Add a parameter.")
    return Source(view, transform=Portable.of(function), inputs=inputs, **times)


def _query(view: str, function: Callable[..., Any]) -> str:
    try:
        query = function()
    except Exception as exc:
        raise Invalid(f"The function of view {view!r} fails: {described_error(exc)}") from exc
    if not isinstance(query, str) or not query.strip():
        raise Invalid(
            f"The function of view {view!r} takes nothing and answers {query!r}. Return SQL text, or take the sources "
            "as parameters and return a Narwhals frame."
        )
    return inspect.cleandoc(query)
