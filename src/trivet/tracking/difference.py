"""What differs between two runs, or between two artifacts and the runs that made them, down to lines of code.

Parameters and the like are compared by value, code by the files in both archives, environments by the packages in
both locks, tables and models by what their artifacts declare (columns, rows, signature). Nothing is executed and
nothing of the recorded code is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, to_builtins
from msgspec.structs import replace

from trivet.digest import canonical
from trivet.errors import Invalid
from trivet.ledger import Artifact, Blobs, Ledger, Run
from trivet.ledger.lineage import ancestors
from trivet.ledger.references import resolve
from trivet.pipelines.code import restore_code
from trivet.pipelines.context import Context
from trivet.tracking.locks import pinned
from trivet.tracking.registry import ModelVersion
from trivet.tracking.runs import ActiveRun
from trivet.tracking.tables import cell_text, text_table
from trivet.types import Digest

__all__ = ["Change", "Difference", "FileChange", "diff"]

_SEEDS = frozenset({"seed", "random_state"})
_MARKER = ".trivet-code"
_LONGEST = 200_000  # bytes of a file that is compared by lines; the time grows with the square


class Change(Struct, frozen=True, omit_defaults=True):
    """One entry that differs. ``before`` or ``after`` is ``UNSET`` where one side has no such entry."""

    name: str
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET

    def __str__(self) -> str:
        if self.before is UNSET:
            return f"{self.name}: added {cell_text(self.after)}"
        if self.after is UNSET:
            return f"{self.name}: removed {cell_text(self.before)}"
        return f"{self.name}: {cell_text(self.before)} -> {cell_text(self.after)}"


class FileChange(Struct, frozen=True):
    """One file of the code that differs, with a unified diff (empty where a side is not text, or very long)."""

    file: str
    how: Literal["added", "removed", "changed"]
    patch: str


class Difference(Struct, frozen=True):
    """What differs between ``a`` and ``b``; falsy when nothing does.

    Attributes:
        a, b: what was compared, as a reader would call it.
        environment: packages, interpreter and platform.
        contents: what artifacts declare, such as ``inputs.train.rows`` or ``columns.delay``.
        code: files, each with a unified diff.
        unknown: what could not be compared, and why, as sentences.
    """

    a: str
    b: str
    parameters: tuple[Change, ...] = ()
    metrics: tuple[Change, ...] = ()
    tags: tuple[Change, ...] = ()
    inputs: tuple[Change, ...] = ()
    outputs: tuple[Change, ...] = ()
    environment: tuple[Change, ...] = ()
    contents: tuple[Change, ...] = ()
    code: tuple[FileChange, ...] = ()
    unknown: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(changes for _, changes in self._sections()) or bool(self.code)

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values; an absent side of a change is left out."""
        return {name: list(part) if isinstance(part, tuple) else part for name, part in to_builtins(self).items()}

    def to_json(self) -> dict[str, Any]:
        """As ``as_dict``."""
        return self.as_dict()

    def in_a_line(self) -> dict[str, str]:
        """What differs in each of code, data, environment, parameters and seed, in one line each."""
        seeds = [change for change in self.parameters if change.name in _SEEDS]
        parameters = [change for change in self.parameters if change.name not in _SEEDS]
        found = {
            "code": ", ".join(map(_lines_of, self.code)),
            "data": _few(
                [change for change in (*self.inputs, *self.contents) if not change.name.startswith("outputs.")]
            ),
            "environment": _few(self.environment),
            "parameters": _few(parameters),
            "seed": _few(seeds),
        }
        return {cause: text for cause, text in found.items() if text}

    def __str__(self) -> str:
        lines = [f"{self.a}  ->  {self.b}"]
        for name, changes in self._sections():
            if changes:
                rows = [[change.name, change.before, "->", change.after] for change in changes]
                table = text_table(["", "", "", ""], rows).splitlines()[1:]
                lines += ["", name, *("  " + line for line in table)]
        if self.code:
            lines += ["", "code", *(f"  {change.how} {change.file}" for change in self.code)]
            lines += ["", *(change.patch.rstrip("\n") for change in self.code if change.patch)]
        if not self:
            lines.append("Nothing differs.")
        return "\n".join([*lines, *self.unknown])

    def __repr__(self) -> str:
        return str(self)

    def _sections(self) -> Iterator[tuple[str, tuple[Change, ...]]]:
        for name in ("parameters", "metrics", "tags", "inputs", "outputs", "contents", "environment"):
            yield name, getattr(self, name)


