"""Experiments: named groups of runs. A run says the id of its group, so that a group is renamed without touching a run.

A name of any text is held by a pointer (``experiment/NAME``, label ``holder``) to an artifact that says the id, and
claimed by the ledger's compare-and-swap: of eight processes that make one name at once, one makes it and the others
find it. What people say about a group (description, tags, that it lies in the bin) is an artifact of its own, to which
``experiment_id/ID`` points. There is no store of its own, and the history of every name is the ledger's.

Invariant: a name is held by one experiment at most, an experiment that is not in the bin has one name, and a process
killed in the middle of any step leaves what the next call completes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from trivet.clock import new_id
from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger import Artifact, Pointer, RunQuery
from trivet.ledger.naming import escape, unescape
from trivet.pipelines.context import Context

__all__ = ["Experiment", "Experiments"]

KIND, PROPERTIES = "experiment", "experiment_properties"
HOLDER, STATE = "holder", "properties"
BATCH = 1_000  # runs that go into the bin in one transaction
ATTEMPTS = 20  # at a name that others make and delete all the time

Deleted: TypeAlias = Literal["no", "only", "both"]
_Held: TypeAlias = list[Pointer]


@dataclass(frozen=True)
class Experiment:
    """A group of runs. ``deleted`` says since when it lies in the bin; its name is free from then on."""

    id: str
    name: str
    created: datetime
    deleted: datetime | None = None
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**msgspec.to_builtins(self), "tags": dict(self.tags)}

    def __repr__(self) -> str:
        return f"<experiment {self.name!r} {self.id[:12]}{' in the bin' if self.deleted else ''}>"


class _State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the properties of an experiment say. ``name`` is the last one, for an experiment in the bin has none."""

    id: str
    description: str = ""
    tags: dict[str, str] = {}
    deleted: datetime | None = None
    name: str = ""


