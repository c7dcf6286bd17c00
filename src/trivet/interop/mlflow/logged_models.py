"""Logged models: each is a run of its own kind, so what runs can be asked, logged models can be asked too.

Its files are the outputs, its parameters, tags and metrics those of the run, its source run the parent. When a client says
that it is complete, all its files together become one artifact, and that is an output of the source run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from trivet.interop.mlflow.datasets import CONTENT_TAG
from trivet.interop.mlflow.experiments import ExperimentCalls, tags_of
from trivet.interop.mlflow.files import CONTENT, Files, check_path, listed, root_of
from trivet.interop.mlflow.filters import NEVER, condition_of_clause, joined, text_fits
from trivet.interop.mlflow.identity import (
    experiment_here,
    experiment_there,
    model_here,
    model_there,
    run_here,
    run_there,
)
from trivet.interop.mlflow.lexer import Clause, Identifier, clauses
from trivet.interop.mlflow.store import MODEL_KIND, Store
from trivet.interop.mlflow.wire import check_bounds, invalid, missing, to_millis
from trivet.ledger import Artifact, Metric, Order, Run, RunQuery, cursor_of
from trivet.ledger.conditions import And, Condition, Field, In, Not

__all__ = ["CONTENT_TAG", "ModelCalls", "add_output"]

_TYPE, _UPDATED, _MEASURED = "trivet.mlflow.type", "trivet.mlflow.updated", "trivet.mlflow.measured"
_HIDDEN = {CONTENT_TAG, _TYPE, _UPDATED, _MEASURED}
_STATUS = {"running": "LOGGED_MODEL_PENDING", "finished": "LOGGED_MODEL_READY", "failed": "LOGGED_MODEL_UPLOAD_FAILED"}
_ENDS = {"LOGGED_MODEL_READY": "finished", "LOGGED_MODEL_UPLOAD_FAILED": "failed"}
_BAD = re.compile(r"""[/:.%"']""")
_TIMES = frozenset({"creation_timestamp", "creation_timestamp_ms", "creation_time"})
_MOST = 1000


