"""The model registry: names over models, as versions that never move and aliases that do.

A version says *which* bytes (``delay@2`` is one artifact for ever); an alias says which version plays a part
(``delay@champion``) and moves with a reason on record. Both are pointers in the ledger, so nothing here has a store of
its own, and the history of a name is the ledger's. Whether a model may serve is left to gates and admission.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact, Ledger, Pointer
from trivet.pipelines.context import Context
from trivet.types import Digest

__all__ = ["ModelVersion", "Move", "Registry"]

KIND = "model"
CHAMPION = "champion"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model: a number that never moves, and the aliases that point at it now."""

    name: str
    version: int
    digest: Digest
    aliases: tuple[str, ...]
    registered: datetime
    by: str
    why: str
    _ledger: Ledger = field(repr=False, compare=False)

    @property
    def ref(self) -> str:
        """What people paste: ``delay@2``."""
        return f"{self.name}@{self.version}"

    @property
    def artifact(self) -> Artifact:
        """The model's artifact, read from the ledger now."""
        return self._ledger.artifact(self.digest)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        names = ("name", "version", "digest", "by", "why")
        plain = {name: getattr(self, name) for name in names}
        return {**plain, "aliases": list(self.aliases), "registered": self.registered.isoformat()}

    def __repr__(self) -> str:
        parts = [self.digest[:12], *self.aliases]
        return f"<model {self.ref} {', '.join(parts)}>"


@dataclass(frozen=True)
class Move:
    """One line of a model's history: at ``at``, ``by`` put ``label`` on version ``version``, for the reason ``why``.

    ``before`` is the version an alias pointed at until then; ``version`` is None where the alias was taken away.
    """

    at: datetime
    by: str
    label: str
    version: int | None
    before: int | None
    why: str

    def __str__(self) -> str:
        reason = f": {self.why}" if self.why else ""
        return f"{self.at:%Y-%m-%d %H:%M} {self.by} {self._what}{reason}"

    @property
    def _what(self) -> str:
        if self.label.isdecimal():
            return f"registered version {self.label}"
        if self.version is None:
            return f"took {self.label} from version {self.before}"
        return f"moved {self.label} to version {self.version}" + (f" from {self.before}" if self.before else "")


