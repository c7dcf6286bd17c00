"""The catalogue: views, on-demand views and feature services under their names, in versions, with who applied them.

A definition is an artifact of kind ``feature_view``, ``on_demand`` or ``feature_service``: its declaration is all of
it. The name ``KIND/NAME`` counts versions, and its alias ``current`` says which one a plain name means: the one
applied last. No two kinds share a name, so a plain name is enough. A source that was declared with a data frame keeps
the frame with the version of the view, as ``feature_frames/VIEW@vVERSION.SOURCE``. Paths inside the project's folder
are stored relative to it. What a function needs of the world (``requires.json``) lies beside the declaration and is no
part of its identity.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trivet.digest import digest
from trivet.errors import Invalid, NotFound
from trivet.features.definitions import FeatureView, Source
from trivet.features.on_demand import OnDemand
from trivet.features.references import Definition, resolve
from trivet.features.services import FeatureService
from trivet.ledger import Artifact, Blobs, Pointer
from trivet.ledger.naming import is_name
from trivet.pipelines.context import Context
from trivet.pipelines.values.contract import Saved
from trivet.types import Digest

if TYPE_CHECKING:
    from trivet.features.sources import Snapshot

__all__ = [
    "Catalogue",
    "DefinitionKind",
    "Listed",
    "open_kind",
    "open_on_demand_kind",
    "open_service_kind",
]

CURRENT = "current"
FRAMES = "feature_frames"
REQUIRES = "requires.json"
KINDS: dict[str, type[Definition]] = {
    "feature_view": FeatureView,
    "on_demand": OnDemand,
    "feature_service": FeatureService,
}
_WORDS = {"feature_view": "feature view", "on_demand": "on-demand view", "feature_service": "feature service"}


@dataclass(frozen=True)
class Listed:
    """A definition as the catalogue lists it."""

    name: str
    version: int
    definition: Definition
    digest: Digest
    applied: datetime
    by: str
    why: str

    @property
    def kind(self) -> str:
        """``feature_view``, ``on_demand`` or ``feature_service``."""
        return self.definition.__trivet_kind__

    @property
    def view(self) -> FeatureView:
        """The definition, where it is a feature view.

        Raises:
            Invalid: it is of another kind.
        """
        if not isinstance(self.definition, FeatureView):
            raise Invalid(f"{self.name!r} is {_with_article(self.kind)}, no feature view. Ask for its definition.")
        return self.definition

    @property
    def features(self) -> list[str]:
        """Its features as references."""
        if isinstance(self.definition, FeatureService):
            return list(self.definition.features)
        return [f"{self.name}:{feature}" for feature in self.definition.features]

    def __str__(self) -> str:
        own = self.definition
        what = f", by {own.entity.name}, from {own.source.name}" if isinstance(own, FeatureView) else ""
        lines = [f"{self.name} ({'' if what else _WORDS[self.kind] + ', '}version {self.version}){what}"]
        lines += [f"  {own.description}"] if own.description else []
        if isinstance(own, FeatureView):
            return "\n".join([*lines, *(f"  {name} = {feature}" for name, feature in own.features.items())])
        return "\n".join([*lines, str(own)])


class Catalogue:
    """The definitions of a project."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def apply(self, *definitions: Definition, why: str = "") -> list[Listed]:
        """Make these the current ones of their names. The same definition keeps its version, an edit gets the next.

        What they were handed as objects is applied as well, before them. Functions are loaded in a clean process
        first, and nothing is applied if one of them does not run there.

        Raises:
            NotFound: something names a view or feature that is neither among them nor applied.
            Invalid: a source's data or a function cannot be used, or a name is taken by another kind.
        """
        every = self.check(*definitions)
        listed = {each.name: self._apply(each, why) for each in every}
        return [listed[each.name] for each in definitions]

    def keep(self, *definitions: Definition) -> None:
        """Give versions to definitions that were checked. They become current only where their name is new."""
        for each in self.prepared(*definitions):
            self._apply(each, "", replace=False)

    def prepared(self, *definitions: Definition) -> list[Definition]:
        """What ``apply`` stores: each after those that it was handed as objects, paths told from the project's folder.

        Raises:
            Invalid: two different ones have one name.
        """
        root, given = self._context.root, _with_given(definitions)
        found = list(dict.fromkeys(each.anchored(root) if isinstance(each, FeatureView) else each for each in given))
        declared = Counter(name for name, _ in {(each.name, each.digest) for each in found})
        for name, count in declared.items():
            if count > 1:
                raise Invalid(f"{count} different definitions are called {name!r}. Rename all but one.")
        return found

    def unstored(self, *definitions: Definition) -> list[FeatureView]:
        """Those views of what ``apply`` would store that were not applied, and so checked, before."""
        views = [each for each in self.prepared(*definitions) if isinstance(each, FeatureView)]
        return [each for each in views if not self._is_stored(each)]

    def check(self, *definitions: Definition) -> list[Definition]:
        """What ``apply`` would store, if all of it can be used.

        Raises:
            NotFound, Invalid: as ``apply``.
        """
        every = self.prepared(*definitions)
        own = {each.name: each for each in every}
        for each in every:
            for kind in KINDS:
                if kind != each.__trivet_kind__ and self._context.ledger.pointers(name=f"{kind}/{each.name}"):
                    raise Invalid(f"{each.name!r} is the name of {_with_article(kind)} already. Choose another.")
            if isinstance(each, FeatureView):
                self._check_transforms(each)
            else:
                resolve(each, lambda name: own[name] if name in own else self.get(name), full_names=True)
                if isinstance(each, OnDemand) and not self._is_stored(each):
                    each.check()
        return every

    def _check_transforms(self, view: FeatureView) -> None:
        """Call its functions in a clean process with frames that have the sources' columns and no rows.

        Those that fetch data are loaded there and not called: what they ask may be far away.
        """
        if self._is_stored(view):
            return
        for leaf in view.source.leaves:
            if leaf.function is not None:
                leaf.function.check()
        for source in _derived_sources(view.source):
            if source.transform is not None:
                source.transform.check(_sample(source, self._context.root))

    def _is_stored(self, definition: FeatureView | OnDemand) -> bool:
        """Whether it was applied, and so checked, before."""
        name = f"{definition.__trivet_kind__}/{definition.name}"
        return any(pointer.digest == definition.digest for pointer in self._context.ledger.pointers(name=name))

    def _apply(self, definition: Definition, why: str, *, replace: bool = True) -> Listed:
        from trivet.pipelines import values

        ledger, by, kind = self._context.ledger, self._context.user, definition.__trivet_kind__
        frames = self._frames_of(definition) if isinstance(definition, FeatureView) else {}
        artifact = values.save(definition, self._context, kind=kind)
        name = f"{kind}/{definition.name}"
        version = ledger.point(name, None, artifact.digest, by=by, why=why).label
        for source, kept in frames.items():
            ledger.point(f"{FRAMES}/{definition.name}", _frame_label(version, source), kept.digest, by=by, why=why)
        current = [pointer.digest for pointer in ledger.pointers(name=name) if pointer.label == CURRENT]
        if current != [artifact.digest] and (replace or not current):
            ledger.point(name, CURRENT, artifact.digest, by=by, why=why)
        return self.describe(definition.name)

    def _frames_of(self, view: FeatureView) -> dict[str, Artifact]:
        """The data that were handed over with a view, recorded, by the name of the source."""
        from trivet.features.snapshots import record_source
        from trivet.features.sources import leaves_of

        handed = {name: leaf for name, leaf in leaves_of([view.source]).items() if _holds_data(leaf)}
        return {name: record_source(leaf, self._context) for name, leaf in handed.items()}

    def names(self, kind: str | None = None) -> list[str]:
        """The names of one kind or of all, sorted.

        Raises:
            NotFound: there is no such kind.
        """
        if kind is not None and kind not in KINDS:
            raise NotFound("kind of definition", kind, KINDS)
        kinds = KINDS if kind is None else (kind,)
        pointers = [each for one in kinds for each in self._context.ledger.pointers(name=f"{one}/*")]
        return sorted({p.name.partition("/")[2] for p in pointers if p.label == CURRENT and p.digest is not None})

    def remove(self, name: str, *, why: str = "") -> None:
        """Take a name out of the catalogue: no version of it is current any more, and all of them stay on record.

        Whether anyone uses it is asked before: see ``trivet.features.removal``.

        Raises:
            NotFound: nothing is called so; the nearest names are offered.
        """
        kind = self.describe(name.partition("@")[0]).kind
        self._context.ledger.point(f"{kind}/{name}", CURRENT, None, by=self._context.user, why=why)

    def list(self, kind: str | None = None) -> list[Listed]:
        """The current definitions of one kind or of all, by name.

        Raises:
            NotFound: there is no such kind.
        """
        kinds = KINDS if kind is None else (kind,)
        if kind is not None and kind not in KINDS:
            raise NotFound("kind of definition", kind, KINDS)
        found: list[Listed] = []
        for one in kinds:
            grouped: dict[str, list[Pointer]] = {}
            for pointer in self._context.ledger.pointers(name=f"{one}/*"):
                grouped.setdefault(pointer.name.partition("/")[2], []).append(pointer)
            applied = {n: some for n, some in grouped.items() if any(e.label == CURRENT and e.digest for e in some)}
            found += [self._listed(one, name, CURRENT, pointers) for name, pointers in applied.items()]
        return sorted(found, key=lambda each: each.name)

    def get(self, reference: str, *, at: datetime | None = None) -> Definition:
        """The current definition of a name, or another version of it: ``"weather"``, ``"weather@2"``.

        With ``at`` it is the one that was current at that moment, with the frames that it had then.

        Raises:
            NotFound: there is none, or there was none then; the nearest names are offered.
        """
        listed = self.describe(reference, at=at)
        if not isinstance(listed.definition, FeatureView):
            return listed.definition
        without = [leaf.name for leaf in listed.view.source.leaves if leaf.data is None and leaf.function is None]
        frames = {name: self._frame(listed, name, at) for name in without}
        return listed.view.bound({name: frame for name, frame in frames.items() if frame is not None})

    def _frame(self, listed: Listed, source: str, at: datetime | None) -> Snapshot | None:
        """The frame that a source had when this version was applied last, until ``at``."""
        from trivet.features.sources import SourceKind

        own = (f"{FRAMES}/{listed.name}", _frame_label(str(listed.version), source))
        earlier = (f"source/{source}", CURRENT)  # projects of 0.1 kept one frame for each name of a source
        for name, label in (own, earlier):
            for pointer in self._pointers(name, at):
                if pointer.label == label and pointer.digest is not None:
                    return SourceKind().load(self._context.ledger.artifact(pointer.digest), self._context.blobs)
        return None

    def describe(self, reference: str, *, at: datetime | None = None) -> Listed:
        """A definition with its version, author and reason; the reference and the moment as in ``get``.

        Raises:
            NotFound: there is none, or there was none then; the nearest names are offered.
        """
        name, _, label = reference.partition("@")
        kind = self.kind_of(name)
        pointers = self._pointers(f"{kind}/{name}", at)
        if at is not None and not pointers:
            first = min(pointer.at for pointer in self._context.ledger.pointers(name=f"{kind}/{name}", history=True))
            raise NotFound(
                _WORDS[kind],
                f"{name} as of {at:%Y-%m-%d %H:%M:%S} UTC",
                hint=f"It was first defined {first:%Y-%m-%d %H:%M:%S} UTC. Give the definition itself to ask with it.",
            )
        return self._listed(kind, name, label or CURRENT, pointers)

    def _pointers(self, name: str, at: datetime | None) -> Sequence[Pointer]:
        """Where the labels of a name point, or pointed at a moment."""
        if at is None:
            return self._context.ledger.pointers(name=name)
        then = {each.label: each for each in self._context.ledger.pointers(name=name, history=True) if each.at <= at}
        return list(then.values())

    def versions(self, name: str) -> Sequence[Listed]:
        """All versions of a definition, the oldest first, as they were applied first.

        Raises:
            NotFound: there is none; the nearest names are offered.
        """
        kind = self.kind_of(name)
        pointers = self._context.ledger.pointers(name=f"{kind}/{name}")
        numbered = sorted((p for p in pointers if p.is_version), key=lambda pointer: int(pointer.label))
        return [self._listed(kind, name, each.label, pointers) for each in numbered]

    def kind_of(self, name: str) -> str:
        """Of which kind the definition of a name is.

        Raises:
            NotFound: there is none; the nearest names are offered.
        """
        for kind in KINDS:
            if is_name(f"{kind}/{name}") and self._context.ledger.pointers(name=f"{kind}/{name}"):
                return kind
        names = self.names()
        holding = [f"{each.name}:{name}" for each in self.list() if name in each.definition.features]
        hint = f"There is the feature {' and '.join(map(repr, holding[:3]))}." if holding else ""
        raise NotFound("feature view or service", name, names, hint=hint if names else "Apply one first.")

    def _listed(self, kind: str, name: str, label: str, pointers: Sequence[Pointer]) -> Listed:
        chosen = next((p for p in pointers if p.label == label), None)
        if label == CURRENT and (chosen is None or chosen.digest is None):
            newest = max((int(p.label) for p in pointers if p.is_version), default=1)
            hint = f"It was removed. Ask for '{name}@{newest}', or define it again."
            raise NotFound("feature view or service", name, [each for each in self.names() if each != name], hint=hint)
        if chosen is None or chosen.digest is None:
            raise NotFound(f"version of {_WORDS[kind]} {name!r}", label, [p.label for p in pointers if p.is_version])
        version = next(int(p.label) for p in pointers if p.is_version and p.digest == chosen.digest)
        definition = KINDS[kind].from_spec(self._context.ledger.artifact(chosen.digest).spec)
        return Listed(name, version, definition, chosen.digest, chosen.at, chosen.by, chosen.why)


