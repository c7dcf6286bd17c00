"""Which features a service answers: fixed when it starts, asked for by reference or by the name of a set.

What stands between ``POST /features``, which knows neither definitions nor stores, and the reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trivet.errors import NotFound
from trivet.features.online.contract import OnlineStore
from trivet.features.reader import FeatureReader
from trivet.features.references import Selection, resolve

__all__ = ["ServedFeatures"]


class ServedFeatures:
    """Features and where their values are.

    Args:
        selection: all that may be asked for.
        store: the online store.
        services: references by the name of a set of them; those of the selection are known anyway.

    Raises:
        NotFound: a set holds what is not served.
    """

    def __init__(
        self, selection: Selection, store: OnlineStore, services: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._store = store
        self._selection, self._definitions = selection, selection.definitions
        self._references = [each.reference for each in selection]
        self._services = {each.name: _listed(selection, each.features) for each in selection.services}
        self._services |= {name: list(references) for name, references in (services or {}).items()}
        for references in self._services.values():
            self._named(tuple(references))

    @property
    def features(self) -> list[str]:
        """All references."""
        return list(self._references)

    @property
    def remote(self) -> bool:
        """Whether reading waits for a network."""
        return self._store.remote

    @property
    def keys(self) -> list[str]:
        """The keys of all entities."""
        return list(dict.fromkeys(key for each in self._selection.read for key in each.view.entity.keys))

    @property
    def request(self) -> list[str]:
        """What on-demand views ask the caller for."""
        return list(self._selection.request)

    @property
    def services(self) -> list[str]:
        """The names of sets."""
        return list(self._services)

    def reader(self, wanted: tuple[str, ...] | None = None) -> FeatureReader:
        """The reader of references (``"weather:*"``, ``"weather:temp"``) and sets; of all for None.

        Raises:
            NotFound: one that is not served; the nearest are named.
        """
        if wanted is None:
            return FeatureReader(self._selection, self._store)
        chosen = resolve(self._named(wanted), self._definitions.__getitem__, full_names=True)
        return FeatureReader(chosen, self._store)

    def _named(self, wanted: Sequence[str]) -> list[str]:
        found: dict[str, None] = {}
        for name in wanted:
            if name in self._services:
                parts = self._services[name]
            elif name.endswith(":*"):
                parts = [reference for reference in self._references if reference.startswith(name[:-1])]
            else:
                parts = [name]
            if unknown := [part for part in parts or [name] if part not in self._references]:
                raise NotFound("feature served here called", unknown[0], [*self._references, *self._services])
            found |= dict.fromkeys(parts)
        return list(found)


def _listed(selection: Selection, references: Sequence[str]) -> list[str]:
    """The references of a service one by one."""
    definitions = selection.definitions
    found: list[str] = []
    for each in references:
        name, _, feature = each.partition(":")
        found += [each] if feature not in ("", "*") else [f"{name}:{one}" for one in definitions[name].features]
    return found
