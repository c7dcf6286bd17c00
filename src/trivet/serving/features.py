"""Features over HTTP: ``POST /features`` beside a model, or as a service of its own for teams that score elsewhere.

    POST /features  {"entities": {"origin": "JFK"}, "features": ["weather:*"]}
    ->              {"values": {"weather:temp": 21.5}, "times": {"weather:temp": "2013-..."}, "status": {...}}
    POST /push/flights  {"flight": 1, "origin": "JFK", ...}   or a list of those
    ->              {"table": {"new": 1, ...}, "updated": {"congestion": 1}}

``entities`` may be a list, then the answer is one. ``values`` (or ``request``) has what on-demand features ask the caller
for, once for all or as a list. ``features`` are references or the name of a service, all that is
served where left out; ``at`` is now where left out. What is served is fixed when the service starts, so that an edit of a
definition never changes answers in between. Serving knows neither definitions nor stores: it is handed readers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import msgspec

from trivet import __version__
from trivet.clock import Clock, system_clock
from trivet.errors import Invalid, NotFound
from trivet.serving.asgi import Answer, Failure, Scope, Service, allow, ok
from trivet.types import as_utc, from_micros, to_micros

__all__ = ["STATUSES", "FeatureRoute", "FeatureService", "Wanted", "describe"]

Wanted: TypeAlias = tuple[str, ...] | None
"""References or names of services; None for all that is served."""


Rows: TypeAlias = Sequence[Mapping[str, Any]]


class Row(Protocol):
    """The features of one entity, in the order of the reader's ``names``; times in microseconds."""

    @property
    def values(self) -> Sequence[Any]:
        """The value; None where there is none."""
        ...

    @property
    def times(self) -> Sequence[int | None]:
        """The event time of the row it came from."""
        ...

    @property
    def status(self) -> Sequence[str]:
        """``present``, or why there is no value."""
        ...


class Reader(Protocol):
    """Answers some features."""

    @property
    def names(self) -> Sequence[str]:
        """Their references."""
        ...

    def rows(self, entities: Rows, at: int, request: Rows) -> Sequence[Row]:
        """Those of each entity at a moment in microseconds, with the request's values for each entity."""
        ...


Pusher: TypeAlias = Callable[[str, list[dict[str, Any]]], Any]
"""The name of a table and events for it; what it answers can be written as JSON."""


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    entities: dict[str, Any] | list[dict[str, Any]]
    request: dict[str, Any] | list[dict[str, Any]] = {}
    values: dict[str, Any] | list[dict[str, Any]] = {}
    features: str | list[str] | None = None
    at: str | None = None


_decode = msgspec.json.Decoder(_Request).decode
_decode_events = msgspec.json.Decoder(dict[str, Any] | list[dict[str, Any]]).decode
_encode = msgspec.json.Encoder().encode
_PUSH = "/push/"
STATUSES = ("present", "null", "missing", "expired", "unmaterialized")
"""Whether a feature has a value, or why it has none."""
_NESTED = frozenset((dict, list))


class FeatureRoute:
    """Answers ``POST /features``.

    Args:
        readers: the reader of some features; raises ``NotFound`` or ``Invalid`` for what is not served.
        keys: the entity keys of all that is served.
        request: the values that on-demand features ask the caller for.
        features: all references that are served.
        services: the names of services among them.
        clock: what now is.
        most_rows: entities of one call.
        waits: whether reading waits for a network, so that others are answered meanwhile.
    """

    def __init__(
        self,
        readers: Callable[[Wanted], Reader],
        *,
        keys: Sequence[str],
        features: Sequence[str],
        request: Sequence[str] = (),
        services: Sequence[str] = (),
        clock: Clock = system_clock,
        most_rows: int = 10_000,
        waits: bool = False,
    ) -> None:
        self.keys, self.request = tuple(keys), tuple(request)
        self.features, self.services = tuple(features), tuple(services)
        self._form = lru_cache(256)(lambda wanted: _Form(readers(wanted)))
        self._clock, self._most_rows, self.waits = clock, most_rows, waits
        readers(None)  # what cannot be read is told at the start

    def __call__(self, body: bytes) -> Answer:
        """The answer to one body.

        Raises:
            Invalid: the body is no request, lacks a key, or asks for too much.
            NotFound: a feature that is not served.
        """
        request = _parsed(body)
        several = not isinstance(request.entities, dict)
        entities: Sequence[Mapping[str, Any]] = request.entities if several else [request.entities]  # type: ignore[assignment,list-item]
        if len(entities) > self._most_rows:
            raise Invalid(f"{len(entities)} entities came and {self._most_rows} is the most. Send several calls.")
        at = to_micros(self._clock() if request.at is None else as_utc(request.at))
        _check_keys(entities)
        form = self._form(_wanted(request.features))
        answers = form(entities, at, _sent(request, len(entities)))
        return Answer(200, _encode(answers if several else answers[0]))