def _holds_data(leaf: Source) -> bool:
    return leaf.data is not None and not isinstance(leaf.data, str)


def _frame_label(version: str, source: str) -> str:
    return f"v{version}.{source}"


def _with_given(definitions: Iterable[Definition]) -> Iterator[Definition]:
    """Each definition after those that it was handed."""
    for each in definitions:
        if not isinstance(each, FeatureView | OnDemand | FeatureService):
            raise Invalid(f"{each!r} is no definition. Give a feature view, an on-demand view or a feature service.")
        yield from _with_given(getattr(each, "given", ()))
        yield each


def _derived_sources(source: Source) -> Iterator[Source]:
    for each in source.inputs:
        yield from _derived_sources(each)
    if source.derived:
        yield source


def _sample(source: Source, root: Path) -> dict[str, Any] | None:
    """Frames without rows for each input, None where the data are not at hand yet."""
    from trivet.features.sources import snapshots_of

    if any(each.derived for each in source.inputs):
        return None
    try:
        rows = {name: snapshot.scan().head(0).collect() for name, snapshot in snapshots_of(source.inputs, root).items()}
    except Invalid:
        return None  # a view may be defined before its file is there
    return {"frames": {name: b64encode(_as_file(frame)).decode() for name, frame in rows.items()}}


