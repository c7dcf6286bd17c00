"""The prediction service as a bare ASGI application: routes, limits and errors. No framework on the hot route.

    POST /features               values of features by entity key, where they are served, see ``features``
    POST /predict                one request or a list of them, for the first model (``?features=true`` echoes features)
    GET  /v2, POST /v2/models/{m}[/versions/{v}]/infer, ...   the Open Inference Protocol, see ``protocol``
    GET  /health  /metrics  /openapi.json  /

Scoring runs inline in the event loop of one worker: handing a row to a thread costs more than scoring it (measured
twice the latency, and worse with many connections), and a health check waits for one row, less than a millisecond. Where
features are in a store beyond a network, requests are answered by threads: that may hang, and then health is still told.
``most_rows`` bounds how long one call can hold the loop.
Limits and errors are those of every service of ours (``asgi``); a prediction that cannot be recorded is a 503 that says
what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from trivet import __version__
from trivet.errors import Invalid, NotFound, Unavailable
from trivet.serving import protocol
from trivet.serving.asgi import Answer, Failure, Scope, Service, allow, ok
from trivet.serving.features import FeatureRoute
from trivet.serving.metrics import Metrics, ModelMetrics
from trivet.serving.openapi import document
from trivet.serving.predictor import Predictor, Request
from trivet.serving.records import Unrecorded

__all__ = ["App"]

_encode = msgspec.json.Encoder().encode


class App(Service):
    """The ASGI application.

    Args:
        predictors: the models, each name and version once; ``POST /predict`` asks the first.
        metrics: the registry that ``GET /metrics`` shows.
        features: what ``POST /features`` answers; without it there is no such path.
        on_close: called when the server stops, after the last answer: flush the log here.
        most_bytes: of a body.
        most_rows: of one call.
    """

    unavailable = (Unrecorded, Unavailable)  # the log of records has said so, and where

    def __init__(
        self,
        predictors: Sequence[Predictor],
        *,
        metrics: Metrics | None = None,
        features: FeatureRoute | None = None,
        on_close: Callable[[], object] | None = None,
        most_bytes: int = 4 << 20,
        most_rows: int = 10_000,
    ) -> None:
        if not predictors:
            raise Invalid("A prediction service needs a model. Hand it at least one predictor.")
        self.metrics = metrics or Metrics()
        super().__init__(on_close=on_close, most_bytes=most_bytes)
        self._most_rows, self._features = most_rows, features
        self._first = predictors[0]
        self._models: dict[str, dict[str, Predictor]] = {}
        for predictor in predictors:
            versions = self._models.setdefault(predictor.deployed.name, {})
            if predictor.deployed.version in versions:
                raise Invalid(f"{predictor.deployed.name} {predictor.deployed.version} is given twice. Give it once.")
            versions[predictor.deployed.version] = predictor
            predictor.metrics = predictor.metrics or self.metrics.of(predictor.deployed)
        self._pages: dict[str, Callable[[], Answer]] = {
            "/": self._about,
            "/health": self._health,
            "/metrics": self._metrics,
            "/openapi.json": lambda: ok(document(predictors, self._features)),
            "/v2": lambda: ok(protocol.server_metadata(__version__)),
            "/v2/": lambda: ok(protocol.server_metadata(__version__)),
            # The specification's schema of both says "live"; clients read either.
            "/v2/health/live": lambda: ok({"live": True, "ready": True}),
            "/v2/health/ready": lambda: ok({"live": True, "ready": True}),
        }

    def waits(self, scope: Scope) -> bool:
        """Reading features, for a prediction too, may wait for a network."""
        return self._features is not None and self._features.waits and scope["method"] == "POST"

    def counted(self, change: int) -> None:
        """Keep the number of requests in flight."""
        self.metrics.in_flight.inc(change)

    # --- routes ----------------------------------------------------------------------------------------------------

    def route(self, scope: Scope, body: bytes) -> Answer:
        """See ``Service.route``."""
        path, method = scope["path"], scope["method"]
        if path == "/predict":
            allow(method, "POST")
            return self._predict(scope, body)
        if path == "/features" and self._features is not None:
            allow(method, "POST")
            return self._features(body)
        if page := self._pages.get(path):
            allow(method, "GET", "HEAD")
            return page()
        if path.startswith("/v2/models/"):
            return self._model(scope, body)
        raise Failure(404, f"There is nothing at {path}. GET / tells what there is.")

    def _predict(self, scope: Scope, body: bytes) -> Answer:
        started = perf_counter_ns()
        predictor = self._first
        with _Counted(predictor.metrics):
            several = body.lstrip()[:1] == b"["
            requests = _requests(body, several)
            if len(requests) > self._most_rows:
                raise Invalid(f"{len(requests)} requests came and {self._most_rows} is the most. Send several calls.")
            parsed = perf_counter_ns()
            query = scope["query_string"]
            predictions = predictor.predict(requests, features=bool(query) and _flag(query, "features"))
            answer = _encode(predictions if several else predictions[0])
        self._timed(predictor, started, parsed)
        return Answer(200, answer)

    def _model(self, scope: Scope, body: bytes) -> Answer:
        """``/v2/models/{m}[/versions/{v}][/ready|/infer]``; names in the path may be percent-encoded."""
        raw = scope.get("raw_path", scope["path"].encode()).partition(b"?")[0].decode("latin-1")
        name, *rest = map(unquote, raw.removeprefix("/v2/models/").rstrip("/").split("/"))
        version = rest[1] if len(rest) > 1 and rest[0] == "versions" else None
        action = tuple(rest if version is None else rest[2:])
        if action not in ((), ("ready",), ("infer",)):
            raise Failure(404, f"There is nothing at {scope['path']}. GET / tells what there is.")
        allow(scope["method"], *(("POST",) if action == ("infer",) else ("GET", "HEAD")))
        predictor = self._find(name, version)
        if action == ("infer",):
            return self._infer(predictor, scope, body)
        if action == ("ready",):
            return ok({"name": name, "ready": True})
        return ok(protocol.model_metadata(predictor, list(self._models[name])))

    def _infer(self, predictor: Predictor, scope: Scope, body: bytes) -> Answer:
        started = perf_counter_ns()
        moments = [started]
        with _Counted(predictor.metrics):
            data, json_length = protocol.infer(
                predictor,
                body,
                json_length=_json_length(scope),
                most_rows=self._most_rows,
                parsed=lambda: moments.append(perf_counter_ns()),
            )
        self._timed(predictor, started, moments[-1])
        if json_length is None:
            return Answer(200, data)
        length = (b"inference-header-content-length", b"%d" % json_length)
        return Answer(200, data, [(b"content-type", b"application/octet-stream"), length])

    def _find(self, name: str, version: str | None) -> Predictor:
        if name not in self._models:
            raise NotFound("model", name, self._models)
        versions = self._models[name]
        if version is None:
            return next(iter(versions.values()))
        if version not in versions:
            raise NotFound(f"version of the model {name!r} called", version, versions)
        return versions[version]

    # --- pages -----------------------------------------------------------------------------------------------------

    def _about(self) -> Answer:
        models = [
            {"name": name, "version": version, "digest": predictor.deployed.digest, "role": predictor.deployed.role}
            for name, versions in self._models.items()
            for version, predictor in versions.items()
        ]
        paths = ["/predict", *(["/features"] if self._features else []), "/v2", "/health", "/metrics", "/openapi.json"]
        return ok({"service": "trivet", "version": __version__, "models": models, "paths": paths})

    def _health(self) -> Answer:
        return ok({"status": "ok", "models": {name: list(versions) for name, versions in self._models.items()}})

    def _metrics(self) -> Answer:
        body, content_type = self.metrics.render()
        return Answer(200, body, [(b"content-type", content_type.encode())])

    def _timed(self, predictor: Predictor, started: int, parsed: int) -> None:
        if predictor.metrics is not None:
            predictor.metrics.parsed((parsed - started) / 1e9)
            predictor.metrics.answered((perf_counter_ns() - started) / 1e9)


class _Counted:
    """Counts what ends in an error: the caller's is ``invalid``, ours is ``error``, no record is ``refused``."""

    def __init__(self, metrics: ModelMetrics | None) -> None:
        self._metrics = metrics

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if self._metrics is None or exc is None:
            return
        if isinstance(exc, Unrecorded):
            self._metrics.failed("refused", exc.count)
        else:
            self._metrics.failed("invalid" if isinstance(exc, Invalid | NotFound) else "error")


