"""Experiments: named groups of runs.

A name is held by a pointer, so of eight processes that create one name, one makes it and seven get it. What may change
(name, description, tags, the bin) is a small document under the experiment's id, of which every version is kept. Runs
name their experiment by its id, so a rename touches no run; the default experiment is ``""``.

Invariant: a name is held by one experiment that is not in the bin; deleting frees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from trivet.clock import new_id
from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger import Artifact, Pointer
from trivet.ledger.naming import escape
from trivet.pipelines.context import Context
from trivet.types import as_utc

__all__ = ["DEFAULT", "Experiment", "Experiments"]

DEFAULT: Final = "Default"
"""The name of the experiment ``""``, to which runs belong that name none."""
_START = as_utc("1970-01-01T00:00:00Z")
_HOLDER, _PROPERTIES = "holder", "properties"
_TRIES = 50


@dataclass(frozen=True)
class Experiment:
    """A named group of runs, as it is now."""

    id: str
    name: str
    created: datetime
    deleted: datetime | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class Experiments:
    """The experiments of a project."""

    def __init__(self, context: Context) -> None:
        self._context, self._ledger = context, context.ledger

    def get_or_make(self, name: str, *, tags: Mapping[str, str] | None = None) -> Experiment:
        """The experiment of this name, made if there is none.

        Raises:
            Invalid: the name is empty or longer than 500 characters.
        """
        found = self.by_name(name)
        return found or self._make(name, tags or {}) or self.get(name)

    def make(self, name: str, *, tags: Mapping[str, str] | None = None) -> Experiment:
        """A new experiment.

        Raises:
            Conflict: the name is taken.
            Invalid: the name is empty or longer than 500 characters.
        """
        made = None if self.by_name(name) else self._make(name, tags or {})
        if made is None:
            raise Conflict(f"There is an experiment {name!r} already. Take another name.")
        return made

    def by_name(self, name: str) -> Experiment | None:
        """The experiment that holds this name now, or None."""
        if name == DEFAULT:
            return self._default()
        held = self._pointer(_name_key(name), _HOLDER)
        return None if held is None else self._read(self._id_of(held))

    def by_id(self, id_: str) -> Experiment | None:
        """The experiment with this id, in the bin or not, or None."""
        return self._default() if not id_ else self._read(id_)

    def get(self, id_or_name: str) -> Experiment:
        """The experiment with this id, or that holds this name.

        Raises:
            NotFound: there is none.
        """
        found = (self.by_id(id_or_name) if len(id_or_name) in {0, 26} else None) or self.by_name(id_or_name)
        if found is None:
            raise NotFound("experiment", id_or_name, [one.name for one in self.list()])
        return found

    def list(self, *, deleted: Literal["no", "only", "both"] = "no") -> list[Experiment]:
        """The experiments, newest first, the default one last."""
        pointers = [one for one in self._ledger.pointers(name="experiment_id/*") if one.label == _PROPERTIES]
        others = [self._shape(one) for one in pointers if one.name != _id_key("default")]
        found = [*sorted(others, key=lambda one: one.id, reverse=True), self._default()]
        return [one for one in found if deleted == "both" or (one.deleted is not None) == (deleted == "only")]

    def rename(self, id_: str, name: str) -> Experiment:
        """Give it another name.

        Raises:
            Conflict: the name is taken, or the experiment is in the bin or is the default one.
        """
        before = self._movable(id_, "renamed")
        if before.deleted is not None:
            raise Conflict(f"The experiment {before.name!r} is in the bin. Restore it first.")
        if name == before.name:
            return before
        self._hold(name, id_)
        answer = self._change(id_, lambda held: {**held, "name": name})
        self._free(before.name, id_)
        return answer

    def describe(self, id_: str, text: str) -> Experiment:
        """Say what it is about."""
        return self._change(id_, lambda held: {**held, "description": text})

    def tag(self, id_: str, tags: Mapping[str, str | None]) -> Experiment:
        """Put tags on it; a tag that is None is taken away."""

        def alter(held: dict[str, Any]) -> dict[str, Any]:
            merged = {**held["tags"], **tags}
            return {**held, "tags": {key: value for key, value in merged.items() if value is not None}}

        return self._change(id_, alter)

    def delete(self, id_: str) -> Experiment:
        """Put it into the bin; its name is free from then on.

        Raises:
            Conflict: it is the default experiment.
        """
        before = self._movable(id_, "deleted")
        answer = self._change(id_, lambda held: {**held, "deleted": held["deleted"] or self._now()})
        self._free(before.name, id_)
        return answer

    def restore(self, id_: str) -> Experiment:
        """Take it out of the bin.

        Raises:
            Conflict: its name was taken meanwhile.
        """
        before = self._movable(id_, "restored")
        if before.deleted is None:
            return before
        self._hold(before.name, id_)
        return self._change(id_, lambda held: {**held, "deleted": None})

    # Within

    def _make(self, name: str, tags: Mapping[str, str]) -> Experiment | None:
        id_ = new_id(self._context.clock)
        properties = {"name": name, "created": self._now(), "deleted": None, "description": "", "tags": dict(tags)}
        self._write(id_, properties, expect="")
        try:
            self._hold(name, id_)
        except Conflict:
            # Someone else was quicker: what was prepared is withdrawn, and theirs is the answer.
            self._ledger.point(_id_key(id_), _PROPERTIES, None, by=self._context.user, why="the name was taken")
            return None
        return self._read(id_)

    def _hold(self, name: str, id_: str) -> None:
        holder = Artifact.of("experiment", {"id": id_}, created=self._context.clock())
        self._ledger.write(holder)
        if name == DEFAULT:
            raise Conflict(f"There is an experiment {name!r} already. Take another name.")
        if (held := self._pointer(_name_key(name), _HOLDER)) and held.digest == holder.digest:
            return
        self._ledger.point(_name_key(name), _HOLDER, holder.digest, by=self._context.user, expect="")

    def _free(self, name: str, id_: str) -> None:
        held = self._pointer(_name_key(name), _HOLDER)
        if held is not None and self._id_of(held) == id_:
            self._ledger.point(_name_key(name), _HOLDER, None, by=self._context.user, expect=held.digest)

    def _movable(self, id_: str, what: str) -> Experiment:
        if not id_:
            raise Conflict(f"The default experiment cannot be {what}.")
        return self.get(id_)

    def _default(self) -> Experiment:
        held = self._pointer(_id_key("default"), _PROPERTIES)
        return Experiment("", DEFAULT, _START) if held is None else self._shape(held)

    def _read(self, id_: str) -> Experiment | None:
        try:
            held = self._pointer(_id_key(id_), _PROPERTIES)
        except Invalid:
            return None
        return None if held is None else self._shape(held)

    def _shape(self, held: Pointer) -> Experiment:
        assert held.digest is not None
        known = self._ledger.artifact(held.digest).spec
        id_ = held.name.partition("/")[2]
        return Experiment(
            "" if id_ == "default" else id_,
            known["name"],
            as_utc(known["created"]),
            None if known["deleted"] is None else as_utc(known["deleted"]),
            known["description"],
            known["tags"],
        )

    def _change(self, id_: str, alter: Callable[[dict[str, Any]], dict[str, Any]]) -> Experiment:
        for attempt in range(_TRIES):
            held = self._pointer(_id_key(id_ or "default"), _PROPERTIES)
            if held is None and id_:
                raise NotFound("experiment", id_)
            before: dict[str, Any] = {
                "name": DEFAULT,
                "created": _START.isoformat(),
                "deleted": None,
                "description": "",
                "tags": {},
            }
            if held is not None and held.digest is not None:
                before = self._ledger.artifact(held.digest).spec
            try:
                self._write(id_ or "default", alter(before), expect=held.digest if held and held.digest else "")
            except Conflict:
                if attempt == _TRIES - 1:
                    raise
                continue
            break
        return self.get(id_)

    def _write(self, id_: str, properties: dict[str, Any], *, expect: str) -> None:
        made = Artifact.of("properties", {**properties, "of": id_}, created=self._context.clock())
        self._ledger.write(made)
        if made.digest != expect:
            self._ledger.point(_id_key(id_), _PROPERTIES, made.digest, by=self._context.user, expect=expect)

    def _pointer(self, name: str, label: str) -> Pointer | None:
        return next((one for one in self._ledger.pointers(name=name) if one.label == label and one.digest), None)

    def _id_of(self, held: Pointer) -> str:
        assert held.digest is not None
        return str(self._ledger.artifact(held.digest).spec["id"])

    def _now(self) -> str:
        return self._context.clock().isoformat()


def _name_key(name: str) -> str:
    return f"experiment/{escape(name)}"


def _id_key(id_: str) -> str:
    return f"experiment_id/{escape(id_)}"
