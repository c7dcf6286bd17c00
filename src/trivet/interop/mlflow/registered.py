"""Where registered models stand: the pointers ``model/NAME`` with their versions and aliases, and the documents beside them.

A name that other ways registered has no document and gets an empty one; a version likewise. What is deleted stays in the
history of its name, and no question sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from trivet.errors import NotFound
from trivet.interop.mlflow.store import Document, Store
from trivet.interop.mlflow.wire import MLflowError, to_millis
from trivet.ledger import Artifact, Pointer
from trivet.ledger.naming import escape, is_alias, unescape

__all__ = ["Shelf", "Version"]

_MODEL: Final = "properties"


class Version(NamedTuple):
    """One version of a name."""

    name: str
    number: int
    artifact: Artifact
    aliases: tuple[str, ...]
    by: str
    properties: Document

    @property
    def stage(self) -> str:
        """The stage it is in."""
        return str(self.properties["stage"])


class Shelf:
    """Names and versions, read and written."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def model(self, name: str) -> Document | None:
        """The properties of a name, or None where there is none."""
        held = self._store.document(_document_name(name), _MODEL)
        if held is not None:
            return None if held["deleted"] else held
        pointers = self._store.ledger.pointers(name=_key(name))
        return _plain(pointers[0]) if pointers else None

    def models(self) -> dict[str, Document]:
        """Every name and its properties."""
        found: dict[str, Document] = {}
        for pointer in self._store.ledger.pointers(name="model/*"):
            found.setdefault(_name_of(pointer), _plain(pointer))
        for pointer in self._store.ledger.pointers(name="registered_model/*"):
            document = self._store.read(pointer)
            found[_name_of(pointer)] = document
        return {name: document for name, document in found.items() if not document.get("deleted")}

    def put_model(self, name: str, *, tags: dict[str, str], description: str | None) -> None:
        """Make a name."""
        now = to_millis(self._store.now())
        fresh = {"created": now, "updated": now, "description": description, "tags": tags, "deleted": False, "of": name}

        def alter(held: Document | None) -> Document:
            if held and not held["deleted"]:
                raise MLflowError("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")
            return fresh

        self._store.alter(_document_name(name), _MODEL, alter)

    def alter_model(self, name: str, change: Callable[[Document], Document]) -> None:
        """Change the properties of a name."""
        known = self.model(name)
        assert known is not None
        self._store.alter(
            _document_name(name), _MODEL, lambda held: {**change(held or known), "updated": self._now(), "of": name}
        )

    def versions(self, name: str) -> list[Version]:
        """The versions of a name, oldest first."""
        if self.model(name) is None:
            return []
        documents = {one.label: self._store.read(one) for one in self._store.ledger.pointers(name=_version_name(name))}
        return _assembled(self._store, name, self._store.ledger.pointers(name=_key(name)), documents)

    def every_version(self) -> list[Version]:
        """The versions of all names."""
        pointers: dict[str, list[Pointer]] = {}
        for pointer in self._store.ledger.pointers(name="model/*"):
            pointers.setdefault(_name_of(pointer), []).append(pointer)
        documents: dict[str, dict[str, Document]] = {}
        for pointer in self._store.ledger.pointers(name="model_version/*"):
            documents.setdefault(_name_of(pointer), {})[pointer.label] = self._store.read(pointer)
        known = self.models()
        return [
            version
            for name in known
            for version in _assembled(self._store, name, pointers.get(name, []), documents.get(name, {}))
        ]

    def apart(self, name: str, content: Artifact) -> Artifact:
        """``content`` as an artifact that has no version under this name: registered twice, it is two versions."""
        held = self._store.ledger.pointers(name=_key(name), history=True)
        if content.digest not in {one.digest for one in held if one.is_version}:
            return content
        spec = {**content.spec, "registration": 1 + sum(one.is_version for one in held)}
        return Artifact.of(content.kind, spec, content.files, content=content.content, created=self._store.now())

    def add(self, name: str, content: Artifact, properties: Document) -> Version:
        """The next version of a name."""
        self._store.ledger.write(content)
        pointer = self._store.ledger.point(_key(name), None, content.digest, by=self._store.context.user, why="mlflow")
        now = self._now()
        document = {**properties, "created": now, "updated": now, "stage": "None", "deleted": False}
        document["of"] = f"{name}@{pointer.label}"
        self._store.alter(_version_name(name), _label(int(pointer.label)), lambda _held: document)
        self.alter_model(name, lambda held: held)
        return Version(name, int(pointer.label), content, (), pointer.by, document)

    def alter_version(self, version: Version, change: Callable[[Document], Document]) -> Version:
        """Change the properties of a version."""
        after = self._store.alter(
            _version_name(version.name),
            _label(version.number),
            lambda held: {
                **change(held or version.properties),
                "updated": self._now(),
                "of": f"{version.name}@{version.number}",
            },
        )
        return version._replace(properties=after)

    def delete_version(self, version: Version) -> None:
        """Delete a version and its aliases."""
        for alias in version.aliases:
            self.withdraw(version.name, alias)
        self.alter_version(version, lambda held: {**held, "deleted": True})
        self.alter_model(version.name, lambda held: held)

    def delete(self, name: str) -> None:
        """Delete a name with all its versions and aliases."""
        for version in self.versions(name):
            self.delete_version(version)
        self.alter_model(name, lambda held: {**held, "deleted": True})

    def rename(self, name: str, new: str) -> None:
        """Put all versions and aliases under another name, then delete the old one. Interrupted, it can be repeated."""
        document = self.model(name)
        assert document is not None
        user = self._store.context.user
        for version in self.versions(name):
            label = str(version.number)
            self._store.ledger.point(_key(new), label, version.artifact.digest, by=user, why=f"renamed from {name}")
            of = f"{new}@{label}"
            self._store.alter(
                _version_name(new),
                _label(version.number),
                partial(_renamed, version, of),
            )
            for alias in version.aliases:
                self._store.ledger.point(_key(new), _alias(alias), version.artifact.digest, by=user, why="renamed")
        self._store.alter(
            _document_name(new), _MODEL, lambda _held: {**document, "updated": self._now(), "deleted": False, "of": new}
        )
        self.delete(name)

    def point(self, version: Version, alias: str) -> None:
        """Point an alias at a version."""
        user = self._store.context.user
        self._store.ledger.point(_key(version.name), _alias(alias), version.artifact.digest, by=user, why="mlflow")
        self.alter_model(version.name, lambda held: held)

    def withdraw(self, name: str, alias: str) -> None:
        """Take an alias away; one that is not there is no error."""
        try:
            self._store.ledger.point(_key(name), _alias(alias), None, by=self._store.context.user, why="mlflow")
        except NotFound:
            return
        self.alter_model(name, lambda held: held)

    def _now(self) -> int:
        return to_millis(self._store.now()) or 0