def _as_file(frame: Any) -> bytes:
    buffer = BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()


def _with_article(kind: str) -> str:
    return f"{'an' if kind == 'on_demand' else 'a'} {_WORDS[kind]}"


class DefinitionKind:
    """Definitions of one kind as artifacts: a declaration, and what its functions were written with."""

    def __init__(self, name: str) -> None:
        self.name = name

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is such a definition."""
        return isinstance(value, KINDS[self.name])

    def save(self, value: Any, blobs: Blobs) -> Saved:
        """The declaration."""
        if not (requires := _requires(value)):
            return Saved(value.to_spec(), {})
        file = blobs.put(msgspec.json.encode(requires, order="sorted"))
        return Saved(value.to_spec(), {REQUIRES: file}, digest("files", {}))

    def load(self, artifact: Artifact, blobs: Blobs) -> Definition:  # noqa: ARG002
        """The definition again; a source has the path it was declared with, and no frame."""
        return KINDS[self.name].from_spec(artifact.spec)


def _requires(definition: Definition) -> dict[str, str]:
    functions = [definition.function] if isinstance(definition, OnDemand) else []
    if isinstance(definition, FeatureView):
        transforms = [each.transform for each in _derived_sources(definition.source)]
        functions = [each for each in (*transforms, *(leaf.function for leaf in definition.source.leaves)) if each]
    return {name: version for function in functions for name, version in function.requires.items()}


def open_kind() -> DefinitionKind:
    """The kind ``feature_view``."""
    return DefinitionKind("feature_view")


def open_on_demand_kind() -> DefinitionKind:
    """The kind ``on_demand``."""
    return DefinitionKind("on_demand")


def open_service_kind() -> DefinitionKind:
    """The kind ``feature_service``."""
    return DefinitionKind("feature_service")
