"""Experiments, as clients create, find and change them.

Deleting an experiment frees its name, which MLflow's own server does not: ``set_experiment`` of a deleted name makes a new
one instead of failing. The deleted one is found by its id, and can be restored while nobody took the name.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

from trivet.errors import Conflict, NotFound
from trivet.interop.mlflow.identity import experiment_here, experiment_there
from trivet.interop.mlflow.predicates import Row, matching, page
from trivet.interop.mlflow.store import Document, Store
from trivet.interop.mlflow.wire import MLflowError, check_bounds, invalid, missing, to_millis
from trivet.tracking.experiments import Experiment, Experiments
from trivet.types import as_utc

__all__ = ["ExperimentCalls", "deleted_choice", "root_of"]

DEFAULT: Final = "Default"
NOTE: Final = "mlflow.note.content"
_LONGEST = 500
_START = as_utc("1970-01-01T00:00:00Z")
_DEFAULT_TAGS = "default_experiment/tags"
_MOST = 50_000
_VIEWS = {"ACTIVE_ONLY": "no", "DELETED_ONLY": "only", "ALL": "both"}
_TEXTS, _NUMBERS = ("name", "experiment_id"), ("creation_time", "last_update_time")


class ExperimentCalls:
    """The calls under ``experiments/``. Each takes the fields of its request and answers those of the response."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._experiments = Experiments(store.context)
        self._lock = threading.Lock()

    def get_by_name(self, given: dict[str, Any]) -> dict[str, Any]:
        """The active experiment of this name."""
        found = self._named(given["experiment_name"])
        if found is None:
            raise missing(f"Could not find experiment with name '{given['experiment_name']}'")
        return {"experiment": self._told(found)}

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """A new experiment. The address of its artifacts is ours, whatever the client wishes."""
        name = given["name"]
        if len(name) > _LONGEST:
            raise invalid(f"'name' exceeds the maximum length of {_LONGEST} characters")
        tags = {tag["key"]: str(tag.get("value", "")) for tag in given.get("tags", [])}
        with self._lock:
            if self._named(name) is not None:
                raise MLflowError("RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists.")
            made = self._experiments.get_or_make(name)
            if tags:
                self._experiments.set_tags(made.id, tags)
        return {"experiment_id": experiment_there(made.id)}

    def get(self, given: dict[str, Any]) -> dict[str, Any]:
        """The experiment with this id, deleted or not."""
        return {"experiment": self._told(self.find(given["experiment_id"]))}

    def find(self, id_: str) -> Experiment:
        """The experiment with a client's id.

        Raises:
            MLflowError: it is no id, or there is no such experiment.
        """
        if not id_.isascii() or not id_.isdecimal():
            raise invalid(f"Invalid experiment ID '{id_[:80]}'. Experiment ID must be a valid integer.")
        here = experiment_here(id_)
        if here == "":
            return self._default()
        try:
            return self._experiments.get(here or "?")
        except NotFound as exc:
            raise missing(f"No Experiment with id={id_} exists") from exc

    def active(self, id_: str) -> Experiment:
        """The experiment with a client's id, if it is not deleted.

        Raises:
            MLflowError: there is no such experiment, or it was deleted.
        """
        found = self.find(id_)
        if found.deleted is not None:
            raise MLflowError(
                "INVALID_PARAMETER_VALUE",
                f"The experiment {id_} must be in the 'active' state. Current state is deleted.",
            )
        return found

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give it another name."""
        found = self.find(given["experiment_id"])
        if "new_name" in given:
            if found.deleted is not None:
                raise MLflowError("INVALID_STATE", "Cannot rename a non-active experiment.")
            name = given["new_name"]
            try:
                if not found.id or name == DEFAULT:
                    raise Conflict("The default experiment keeps its name.")
                self._experiments.rename(found.id, name)
            except Conflict as exc:
                raise MLflowError("RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists.") from exc
        return {}

    def delete(self, given: dict[str, Any]) -> dict[str, Any]:
        """Put it and its runs into the bin."""
        found = self.active(given["experiment_id"])
        if not found.id:
            raise invalid("Cannot delete the default experiment '0'. This is an internally reserved resource.")
        self._experiments.delete(found.id)
        return {}

    def restore(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take it out of the bin, and the runs that went there with it."""
        found = self.find(given["experiment_id"])
        if found.deleted is None:
            raise missing(f"No Experiment with id={given['experiment_id']} in the 'deleted' state exists")
        try:
            self._experiments.restore(found.id)
        except Conflict as exc:
            raise MLflowError("RESOURCE_ALREADY_EXISTS", f"Experiment(name={found.name}) already exists.") from exc
        return {}

    def set_tag(self, given: dict[str, Any]) -> dict[str, Any]:
        """Put a tag on it."""
        self._tag(self.active(given["experiment_id"]), {given["key"]: given["value"]})
        return {}

    def delete_tag(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take a tag away."""
        found = self.active(given["experiment_id"])
        if given["key"] not in found.tags:
            raise missing(f"No tag with name: {given['key']} in experiment with id {given['experiment_id']}")
        self._tag(found, {given["key"]: None})
        return {}

    def search(self, given: dict[str, Any]) -> dict[str, Any]:
        """Experiments that fit a filter, newest first unless told otherwise."""
        most = check_bounds("max_results", given.get("max_results", 1000), _MOST)
        deleted = deleted_choice(given.get("view_type"))
        known = [*self._experiments.list(deleted), *([self._default()] if deleted != "only" else [])]
        rows = [self._row(one) for one in known]
        found = matching(rows, given.get("filter", ""), texts=_TEXTS, numbers=_NUMBERS, nulls=True)
        chosen, token = page(
            found, given.get("order_by") or ["creation_time DESC", "experiment_id ASC"],
            (*_TEXTS, *_NUMBERS), most, given.get("page_token", ""),
        )  # fmt: skip
        return {"experiments": [row.told for row in chosen], "next_page_token": token}

    def _row(self, found: Experiment) -> Row:
        told = self._told(found)
        attributes = {name: told[name] for name in (*_TEXTS, *_NUMBERS)}
        return Row(told, attributes, dict(found.tags))

    def _told(self, found: Experiment) -> dict[str, Any]:
        id_ = experiment_there(found.id)
        tags = dict(found.tags)
        if found.description:
            tags.setdefault(NOTE, found.description)
        return {
            "experiment_id": id_,
            "name": found.name,
            "artifact_location": root_of(id_),
            "lifecycle_stage": "deleted" if found.deleted else "active",
            "creation_time": to_millis(found.created),
            "last_update_time": to_millis(found.deleted or found.created),
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }

    def _named(self, name: str) -> Experiment | None:
        if name == DEFAULT:
            return self._default()
        try:
            found = self._experiments.get(name)
        except NotFound:
            return None
        return found if found.name == name and found.deleted is None else None

    def _default(self) -> Experiment:
        """The experiment of runs that name none."""
        return Experiment("", DEFAULT, _START, tags=self._store.document(_DEFAULT_TAGS, "properties") or {})

    def _tag(self, found: Experiment, tags: dict[str, str | None]) -> None:
        if found.id:
            self._experiments.set_tags(found.id, tags)
            return

        def alter(held: Document | None) -> Document:
            return {key: value for key, value in {**(held or {}), **tags}.items() if value is not None}

        self._store.alter(_DEFAULT_TAGS, "properties", alter)


def root_of(id_: str) -> str:
    """Where the artifacts of an experiment are, for a client."""
    return f"mlflow-artifacts:/{id_}"


def deleted_choice(view: str | None) -> Any:
    """Whether deleted ones are asked for."""
    if view is not None and view not in _VIEWS:
        raise invalid(f"Invalid value {view[:80]!r} for a view type. There are: {', '.join(_VIEWS)}.")
    return _VIEWS[view or "ACTIVE_ONLY"]


def tags_of(given: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Tags as a client sends them."""
    return {str(tag["key"]): str(tag.get("value", "")) for tag in given}
