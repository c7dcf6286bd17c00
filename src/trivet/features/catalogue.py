"""The catalogue: feature views under their names, in versions, with who applied them and why.

A view is an artifact of kind ``feature_view`` without files: its declaration is all of it. The name
``feature_view/NAME`` counts versions, and its alias ``current`` says which one a plain name means: the one applied
last. A source that was declared with a data frame keeps the frame with the version of the view, as
``feature_frames/VIEW@vVERSION.SOURCE``. Paths inside the project's folder are stored relative to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from trivet.errors import NotFound
from trivet.features.definitions import FeatureView, Source
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.context import Context
from trivet.pipelines.values.contract import Saved
from trivet.types import Digest

if TYPE_CHECKING:
    from trivet.features.sources import Snapshot

__all__ = ["Catalogue", "FeatureViewKind", "Listed", "open_kind"]

CURRENT = "current"
FRAMES = "feature_frames"


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
        from trivet.features.snapshots import record_source
        from trivet.features.sources import leaves_of

        ledger, by = self._context.ledger, self._context.user
        view = view.anchored(self._context.root)
        handed = {name: leaf for name, leaf in leaves_of([view.source]).items() if _holds_data(leaf)}
        frames = {name: record_source(leaf, self._context) for name, leaf in handed.items()}
        artifact = Artifact.of("feature_view", view.to_spec(), created=self._context.clock())
        ledger.write(artifact)
        name = f"feature_view/{view.name}"
        version = ledger.point(name, None, artifact.digest, by=by, why=why).label
        for source, kept in frames.items():
            ledger.point(f"{FRAMES}/{view.name}", _frame_label(version, source), kept.digest, by=by, why=why)
        if not any(p.label == CURRENT and p.digest == artifact.digest for p in ledger.pointers(name=name)):
            ledger.point(name, CURRENT, artifact.digest, by=by, why=why)
        return self.describe(view.name)

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
        listed = self.describe(reference)
        without = [leaf.name for leaf in listed.view.source.leaves if leaf.data is None]
        frames = {name: self._frame(listed, name) for name in without}
        return listed.view.bound({name: frame for name, frame in frames.items() if frame is not None})

    def _frame(self, listed: Listed, source: str) -> Snapshot | None:
        """The frame that a source had when this version was applied last."""
        from trivet.features.sources import SourceKind

        own = (f"{FRAMES}/{listed.name}", _frame_label(str(listed.version), source))
        earlier = (f"source/{source}", CURRENT)  # projects of 0.1 kept one frame for each name of a source
        for name, label in (own, earlier):
            for pointer in self._context.ledger.pointers(name=name):
                if pointer.label == label and pointer.digest is not None:
                    return SourceKind().load(self._context.ledger.artifact(pointer.digest), self._context.blobs)
        return None

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


def _holds_data(leaf: Source) -> bool:
    return leaf.data is not None and not isinstance(leaf.data, str)


def _frame_label(version: str, source: str) -> str:
    return f"v{version}.{source}"


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
