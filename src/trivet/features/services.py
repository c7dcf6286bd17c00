"""Feature services: the named set of features that a model uses. A list of references and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivet.errors import Invalid
from trivet.features.definitions import FeatureView, check_name
from trivet.features.on_demand import OnDemand, declared_digest
from trivet.types import Digest

__all__ = ["FeatureService"]


@dataclass(frozen=True, eq=False)
class FeatureService:
    """A named set of features, usable wherever features are listed, as an object or by its name.

    Attributes:
        features: references in order, ``"weather:*"`` and ``"weather:temp"``.
        given: definitions that were handed over as objects; no part of the declaration.

    Example:
        >>> FeatureService("delays", ["weather:*", "planes"], owner="ada").features
        ('weather:*', 'planes:*')
    """

    __trivet_kind__ = "feature_service"

    name: str
    features: tuple[str, ...]
    description: str
    owner: str
    tags: Mapping[str, str]
    given: tuple[FeatureView | OnDemand, ...]

    def __init__(
        self,
        name: str,
        features: Sequence[FeatureView | OnDemand | str],
        *,
        description: str = "",
        owner: str = "",
        tags: Mapping[str, str] | Sequence[str] | None = None,
    ) -> None:
        check_name("a feature service", name)
        several = [features] if isinstance(features, FeatureView | OnDemand | str) else list(features)
        if not several:
            raise Invalid(f"Feature service {name!r} has no features. Name at least one.")
        values: dict[str, Any] = {
            "name": name,
            "features": tuple(dict.fromkeys(_reference(name, each) for each in several)),
            "description": description,
            "owner": owner,
            "tags": dict(tags or {}) if isinstance(tags, Mapping) else dict.fromkeys(tags or (), ""),
            "given": tuple(each for each in several if not isinstance(each, str)),
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)

    @property
    def digest(self) -> Digest:
        """The digest of its artifact of kind ``feature_service``."""
        return declared_digest("feature_service", self.to_spec())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureService) and self.to_spec() == other.to_spec()

    def __hash__(self) -> int:
        return hash((self.name, self.features))

    def __str__(self) -> str:
        return "\n".join(f"  {each}" for each in self.features)

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON."""
        return {
            "name": self.name,
            "features": list(self.features),
            "description": self.description,
            "owner": self.owner,
            "tags": dict(self.tags),
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> FeatureService:
        """The declaration that ``to_spec`` wrote."""
        options = dict(spec)
        return cls(options.pop("name"), options.pop("features"), **options)


def _reference(service: str, item: object) -> str:
    if isinstance(item, FeatureView | OnDemand):
        return f"{item.name}:*"
    if isinstance(item, str) and item:
        name, colon, feature = item.partition(":")
        if name and bool(colon) == bool(feature):
            return f"{name}:{feature or '*'}"
    raise Invalid(
        f"{item!r} names no features of service {service!r}. Give views, on-demand views or references such as "
        "'weather:*'. A service holds no other service."
    )