def _renamed(version: Version, of: str, held: Document | None) -> Document:  # noqa: ARG001 - what stood there goes
    return {**version.properties, "of": of}


def _assembled(store: Store, name: str, pointers: Sequence[Pointer], documents: dict[str, Document]) -> list[Version]:
    aliases: dict[Any, list[str]] = {}
    for pointer in pointers:
        if not pointer.is_version:
            aliases.setdefault(pointer.digest, []).append(_alias_of(pointer.label))
    versions = []
    for pointer in pointers:
        if not pointer.is_version or pointer.digest is None:
            continue
        number = int(pointer.label)
        document = documents.get(_label(number)) or _plain_version(pointer)
        if not document["deleted"]:
            named = tuple(sorted(aliases.get(pointer.digest, ())))
            versions.append(Version(name, number, store.artifact(pointer.digest), named, pointer.by, document))
    return sorted(versions, key=lambda one: one.number)


def _plain(pointer: Pointer) -> Document:
    at = to_millis(pointer.at)
    return {"created": at, "updated": at, "description": None, "tags": {}, "deleted": False}


def _plain_version(pointer: Pointer) -> Document:
    return {**_plain(pointer), "source": "", "run_id": "", "run_link": "", "model_id": "", "stage": "None"}


def _key(name: str) -> str:
    return f"model/{escape(name)}"


def _document_name(name: str) -> str:
    return f"registered_model/{escape(name)}"


def _version_name(name: str) -> str:
    return f"model_version/{escape(name)}"


def _name_of(pointer: Pointer) -> str:
    return unescape(pointer.name.partition("/")[2])


def _label(number: int) -> str:
    return f"v{number}"


def _alias(alias: str) -> str:
    """An alias as a label: what begins with a digit or holds letters of other scripts is written out.

    Example:
        >>> _alias("champion"), _alias_of(_alias("2026-best"))
        ('champion', '2026-best')
    """
    return alias if is_alias(alias) and not alias.startswith("_.") else f"_.{alias.encode().hex()}"


def _alias_of(label: str) -> str:
    return bytes.fromhex(label[2:]).decode() if label.startswith("_.") else label
