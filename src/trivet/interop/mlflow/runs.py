"""Runs, as clients create, change, find and delete them.

A client's run is a run of the ledger like any other: its parameters and tags are text, its name is also the tag
``mlflow.runName``, the tag ``mlflow.parentRunId`` is its parent. What the ledger's statuses cannot say (``SCHEDULED``, and
a run that runs again after its end) stands in a tag that clients do not see. A run that has ended takes more of everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from trivet.interop.mlflow.datasets import INPUTS_TAG, OUTPUTS_TAG, DatasetCalls
from trivet.interop.mlflow.experiments import ExperimentCalls, deleted_choice, root_of, tags_of
from trivet.interop.mlflow.filters import STATUS_TAG, STATUSES, condition_of, order_of
from trivet.interop.mlflow.identity import experiment_there, run_here, run_there
from trivet.interop.mlflow.store import KIND, Store
from trivet.interop.mlflow.wire import (
    check_bounds,
    invalid,
    invalid_value,
    missing,
    moment,
    to_millis,
)
from trivet.ledger import Run, RunQuery, cursor_of
from trivet.ledger.conditions import And, Field, In

__all__ = ["HIDDEN", "NAME", "RunCalls", "as_params", "check_key", "with_tags"]

NAME: Final = "mlflow.runName"
PARENT: Final = "mlflow.parentRunId"
HIDDEN: Final = frozenset({STATUS_TAG, INPUTS_TAG, OUTPUTS_TAG})
_ENDS = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}
_MOST = 50_000
_LONGEST_KEY, _LONGEST_PARAM, _LONGEST_TAG = 250, 6000, 8000
_KEY = re.compile(r"[/\w.\- :]*")
_CHARACTERS = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), "
    "spaces ( ), colon(:) and slashes (/)."
)


class RunCalls:
    """The calls under ``runs/``. Each takes the fields of its request and answers those of the response."""

    def __init__(self, store: Store, experiments: ExperimentCalls, datasets: DatasetCalls) -> None:
        self._store, self._experiments, self._datasets = store, experiments, datasets

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """A new run."""
        experiment = self._experiments.active(given.get("experiment_id", "0"))
        tags = {_checked_tag(key): value[:_LONGEST_TAG] for key, value in tags_of(given.get("tags", [])).items()}
        name, tagged = given.get("run_name") or "", tags.get(NAME, "")
        if name and tagged and name != tagged:
            raise invalid(
                "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
                f"(run_name='{name}', mlflow.runName='{tagged}')."
            )
        id_ = self._store.new_id()
        name = name or tagged or f"run-{id_[-8:].lower()}"
        run = Run(
            id=id_,
            kind=KIND,
            name=name,
            status="running",
            started=moment(given["start_time"], "start_time") if given.get("start_time") else self._store.now(),
            user=given.get("user_id", ""),
            experiment=experiment.id,
            tags={NAME: name},
        )
        run = with_tags(self._store, run, tags)
        self._store.ledger.write(run)
        return {"run": self.told(run)}

    def get(self, given: dict[str, Any]) -> dict[str, Any]:
        """One run, deleted or not."""
        return {"run": self.told(self._store.run(run_id(given)))}

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        """Say how it ended, or that it goes on, or give it another name."""
        after = self._change(given, lambda run: self._updated(run, given))
        return {"run_info": self._info(after)}

    def log_parameter(self, given: dict[str, Any]) -> dict[str, Any]:
        """One parameter; it never changes."""
        key, value = check_key(given["key"]), _shortened(given["value"])

        def alter(run: Run) -> Run:
            held = run.parameters.get(key)
            if key in run.parameters and _text(held) != value:
                raise invalid(
                    f"Changing param values is not allowed. Param with key='{key}' was already logged with "
                    f"value='{_text(held)}' for run ID='{run_id(given)}'. Attempted logging new value '{value}'."
                )
            return replace(run, parameters={key: value, **run.parameters})

        self._change(given, alter)
        return {}

    def set_tag(self, given: dict[str, Any]) -> dict[str, Any]:
        """Put a tag on it."""
        tags = {_checked_tag(given["key"]): given["value"][:_LONGEST_TAG]}
        self._change(given, lambda run: with_tags(self._store, run, tags))
        return {}

    def delete_tag(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take a tag away."""

        def alter(run: Run) -> Run:
            if given["key"] not in run.tags or given["key"] in HIDDEN:
                raise missing(f"No tag with name: {given['key']} in run with id {given['run_id']}")
            return replace(run, tags={key: value for key, value in run.tags.items() if key != given["key"]})

        self._change(given, alter)
        return {}

    def delete(self, given: dict[str, Any]) -> dict[str, Any]:
        """Put it into the bin. Again is no error."""
        now = self._store.now()
        self._store.change(
            run_here(given["run_id"]),
            lambda: self._store.run(given["run_id"]),
            lambda run: run if run.deleted else replace(run, deleted=now),
        )
        return {}

    def restore(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take it out of the bin. Again is no error."""
        here = run_here(given["run_id"])
        self._store.change(here, lambda: self._store.run(given["run_id"]), lambda run: replace(run, deleted=None))
        return {}

    def search(self, given: dict[str, Any]) -> dict[str, Any]:
        """Runs of some experiments that fit a filter."""
        most = check_bounds("max_results", given.get("max_results", 1000), _MOST)
        query = self._query(given, most)
        if query is None:
            return {}
        runs = self._store.ledger.runs(query)
        token = cursor_of(runs[most - 1], query) if len(runs) > most else None
        return {"runs": [self.told(run) for run in runs[:most]], "next_page_token": token}

    def log_batch(self, given: dict[str, Any], metrics: Callable[[Run], Sequence[Any]]) -> dict[str, Any]:
        """Metrics, parameters and tags in one transaction: all of them or none."""
        params = as_params(given.get("params", []))
        tags = {
            _checked_tag(tag.get("key"), f"tags[{i}].key"): str(tag.get("value", ""))[:_LONGEST_TAG]
            for i, tag in enumerate(given.get("tags", []))
        }
        id_ = run_id(given)
        with self._store.locked(str(run_here(id_))):
            run = self._store.active(id_)
            changed = [
                {"key": key, "old_value": _text(run.parameters[key]), "new_value": value}
                for key, value in params.items()
                if key in run.parameters and _text(run.parameters[key]) != value
            ]
            if changed:
                raise invalid(
                    f"Changing param values is not allowed. Params were already logged='{changed}' for run ID='{id_}'."
                )
            after = with_tags(self._store, replace(run, parameters={**params, **run.parameters}), tags)
            records = [*([after] if after != run else []), *metrics(run)]
            if records:
                self._store.ledger.write(*records)
        return {}

    def log_model(self, given: dict[str, Any]) -> dict[str, Any]:
        """The old way to note a model: a list in a tag."""
        try:
            told = json.loads(given["model_json"])
        except ValueError as exc:
            raise invalid(f"Malformed model info. \n {given['model_json'][:200]} \n is not valid JSON.") from exc
        if not isinstance(told, dict) or not {"artifact_path", "flavors"} <= told.keys():
            raise invalid("Model json is missing mandatory fields: artifact_path, flavors")

        def alter(run: Run) -> Run:
            history = json.loads(run.tags.get("mlflow.log-model.history", "[]"))
            return replace(run, tags={**run.tags, "mlflow.log-model.history": json.dumps([*history, told])})

        self._change(given, alter)
        return {}

    # What clients are told

    def told(self, run: Run) -> dict[str, Any]:
        """A run as clients read it."""
        tags = {key: value for key, value in run.tags.items() if key not in HIDDEN}
        tags.setdefault(NAME, run.name)
        return {
            "info": self._info(run),
            "data": {
                "metrics": self._latest(run),
                "params": [{"key": key, "value": _text(value)} for key, value in run.parameters.items()],
                "tags": [{"key": key, "value": value} for key, value in tags.items()],
            },
            "inputs": self._datasets.inputs_of(run),
            "outputs": self._datasets.outputs_of(run),
        }

    def _latest(self, run: Run) -> list[dict[str, Any]]:
        if not run.metrics:
            return []
        summaries = self._store.ledger.metrics(run.id, summary=True)
        return [
            {"key": one.name, "value": one.last, "timestamp": to_millis(one.at or run.started), "step": one.step}
            for one in summaries
        ]

    def _info(self, run: Run) -> dict[str, Any]:
        id_ = run_there(run.id)
        experiment = experiment_there(run.experiment)
        status = run.tags.get(STATUS_TAG) or next(name for name, own in STATUSES.items() if run.status in own)
        return {
            "run_id": id_,
            "run_uuid": id_,
            "experiment_id": experiment,
            "run_name": run.name,
            "user_id": run.user,
            "status": status,
            "start_time": to_millis(run.started),
            "end_time": None if STATUS_TAG in run.tags else to_millis(run.ended),
            "artifact_uri": f"{root_of(experiment)}/{id_}/artifacts",
            "lifecycle_stage": "deleted" if run.deleted else "active",
        }

    # Within

    def _change(self, given: dict[str, Any], alter: Callable[[Run], Run]) -> Run:
        return self._store.change(run_here(run_id(given)), lambda: self._store.active(run_id(given)), alter)

    def _updated(self, run: Run, given: dict[str, Any]) -> Run:
        status = given.get("status")
        if status is not None and status not in STATUSES:
            raise invalid_value("status", status, f" There are: {', '.join(STATUSES)}.")
        if name := given.get("run_name"):
            run = with_tags(self._store, run, {NAME: name})
        if status is None:
            return run
        tags = {key: value for key, value in run.tags.items() if key != STATUS_TAG}
        if status in _ENDS:
            end = given.get("end_time")
            ended = moment(end, "end_time") if end else run.ended or self._store.now()
            return replace(run, status=_ENDS[status], ended=ended, tags=tags)
        if status == "SCHEDULED" or run.ended is not None:
            tags[STATUS_TAG] = status
        return replace(run, tags=tags)

    def _query(self, given: dict[str, Any], most: int) -> RunQuery | None:
        ids = [self._here(id_) for id_ in given.get("experiment_ids", [])]
        found = tuple(dict.fromkeys(id_ for id_ in ids if id_ is not None))
        where = condition_of(given.get("filter", ""), self._datasets.reading)
        order = order_of(given.get("order_by", []))
        if not found:
            return None
        several = In(Field("attribute", "experiment"), found) if len(found) > 1 else None
        parts = [part for part in (several, where) if part is not None]
        return RunQuery(
            kind=KIND,
            experiment=found[0] if len(found) == 1 else None,
            where=And(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None,
            order=order,
            after=given.get("page_token") or None,
            deleted=deleted_choice(given.get("run_view_type")),
            limit=most + 1,
        )

    def _here(self, id_: str) -> str | None:
        from trivet.interop.mlflow.identity import experiment_here

        if not id_.isascii() or not id_.isdecimal():
            raise invalid(f"Invalid experiment ID '{id_[:80]}'. Experiment ID must be a valid integer.")
        return experiment_here(id_)


def run_id(given: Mapping[str, Any]) -> str:
    """The run that a request names, by the new field or the old one.

    Raises:
        MLflowError: it names none.
    """
    found = given.get("run_id") or given.get("run_uuid")
    if not found:
        raise invalid(
            "Missing value for required parameter 'run_id'. See the API docs for more information about request parameters."
        )
    return str(found)


def with_tags(store: Store, run: Run, tags: Mapping[str, str]) -> Run:
    """``run`` with more tags; those that mean its name or its parent change it there too."""
    name = tags.get(NAME) or run.name
    parent = run.parent
    if PARENT in tags:
        above = store.find(run_here(tags[PARENT]))
        parent = above.id if above else None
    return replace(run, name=name, parent=parent, tags={**run.tags, **tags})


def as_params(given: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Parameters as a client sends them.

    Raises:
        MLflowError: a name breaks the rules, or stands there twice with different values.
    """
    params: dict[str, str] = {}
    doubled = []
    for i, param in enumerate(given):
        key = check_key(param.get("key"), f"params[{i}].key")
        value = _shortened(str(param.get("value", "")))
        if key in params:
            doubled.append(key)
        params[key] = value
    if doubled:
        raise invalid(
            f"Duplicate parameter keys have been submitted: {doubled}. Please ensure the request contains only one "
            "param value per param key."
        )
    return params


def check_key(key: Any, path: str = "key") -> str:
    """``key``, where it can name a parameter, a metric or a tag.

    Raises:
        MLflowError: it breaks MLflow's rules.

    Example:
        >>> check_key("val/auc")
        'val/auc'
    """
    if not isinstance(key, str) or not key:
        raise invalid(f"Missing value for required parameter '{path}'.")
    if _KEY.fullmatch(key) is None:
        raise invalid_value(path, key, _CHARACTERS)
    if key.startswith("/") or any(part in {"", ".", ".."} for part in key.split("/")):
        raise invalid_value(
            path,
            key,
            "Names may be treated as files in certain cases, and must not resolve to other names when treated as such.",
        )
    if len(key) > _LONGEST_KEY:
        raise invalid(f"'{path}' exceeds the maximum length of {_LONGEST_KEY} characters")
    return key


def _checked_tag(key: Any, path: str = "key") -> str:
    checked = check_key(key, path)
    if checked in HIDDEN:
        raise invalid_value(path, key, "This tag belongs to the server.")
    return checked


def _shortened(value: str) -> str:
    return value[:_LONGEST_PARAM]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