class _Sent(Request, frozen=True, forbid_unknown_fields=True):
    """A body: ``request`` is what ``POST /features`` calls the values too."""

    request: dict[str, Any] = msgspec.field(default_factory=dict)


_decode_one, _decode_many = msgspec.json.Decoder(_Sent).decode, msgspec.json.Decoder(list[_Sent]).decode


def _merged(sent: _Sent) -> Request:
    if not sent.request:
        return sent
    if twice := next((name for name in sent.request if name in sent.values), None):
        raise Invalid(f"{twice!r} stands in values and in request, which are two names of the same. Send it once.")
    return msgspec.structs.replace(sent, values={**sent.values, **sent.request}, request={})


def _requests(body: bytes, several: bool) -> list[Request]:
    try:
        return [_merged(each) for each in (_decode_many(body) if several else [_decode_one(body)])]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Invalid(
            f'The body is no request: {exc}. Send {{"entities": {{...}}, "values": {{...}}}} or a list of those; '
            "GET /openapi.json describes them."
        ) from exc


def _flag(query: bytes, name: str) -> bool:
    asked: Mapping[str, list[str]] = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    if unknown := [key for key in asked if key != name]:
        raise Invalid(f"{unknown[0]!r} is no option of this path. There is: {name}=true.")
    return asked[name][-1] in ("", "1", "true")


def _json_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"inference-header-content-length":
            if not value.isdigit():
                raise Invalid(f"Inference-Header-Content-Length is {value.decode('latin-1')!r}, not a number of bytes.")
            return int(value)
    return None