Comparable = Run | ActiveRun | Artifact | ModelVersion


def diff(context: Context, a: Comparable | str, b: Comparable | str) -> Difference:
    """What differs between two runs, or two artifacts and the runs that made them. Text is read as a reference.

    Raises:
        Invalid: one is a run and the other an artifact, or a text is no reference.
        NotFound: a reference names nothing.
        Corrupt: an archive in the ledger is damaged.
    """
    first, second = _plain(context.ledger, a), _plain(context.ledger, b)
    if isinstance(first, Run) and isinstance(second, Run):
        return _diff_runs(context, first, second, first.name, second.name)
    if isinstance(first, Artifact) and isinstance(second, Artifact):
        return _diff_artifacts(context, first, second, _label(a), _label(b))
    raise Invalid(f"{_label(a)} and {_label(b)} cannot be compared: give two runs, or two artifacts.")


def _diff_artifacts(context: Context, a: Artifact, b: Artifact, a_label: str, b_label: str) -> Difference:
    makers = _maker(context.ledger, a), _maker(context.ledger, b)
    contents = tuple(_changes(_flat(a.spec) | {"kind": a.kind}, _flat(b.spec) | {"kind": b.kind}))
    if contents == () and a.content != b.content:
        contents = (Change("content", a.content[:12], b.content[:12]),)
    if makers[0] is None or makers[1] is None:
        labels = zip(makers, (a_label, b_label), strict=True)
        unknown = [f"No run on record made {label}." for maker, label in labels if maker is None]
        return Difference(a_label, b_label, contents=contents, unknown=tuple(unknown))
    of_runs = _diff_runs(context, makers[0], makers[1], a_label, b_label)
    return replace(of_runs, contents=contents + of_runs.contents)


def _diff_runs(context: Context, a: Run, b: Run, a_label: str, b_label: str) -> Difference:
    if a_label == b_label:
        a_label, b_label = f"{a_label} {a.id[:12]}", f"{b_label} {b.id[:12]}"
    recipes = (a.recipe, b.recipe) if a.recipe and b.recipe else None
    missing = [label for run, label in ((a, a_label), (b, b_label)) if run.recipe is None]
    return Difference(
        a_label,
        b_label,
        parameters=tuple(_changes(_flat(a.parameters), _flat(b.parameters))),
        metrics=tuple(_changes(a.metrics, b.metrics)),
        tags=tuple(_changes(_own(a.tags), _own(b.tags))),
        inputs=tuple(_changes(_short(a.inputs), _short(b.inputs))),
        outputs=tuple(_changes(_short(a.outputs), _short(b.outputs))),
        environment=tuple(_environment(context, *(recipe.environment for recipe in recipes))) if recipes else (),
        contents=tuple(_contents(context.ledger, a, b)),
        code=tuple(_code(context, *(recipe.code for recipe in recipes))) if recipes else (),
        unknown=tuple(f"{label} has no code and environment on record." for label in missing),
    )


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(a.keys() | b.keys()):
        before, after = a.get(name, UNSET), b.get(name, UNSET)
        if before is UNSET or after is UNSET or canonical(before) != canonical(after):
            yield Change(name, before, after)


def _contents(ledger: Ledger, a: Run, b: Run) -> Iterator[Change]:
    """Differences declared by the artifacts in the same slot of both runs."""
    for side, first, second in (("inputs", a.inputs, b.inputs), ("outputs", a.outputs, b.outputs)):
        for slot in sorted(first.keys() & second.keys()):
            if first[slot] != second[slot]:
                specs = (ledger.artifact(digest).spec for digest in (first[slot], second[slot]))
                yield from _changes(*(_flat(spec, f"{side}.{slot}.") for spec in specs))