class _Form:
    """The answers of one reader as JSON objects whose names are prepared once.

    A struct is made and written several times faster than a dictionary of as many names. Times and statuses repeat
    from value to value and from request to request, so their JSON is kept.
    """

    def __init__(self, reader: Reader) -> None:
        names = {f"f{place}": name for place, name in enumerate(reader.names)}
        self._read = reader.rows
        self._values, self._times, self._status = (
            msgspec.defstruct(kind, list(names), rename=names, gc=False) for kind in ("Values", "Times", "Status")
        )
        self._statuses = lru_cache(64)(lambda *status: msgspec.Raw(_encode(self._status(*status))))

    def __call__(self, entities: Rows, at: int, request: Rows) -> list[_Vector]:
        return [
            _Vector(self._values(*row.values), self._times(*map(_moment, row.times)), self._statuses(*row.status))
            for row in self._read(entities, at, request)
        ]


class _Vector(msgspec.Struct, gc=False):
    values: Any
    times: Any
    status: msgspec.Raw


@lru_cache(4096)
def _moment(micros: int | None) -> msgspec.Raw:
    return msgspec.Raw(_encode(None if micros is None else from_micros(micros)))


class FeatureService(Service):
    """The ASGI application that answers features and nothing else.

    Args:
        features: the route.
        push: takes the name of a table and a list of events; without it nothing can be pushed.
        on_close: called when the server stops.
        most_bytes: of a body.
    """

    def __init__(
        self,
        features: FeatureRoute,
        *,
        push: Pusher | None = None,
        on_close: Callable[[], object] | None = None,
        most_bytes: int = 4 << 20,
    ) -> None:
        super().__init__(on_close=on_close, most_bytes=most_bytes)
        self._features, self._push = features, push
        served = {
            "features": features.features,
            "keys": features.keys,
            "request": features.request,
            "services": features.services,
        }
        paths = ["/features", *([] if push is None else ["/push/{source}"]), "/health", "/openapi.json"]
        self._pages: dict[str, Any] = {
            "/": {"service": "trivet", "version": __version__, **served, "paths": paths},
            "/health": {"status": "ok"},
            "/openapi.json": _document(features, pushes=push is not None),
        }

    def route(self, scope: Scope, body: bytes) -> Answer:
        """See ``Service.route``."""
        path = scope["path"]
        if path == "/features":
            allow(scope["method"], "POST")
            return self._features(body)
        if self._push is not None and path.startswith(_PUSH):
            allow(scope["method"], "POST")
            _refuse_pages(scope)
            return ok(_taken(self._push, path.removeprefix(_PUSH), _events(body)))
        if path in self._pages:
            allow(scope["method"], "GET", "HEAD")
            return ok(self._pages[path])
        raise Failure(404, f"There is nothing at {path}. GET / tells what there is.")

    def waits(self, scope: Scope) -> bool:
        """A push waits for the disk, and reading may wait for a network."""
        path = str(scope["path"])
        return path.startswith(_PUSH) or (self._features.waits and path == "/features")


def _taken(push: Pusher, table: str, events: list[dict[str, Any]]) -> Any:
    """What a push answers. A column that the events lack is a fault of the body, and no path that does not exist."""
    try:
        return push(table, events)
    except NotFound as exc:
        if exc.noun == "table":
            raise
        raise Invalid(str(exc)) from exc


def _refuse_pages(scope: Scope) -> None:
    """No page in a browser of this machine may write: browsers name the page that posts."""
    if any(name == b"origin" for name, _ in scope["headers"]):
        raise Failure(403, "Events are pushed by programs, not by pages in a browser.")


