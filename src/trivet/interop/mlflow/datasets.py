"""What a run read and made, as clients say it: data sets become inputs, logged models become outputs.

A data set is an artifact of the kind ``dataset`` whose declaration holds what the client knows of it (name, digest, schema,
profile, context), so two runs that read the same data share an input and lineage finds both.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from trivet.interop.mlflow.identity import model_here, run_here
from trivet.interop.mlflow.store import MODEL_KIND, Store
from trivet.interop.mlflow.wire import invalid, missing
from trivet.ledger import Artifact, Run
from trivet.ledger.conditions import Condition, Linked, Or
from trivet.types import Digest

__all__ = ["CONTENT_TAG", "INPUTS_TAG", "OUTPUTS_TAG", "DatasetCalls"]

INPUTS_TAG: Final = "trivet.mlflow.inputs"
CONTENT_TAG: Final = "trivet.mlflow.content"
"""The digest of a logged model's content, once it is complete."""
OUTPUTS_TAG: Final = "trivet.mlflow.outputs"
"""The logged models of a run, as the client named them: one may be pending, and have no content to point at."""
KIND: Final = "dataset"
_CONTEXT = "mlflow.data.context"
_KNOWN = ("name", "digest", "source_type", "source", "schema", "profile")
_MOST = 450  # data sets in one question


class DatasetCalls:
    """The calls ``runs/log-inputs``, ``runs/outputs`` and ``experiments/search-datasets``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def log_inputs(self, given: dict[str, Any]) -> dict[str, Any]:
        """Data sets and models that a run reads."""
        made = [self._artifact(one, f"datasets[{i}]") for i, one in enumerate(given.get("datasets", []))]
        models = [self._model(one.get("model_id")) for one in given.get("models", [])]
        if made:
            self._store.ledger.write(*made)

        def alter(run: Run) -> Run:
            slots = dict(run.inputs)
            for artifact in made:
                slots[_slot(slots, str(artifact.spec["name"]), artifact.digest)] = artifact.digest
            for name, digest in models:
                if digest:
                    slots[_slot(slots, name, digest)] = digest
            told = _joined(run.tags.get(INPUTS_TAG), [{"model_id": one["model_id"]} for one in given.get("models", [])])
            return replace(run, inputs=slots, tags={**run.tags, **({INPUTS_TAG: told} if told else {})})

        self._store.change(run_here(given["run_id"]), lambda: self._store.active(given["run_id"]), alter)
        return {}

    def log_outputs(self, given: dict[str, Any]) -> dict[str, Any]:
        """Models that a run makes. Their content becomes an output once they are ready."""
        models = [
            {"model_id": str(one.get("model_id")), "step": int(one.get("step", 0))} for one in given.get("models", [])
        ]
        for one in models:
            self._model(one["model_id"])

        def alter(run: Run) -> Run:
            told = _joined(run.tags.get(OUTPUTS_TAG), models)
            return replace(run, tags={**run.tags, **({OUTPUTS_TAG: told} if told else {})})

        self._store.change(run_here(given["run_id"]), lambda: self._store.active(given["run_id"]), alter)
        return {}

    def search(self, given: dict[str, Any]) -> dict[str, Any]:
        """The data sets that runs of some experiments read."""
        from trivet.interop.mlflow.identity import experiment_here
        from trivet.ledger import RunQuery

        found: dict[tuple[str, ...], dict[str, Any]] = {}
        for id_ in given.get("experiment_ids", []):
            for run in self._store.ledger.runs(RunQuery(experiment=experiment_here(id_), limit=1000)):
                for artifact in self._read_by(run):
                    spec = artifact.spec
                    key = (id_, spec["name"], spec["digest"], spec["tags"].get(_CONTEXT, ""))
                    told = {"experiment_id": key[0], "name": key[1], "digest": key[2], "context": key[3] or None}
                    found[key] = told
        return {"dataset_summaries": list(found.values())}

    def inputs_of(self, run: Run) -> dict[str, Any]:
        """The inputs of a run as clients read them."""
        datasets = [
            {
                "tags": [{"key": key, "value": value} for key, value in artifact.spec["tags"].items()],
                "dataset": {name: artifact.spec[name] for name in _KNOWN if artifact.spec.get(name) is not None},
            }
            for artifact in self._read_by(run)
        ]
        return {"dataset_inputs": datasets, "model_inputs": json.loads(run.tags.get(INPUTS_TAG, "[]"))}

    def outputs_of(self, run: Run) -> dict[str, Any]:
        """The logged models of a run."""
        return {"model_outputs": json.loads(run.tags.get(OUTPUTS_TAG, "[]"))}

    def reading(self, key: str, fits: Callable[[str], bool]) -> Condition:
        """The runs that read a data set whose ``name``, ``digest`` or ``context`` fits.

        Raises:
            MLflowError: too many data sets fit.
        """

        def said(artifact: Artifact) -> str | None:
            found = artifact.spec["tags"].get(_CONTEXT) if key == "context" else artifact.spec[key]
            return None if found is None else str(found)

        recorded = self._store.ledger.artifacts(kind=KIND, limit=1_000_000)
        digests = [one.digest for one in recorded if (text := said(one)) is not None and fits(text)]
        if len(digests) > _MOST:
            raise invalid(f"{len(digests)} data sets fit this filter, and {_MOST} are the most for one question.")
        return Or(tuple(Linked("input", digest) for digest in digests))

    def _read_by(self, run: Run) -> list[Artifact]:
        artifacts = [self._store.artifact(digest) for digest in run.inputs.values()]
        return [one for one in artifacts if one.kind == KIND and "tags" in one.spec]

    def _artifact(self, given: dict[str, Any], path: str) -> Artifact:
        told = given.get("dataset")
        if not isinstance(told, dict):
            raise invalid(f"Missing value for required parameter '{path}.dataset'.")
        for name in ("name", "digest", "source_type", "source"):
            if not isinstance(told.get(name), str):
                raise invalid(f"Missing value for required parameter '{path}.dataset.{name}'.")
        tags = {str(tag.get("key")): str(tag.get("value", "")) for tag in given.get("tags", [])}
        spec = {**{name: told.get(name) for name in _KNOWN}, "tags": tags}
        return Artifact.of(KIND, spec, created=self._store.now())

    def _model(self, id_: Any) -> tuple[str, Digest | None]:
        """The name of a logged model, and its content where it is ready."""
        found = self._store.find(model_here(str(id_)))
        if found is None or found.kind != MODEL_KIND:
            raise missing(f"Logged model with ID '{id_}' not found.")
        return found.name, found.tags.get(CONTENT_TAG)


def _slot(slots: dict[str, Digest], name: str, digest: Digest) -> str:
    """A free name for an input, or the one that it has."""
    taken, number = name, 1
    while slots.get(taken, digest) != digest:
        number += 1
        taken = f"{name}-{number}"
    return taken


def _joined(held: str | None, more: list[dict[str, Any]]) -> str:
    told = json.loads(held or "[]")
    told += [one for one in more if one not in told]
    return json.dumps(told) if told else ""
