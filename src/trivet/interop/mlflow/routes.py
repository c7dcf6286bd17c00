"""The addresses of MLflow's protocol and what each takes: the one door of ``trivet.interop.mlflow``.

Every route is a line: verb, path, the fields of its request, who answers. Both prefixes of MLflow (``/api`` for clients,
``/ajax-api`` for its page) lead to the same answers. What is not here answers 404 with the code ``ENDPOINT_NOT_FOUND``,
by which clients find out what a server can do.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from trivet.errors import TrivetError
from trivet.interop.mlflow.artifacts import ArtifactCalls
from trivet.interop.mlflow.datasets import DatasetCalls
from trivet.interop.mlflow.experiments import ExperimentCalls
from trivet.interop.mlflow.files import Files
from trivet.interop.mlflow.logged_models import ModelCalls
from trivet.interop.mlflow.metrics import MetricCalls, check_sizes
from trivet.interop.mlflow.registry import RegistryCalls
from trivet.interop.mlflow.runs import RunCalls, run_id
from trivet.interop.mlflow.store import Store
from trivet.interop.mlflow.wire import MLflowError, Schema, as_error, encode, invalid, read
from trivet.ledger import Run

if TYPE_CHECKING:
    from trivet.pipelines.context import Context

__all__ = ["VERSION", "routes"]

VERSION: Final = "3.17.2"
"""The version of MLflow whose protocol is spoken."""
_PREFIXES = ("/api", "/ajax-api")
_MOST_BYTES = 64 << 20
_BATCH_BYTES = 1_000_000

Call = Callable[[dict[str, Any]], dict[str, Any]]


class Line(NamedTuple):
    """One route."""

    verb: str
    path: str
    fields: Schema
    call: Call


_RUN: Final = {"run_id": "string", "run_uuid": "string"}
_ALL: Final = {"filter": "string", "order_by": "strings", "max_results": "int", "page_token": "string"}
_VERSION_OF: Final = {"name": "string*", "version": "string*"}


def routes(context: Context) -> list[BaseRoute]:
    """The routes of the protocol over a project."""
    store = Store(context)
    experiments, files, datasets = ExperimentCalls(store), Files(store), DatasetCalls(store)
    models = ModelCalls(store, experiments, files)
    metrics = MetricCalls(store)
    runs = RunCalls(store, experiments, datasets)
    artifacts = ArtifactCalls(store, files)
    lines = [
        *_experiment_lines(experiments, datasets),
        *_run_lines(store, runs, metrics, models, datasets, artifacts),
        *_model_lines(models),
        *_registry_lines(RegistryCalls(store, models, files)),
        Line("GET", "3.0/mlflow/server-info", {}, _server_info),
    ]
    return [Route("/version", _version), *_bound(lines, artifacts)]


def _bound(lines: list[Line], artifacts: ArtifactCalls) -> Iterator[BaseRoute]:
    for prefix in _PREFIXES:
        for line in lines:
            yield Route(f"{prefix}/{line.path}", _answer(line), methods=[line.verb])
        proxy = f"{prefix}/2.0/mlflow-artifacts/artifacts"
        yield Route(proxy, _guarded(artifacts.listing), methods=["GET"])
        for verb, call in (("GET", artifacts.download), ("PUT", artifacts.upload), ("DELETE", artifacts.remove)):
            yield Route(f"{proxy}/{{path:path}}", _guarded(call), methods=[verb])
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        for version in ("2.0", "2.11", "3.0"):
            yield Route(f"{prefix}/{version}/{{rest:path}}", _unknown, methods=every)


def _experiment_lines(calls: ExperimentCalls, datasets: DatasetCalls) -> list[Line]:
    base = "2.0/mlflow/experiments"
    one = {"experiment_id": "string*"}
    search = {**_ALL, "view_type": "string"}
    return [
        Line("GET", f"{base}/get-by-name", {"experiment_name": "string*"}, calls.get_by_name),
        Line(
            "POST", f"{base}/create", {"name": "string*", "artifact_location": "string", "tags": "list"}, calls.create
        ),
        Line("POST", f"{base}/search", search, calls.search),
        Line("GET", f"{base}/search", search, calls.search),
        Line("GET", f"{base}/get", one, calls.get),
        Line("POST", f"{base}/delete", one, calls.delete),
        Line("POST", f"{base}/restore", one, calls.restore),
        Line("POST", f"{base}/update", {**one, "new_name": "string"}, calls.update),
        Line("POST", f"{base}/set-experiment-tag", {**one, "key": "string*", "value": "string*"}, calls.set_tag),
        Line("POST", f"{base}/delete-experiment-tag", {**one, "key": "string*"}, calls.delete_tag),
        Line("POST", f"{base}/search-datasets", {"experiment_ids": "strings"}, datasets.search),
    ]


def _run_lines(
    store: Store,
    runs: RunCalls,
    metrics: MetricCalls,
    models: ModelCalls,
    datasets: DatasetCalls,
    artifacts: ArtifactCalls,
) -> list[Line]:
    base = "2.0/mlflow/runs"
    batch = {**_RUN, "metrics": "list", "params": "list", "tags": "list"}
    history = {**_RUN, "metric_key": "string*", "page_token": "string", "max_results": "int"}
    bulk = {
        "run_ids": "strings", "metric_key": "string*", "start_step": "int", "end_step": "int", "max_results": "int"
    }  # fmt: skip
    point = {
        **_RUN, "key": "string*", "value": "double*", "timestamp": "int*", "step": "int",
        "model_id": "string", "dataset_name": "string", "dataset_digest": "string",
    }  # fmt: skip

    def note(given: dict[str, Any], points: list[dict[str, Any]]) -> None:
        if any(one.get("model_id") for one in points):
            models.measured(store.run(run_id(given)), points)

    def log_metric(given: dict[str, Any]) -> dict[str, Any]:
        answer = metrics.log(given)
        note(given, [given])
        return answer

    def log_batch(given: dict[str, Any]) -> dict[str, Any]:
        check_sizes(given)
        points = metrics.points(given.get("metrics", []))

        def placed(run: Run) -> list[Any]:
            return list(metrics.placed(run, points))

        answer = runs.log_batch(given, placed)
        note(given, given.get("metrics", []))
        return answer

    created = {
        "experiment_id": "string", "user_id": "string", "run_name": "string", "start_time": "int", "tags": "list"
    }  # fmt: skip
    return [
        Line("POST", f"{base}/create", created, runs.create),
        Line("GET", f"{base}/get", _RUN, runs.get),
        Line(
            "POST", f"{base}/update", {**_RUN, "status": "string", "end_time": "int", "run_name": "string"}, runs.update
        ),
        Line("POST", f"{base}/delete", {"run_id": "string*"}, runs.delete),
        Line("POST", f"{base}/restore", {"run_id": "string*"}, runs.restore),
        Line("POST", f"{base}/log-metric", point, log_metric),
        Line("POST", f"{base}/log-parameter", {**_RUN, "key": "string*", "value": "text*"}, runs.log_parameter),
        Line("POST", f"{base}/log-batch", batch, log_batch),
        Line("POST", f"{base}/set-tag", {**_RUN, "key": "string*", "value": "text*"}, runs.set_tag),
        Line("POST", f"{base}/delete-tag", {"run_id": "string*", "key": "string*"}, runs.delete_tag),
        Line("POST", f"{base}/log-model", {**_RUN, "model_json": "string*"}, runs.log_model),
        Line(
            "POST",
            f"{base}/log-inputs",
            {"run_id": "string*", "datasets": "list", "models": "list"},
            datasets.log_inputs,
        ),
        Line("POST", f"{base}/outputs", {"run_id": "string*", "models": "list"}, datasets.log_outputs),
        Line("POST", f"{base}/search", {**_ALL, "experiment_ids": "strings", "run_view_type": "string"}, runs.search),
        Line("GET", "2.0/mlflow/metrics/get-history", history, metrics.history),
        Line("GET", "2.0/mlflow/metrics/get-history-bulk-interval", bulk, metrics.bulk),
        Line("GET", "2.11/mlflow/metrics/get-history-bulk-interval", bulk, metrics.bulk),
        Line("GET", "2.0/mlflow/artifacts/list", {**_RUN, "path": "string", "page_token": "string"}, artifacts.of_run),
    ]


def _model_lines(calls: ModelCalls) -> list[Line]:
    base = "2.0/mlflow/logged-models"
    one = {"model_id": "string*"}
    created = {
        "experiment_id": "string*", "name": "string", "model_type": "string", "source_run_id": "string",
        "params": "list", "tags": "list",
    }  # fmt: skip
    search = {
        "experiment_ids": "strings", "filter": "string", "datasets": "list", "max_results": "int",
        "order_by": "list", "page_token": "string",
    }  # fmt: skip
    below = {**one, "artifact_directory_path": "string", "page_token": "string"}
    return [
        Line("POST", base, created, calls.create),
        Line("POST", f"{base}/search", search, calls.search),
        Line("GET", f"{base}/{{model_id}}", one, calls.get),
        Line("PATCH", f"{base}/{{model_id}}", {**one, "status": "string*"}, calls.finalize),
        Line("DELETE", f"{base}/{{model_id}}", one, calls.delete),
        Line("PATCH", f"{base}/{{model_id}}/tags", {**one, "tags": "list"}, calls.set_tags),
        Line("DELETE", f"{base}/{{model_id}}/tags/{{tag_key:path}}", {**one, "tag_key": "string*"}, calls.delete_tag),
        Line("POST", f"{base}/{{model_id}}/params", {**one, "params": "list"}, calls.log_params),
        Line("GET", f"{base}/{{model_id}}/artifacts/directories", below, calls.directories),
    ]


def _registry_lines(calls: RegistryCalls) -> list[Line]:
    models, versions = "2.0/mlflow/registered-models", "2.0/mlflow/model-versions"
    name, tag = {"name": "string*"}, {"key": "string*", "value": "text*"}
    alias = {**name, "alias": "string*"}
    created = {
        **name, "source": "string*", "run_id": "string", "tags": "list", "run_link": "string",
        "description": "string", "model_id": "string",
    }  # fmt: skip
    stage = {**_VERSION_OF, "stage": "string*", "archive_existing_versions": "bool*"}
    return [
        Line("POST", f"{models}/create", {**name, "tags": "list", "description": "string"}, calls.create),
        Line("POST", f"{models}/rename", {**name, "new_name": "string"}, calls.rename),
        Line("PATCH", f"{models}/update", {**name, "description": "string"}, calls.update),
        Line("DELETE", f"{models}/delete", name, calls.delete),
        Line("GET", f"{models}/get", name, calls.get),
        Line("GET", f"{models}/search", _ALL, calls.search),
        Line("POST", f"{models}/get-latest-versions", {**name, "stages": "strings"}, calls.latest),
        Line("GET", f"{models}/get-latest-versions", {**name, "stages": "strings"}, calls.latest),
        Line("POST", f"{models}/set-tag", {**name, **tag}, calls.set_tag),
        Line("DELETE", f"{models}/delete-tag", {**name, "key": "string*"}, calls.delete_tag),
        Line("POST", f"{models}/alias", {**alias, "version": "string*"}, calls.set_alias),
        Line("DELETE", f"{models}/alias", alias, calls.delete_alias),
        Line("GET", f"{models}/alias", alias, calls.by_alias),
        Line("POST", f"{versions}/create", created, calls.create_version),
        Line("GET", f"{versions}/get", _VERSION_OF, calls.get_version),
        Line("PATCH", f"{versions}/update", {**_VERSION_OF, "description": "string"}, calls.update_version),
        Line("DELETE", f"{versions}/delete", _VERSION_OF, calls.delete_version),
        Line("POST", f"{versions}/transition-stage", stage, calls.transition),
        Line("GET", f"{versions}/search", _ALL, calls.search_versions),
        Line("GET", f"{versions}/get-download-uri", _VERSION_OF, calls.download_uri),
        Line("POST", f"{versions}/set-tag", {**_VERSION_OF, **tag}, calls.set_version_tag),
        Line("DELETE", f"{versions}/delete-tag", {**_VERSION_OF, "key": "string*"}, calls.delete_version_tag),
    ]


def _answer(line: Line) -> Callable[[Request], Awaitable[Response]]:
    lists = {name for name, kind in line.fields.items() if kind == "strings"}

    async def answer(request: Request) -> Response:
        given = await _given(request, line, lists)
        fields = read({**given, **request.path_params}, line.fields, text=line.verb == "GET")
        return _json(await run_in_threadpool(line.call, fields))

    return _guarded(answer)


async def _given(request: Request, line: Line, lists: set[str]) -> dict[str, Any]:
    query: dict[str, Any] = dict(request.query_params)
    query.update({name: request.query_params.getlist(name) for name in lists if name in request.query_params})
    if line.verb == "GET":
        return query
    body = await _body(request, _BATCH_BYTES if line.path.endswith("log-batch") else _MOST_BYTES)
    if not body:
        return query
    try:
        given = json.loads(body)
        given = json.loads(given) if isinstance(given, str) else given  # older clients write it twice
    except (ValueError, RecursionError) as exc:
        raise MLflowError("BAD_REQUEST", f"The body of the request is no JSON: {exc}.") from exc
    if given is not None and not isinstance(given, dict):
        raise invalid("The body of the request is no JSON object.")
    return {**query, **(given or {})}


async def _body(request: Request, most: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            noun = "Batched logging API requests" if most == _BATCH_BYTES else "Requests"
            raise invalid(f"{noun} must be at most {most} bytes, got a request of size {size} or more.")
    return b"".join(pieces)


def _guarded(call: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """``call`` whose errors are told in MLflow's way."""

    async def answer(request: Request) -> Response:
        try:
            return await call(request)
        except MLflowError as exc:
            return _failure(exc)
        except TrivetError as exc:
            return _failure(as_error(exc))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    return answer


def _failure(exc: MLflowError) -> Response:
    return _json({"error_code": exc.code, "message": exc.message}, exc.status)


def _json(data: dict[str, Any], status: int = 200) -> Response:
    return Response(encode(data), status, media_type="application/json", headers={"X-Content-Type-Options": "nosniff"})


async def _unknown(request: Request) -> Response:
    return _failure(
        MLflowError("ENDPOINT_NOT_FOUND", f"There is no endpoint {request.method} {request.url.path[:200]}.")
    )


async def _version(request: Request) -> Response:  # noqa: ARG001 - Starlette's signature
    return PlainTextResponse(VERSION)


def _server_info(given: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - the signature of every call
    return {"store_type": "TrivetStore", "workspaces_enabled": False}