def _events(body: bytes) -> list[dict[str, Any]]:
    try:
        events = _decode_events(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Invalid(f"The body holds no events: {exc}. Send one JSON object, or a list of them.") from exc
    return events if isinstance(events, list) else [events]


def _parsed(body: bytes) -> _Request:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Invalid(
            f'The body is no request: {exc}. Send {{"entities": {{...}}, "features": [...]}}; GET /openapi.json '
            "describes it."
        ) from exc


def _sent(request: _Request, entities: int) -> Rows:
    """The request's values of each entity: one object is meant for all."""
    if request.request and request.values:
        raise Invalid("The body has both request and values, which are two names of the same. Send one of them.")
    sent = request.values or request.request
    if isinstance(sent, dict):
        return [sent] * entities
    if len(sent) != entities:
        raise Invalid(f"{entities} entities came with {len(sent)} requests. Send one for each, or one for all.")
    return sent


def _check_keys(entities: Sequence[Mapping[str, Any]]) -> None:
    for entity in entities:
        for name, value in entity.items():
            if value.__class__ in _NESTED:
                raise Invalid(
                    f"{name!r} is {value!r}, and a key is text, a number or a truth value. Send one of those."
                )


def _wanted(features: str | list[str] | None) -> Wanted:
    if features is None:
        return None
    return (features,) if isinstance(features, str) else tuple(features)


def describe(route: FeatureRoute) -> tuple[dict[str, Any], dict[str, Any]]:
    """The path and the schemas of ``POST /features`` for OpenAPI 3.1."""
    one, many = _described("FeatureVector"), {"type": "array", "items": _described("FeatureVector")}
    failures = {
        "400": "Does not fit.",
        "404": "Not served.",
        "413": "Too large.",
        "503": "The online store does not answer. Ask again.",
    }
    error = {"application/json": {"schema": _described("Error")}}
    path = {
        "post": {
            "summary": "Values, times and statuses of features for one entity or a list of them.",
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _described("FeatureRequest")}},
            },
            "responses": {
                "200": {
                    "description": "One vector or a list, as asked.",
                    "content": {"application/json": {"schema": {"oneOf": [one, many]}}},
                },
                **{status: {"description": text, "content": error} for status, text in failures.items()},
            },
        }
    }
    return path, _schemas(route)


def _schemas(route: FeatureRoute) -> dict[str, Any]:
    scalar = {"type": ["string", "number", "boolean", "null"]}
    entity = {"type": "object", "properties": dict.fromkeys(route.keys, scalar)}
    sent = {"type": "object", "properties": dict.fromkeys(route.request, scalar)}
    by_reference = {"type": "object", "propertyNames": {"enum": list(route.features)}}
    time = {"type": ["string", "null"], "format": "date-time"}
    status = {"enum": list(STATUSES)}
    return {
        "FeatureRequest": {
            "type": "object",
            "additionalProperties": False,
            "required": ["entities"],
            "properties": {
                "entities": {"oneOf": [entity, {"type": "array", "items": entity}]},
                "values": {"oneOf": [sent, {"type": "array", "items": sent}]},
                "request": {
                    "oneOf": [sent, {"type": "array", "items": sent}],
                    "description": "Another name of values.",
                },
                "features": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
                "at": {"type": ["string", "null"], "format": "date-time"},
            },
        },
        "FeatureVector": {
            "type": "object",
            "required": ["values", "times", "status"],
            "properties": {
                "values": {**by_reference, "additionalProperties": scalar},
                "times": {**by_reference, "additionalProperties": time},
                "status": {**by_reference, "additionalProperties": status},
            },
        },
    }


def _described(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _push_path() -> dict[str, Any]:
    event = {"type": "object"}
    events = {"oneOf": [event, {"type": "array", "items": event}]}
    answers = {
        "200": "They count from now on.",
        "400": "Do not fit.",
        "404": "No such table.",
        "413": "Too large.",
        "503": "The online store does not answer. Push again: nothing counts twice.",
    }
    return {
        "post": {
            "summary": "Adds events to a table, each once, and to the features that are made from it.",
            "parameters": [{"name": "source", "in": "path", "required": True, "schema": {"type": "string"}}],
            "requestBody": {"required": True, "content": {"application/json": {"schema": events}}},
            "responses": {status: {"description": text} for status, text in answers.items()},
        }
    }


def _document(route: FeatureRoute, *, pushes: bool) -> dict[str, Any]:
    path, schemas = describe(route)
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    health = {"summary": "Whether the service lives.", "responses": {"200": {"description": "It does."}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Features", "version": __version__},
        "paths": {
            "/features": path,
            **({"/push/{source}": _push_path()} if pushes else {}),
            "/health": {"get": health},
        },
        "components": {"schemas": {**schemas, "Error": error}},
    }
