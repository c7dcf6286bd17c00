"""Which features a service answers: fixed when it starts, asked for by reference or by the name of a set.

What stands between ``POST /features``, which knows neither definitions nor stores, and the reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trivet.errors import NotFound
from trivet.features.online.contract import OnlineStore
from trivet.features.reader import FeatureReader
from trivet.features.references import Selected

__all__ = ["ServedFeatures"]


class ServedFeatures:
    """Features and where their values are.

    Args:
        selected: all that may be asked for.
        store: the online store.
        services: references by the name of a set of them.

    Raises:
        NotFound: a set holds what is not served.
    """

    def __init__(
        self, selected: Sequence[Selected], store: OnlineStore, services: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._store = store
        self._selected = {each.reference: each for each in selected}
        self._services = dict(services or {})
        for references in self._services.values():
            self._named(tuple(references))

    @property
    def features(self) -> list[str]:
        """All references."""
        return list(self._selected)

    @property
    def keys(self) -> list[str]:
        """The keys of all entities."""
        return list(dict.fromkeys(key for each in self._selected.values() for key in each.view.entity.keys))

    @property
    def services(self) -> list[str]:
        """The names of sets."""
        return list(self._services)

    def reader(self, wanted: tuple[str, ...] | None = None) -> FeatureReader:
        """The reader of references (``"weather:*"``, ``"weather:temp"``) and sets; of all for None.

        Raises:
            NotFound: one that is not served; the nearest are named.
        """
        return FeatureReader(self._named(wanted) if wanted is not None else list(self._selected.values()), self._store)

    def _named(self, wanted: Sequence[str]) -> list[Selected]:
        found: dict[str, Selected] = {}
        for name in wanted:
            if name in self._services:
                parts = self._services[name]
            elif name.endswith(":*"):
                parts = [reference for reference in self._selected if reference.startswith(name[:-1])]
            else:
                parts = [name]
            if unknown := [part for part in parts or [name] if part not in self._selected]:
                raise NotFound("feature served here called", unknown[0], [*self._selected, *self._services])
            found |= {part: self._selected[part] for part in parts}
        return list(found.values())