class ModelCalls:
    """The calls under ``logged-models``."""

    def __init__(self, store: Store, experiments: ExperimentCalls, files: Files) -> None:
        self._store, self._experiments, self._files = store, experiments, files

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """A new model, to which files will come."""
        name = given.get("name", "")
        if _BAD.search(name):
            raise invalid(
                f"Invalid model name ({name!r}) provided. Model name must be a non-empty string and cannot contain the "
                "following characters: ('/', ':', '.', '%', '\"', \"'\")"
            )
        experiment = self._experiments.active(given["experiment_id"])
        source = given.get("source_run_id") or ""
        above = self._store.run(source) if source else None
        id_ = self._store.new_id()
        now = self._store.now()
        run = Run(
            id=id_,
            kind=MODEL_KIND,
            name=name or f"model-{id_[-8:].lower()}",
            status="running",
            started=now,
            parent=above.id if above else None,
            user=above.user if above else "",
            experiment=experiment.id,
            parameters=_params(given.get("params", [])),
            tags={**tags_of(given.get("tags", [])), _TYPE: given.get("model_type", ""), _UPDATED: str(to_millis(now))},
        )
        self._store.ledger.write(run)
        return {"model": self.told(run)}

    def get(self, given: dict[str, Any]) -> dict[str, Any]:
        """One model."""
        return {"model": self.told(self.find(given["model_id"]))}

    def find(self, id_: str) -> Run:
        """The run that stands for a model.

        Raises:
            MLflowError: there is none, or it was deleted.
        """
        found = self._store.find(model_here(id_))
        if found is None or found.kind != MODEL_KIND or found.deleted is not None:
            raise missing(f"Logged model with ID '{id_}' not found.")
        return found

    def finalize(self, given: dict[str, Any]) -> dict[str, Any]:
        """All its files have come, or something went wrong."""
        status = given["status"]
        if status not in _ENDS:
            raise invalid(f"Invalid model status: {status}. Expected statuses: {list(_ENDS)}")
        run = self.find(given["model_id"])
        content = self.content(run) if status == "LOGGED_MODEL_READY" else None
        tags = {CONTENT_TAG: content.digest} if content else {}

        def alter(before: Run) -> Run:
            now = self._store.now()
            return replace(before, status=_ENDS[status], ended=now, tags={**before.tags, **tags, **self._updated()})

        run = self._change(given["model_id"], alter)
        if content and run.parent:
            add_output(self._store, run.parent, run.name, content)
        return {"model": self.told(run)}

    def content(self, run: Run) -> Artifact:
        """The whole of a model as one artifact, recorded."""
        held = run.tags.get(CONTENT_TAG)
        files = self._files.of_run(run)
        made = Artifact.of(
            CONTENT,
            {"form": "folder", "name": run.name, "model_id": model_there(run.id)},
            files,
            created=self._store.now(),
        )
        if held != made.digest:
            self._store.ledger.write(made)
        return made

    def delete(self, given: dict[str, Any]) -> dict[str, Any]:
        """Put it into the bin."""
        self._change(given["model_id"], lambda run: replace(run, deleted=self._store.now()))
        return {}

    def set_tags(self, given: dict[str, Any]) -> dict[str, Any]:
        """Put tags on it."""
        tags = tags_of(given.get("tags", []))
        if _HIDDEN & tags.keys():
            raise invalid(f"These tags belong to the server: {sorted(_HIDDEN & tags.keys())}.")
        run = self._change(given["model_id"], lambda run: replace(run, tags={**run.tags, **tags, **self._updated()}))
        return {"model": self.told(run)}

    def delete_tag(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take a tag away."""
        key = given["tag_key"]

        def alter(run: Run) -> Run:
            if key not in run.tags or key in _HIDDEN:
                raise missing(f"No tag with key {key!r} found for model with ID {given['model_id']!r}.")
            return replace(run, tags={name: value for name, value in run.tags.items() if name != key} | self._updated())

        self._change(given["model_id"], alter)
        return {}

    def log_params(self, given: dict[str, Any]) -> dict[str, Any]:
        """More parameters."""
        params = _params(given.get("params", []))
        self._change(given["model_id"], lambda run: replace(run, parameters={**run.parameters, **params}))
        return {}

    def measured(self, run: Run, given: Sequence[Mapping[str, Any]]) -> None:
        """Note numbers of a run that were measured on a model."""
        for id_ in {str(one["model_id"]) for one in given if one.get("model_id")}:
            rows = [_row(run, one) for one in given if one.get("model_id") == id_]

            def alter(before: Run, rows: list[dict[str, Any]] = rows) -> Run:
                held = json.loads(before.tags.get(_MEASURED, "[]"))
                fresh = {(row["key"], row["run_id"], row.get("dataset_name")): row for row in [*held, *rows]}
                return replace(before, tags={**before.tags, _MEASURED: json.dumps(list(fresh.values()))})

            ulid = self.find(id_).id
            points = [Metric(ulid, row["key"], row["step"], float(row["value"]), self._store.now()) for row in rows]
            self._store.change(ulid, lambda id_=id_: self.find(id_), alter, *points)  # type: ignore[misc]

    def directories(self, given: dict[str, Any]) -> dict[str, Any]:
        """What lies in a folder of a model."""
        run = self.find(given["model_id"])
        path = given.get("artifact_directory_path") or ""
        files = self._files.of_run(run).items()
        return {"root_uri": root_of(run), "files": listed(files, check_path(path) if path else "", whole=True)}

    def search(self, given: dict[str, Any]) -> dict[str, Any]:
        """Models of some experiments that fit a filter."""
        most = check_bounds("max_results", given.get("max_results", 100), _MOST)
        ids = [experiment_here(id_) for id_ in given.get("experiment_ids", [])]
        here = In(Field("attribute", "experiment"), tuple(id_ for id_ in ids if id_ is not None))
        where = _condition(given.get("filter", ""))
        query = RunQuery(
            kind=MODEL_KIND,
            where=And((here, where)) if where else here,
            order=_order(given.get("order_by", [])),
            after=given.get("page_token") or None,
            limit=most + 1,
        )
        runs = [run for run in self._store.ledger.runs(query) if _on_datasets(run, given.get("datasets", []))]
        token = cursor_of(runs[most - 1], query) if len(runs) > most else None
        return {"models": [self.told(run) for run in runs[:most]], "next_page_token": token}

    def told(self, run: Run) -> dict[str, Any]:
        """A model as clients read it."""
        id_ = model_there(run.id)
        created = to_millis(run.started)
        return {
            "info": {
                "model_id": id_,
                "experiment_id": experiment_there(run.experiment),
                "name": run.name,
                "creation_timestamp_ms": created,
                "last_updated_timestamp_ms": int(run.tags.get(_UPDATED, created or 0)),
                "artifact_uri": root_of(run),
                "status": _STATUS[run.status],
                "model_type": run.tags.get(_TYPE) or None,
                "source_run_id": run_there(run.parent) if run.parent else "",
                "tags": [{"key": key, "value": value} for key, value in run.tags.items() if key not in _HIDDEN],
            },
            "data": {
                "params": [{"key": key, "value": str(value)} for key, value in run.parameters.items()],
                "metrics": [{**row, "model_id": id_} for row in json.loads(run.tags.get(_MEASURED, "[]"))],
            },
        }

    def _change(self, id_: str, alter: Any) -> Run:
        return self._store.change(model_here(id_), lambda: self.find(id_), alter)

    def _updated(self) -> dict[str, str]:
        return {_UPDATED: str(to_millis(self._store.now()))}


def add_output(store: Store, ulid: str, name: str, content: Artifact) -> None:
    """Make ``content`` an output of a run, under a free slot."""

    def alter(run: Run) -> Run:
        if content.digest in run.outputs.values():
            return run
        slot, number = name, 1
        while slot in run.outputs:
            number += 1
            slot = f"{name}-{number}"
        return replace(run, outputs={**run.outputs, slot: content.digest})

    store.change(ulid, lambda: store.ledger.run(ulid), alter)


def _params(given: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {str(one.get("key")): str(one.get("value", ""))[:6000] for one in given}


def _row(run: Run, given: Mapping[str, Any]) -> dict[str, Any]:
    told = {
        "key": str(given["key"]),
        "value": given["value"],
        "timestamp": given.get("timestamp"),
        "step": int(given.get("step", 0)),
        "run_id": run_there(run.id),
    }
    return told | {name: given[name] for name in ("dataset_name", "dataset_digest") if given.get(name)}


def _condition(text: str) -> Condition | None:
    """The condition of a filter over models: the grammar of runs, with the attributes of models."""
    return joined([_clause_condition(clause) for clause in clauses(text)])


def _clause_condition(clause: Clause) -> Condition:
    group, key = clause.subject
    if group not in {"", "attributes"}:
        return condition_of_clause(clause, lambda _key, _fits: NEVER)
    values = [value.value for value in clause.values]
    match key:
        case "source_run_id" if clause.op in {"=", "!=", "IN", "NOT IN"}:
            same = In(Field("attribute", "parent"), tuple(run_here(value) or "" for value in values))
            return same if clause.op in {"=", "IN"} else Not(same)
        case "status" if clause.op in {"=", "!=", "IN", "NOT IN", "LIKE", "ILIKE"}:
            fits = text_fits(clause.op, values)
            return In(Field("attribute", "status"), tuple(own for own, told in _STATUS.items() if fits(told)))
        case "model_id":
            bare = tuple(value._replace(value=value.value.removeprefix("m-")) for value in clause.values)
            return condition_of_clause(Clause(Identifier("", "run_id"), clause.op, bare), lambda _key, _fits: NEVER)
        case "name" | "model_type":
            subject = Identifier("", "run_name") if key == "name" else Identifier("tag", _TYPE)
            return condition_of_clause(clause._replace(subject=subject), lambda _key, _fits: NEVER)
        case _ if key in _TIMES:
            moved = clause._replace(subject=Identifier("", "start_time"))
            return condition_of_clause(moved, lambda _key, _fits: NEVER)
    raise invalid(f"Invalid attribute key '{key[:80]}' specified.")


def _order(given: Sequence[Mapping[str, Any]]) -> tuple[Order, ...]:
    orders = []
    for one in given:
        name = str(one.get("field_name", ""))
        descending = one.get("ascending") is False
        if name.startswith("metrics."):
            orders.append(Order(Field("metric", name.removeprefix("metrics.")), descending=descending))
        elif name in _TIMES or name in {"last_updated_timestamp", "last_updated_timestamp_ms"}:
            orders.append(Order(Field("attribute", "started"), descending=descending))
        elif name in {"name", "model_id", "source_run_id"}:
            field = {"name": "name", "model_id": "id", "source_run_id": "parent"}[name]
            orders.append(Order(Field("attribute", field), descending=descending))
        else:
            raise invalid(f"Invalid order by field name: {name}")
    started = Order(Field("attribute", "started"), descending=True)
    return tuple(orders) if any(one.field == started.field for one in orders) else (*orders, started)


def _on_datasets(run: Run, datasets: Sequence[Mapping[str, Any]]) -> bool:
    if not datasets:
        return True
    rows = json.loads(run.tags.get(_MEASURED, "[]"))
    wanted = [(one.get("dataset_name"), one.get("dataset_digest")) for one in datasets]
    return any(
        row.get("dataset_name") == name and (digest is None or row.get("dataset_digest") == digest)
        for row in rows
        for name, digest in wanted
    )
