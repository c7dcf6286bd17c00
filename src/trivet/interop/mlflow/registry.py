"""The registry of models, as clients see it: names, versions, aliases, tags, descriptions, stages.

A version is a version of the pointer ``model/NAME``, an alias an alias of it, so ``trivet models`` shows what clients
registered and clients load what ``project.register(...)`` named. Tags, descriptions and stages are documents beside them.
A version number is given once: who deletes a model and makes it again goes on where it stopped, which MLflow does not.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from trivet.interop.mlflow.experiments import tags_of
from trivet.interop.mlflow.files import CONTENT, Files, place_of_uri, root_of
from trivet.interop.mlflow.identity import model_here, model_there, run_here, run_there
from trivet.interop.mlflow.logged_models import CONTENT_TAG, ModelCalls, add_output
from trivet.interop.mlflow.predicates import Row, matching, page
from trivet.interop.mlflow.registered import Shelf, Version
from trivet.interop.mlflow.runs import check_key
from trivet.interop.mlflow.store import Document, Store
from trivet.interop.mlflow.wire import MLflowError, check_bounds, invalid, invalid_value, missing
from trivet.ledger import Artifact

__all__ = ["RegistryCalls"]

STAGES: Final = ("None", "Staging", "Production", "Archived")
_MOST_MODELS, _MOST_VERSIONS = 1000, 200_000
_ALIAS = re.compile(r"[\w\-]*")
_TEXTS = ("name",)
_VERSION_TEXTS = ("name", "run_id", "source_path")
_VERSION_NUMBERS = ("version_number", "creation_timestamp", "last_updated_timestamp")
_KEYS = ("name", "timestamp", "last_updated_timestamp", "creation_timestamp")


class RegistryCalls:
    """The calls under ``registered-models`` and ``model-versions``."""

    def __init__(self, store: Store, models: ModelCalls, files: Files) -> None:
        self._store, self._models, self._files = store, models, files
        self._shelf = Shelf(store)
        self._lock = threading.Lock()

    # Registered models

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """A new name for models."""
        name = _checked_name(given["name"])
        tags = _checked_tags(given.get("tags", []))
        with self._lock:
            if self._shelf.model(name) is not None:
                raise MLflowError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")
            self._shelf.put_model(name, tags=tags, description=given.get("description"))
        return {"registered_model": self._told(name)}

    def get(self, given: dict[str, Any]) -> dict[str, Any]:
        """One name, with its latest versions and aliases."""
        return {"registered_model": self._told(_checked_name(given["name"]))}

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        """Describe it."""
        name = self._known(given["name"])
        self._shelf.alter_model(name, lambda held: {**held, "description": given.get("description")})
        return {"registered_model": self._told(name)}

    def rename(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give all its versions another name."""
        if not str(given.get("new_name", "")).strip():
            raise invalid("Missing value for required parameter 'new_name'.")
        name, new = self._known(given["name"]), _checked_name(given["new_name"])
        with self._lock:
            if self._shelf.model(new) is not None:
                raise MLflowError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={new}) already exists.")
            self._shelf.rename(name, new)
        return {"registered_model": self._told(new)}

    def delete(self, given: dict[str, Any]) -> dict[str, Any]:
        """Delete the name with its versions and aliases; their content stays with the runs that made it."""
        self._shelf.delete(self._known(given["name"]))
        return {}

    def set_tag(self, given: dict[str, Any]) -> dict[str, Any]:
        """Put a tag on a name."""
        tags = _checked_tags([given])
        self._shelf.alter_model(self._known(given["name"]), lambda held: _tagged(held, tags))
        return {}

    def delete_tag(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take a tag of a name away. One that is not there is no error."""
        self._shelf.alter_model(self._known(given["name"]), lambda held: _untagged(held, given["key"]))
        return {}

    def set_alias(self, given: dict[str, Any]) -> dict[str, Any]:
        """Point an alias at a version."""
        alias = _checked_alias(given["alias"])
        version = self._version(given)
        self._shelf.point(version, alias)
        return {}

    def delete_alias(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take an alias away. One that is not there is no error."""
        self._shelf.withdraw(self._known(given["name"]), _checked_alias(given["alias"], reserved=False))
        return {}

    def by_alias(self, given: dict[str, Any]) -> dict[str, Any]:
        """The version that an alias points at."""
        name, alias = self._known(given["name"]), given["alias"]
        found = next((one for one in self._shelf.versions(name) if alias in one.aliases), None)
        if found is None:
            raise invalid(f"Registered model alias {alias} not found.")
        return {"model_version": self._version_told(found)}

    def latest(self, given: dict[str, Any]) -> dict[str, Any]:
        """The latest version of each stage."""
        stages = [_stage(stage) for stage in given.get("stages", [])] or list(STAGES)
        found = self._latest(self._shelf.versions(self._known(given["name"])))
        return {"model_versions": [self._version_told(one) for one in found if one.stage in stages]}

    def search(self, given: dict[str, Any]) -> dict[str, Any]:
        """Names that fit a filter."""
        most = check_bounds("max_results", given.get("max_results", 100), _MOST_MODELS)
        rows = []
        for name, document in self._shelf.models().items():
            created, updated = document["created"], document["updated"]
            attributes = {"name": name, "timestamp": updated, "last_updated_timestamp": updated}
            rows.append(Row({"name": name}, {**attributes, "creation_timestamp": created}, document["tags"]))
        found = matching(rows, given.get("filter", ""), texts=_TEXTS, lists=_TEXTS)
        order = given.get("order_by", [])
        chosen, token = page(found, [*order, *_behind(order, "name ASC")], _KEYS, most, given.get("page_token", ""))
        return {"registered_models": [self._told(row.told["name"]) for row in chosen], "next_page_token": token}

    # Versions

    def create_version(self, given: dict[str, Any]) -> dict[str, Any]:
        """The next version of a name."""
        name = self._known(given["name"])
        tags = _checked_tags(given.get("tags", []))
        source = _checked_source(given["source"])
        run = given.get("run_id") or ""
        with self._lock:
            content, model, maker = self._content(source, run, given.get("model_id") or "")
            logged = self._store.find(model_here(model))
            run = run or (run_there(logged.parent) if logged and logged.parent else "")
            content = self._shelf.apart(name, content)
            if maker:
                add_output(self._store, maker, name, content)
            else:
                self._store.ledger.write(content)
            properties = {
                "source": source,
                "run_id": run,
                "run_link": given.get("run_link"),
                "model_id": model,
                "description": given.get("description"),
                "tags": tags,
            }
            version = self._shelf.add(name, content, properties)
        return {"model_version": self._version_told(version)}

    def get_version(self, given: dict[str, Any]) -> dict[str, Any]:
        """One version."""
        return {"model_version": self._version_told(self._version(given))}

    def update_version(self, given: dict[str, Any]) -> dict[str, Any]:
        """Describe it."""
        version = self._version(given)
        after = self._shelf.alter_version(version, lambda held: {**held, "description": given.get("description")})
        return {"model_version": self._version_told(after)}

    def transition(self, given: dict[str, Any]) -> dict[str, Any]:
        """Move it to a stage, and what stood there to the archive if that is wished."""
        stage = _stage(given["stage"])
        version = self._version(given)
        if given["archive_existing_versions"]:
            if stage not in {"Staging", "Production"}:
                raise invalid(
                    "Model version transition cannot archive existing model versions because "
                    f"'{stage}' is not an Active stage. Valid stages are Staging, Production."
                )
            for other in self._shelf.versions(version.name):
                if other.stage == stage and other.number != version.number:
                    self._shelf.alter_version(other, lambda held: {**held, "stage": "Archived"})
        after = self._shelf.alter_version(version, lambda held: {**held, "stage": stage})
        return {"model_version": self._version_told(after)}

    def delete_version(self, given: dict[str, Any]) -> dict[str, Any]:
        """Delete a version and the aliases that point at it."""
        self._shelf.delete_version(self._version(given))
        return {}

    def set_version_tag(self, given: dict[str, Any]) -> dict[str, Any]:
        """Put a tag on a version."""
        tags = _checked_tags([given])
        self._shelf.alter_version(self._version(given), lambda held: _tagged(held, tags))
        return {}

    def delete_version_tag(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take a tag of a version away. One that is not there is no error."""
        self._shelf.alter_version(self._version(given), lambda held: _untagged(held, given["key"]))
        return {}

    def download_uri(self, given: dict[str, Any]) -> dict[str, Any]:
        """Where the files of a version are."""
        return {"artifact_uri": self._uri(self._version(given))}

    def search_versions(self, given: dict[str, Any]) -> dict[str, Any]:
        """Versions of all names that fit a filter."""
        most = check_bounds("max_results", given.get("max_results", 10_000), _MOST_VERSIONS)
        rows = [
            Row({"version": one}, self._attributes(one), one.properties["tags"]) for one in self._shelf.every_version()
        ]
        found = matching(
            rows, given.get("filter", ""), texts=_VERSION_TEXTS, numbers=_VERSION_NUMBERS, lists=("name", "run_id")
        )
        order = given.get("order_by", [])
        order = [*order, *_behind(order, "last_updated_timestamp DESC", "name ASC", "version_number DESC")]
        keys = (*_VERSION_NUMBERS, "name")
        chosen, token = page(found, order, keys, most, given.get("page_token", ""))
        return {"model_versions": [self._version_told(row.told["version"]) for row in chosen], "next_page_token": token}

    # Within

    def _known(self, name: str) -> str:
        if self._shelf.model(_checked_name(name)) is None:
            raise missing(f"Registered Model with name={name} not found")
        return name

    def _version(self, given: Mapping[str, Any]) -> Version:
        name, asked = _checked_name(given["name"]), str(given["version"])
        try:
            number = int(asked)
        except ValueError as exc:
            raise invalid(f"Parameter 'version' must be an integer, got '{asked[:80]}'.") from exc
        for one in self._shelf.versions(name):
            if one.number == number:
                return one
        raise missing(f"Model Version (name={name}, version={asked[:80]}) not found")

    def _content(self, source: str, run: str, model: str) -> tuple[Artifact, str, str | None]:
        """The content of a new version, the logged model it is, and the run that made it."""
        maker = self._store.run(run).id if run_here(run) else None
        id_ = model or (source.removeprefix("models:/") if source.startswith("models:/m-") else "")
        place = place_of_uri(source)
        if not id_ and place and place.kind == "model" and not place.path:
            found = self._store.find(place.owner)
            id_ = model_there(found.id) if found else ""
        if id_ and model_here(id_):
            logged = self._models.find(id_)
            digest = logged.tags.get(CONTENT_TAG)
            content = self._store.artifact(digest) if digest else self._models.content(logged)
            return content, id_, maker or logged.parent or logged.id
        if source.startswith("models:/"):
            return self._of_version(source.removeprefix("models:/")).artifact, model, maker
        files = {}
        if place is not None:
            start = f"{place.path}/" if place.path else ""
            files = {
                path.removeprefix(start): file for path, file in self._files.of(place).items() if path.startswith(start)
            }
            maker = maker or (place.owner if place.kind == "run" else None)
        spec = {"form": "folder", "source": source}
        return Artifact.of(CONTENT, spec, files, created=self._store.now()), model, maker

    def _of_version(self, reference: str) -> Version:
        name, _, number = reference.partition("/")
        return self._version({"name": name, "version": number})

    def _uri(self, version: Version) -> str:
        properties = version.properties
        if properties["model_id"]:
            logged = self._store.find(model_here(properties["model_id"]))
            if logged is not None:
                return root_of(logged)
        source = str(properties["source"])
        if source.startswith("models:/") or not source:
            return f"mlflow-artifacts:/content/{version.artifact.digest}"
        return source

    def _latest(self, versions: Sequence[Version]) -> list[Version]:
        latest = {one.stage: one for one in sorted(versions, key=lambda one: one.number)}
        return [latest[stage] for stage in STAGES if stage in latest]

    def _told(self, name: str) -> dict[str, Any]:
        document = self._shelf.model(name)
        if document is None:
            raise missing(f"Registered Model with name={name} not found")
        versions = self._shelf.versions(name)
        aliases = sorted((alias, one.number) for one in versions for alias in one.aliases)
        return {
            "name": name,
            "creation_timestamp": document["created"],
            "last_updated_timestamp": document["updated"],
            "description": document["description"],
            "latest_versions": [self._version_told(one) for one in self._latest(versions)],
            "tags": [{"key": key, "value": value} for key, value in document["tags"].items()],
            "aliases": [{"alias": alias, "version": str(number)} for alias, number in aliases],
        }

    def _version_told(self, version: Version) -> dict[str, Any]:
        properties = version.properties
        return {
            "name": version.name,
            "version": str(version.number),
            "creation_timestamp": properties["created"],
            "last_updated_timestamp": properties["updated"],
            "user_id": version.by,
            "current_stage": version.stage,
            "description": properties["description"],
            "source": properties["source"] or self._uri(version),
            "run_id": properties["run_id"],
            "run_link": properties["run_link"] or "",
            "status": "READY",
            "model_id": properties["model_id"] or None,
            "tags": [{"key": key, "value": value} for key, value in properties["tags"].items()],
            "aliases": list(version.aliases),
        }

    def _attributes(self, version: Version) -> dict[str, Any]:
        properties = version.properties
        return {
            "name": version.name,
            "run_id": properties["run_id"],
            "source_path": properties["source"],
            "version_number": version.number,
            "creation_timestamp": properties["created"],
            "last_updated_timestamp": properties["updated"],
        }


def _behind(order: Sequence[str], *more: str) -> list[str]:
    """MLflow's own order behind the one that is asked for."""
    named = " ".join(order)
    return [one for one in more if one.split()[0] not in named]


def _checked_name(name: str) -> str:
    if not name.strip():
        raise invalid("Missing value for required parameter 'name'.")
    if "/" in name or ":" in name:
        raise invalid(f"Invalid model name '{name[:200]}'. Names cannot contain '/' or ':'.")
    if name in {".", ".."}:
        raise invalid_value(
            "name", name, "Names may be treated as files in certain cases, and must not resolve to other names."
        )
    if len(name) > 256:
        raise invalid("'name' exceeds the maximum length of 256 characters")
    return name


def _checked_alias(alias: str, *, reserved: bool = True) -> str:
    if not _ALIAS.fullmatch(alias):
        raise invalid(
            f"Invalid alias name: '{alias[:200]}'. Names may only contain alphanumerics, underscores (_), and dashes (-)."
        )
    if len(alias) > 255:
        raise invalid("'Registered model alias name' exceeds the maximum length of 255 characters")
    if reserved and alias.lower() == "latest":
        raise invalid("'latest' alias name (case insensitive) is reserved.")
    if reserved and re.fullmatch(r"[vV]\d+", alias):
        raise invalid(f"Version alias name '{alias}' is reserved.")
    return alias


def _checked_tags(given: Sequence[dict[str, Any]]) -> dict[str, str]:
    tags = tags_of(given)
    for key, value in tags.items():
        check_key(key)
        if len(value) > 100_000:
            raise invalid("'value' exceeds the maximum length of 100000 characters")
    return tags


def _checked_source(source: str) -> str:
    """A source is an address of ours or an opaque text that nobody here follows; a path of this machine is refused."""
    scheme = source.partition(":")[0].lower()
    if ("://" not in source and scheme not in {"models", "runs", "mlflow-artifacts"}) or scheme == "file":
        raise invalid(
            f"Invalid model version source: '{source[:200]}'. To use a local path as a model version source, the run_id "
            "request parameter has to be specified and the local path has to be contained within the artifact "
            "directory of the run specified by the run_id."
        )
    if ".." in source.split("/") or "%2e" in source.lower():
        raise invalid(
            f"Invalid model version source: '{source[:200]}'. If supplying a source as a path, it must not climb."
        )
    return source


def _stage(stage: str) -> str:
    known = {one.lower(): one for one in STAGES}
    if stage.lower() not in known:
        raise invalid(f"Invalid Model Version stage: {stage[:80]}. Value must be one of {', '.join(STAGES)}.")
    return known[stage.lower()]


def _tagged(held: Document, tags: Mapping[str, str]) -> Document:
    return {**held, "tags": {**held["tags"], **tags}}


def _untagged(held: Document, key: str) -> Document:
    return {**held, "tags": {name: value for name, value in held["tags"].items() if name != key}}
