"""The OpenAPI 3.1 description of a prediction service, made from the signatures of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from trivet import __version__
from trivet.serving.features import STATUSES, FeatureRoute, describe
from trivet.serving.predictor import Predictor

__all__ = ["document"]

_TYPES: dict[str, Any] = {
    "number": ["number", "null"],
    "category": ["string", "null"],
    "boolean": "boolean",
    "text": ["string", "null"],
    "integer": ["integer", "null"],
    "": ["string", "number", "boolean", "null"],
}
_LATER = "The online store does not answer, or the prediction cannot be recorded. Ask again."
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}


def document(predictors: Sequence[Predictor], features: FeatureRoute | None = None) -> dict[str, Any]:
    """The description as JSON values. ``POST /predict`` is described for the first predictor."""
    first = predictors[0]
    path, schemas = describe(features) if features is not None else ({}, {})
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Predictions of {first.deployed.name}", "version": __version__},
        "paths": {
            "/predict": {"post": _predict()},
            **({"/features": path} if path else {}),
            "/health": {"get": _plain("Whether the service lives, and its models.")},
            "/metrics": {"get": {"summary": "Metrics for Prometheus.", "responses": {"200": {"description": "Text."}}}},
            "/v2": {"get": _plain("Open Inference Protocol v2: the server.")},
            "/v2/health/live": {"get": _plain("Open Inference Protocol v2: it lives.")},
            "/v2/health/ready": {"get": _plain("Open Inference Protocol v2: it is ready.")},
            **{path: item for predictor in predictors for path, item in _v2(predictor).items()},
        },
        "components": {
            "schemas": {"Request": _request(first), "Prediction": _prediction(first), "Error": _ERROR, **schemas},
        },
    }


def _request(predictor: Predictor) -> dict[str, Any]:
    entities, values = _object(predictor.inputs.entities), _object(predictor.inputs.values)
    required = [name for name, part in (("entities", entities), ("values", values)) if part["properties"]]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {
            "entities": entities,
            "values": values,
            "request": {"type": "object", "description": "Another name of values."},
            "at": {"type": ["string", "null"], "format": "date-time"},
            "id": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
        },
    }


def _object(columns: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(columns),
        "properties": {name: {"type": _TYPES[kind]} for name, kind in columns.items()},
    }


def _prediction(predictor: Predictor) -> dict[str, Any]:
    classes = predictor.deployed.signature.classes
    properties: dict[str, Any] = {
        "id": {"type": "string"},
        "prediction": {"type": "number"} if classes is None else {"enum": list(classes)},
        "model": {"type": "string"},
        "version": {"type": "string"},
        "features": {"type": "object"},
        "feature_status": {"type": "object", "additionalProperties": {"enum": list(STATUSES)}},
    }
    if classes is not None:
        properties["probability"] = {"type": "object", "additionalProperties": {"type": "number"}}
    return {"type": "object", "required": ["id", "prediction", "model", "version"], "properties": properties}


def _predict() -> dict[str, Any]:
    return {
        "summary": "Predict for one request or a list of them.",
        "parameters": [{"name": "features", "in": "query", "schema": {"type": "boolean"}}],
        "requestBody": {"required": True, "content": _one_or_many("Request")},
        "responses": {
            "200": {"description": "One prediction or a list, as asked.", "content": _one_or_many("Prediction")},
            "400": _failure("Does not fit the model."),
            "413": _failure("Too large."),
            "503": _failure(_LATER),
        },
    }


def _one_or_many(name: str) -> dict[str, Any]:
    one = {"$ref": f"#/components/schemas/{name}"}
    return {"application/json": {"schema": {"oneOf": [one, {"type": "array", "items": one}]}}}


def _failure(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _plain(summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {"summary": summary, "responses": {"200": {"description": "JSON.", "content": content}}}


def _v2(predictor: Predictor) -> dict[str, Any]:
    name, version = (quote(part, safe="") for part in (predictor.deployed.name, predictor.deployed.version))
    infer = {
        "summary": "Open Inference Protocol v2: infer.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {
            "200": {"description": "Tensors."},
            "400": _failure("Does not fit."),
            "404": _failure("Unknown."),
            "503": _failure(_LATER),
        },
    }
    paths: dict[str, Any] = {}
    for base in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
        paths[base] = {"get": _plain("Open Inference Protocol v2: the model.")}
        paths[f"{base}/ready"] = {"get": _plain("Open Inference Protocol v2: the model is ready.")}
        paths[f"{base}/infer"] = {"post": infer}
    return paths