class Experiments:
    """The experiments of a project.

    Args:
        context: the project's; ``context.user`` is who did it.

    Example:
        >>> import trivet as tv
        >>> with tv.open() as project:
        ...     flights = project.experiments.get_or_make("flights/2026: 50 %")
        ...     project.experiments.get("flights/2026: 50 %") == flights
        True
    """

    def __init__(self, context: Context) -> None:
        self._context, self._ledger = context, context.ledger

    def get_or_make(self, name: str) -> Experiment:
        """The experiment called ``name``, made now if there is none. Several processes at once get the same one.

        Raises:
            Invalid: the name is no text, empty or longer than 500 characters.
        """
        key = _name_key(name)
        for _ in range(ATTEMPTS):
            held = self._holder(key)
            if held is None:
                if (made := self._make(key, name)) is not None:
                    return made
                continue  # someone else was first: theirs it is
            found = self._assemble(held, name)
            if found.deleted is None:
                return found
            self._release(held)  # a deletion that was interrupted before it freed the name
        raise Conflict(f"The experiment {name!r} is made and deleted by others all the time. Try again.")

    def get(self, id_or_name: str | Experiment) -> Experiment:
        """The experiment with this id or, if there is none, with this name. By its id also one in the bin.

        Raises:
            NotFound: there is none; the nearest names are offered.
        """
        asked = id_or_name.id if isinstance(id_or_name, Experiment) else id_or_name
        for found in (self._by_id(asked), self._by_name(asked)):
            if found is not None:
                return found
        raise NotFound("experiment", str(asked), [one.name for one in self.list()])

    def list(self, deleted: Deleted = "no") -> list[Experiment]:
        """The experiments, newest first: those in use, ``only`` those in the bin, or ``both``."""
        named = {one.id: one for one in map(self._assemble, self._names())}
        binned = (self._by_id(_rest(pointer.name)) for pointer in self._ledger.pointers(name=f"{KIND}_id/*"))
        every = named | {one.id: one for one in binned if one is not None}
        wanted = [one for one in every.values() if deleted == "both" or (one.deleted is None) == (deleted == "no")]
        return sorted(wanted, key=lambda one: one.id, reverse=True)

    def rename(self, id_or_name: str | Experiment, name: str) -> Experiment:
        """Give an experiment another name; its runs stay in it and the old name is free.

        Raises:
            NotFound: there is no such experiment.
            Invalid: the name is no text, empty or longer than 500 characters.
            Conflict: another experiment has the name, or this one lies in the bin.
        """
        found = self._in_use(id_or_name)
        if name != found.name:
            self._claim(found.id, name)
        self._release_others(found.id, _name_key(name))
        return self.get(found.id)

    def describe(self, id_or_name: str | Experiment, text: str) -> Experiment:
        """Say what an experiment is for; the text before is replaced.

        Raises:
            NotFound: there is no such experiment.
        """
        return self._alter(self.get(id_or_name).id, lambda state: replace(state, description=str(text)))

    def tag(self, id_or_name: str | Experiment, /, **tags: object) -> Experiment:
        """Put tags on an experiment; one of the same name is replaced, None takes one away.

        Raises:
            NotFound: there is no such experiment.
        """
        return self.set_tags(id_or_name, tags)

    def set_tags(self, id_or_name: str | Experiment, tags: Mapping[str, object]) -> Experiment:
        """As ``tag``, for names that Python does not allow.

        Raises:
            NotFound: there is no such experiment.
        """

        def alter(state: _State) -> _State:
            merged: dict[str, object] = {**state.tags, **tags}
            return replace(state, tags={name: str(value) for name, value in merged.items() if value is not None})

        return self._alter(self.get(id_or_name).id, alter)

    def delete(self, id_or_name: str | Experiment) -> Experiment:
        """Put an experiment and its runs into the bin. The name is free at once; ``restore`` brings all back.

        Raises:
            NotFound: there is no such experiment.
        """
        found = self.get(id_or_name)
        when = found.deleted or self._context.clock()
        binned = self._alter(found.id, lambda state: replace(state, deleted=state.deleted or when, name=found.name))
        self._release_others(found.id, "")
        self._move_runs(found.id, "no", when)
        return binned

    def restore(self, id_or_name: str | Experiment, *, name: str | None = None) -> Experiment:
        """Take an experiment out of the bin, with the runs that went there with it; under another name if one is given.

        Raises:
            NotFound: there is no such experiment. One in the bin is found by its id, or by its last name.
            Conflict: another experiment has the name by now.
        """
        found = self._in_bin(id_or_name)
        if found.deleted is None:
            return found
        self._claim(found.id, name or found.name)
        self._move_runs(found.id, "only", None, found.deleted)
        return self._alter(found.id, lambda state: replace(state, deleted=None))

    # Names

    def _make(self, key: str, name: str) -> Experiment | None:
        """A new experiment under a name that was free; None where someone else took it meanwhile."""
        artifact = _artifact(new_id(self._context.clock), self._context.clock())
        self._ledger.write(artifact)
        try:
            self._ledger.point(key, HOLDER, artifact.digest, by=self._context.user, expect="")
        except Conflict:
            return None
        return Experiment(artifact.spec["id"], name, artifact.created)

    def _claim(self, id_: str, name: str) -> None:
        key, digest = _name_key(name), _artifact(id_, self._context.clock()).digest
        for _ in range(ATTEMPTS):
            held = self._holder(key)
            if held is not None and held.digest == digest:
                return
            if held is not None and (other := self._assemble(held)).deleted is None:
                raise Conflict(
                    f"The name {name!r} is that of the experiment {other.id}. Choose another, or rename that."
                )
            if held is not None:
                self._release(held)
            try:
                self._ledger.point(key, HOLDER, digest, by=self._context.user, expect="")
            except Conflict:
                continue
            return
        raise Conflict(f"The experiment {name!r} is made and deleted by others all the time. Try again.")

    def _release(self, held: Pointer) -> None:
        try:
            self._ledger.point(held.name, HOLDER, None, by=self._context.user, expect=held.digest)
        except (Conflict, NotFound):
            return  # someone else released it first, and maybe another experiment holds it by now

    def _release_others(self, id_: str, kept: str) -> None:
        for held in self._held_by(id_):
            if held.name != kept:
                self._release(held)

    def _holder(self, key: str) -> Pointer | None:
        return next(iter(self._ledger.pointers(name=key)), None)

    def _names(self) -> _Held:
        return [pointer for pointer in self._ledger.pointers(name=f"{KIND}/*") if pointer.label == HOLDER]

    def _held_by(self, id_: str) -> _Held:
        digest = _artifact(id_, self._context.clock()).digest
        held = [one for one in self._ledger.pointers(digest=digest) if one.label == HOLDER]
        return sorted(held, key=lambda one: one.at)

    # Reading

    def _by_id(self, id_: str) -> Experiment | None:
        held = self._held_by(id_)
        if held:  # the newest of two names is the one that an interrupted renaming meant
            return self._assemble(held[-1])
        state = self._state(id_)
        if state is None or state.deleted is None:
            return None
        artifact = self._ledger.artifact(_artifact(id_, self._context.clock()).digest)
        return Experiment(id_, state.name, artifact.created, state.deleted, state.description, dict(state.tags))

    def _by_name(self, name: str) -> Experiment | None:
        try:
            held = self._holder(_name_key(name))
        except Invalid:
            return None
        found = None if held is None else self._assemble(held)
        return None if found is None or found.deleted else found

    def _assemble(self, held: Pointer, name: str | None = None) -> Experiment:
        artifact = self._ledger.artifact(str(held.digest))
        state = self._state(artifact.spec["id"]) or _State(artifact.spec["id"])
        called = unescape(_rest(held.name)) if name is None else name
        return Experiment(state.id, called, artifact.created, state.deleted, state.description, dict(state.tags))

    def _in_use(self, id_or_name: str | Experiment) -> Experiment:
        found = self.get(id_or_name)
        if found.deleted is not None:
            raise Conflict(f"The experiment {found.name!r} ({found.id}) lies in the bin. Restore it first.")
        return found

    def _in_bin(self, id_or_name: str | Experiment) -> Experiment:
        binned = self.list(deleted="only")
        asked = id_or_name.id if isinstance(id_or_name, Experiment) else id_or_name
        for found in binned:
            if asked in (found.id, found.name):
                return found
        return self.get(id_or_name)

    # What people say about it

    def _state(self, id_: str) -> _State | None:
        pointer = self._said(id_)
        return None if pointer is None else _read(self._ledger.artifact(str(pointer.digest)))

    def _said(self, id_: str) -> Pointer | None:
        key = _id_key(id_)
        return None if key is None else next(iter(self._ledger.pointers(name=key)), None)

    def _alter(self, id_: str, alter: Any) -> Experiment:
        for _ in range(ATTEMPTS):
            said = self._said(id_)
            before = _State(id_) if said is None else _read(self._ledger.artifact(str(said.digest)))
            after = alter(before)
            if after != before and not self._say(id_, after, said):
                continue  # someone else said something meanwhile: theirs is kept
            return self.get(id_)
        raise Conflict(f"The experiment {id_} is changed by others all the time. Try again.")

    def _say(self, id_: str, state: _State, before: Pointer | None) -> bool:
        artifact = Artifact.of(PROPERTIES, msgspec.to_builtins(state), created=self._context.clock())
        self._ledger.write(artifact)
        expect = "" if before is None else before.digest
        try:
            self._ledger.point(f"{KIND}_id/{id_}", STATE, artifact.digest, by=self._context.user, expect=expect)
        except Conflict:
            return False
        return True

    def _move_runs(self, id_: str, of: Deleted, to: datetime | None, since: datetime | None = None) -> None:
        """Put the runs into the bin, or take out those that went in at ``since``."""
        query = RunQuery(experiment=id_, deleted=of, limit=BATCH)
        while runs := self._ledger.runs(query):
            moved = [replace(run, deleted=to) for run in runs if since is None or run.deleted == since]
            self._ledger.write(*moved)
            query = replace(query, before=runs[-1].id)


def _artifact(id_: str, created: datetime) -> Artifact:
    return Artifact.of(KIND, {"id": id_}, created=created)


def _read(artifact: Artifact) -> _State:
    return msgspec.convert(artifact.spec, _State)


def _name_key(name: object) -> str:
    if not isinstance(name, str):
        raise Invalid(f"{name!r} cannot name an experiment: it needs some text.")
    return f"{KIND}/{escape(name)}"


def _id_key(id_: str) -> str | None:
    """Where the properties of an experiment stand; None for text that is no id."""
    return f"{KIND}_id/{id_}" if id_.isascii() and id_.isalnum() and len(id_) <= 64 else None


def _rest(name: str) -> str:
    return name.partition("/")[2]
