"""The catalogue: feature views under their names, in versions, with who applied them and why.

A view is an artifact of kind ``feature_view`` without files: its declaration is all of it. The name
``feature_view/NAME`` counts versions, and its alias ``current`` says which one a plain name means: the one applied
last. A source that was declared with a data frame keeps the frame as ``source/NAME``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from trivet.errors import NotFound
from trivet.features.definitions import FeatureView
from trivet.ledger import Artifact, Blobs, Pointer
from trivet.pipelines.context import Context
from trivet.pipelines.values.contract import Saved
from trivet.types import Digest

__all__ = ["Catalogue", "FeatureViewKind", "Listed", "open_kind"]

CURRENT = "current"


@dataclass(frozen=True)
class Listed:
    """A view as the catalogue lists it."""

    name: str
    version: int
    view: FeatureView
    digest: Digest
    applied: datetime
    by: str
    why: str

    @property
    def features(self) -> list[str]:
        """Its features as references."""
        return [f"{self.name}:{feature}" for feature in self.view.features]

    def __str__(self) -> str:
        view = self.view
        lines = [f"{self.name} (version {self.version}), by {view.entity.name}, from {view.source.name}"]
        lines += [f"  {view.description}"] if view.description else []
        lines += [f"  {name} = {feature}" for name, feature in view.features.items()]
        return "\n".join(lines)


class Catalogue:
    """The views of a project."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def apply(self, *views: FeatureView, why: str = "") -> list[Listed]:
        """Make these the current views of their names. The same definition keeps its version, an edit gets the next.

        Raises:
            Invalid: a source's data cannot be read.
        """
        return [self._apply(view, why) for view in views]

    def _apply(self, view: FeatureView, why: str) -> Listed:
        ledger, by = self._context.ledger, self._context.user
        self._keep_frames(view, why)
        artifact = Artifact.of("feature_view", view.to_spec(), created=self._context.clock())
        ledger.write(artifact)
        name = f"feature_view/{view.name}"
        ledger.point(name, None, artifact.digest, by=by, why=why)
        if not any(p.label == CURRENT and p.digest == artifact.digest for p in ledger.pointers(name=name)):
            ledger.point(name, CURRENT, artifact.digest, by=by, why=why)
        return self.describe(view.name)

    def _keep_frames(self, view: FeatureView, why: str) -> None:
        from trivet.features.snapshots import record_source

        for leaf in view.source.leaves:
            if leaf.data is not None and not isinstance(leaf.data, str):
                artifact, name = record_source(leaf, self._context), f"source/{leaf.name}"
                self._context.ledger.point(name, None, artifact.digest, by=self._context.user, why=why)
                self._context.ledger.point(name, CURRENT, artifact.digest, by=self._context.user, why=why)

    def names(self) -> list[str]:
        """All names, sorted."""
        pointers = self._context.ledger.pointers(name="feature_view/*")
        return sorted({pointer.name.partition("/")[2] for pointer in pointers})

    def list(self) -> list[Listed]:
        """All current views, by name."""
        return [self.describe(name) for name in self.names()]

    def get(self, reference: str) -> FeatureView:
        """The current view of a name, or another version of it: ``"weather"``, ``"weather@2"``.

        Raises:
            NotFound: there is none; the nearest names are offered.
        """
        view = self.describe(reference).view
        return view.bound(
            {leaf.name: data for leaf in view.source.leaves if (data := self._frame(leaf.name, leaf.data))}
        )

    def _frame(self, name: str, data: object) -> object | None:
        """The frame kept for a source that has no path."""
        from trivet.features.sources import SourceKind

        if data is not None:
            return None
        kept = [p for p in self._context.ledger.pointers(name=f"source/{name}") if p.label == CURRENT]
        if not kept or kept[0].digest is None:
            return None
        return SourceKind().load(self._context.ledger.artifact(kept[0].digest), self._context.blobs)

    def describe(self, reference: str) -> Listed:
        """A view with its version, author and reason; the reference as in ``get``.

        Raises:
            NotFound: there is none; the nearest names are offered.
        """
        name, _, label = reference.partition("@")
        if name not in (names := self.names()):
            raise NotFound("feature view", name, names, hint="" if names else "Apply one first.")
        pointers = self._context.ledger.pointers(name=f"feature_view/{name}")
        chosen = next((p for p in pointers if p.label == (label or CURRENT)), None)
        if chosen is None or chosen.digest is None:
            raise NotFound(f"version of feature view {name!r}", label, [p.label for p in pointers if p.is_version])
        version = next(int(p.label) for p in pointers if p.is_version and p.digest == chosen.digest)
        view = FeatureView.from_spec(self._context.ledger.artifact(chosen.digest).spec)
        return Listed(name, version, view, chosen.digest, chosen.at, chosen.by, chosen.why)


class FeatureViewKind:
    """Feature views as artifacts: a declaration, no files."""

    name = "feature_view"

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a feature view."""
        return isinstance(value, FeatureView)

    def save(self, value: FeatureView, blobs: Blobs) -> Saved:  # noqa: ARG002 - nothing but the declaration
        """The declaration."""
        return Saved(value.to_spec(), {})

    def load(self, artifact: Artifact, blobs: Blobs) -> FeatureView:  # noqa: ARG002
        """The view again; its source has the path it was declared with, and no frame."""
        return FeatureView.from_spec(artifact.spec)


def open_kind() -> FeatureViewKind:
    """The kind ``feature_view``."""
    return FeatureViewKind()
