"""Who uses a definition: training sets, models, deployments, feature servers, services, on-demand views, views built on it.

All of it is read from the ledger: a training set's run has the definitions among its inputs, a model's signature says
which feature each input is and of which version, a deployment's run has its model and that of a feature server has the
definitions that it answers with. So nothing is registered by
hand, and what was used in the past stays known. A use counts as *alive* where an edit would be felt at once: a
deployment that answers, a model that an alias points at, or a definition that asks for features by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec

from trivet.errors import NotFound
from trivet.features.catalogue import Catalogue, Listed
from trivet.features.definitions import FeatureView, Source
from trivet.features.on_demand import OnDemand
from trivet.features.references import Definition
from trivet.features.services import FeatureService
from trivet.ledger import Artifact, Run, RunQuery
from trivet.pipelines.context import Context
from trivet.pipelines.recording import is_alive
from trivet.types import Digest

__all__ = ["KINDS", "Usage", "Use", "Users", "asked_by_name"]

KINDS = ("deployment", "feature_server", "model", "feature_service", "on_demand", "feature_view", "training_set")
"""Kinds of users, those that feel an edit first in front."""
_WORDS = {"feature_service": "service", "on_demand": "on-demand view", "feature_view": "view"}
_PAGE = 1_000


class Use(msgspec.Struct, frozen=True):
    """One user of a definition.

    Attributes:
        kind: one of ``KINDS``.
        name: ``delay@2`` of a model and its deployments, the label of a training set, or the definition's name.
        id: what to paste: the digest of the artifact, the id of the run of a deployment or a feature server.
        version: which version of the definition it uses; None where it asks for whatever is current.
        features: which of its features, by their short names.
        state: of a deployment or a feature server ``alive``, ``stopped``, ``failed`` or ``retired``; of a model its aliases.
        alive: whether an edit would be felt.
        through: of a model the digest of its training set, of a deployment that of its model.
    """

    kind: str
    name: str
    id: str
    version: int | None
    features: tuple[str, ...]
    at: datetime | None = None
    state: str = ""
    alive: bool = False
    through: str = ""

    def __str__(self) -> str:
        kind = _WORDS.get(self.kind, self.kind.replace("_", " "))
        about = [f"version {self.version}"] if self.version is not None else []
        about += [self.state] if self.state else []
        return f"{kind} {self.name} ({', '.join(about)})" if about else f"{kind} {self.name}"


class Users(msgspec.Struct, frozen=True):
    """All users of a definition, by kind and the newest first."""

    uses: tuple[Use, ...] = ()

    def __len__(self) -> int:
        return len(self.uses)

    def of(self, *kinds: str) -> list[Use]:
        """Those of some kinds."""
        return [each for each in self.uses if each.kind in kinds]

    def reading(self, features: Iterable[str]) -> Users:
        """Those that use one of these features; all of them where none is named."""
        wanted = set(features)
        return Users(tuple(each for each in self.uses if not wanted or wanted & set(each.features)))

    @property
    def alive(self) -> list[Use]:
        """Those that an edit would reach."""
        return [each for each in self.uses if each.alive]

    def __str__(self) -> str:
        """Those that one would ask by name, and how many training sets."""
        named = [str(each) for each in self.uses if each.kind != "training_set" and (each.alive or "@" in each.name)]
        rest = Counter(_plain_kind(each) for each in self.uses if str(each) not in named)
        return ", ".join([*named, *(f"{n:,} {kind}{'s' * (n != 1)}" for kind, n in rest.items())]) or "nobody"


def _plain_kind(use: Use) -> str:
    return _WORDS.get(use.kind, use.kind.replace("_", " "))


def asked_by_name(definition: Definition) -> list[str]:
    """The references by which a service or an on-demand view asks for features, whatever version is current."""
    if isinstance(definition, OnDemand):
        return [each.reference for each in definition.inputs]
    return list(definition.features) if isinstance(definition, FeatureService) else []


class Usage:
    """Who uses what in a project, as the ledger says it now. What several questions need is read once."""

    def __init__(self, context: Context, instead: Iterable[Definition] = ()) -> None:
        """``instead`` are definitions that would be current: they are asked in place of the stored ones."""
        self._context = context
        self._instead = {each.name: each for each in instead}

    def of(self, name: str) -> Users:
        """The users of all versions of a definition.

        Raises:
            NotFound: there is no such definition.
        """
        kind = Catalogue(self._context).kind_of(name)
        pointers = self._context.ledger.pointers(name=f"{kind}/{name}")
        versions = {each.digest: int(each.label) for each in pointers if each.is_version and each.digest}
        slot = f"{'services' if kind == 'feature_service' else 'views'}.{name}"
        sets = dict(self._sets(slot, name, versions))
        models = dict(self._models_of(name, versions, sets, whole=kind == "feature_service"))
        servers = self._servers(slot, name, versions)
        uses = [*self._deployments(models), *servers, *models.values(), *self._definitions(name), *sets.values()]
        order = {each: place for place, each in enumerate(KINDS)}
        newest = sorted(uses, key=lambda use: use.at.timestamp() if use.at else 0.0, reverse=True)
        return Users(tuple(sorted(newest, key=lambda use: order[use.kind])))

    def served(self) -> list[str]:
        """Older versions of views that are answered with now, where the current one has other rows: ``weather@1``."""
        found: dict[str, None] = {}
        for run in self._serving_features:
            if self._state(run) == "alive":
                for slot, digest in run.inputs.items():
                    if slot.startswith("views."):
                        found |= dict.fromkeys(self._older(slot[6:], digest))
        for run in self._served:
            if self._state(run) == "alive" and (model := self._model_of(run)) is not None:
                for name, digest in self._read_by(model).items():
                    found |= dict.fromkeys(self._older(name, digest))
        return sorted(found)

    def _model_of(self, run: Run) -> Artifact | None:
        return self._context.ledger.artifact(run.inputs["model"]) if "model" in run.inputs else None

    def _older(self, name: str, digest: Digest) -> Iterator[str]:
        pointers = self._context.ledger.pointers(name=f"feature_view/{name}")
        label = next((each.label for each in pointers if each.is_version and each.digest == digest), None)
        current = next((each.digest for each in pointers if each.label == "current"), None)
        if label is not None and current is not None and current != digest:
            old, new = (FeatureView.from_spec(self._context.ledger.artifact(each).spec) for each in (digest, current))
            if old.online_name != new.online_name and old.served_features:
                yield f"{name}@{label}"

    # -- training sets ----------------------------------------------------------------------------------------

    def _sets(self, slot: str, name: str, versions: Mapping[Digest, int]) -> Iterator[tuple[Digest, Use]]:
        for digest, version in versions.items():
            for run in _all(self._context, kind="training_set", input=digest, status="finished"):
                if run.inputs.get(slot) == digest and "result" in run.outputs:
                    made = run.outputs["result"]
                    definitions = {s[6:]: d for s, d in run.inputs.items() if s.startswith("views.")}
                    asked = run.parameters.get("features", [])
                    features = () if slot.startswith("services") else self._read(name, asked, definitions)
                    yield made, Use("training_set", run.name, made, version, features, run.started)

    def _read(self, name: str, references: Iterable[str], definitions: Mapping[str, Digest]) -> tuple[str, ...]:
        """Which features of ``name`` it takes to answer references, on-demand views between them looked through."""
        found: dict[str, None] = {}
        waiting, seen = list(references), set[str]()
        while waiting:
            reference = waiting.pop()
            if reference in seen:
                continue
            seen.add(reference)
            view, _, feature = reference.partition(":")
            if view == name:
                found[feature] = None
            waiting += self._inputs.get(definitions.get(view, ""), ())
        return tuple(sorted(found))

    @cached_property
    def _inputs(self) -> dict[Digest, list[str]]:
        """The references that each version of each on-demand view takes in."""
        ledger = self._context.ledger
        digests = {p.digest for p in ledger.pointers(name="on_demand/*") if p.is_version and p.digest}
        return {digest: [each[1] for each in ledger.artifact(digest).spec["inputs"]] for digest in digests}

    # -- models and deployments -------------------------------------------------------------------------------

    def _models_of(
        self, name: str, versions: Mapping[Digest, int], sets: Mapping[Digest, Use], *, whole: bool
    ) -> Iterator[tuple[Digest, Use]]:
        for model in self._models:
            train = sets.get(model.spec.get("training_set", ""))
            definitions = self._read_by(model)
            version = versions.get(definitions.get(name, ""))
            features = self._read(name, [each["feature"] for each in _inputs_of(model)], definitions)
            if whole and train is not None:
                version = train.version
            elif not features or version is None:
                continue
            if version is not None:
                yield model.digest, self._model(model, version, features)

    def _read_by(self, model: Artifact) -> dict[str, Digest]:
        """The definitions that a model reads, by name, inputs of on-demand views among them."""
        definitions: dict[str, Digest] = {
            each["feature"].partition(":")[0]: each["view"] for each in _inputs_of(model) if each.get("view")
        }
        if any(digest in self._inputs for digest in definitions.values()) and model.spec.get("training_set"):
            definitions |= self._context.ledger.artifact(model.spec["training_set"]).spec.get("definitions", {})
        return definitions

    def _model(self, model: Artifact, version: int, features: tuple[str, ...]) -> Use:
        labels = self._registered.get(model.digest, [])
        names = [f"{name}@{label}" for name, label in labels if label.isdecimal()]
        aliases = ", ".join(sorted(label for _, label in labels if not label.isdecimal()))
        called = ", ".join(names) or model.id
        train = model.spec.get("training_set") or ""
        return Use("model", called, model.digest, version, features, model.created, aliases, bool(aliases), train)

    @cached_property
    def _models(self) -> Sequence[Artifact]:
        return self._context.ledger.artifacts(kind="model", limit=1_000_000)

    @cached_property
    def _registered(self) -> dict[Digest, list[tuple[str, str]]]:
        found: dict[Digest, list[tuple[str, str]]] = {}
        for each in self._context.ledger.pointers(name="model/*"):
            if each.digest is not None:
                found.setdefault(each.digest, []).append((each.name.partition("/")[2], each.label))
        return found

    def _deployments(self, models: Mapping[Digest, Use]) -> Iterator[Use]:
        for run in self._served:
            model = models.get(run.inputs.get("model", ""))
            if model is not None:
                state = self._state(run)
                alive = state == "alive"
                about = (model.version, model.features, run.started, state, alive, model.id)
                yield Use("deployment", run.name, run.id, *about)

    def _servers(self, slot: str, name: str, versions: Mapping[Digest, int]) -> Iterator[Use]:
        for run in self._serving_features:
            version = versions.get(run.inputs.get(slot, ""))
            if version is not None:
                definitions = {each[6:]: digest for each, digest in run.inputs.items() if each.startswith("views.")}
                asked = () if slot.startswith("services") else self._read(name, run.parameters["features"], definitions)
                state = self._state(run)
                about = (version, asked, run.started, state, state == "alive")
                yield Use("feature_server", run.name, run.id, *about)

    @cached_property
    def _serving_features(self) -> list[Run]:
        return list(_all(self._context, kind="serve_features"))

    @cached_property
    def _served(self) -> list[Run]:
        return list(_all(self._context, kind="serve"))

    @cached_property
    def _retired(self) -> set[str | None]:
        return {run.parent for run in _all(self._context, kind="retire")}

    def _state(self, run: Run) -> str:
        if run.id in self._retired:
            return "retired"
        if run.status != "running":
            return "failed" if run.status == "failed" else "stopped"
        return "alive" if run.host != self._context.host or is_alive(run.tags) else "stopped"

    # -- definitions ------------------------------------------------------------------------------------------

    def _definitions(self, name: str) -> Iterator[Use]:
        for each in self._current:
            definition = self._instead.get(each.name, each.definition)
            parts = [reference.partition(":") for reference in asked_by_name(definition)]
            features = tuple(feature for view, _, feature in parts if view == name)
            if features:
                yield Use(each.kind, each.name, each.digest, None, features, each.applied, alive=True)
            elif isinstance(definition, FeatureView) and (base := _log_of(name, definition.source)) is not None:
                version = self._version_of(base)
                yield Use("feature_view", each.name, each.digest, version, tuple(base.features), each.applied)

    @cached_property
    def _current(self) -> list[Listed]:
        return Catalogue(self._context).list()

    def _version_of(self, view: FeatureView) -> int | None:
        """The newest version that computes what this copy of a view does; words are no part of the copy."""
        for pointer in reversed(self._context.ledger.pointers(name=f"feature_view/{view.name}")):
            if pointer.is_version and pointer.digest is not None:
                try:
                    stored = FeatureView.from_spec(self._context.ledger.artifact(pointer.digest).spec)
                except NotFound:
                    continue
                if stored.online_name == view.online_name and stored.ttl == view.ttl:
                    return int(pointer.label)
        return None


def _inputs_of(model: Artifact) -> list[dict[str, Any]]:
    return [each for each in model.spec.get("signature", {}).get("inputs", []) if each.get("feature")]


def _log_of(name: str, source: Source) -> FeatureView | None:
    """The view of that name whose log a source reads, at any depth."""
    if source.view is not None:
        return source.view if source.view.name == name else _log_of(name, source.view.source)
    return next((found for each in source.inputs if (found := _log_of(name, each)) is not None), None)


def _all(context: Context, **query: Any) -> Iterator[Run]:
    before: str | None = None
    while page := context.ledger.runs(RunQuery(**query, before=before, limit=_PAGE)):
        yield from page
        if len(page) < _PAGE:
            return
        before = page[-1].id