def _code(context: Context, a: Digest, b: Digest) -> Iterator[FileChange]:
    if a == b:
        return
    with TemporaryDirectory() as folder:
        first, second = (
            _files(context.ledger.artifact(digest), context.blobs, Path(folder) / side)
            for side, digest in (("a", a), ("b", b))
        )
        for name in sorted(first.keys() | second.keys()):
            before, after = (files[name].read_bytes() if name in files else None for files in (first, second))
            if before != after:
                how: Literal["added", "removed", "changed"] = (
                    "added" if before is None else "removed" if after is None else "changed"
                )
                yield FileChange(name, how, _patch(name, before, after))


def _files(artifact: Artifact, blobs: Blobs, to: Path) -> dict[str, Path]:
    restore_code(artifact, blobs, to)
    found = (path for path in to.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(to).as_posix(): path for path in found if path.name != _MARKER}


def _patch(name: str, before: bytes | None, after: bytes | None) -> str:
    if max(len(before or b""), len(after or b"")) > _LONGEST:
        return ""
    try:
        old, new = ((text or b"").decode("utf-8").splitlines(keepends=True) for text in (before, after))
    except UnicodeDecodeError:
        return ""
    source = f"a/{name}" if before is not None else "/dev/null"
    target = f"b/{name}" if after is not None else "/dev/null"
    lines = unified_diff(old, new, source, target)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _environment(context: Context, a: Digest, b: Digest) -> Iterator[Change]:
    if a != b:
        yield from _changes(*(_packages(context.ledger.artifact(digest), context.blobs) for digest in (a, b)))


def _packages(environment: Artifact, blobs: Blobs) -> dict[str, Any]:
    facts = {name: value for name, value in environment.spec.items() if name not in ("distributions", "hashes")}
    return _flat(facts) | pinned(environment, blobs)


def _maker(ledger: Ledger, artifact: Artifact) -> Run | None:
    """The first run that really made it: not one answered from the cache, not one that reproduced it."""
    producers = ancestors(ledger, artifact.digest, depth=1).producers(artifact.digest)
    return next((run for run in producers if run.kind != "reproduce"), None)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested JSON as dotted names; a list of named things or of pairs (columns) by their names.

    Example:
        >>> _flat({"rows": 2, "columns": [{"name": "t", "type": "time"}]})
        {'rows': 2, 'columns.t.type': 'time'}
        >>> _flat({"columns": [["t", "time"], ["x", "int64"]]})
        {'columns.t': 'time', 'columns.x': 'int64'}
    """
    if isinstance(value, list) and value:
        value = _by_name(value)
    if not isinstance(value, dict) or (prefix and not value):
        return {prefix.rstrip("."): value}
    return {name: leaf for key, item in value.items() for name, leaf in _flat(item, f"{prefix}{key}.").items()}


def _by_name(items: list[Any]) -> dict[str, Any] | list[Any]:
    if all(isinstance(item, dict) and "name" in item for item in items):
        return {item["name"]: {key: part for key, part in item.items() if key != "name"} for item in items}
    if all(isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) for item in items):
        return dict(items)
    return items


def _plain(ledger: Ledger, thing: Comparable | str) -> Run | Artifact:
    if isinstance(thing, str):
        return resolve(ledger, thing)
    if isinstance(thing, ActiveRun):
        return thing.record
    return thing.artifact if isinstance(thing, ModelVersion) else thing


def _label(thing: Comparable | str) -> str:
    if isinstance(thing, ModelVersion):
        return thing.ref
    if isinstance(thing, Artifact):
        return thing.id
    return thing if isinstance(thing, str) else thing.name


def _few(changes: Sequence[Change], most: int = 4) -> str:
    more = f", and {len(changes) - most} more" if len(changes) > most else ""
    return ", ".join(map(str, changes[:most])) + more


def _lines_of(change: FileChange) -> str:
    """``steps.py +3 -1``"""
    lines = change.patch.splitlines()[2:]
    put, cut = (sum(line.startswith(mark) for line in lines) for mark in "+-")
    return f"{change.file.partition('/')[2] or change.file} " + (f"+{put} -{cut}" if lines else change.how)


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in tags.items() if not name.startswith("trivet.")}


def _short(slots: Mapping[str, Digest]) -> dict[str, str]:
    return {slot: digest[:12] for slot, digest in slots.items()}