class Registry:
    """The registered models of a project.

    Args:
        context: the project's; ``context.user`` is who did it.
    """

    def __init__(self, context: Context) -> None:
        self._ledger, self._user = context.ledger, context.user

    @staticmethod
    def check(name: object) -> str:
        """``name`` as it is, where it can name a model.

        Raises:
            Invalid: it is anything but letters of a to z, digits, ``_``, ``.`` and ``-``.

        Example:
            >>> Registry.check("delay-2013.v2")
            'delay-2013.v2'
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Invalid(
                f"{name!r} cannot name a model. Use up to 128 letters a to z, digits, '_', '-' and '.', "
                "and begin with none of the last two: 'delay' or 'late_flights-2013'."
            )
        return name

    def register(self, name: str, artifact: Artifact | Digest, why: str = "") -> ModelVersion:
        """Give a model the next version number under ``name``. One that has a version there keeps it.

        Raises:
            Invalid: ``name`` cannot name a model, or the artifact is something else.
            NotFound: the artifact is not recorded.
        """
        self.check(name)
        found = artifact if isinstance(artifact, Artifact) else self._ledger.artifact(artifact)
        if found.kind != KIND:
            raise Invalid(f"{found.id} is a {found.kind}; only models have versions. Save it with run.model(...).")
        pointer = self._ledger.point(_key(name), None, found.digest, by=self._user, why=why)
        return self._version(name, int(pointer.label))

    def promote(
        self, name: str, version: int | str, alias: str = CHAMPION, *, why: str = "", expect: int | None = None
    ) -> ModelVersion:
        """Point ``alias`` at a version. With ``expect``, only if it points at that version now.

        Raises:
            NotFound: there is no such model or version.
            Invalid: ``alias`` is a number or no name.
            Conflict: ``expect`` was given and someone else moved the alias first.
        """
        _check_alias(alias)
        wanted = self._version(name, version)
        held = None if expect is None else self._version(name, expect).digest
        self._ledger.point(_key(name), alias, wanted.digest, by=self._user, why=why, expect=held)
        return self._version(name, wanted.version)

    def withdraw(self, name: str, alias: str, *, why: str = "") -> None:
        """Take an alias away; the version it pointed at stays.

        Raises:
            NotFound: there is no such model or alias.
        """
        _check_alias(alias)
        held = self.get(f"{name}@{alias}").digest
        self._ledger.point(_key(name), alias, None, by=self._user, why=why, expect=held)

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        pointers = self._ledger.pointers(name=f"{KIND}/*")
        return sorted({pointer.name.partition("/")[2] for pointer in pointers})

    def versions(self, name: str) -> list[ModelVersion]:
        """The versions of ``name``, oldest first.

        Raises:
            NotFound: there is no such model.
        """
        return _assemble(name, self._pointers(name), self._ledger)

    def get(self, ref: str) -> ModelVersion:
        """What ``delay@champion``, ``delay@2`` or ``delay`` (the newest version) means now.

        Raises:
            NotFound: there is no such model, version or alias; the nearest is named.
        """
        name, at, label = ref.partition("@")
        versions = self.versions(name)
        if not at:
            return versions[-1]
        for version in versions:
            if label in (str(version.version), *version.aliases):
                return version
        known = [f"{name}@{label}" for version in versions for label in (str(version.version), *version.aliases)]
        raise NotFound("model version", ref, known)

    def history(self, name: str) -> list[Move]:
        """Who registered and moved what, when and why, oldest first.

        Raises:
            NotFound: there is no such model.
        """
        pointers = self._pointers(name, history=True)
        numbers = {pointer.digest: int(pointer.label) for pointer in pointers if pointer.is_version}
        moves: list[Move] = []
        standing: dict[str, int | None] = {}
        for pointer in pointers:
            version = numbers.get(pointer.digest)
            before = standing.get(pointer.label)
            moves.append(Move(pointer.at, pointer.by, pointer.label, version, before, pointer.why))
            standing[pointer.label] = version
        return moves

    def _pointers(self, name: str, *, history: bool = False) -> Sequence[Pointer]:
        # Other clients of the ledger may have registered names that `register` refuses: those are read all the same.
        pointers = [] if "*" in name else self._ledger.pointers(name=_key(name), history=history)
        if not pointers:
            raise NotFound("model", name, self.names())
        return pointers

    def _version(self, name: str, version: int | str) -> ModelVersion:
        if not str(version).isdecimal():
            raise Invalid(f"{version!r} is not a version number of the model {name!r}. Write promote({name!r}, 2).")
        return self.get(f"{name}@{int(version)}")


def _key(name: str) -> str:
    return f"{KIND}/{name}"


def _check_alias(alias: object) -> None:
    if not isinstance(alias, str) or not _ALIAS.fullmatch(alias):
        raise Invalid(
            f"{alias!r} cannot be an alias. Begin with a letter and go on with letters, digits, '_', '-' and '.', "
            "such as 'champion'; numbers are versions and do not move."
        )


def _assemble(name: str, pointers: Sequence[Pointer], ledger: Ledger) -> list[ModelVersion]:
    aliases: dict[Digest | None, list[str]] = {}
    for pointer in pointers:
        if not pointer.is_version:
            aliases.setdefault(pointer.digest, []).append(pointer.label)
    made = [
        ModelVersion(
            name,
            int(pointer.label),
            pointer.digest,
            tuple(sorted(aliases.get(pointer.digest, ()))),
            pointer.at,
            pointer.by,
            pointer.why,
            ledger,
        )
        for pointer in pointers
        if pointer.is_version and pointer.digest is not None
    ]
    return sorted(made, key=lambda version: version.version)
