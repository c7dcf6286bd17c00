"""What a pasted id means: the one place that reads ``model:3f2a9c01d4e5``, ``run:01JCZ8...`` and ``delay@champion``.

    KIND:PREFIX        an artifact by the beginning of its digest; run:PREFIX a run
    PREFIX             either of them, six characters at least
    NAME@LABEL         the artifact under a label; the kind is ``model`` unless written KIND/NAME@LABEL
    KIND/NAME          the newest version under a name
    NAME               what is in force under it (a model's ``champion``, a definition's ``current``), else the newest
                       version, where one kind only has that name

``parse`` only reads the text; ``resolve`` asks a ledger and, where there is nothing, says what there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from trivet.errors import Ambiguous, Invalid, NotFound
from trivet.ledger.contract import Ledger
from trivet.ledger.naming import is_name, split_name
from trivet.ledger.records import Artifact, Pointer, Run

__all__ = ["Reference", "parse", "resolve"]

Form: TypeAlias = Literal["id", "label", "name"]

_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.\-]*")
_LABEL = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.\-]{0,127}")  # more than can be given, so that a date is "not found"
_HEX = re.compile(r"[0-9a-f]{6,64}")
_HEX_LETTERS = re.compile(r"[0-9a-f]+")
_HOW = "Write KIND:ID, an id, NAME@LABEL, KIND/NAME@LABEL or KIND/NAME."
_IN_FORCE = ("champion", "current")
_SHORTEST = 6


class Reference(msgspec.Struct, frozen=True):
    """A text that names something, taken apart.

    Attributes:
        form: ``id`` (``kind`` is None where not written), ``label`` (``name`` is ``KIND/NAME``) or ``name``.
    """

    form: Form
    kind: str | None = None
    id: str = ""
    name: str = ""
    label: str = ""

    def __str__(self) -> str:
        """The text again, with nothing left out."""
        if self.form == "id":
            return f"{self.kind}:{self.id}" if self.kind else self.id
        return f"{self.name}@{self.label}" if self.form == "label" else self.name


def parse(text: str) -> Reference:
    """Read a reference.

    Raises:
        Invalid: the text is none.

    Example:
        >>> str(parse("delay@champion"))
        'model/delay@champion'
        >>> parse("run:01JCZ8"), parse("feature_view/congestion")
        (Reference(form='id', kind='run', id='01JCZ8', name='', label=''), \
Reference(form='name', kind=None, id='', name='feature_view/congestion', label=''))
    """
    text = text.strip()
    if "@" in text:
        return _labelled(*text.rsplit("@", 1))
    if is_name(text):
        return Reference("name", name=text)
    kind, colon, id_ = text.rpartition(":")
    if not _ID.fullmatch(id_) or (colon and not _KIND.fullmatch(kind)):
        raise Invalid(f"{text[:80]!r} is not a reference. {_HOW}")
    return Reference("id", kind=kind or None, id=_folded(id_))


def resolve(ledger: Ledger, text: str) -> Artifact | Run:
    """The artifact or run that ``text`` names.

    Raises:
        Invalid: the text is no reference.
        NotFound: there is no such thing; what there is instead is offered.
        Ambiguous: a shortened id fits several things.
    """
    reference = parse(text)
    match reference.form:
        case "label":
            return _by_label(ledger, reference)
        case "name":
            return _newest_version(ledger, reference)
        case "id" if reference.kind == "run":
            return ledger.run(reference.id)
        case "id" if reference.kind:
            return _of_kind(ledger, reference)
        case _:
            return _by_bare_id(ledger, reference)


def _labelled(name: str, label: str) -> Reference:
    full = name if "/" in name else f"model/{name}"
    if not is_name(full) or not _LABEL.fullmatch(label):
        raise Invalid(f"{f'{name}@{label}'[:80]!r} is not a reference: a name and a label stand around the '@'. {_HOW}")
    return Reference("label", name=full, label=label)


def _folded(id_: str) -> str:
    # Digests are written in small letters; what begins with 01 is more likely a run id, which is in capitals.
    if _HEX.fullmatch(id_.lower()) and not id_.startswith("01"):
        return id_.lower()
    return id_


def _of_kind(ledger: Ledger, reference: Reference) -> Artifact:
    if len(reference.id) < _SHORTEST:
        hint = f"That is too short: the beginning of an id needs {_SHORTEST} characters at least."
        raise NotFound(str(reference.kind), reference.id, hint=hint)
    try:
        artifact = ledger.artifact(reference.id)
    except NotFound as exc:
        raise NotFound(str(reference.kind), reference.id, hint=_newest_of_kind(ledger, str(reference.kind))) from exc
    if artifact.kind != reference.kind:
        raise NotFound(str(reference.kind), reference.id, hint=f"It is a {artifact.kind}: {artifact.id}.")
    return artifact


def _newest_of_kind(ledger: Ledger, kind: str) -> str:
    newest = [artifact.id for artifact in ledger.artifacts(kind=kind, limit=3)]
    return f"The newest are: {', '.join(newest)}." if newest else f"Nothing of kind {kind!r} is recorded here."


def _by_bare_id(ledger: Ledger, reference: Reference) -> Artifact | Run:
    found: list[Artifact | Run] = []
    for look in (ledger.artifact, ledger.run):
        try:
            found.append(look(reference.id))
        except NotFound:
            continue
    if len(found) > 1:
        raise Ambiguous("thing", reference.id, [_id_of(thing) for thing in found])
    if found:
        return found[0]
    return _by_plain_name(ledger, reference.id)


def _by_plain_name(ledger: Ledger, word: str) -> Artifact:
    """What is in force under the only name of that word, of whatever kind."""
    versions = {one.name for one in ledger.pointers() if one.is_version}
    meant = sorted(name for name in versions if split_name(name)[1] == word)
    if len(meant) > 1:
        raise Ambiguous("name", word, meant)
    if not meant:
        short = len(word) < _SHORTEST and _HEX_LETTERS.fullmatch(word)
        hint = f"The beginning of an id needs {_SHORTEST} characters at least." if short else ""
        raise NotFound("artifact, run or name", word, {split_name(name)[1] for name in versions}, hint=hint)
    standing = {one.label: one.digest for one in ledger.pointers(name=meant[0])}
    digest = next((standing[label] for label in _IN_FORCE if standing.get(label)), None)
    return ledger.artifact(digest) if digest else _newest_version(ledger, Reference("name", name=meant[0]))


def _by_label(ledger: Ledger, reference: Reference) -> Artifact:
    standing = _pointers(ledger, reference)
    for pointer in standing:
        if pointer.label == reference.label and pointer.digest:
            return ledger.artifact(pointer.digest)
    raise NotFound("label", str(reference), (f"{one.name}@{one.label}" for one in standing))


def _newest_version(ledger: Ledger, reference: Reference) -> Artifact:
    standing = _pointers(ledger, reference)
    newest = max((one for one in standing if one.is_version), key=lambda one: int(one.label), default=None)
    if newest is None or newest.digest is None:
        labels = (f"{one.name}@{one.label}" for one in standing)
        raise NotFound("version of", reference.name, labels)
    return ledger.artifact(newest.digest)


def _pointers(ledger: Ledger, reference: Reference) -> Iterable[Pointer]:
    if standing := ledger.pointers(name=reference.name):
        return standing
    kind, _ = split_name(reference.name)
    names = {one.name for one in ledger.pointers(name=f"{kind}/*")}
    others = {one.name for one in ledger.pointers()} if not names else set()
    raise NotFound("name", reference.name, names or others, hint="" if names or others else "No names are given yet.")


def _id_of(thing: Artifact | Run) -> str:
    return f"run:{thing.id}" if isinstance(thing, Run) else thing.id
