"""What differs between two runs, or between two artifacts and the runs that made them, down to lines of code.

Parameters and the like are compared by value, code by the files in both archives, environments by the packages in
both locks, tables row by row (``rows``), models by what their artifacts declare, feature views by their definitions.
Nothing is executed and nothing of the recorded code is imported. What each difference does to the result is the
question of ``trivet.tracking.why``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType, to_builtins
from msgspec.structs import replace

from trivet.digest import canonical
from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact, Blobs, Ledger, Run, RunQuery
from trivet.ledger.lineage import ancestors
from trivet.pipelines import values
from trivet.pipelines.code import restore_code
from trivet.pipelines.context import Context
from trivet.tracking.locks import pinned
from trivet.tracking.moments import resolve_at
from trivet.tracking.registry import ModelVersion
from trivet.tracking.rows import RowsChange, compare_rows, key_of, read_rows
from trivet.tracking.runs import ActiveRun
from trivet.tracking.tables import cell_text, text_table
from trivet.types import Digest

__all__ = ["Change", "DefinitionChange", "Describe", "Difference", "FileChange", "diff"]

_DEFINITIONS = ("feature_view", "on_demand", "feature_service")
_SECTIONS = (
    "parameters", "metrics", "tags", "seeds", "inputs", "outputs", "contents", "environment", "hardware",
)  # fmt: skip
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


class DefinitionChange(Struct, frozen=True):
    """One difference of a feature view, an on-demand view or a service.

    Attributes:
        name: of the definition.
        what: in words.
        effect: ``safe``, ``values`` (other values under the same name) or ``breaking``.
        patch: of a function or SQL text, the lines.
    """

    name: str
    what: str
    effect: str = "values"
    patch: str = ""

    def __str__(self) -> str:
        mark = "" if self.effect == "safe" else f" [{'changes values' if self.effect == 'values' else 'breaking'}]"
        return "\n".join([f"{self.name}: {self.what}{mark}", *(f"    {line}" for line in self.patch.splitlines())])


Describe: TypeAlias = Callable[[Artifact, Artifact], Iterable[DefinitionChange]]
"""What differs between two definitions, in words: the leg that knows them says it."""


class Difference(Struct, frozen=True):
    """What differs between ``a`` and ``b``; falsy when nothing does.

    Attributes:
        a, b: what was compared, as a reader would call it.
        metrics: of a pipeline, and of a step of one, those of all its steps.
        seeds: what random generators started from.
        data: tables and training sets that differ: rows by key, columns, distributions.
        features: definitions that differ.
        environment: packages, interpreter and platform.
        hardware: host, processor, threads, and the numeric libraries as they were in force.
        contents: what artifacts declare, such as ``inputs.train.rows`` or ``columns.delay``.
        code: files, each with a unified diff.
        unknown: what could not be compared, and why, as sentences.
    """

    a: str
    b: str
    parameters: tuple[Change, ...] = ()
    metrics: tuple[Change, ...] = ()
    tags: tuple[Change, ...] = ()
    seeds: tuple[Change, ...] = ()
    inputs: tuple[Change, ...] = ()
    outputs: tuple[Change, ...] = ()
    data: tuple[RowsChange, ...] = ()
    features: tuple[DefinitionChange, ...] = ()
    environment: tuple[Change, ...] = ()
    hardware: tuple[Change, ...] = ()
    contents: tuple[Change, ...] = ()
    code: tuple[FileChange, ...] = ()
    unknown: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(changes for _, changes in self._sections()) or bool(self.code or self.data or self.features)

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
            "data": self._data_in_a_line(),
            "environment": _few(self.environment),
            "parameters": _few(parameters),
            "seed": _few(seeds or self.seeds),
        }
        return {cause: text for cause, text in found.items() if text}

    def _data_in_a_line(self) -> str:
        """Rows where rows were compared, else the slots that differ."""
        rows = [each.line for each in self.data if not each.name.startswith("outputs.")]
        return ", ".join(rows) or _few(self.inputs)

    def __str__(self) -> str:
        lines = [f"{self.a}  ->  {self.b}"]
        for name, changes in self._sections():
            if changes:
                rows = [[change.name, change.before, "->", change.after] for change in changes]
                table = text_table(["", "", "", ""], rows).splitlines()[1:]
                lines += ["", name, *("  " + line for line in table)]
        for heading, parts in (("data", self.data), ("features", self.features)):
            if parts:
                lines += ["", heading, *(f"  {line}" for part in parts for line in str(part).splitlines())]
        if self.code:
            lines += ["", "code", *(f"  {change.how} {change.file}" for change in self.code)]
            lines += ["", *(change.patch.rstrip("\n") for change in self.code if change.patch)]
        if not self:
            lines.append("Nothing differs.")
        return "\n".join([*lines, *self.unknown])

    def __repr__(self) -> str:
        return str(self)

    def _sections(self) -> Iterator[tuple[str, tuple[Change, ...]]]:
        for name in _SECTIONS:
            yield name, getattr(self, name)


Comparable = Run | ActiveRun | Artifact | ModelVersion


def diff(
    context: Context,
    a: Comparable | str,
    b: Comparable | str,
    *,
    key: Sequence[str] | None = None,
    describe: Describe | None = None,
    labels: tuple[str, str] | None = None,
) -> Difference:
    """What differs between two runs, or two artifacts and the runs that made them. Text is read as a reference.

    Args:
        context: the project.
        a: the one.
        b: the other.
        key: the columns that say which row of a table is which; found where it is not given.
        describe: says what differs between two definitions; their declarations are compared without.
        labels: what to call the two; found where they are not given.

    Raises:
        Invalid: one is a run and the other an artifact, or a text is no reference.
        NotFound: a reference names nothing, or a column of the key is not there.
        Corrupt: an archive in the ledger is damaged.
    """
    first, second = _plain(context.ledger, a), _plain(context.ledger, b)
    called = labels or (_label(a), _label(b))
    work = _Comparing(context, key, describe)
    if isinstance(first, Run) and isinstance(second, Run):
        return work.runs(first, second, *(labels or (first.name, second.name)))
    if isinstance(first, Artifact) and isinstance(second, Artifact):
        return work.artifacts(first, second, *called)
    raise Invalid(f"{called[0]} and {called[1]} cannot be compared: give two runs, or two artifacts.")


class _Comparing:
    """One comparison: the project, and how rows and definitions are compared."""

    def __init__(self, context: Context, key: Sequence[str] | None, describe: Describe | None) -> None:
        self.context, self.ledger, self.blobs = context, context.ledger, context.blobs
        self.key, self.describe = key, describe
        self.unknown: list[str] = []

    def artifacts(self, a: Artifact, b: Artifact, a_label: str, b_label: str) -> Difference:
        """Two artifacts, and the runs that made them."""
        makers = _maker(self.ledger, a), _maker(self.ledger, b)
        contents = [
            *_changes(_flat(a.spec) | {"kind": a.kind}, _flat(b.spec) | {"kind": b.kind}),
            *self._json(a, b, ""),
        ]
        if not contents and a.content != b.content:
            contents = [Change("content", a.content[:12], b.content[:12])]
        data, features = self._tables(a, b, ""), self._definitions([(a, b)])
        if makers[0] is None or makers[1] is None:
            labels = zip(makers, (a_label, b_label), strict=True)
            unknown = [f"No run on record made {label}." for maker, label in labels if maker is None]
            return Difference(
                a_label, b_label, contents=tuple(contents), data=data, features=features,
                unknown=(*self.unknown, *unknown),
            )  # fmt: skip
        of_runs = self.runs(makers[0], makers[1], a_label, b_label)
        return replace(
            of_runs,
            contents=(*contents, *of_runs.contents),
            data=(*data, *of_runs.data),
            features=tuple(dict.fromkeys([*features, *of_runs.features])),
        )

    def runs(self, a: Run, b: Run, a_label: str, b_label: str) -> Difference:
        """Two runs; of two predictions also their models."""
        if a_label == b_label:
            a_label, b_label = f"{a_label} {a.id[:12]}", f"{b_label} {b.id[:12]}"
        found = self._runs(a, b, a_label, b_label)
        models = a.inputs.get("model"), b.inputs.get("model")
        if a.kind != "prediction" or b.kind != "prediction" or models[0] == models[1] or None in models:
            return found
        one, other = (self.ledger.artifact(str(model)) for model in models)
        return _with_models(found, self.artifacts(one, other, one.id, other.id))

    def _runs(self, a: Run, b: Run, a_label: str, b_label: str) -> Difference:
        recipes = (a.recipe, b.recipe) if a.recipe and b.recipe else None
        missing = [label for run, label in ((a, a_label), (b, b_label)) if run.recipe is None]
        pairs = list(self._pairs(a, b))
        contents = [change for name, one, other in pairs for change in self._content(one, other, name)]
        return Difference(
            a_label,
            b_label,
            parameters=tuple(_changes(_flat(a.parameters), _flat(b.parameters))),
            metrics=tuple(_changes(_metrics(self.ledger, a), _metrics(self.ledger, b))),
            tags=tuple(_changes(_own(a.tags), _own(b.tags))),
            seeds=tuple(_changes(*({"seed": recipe.seed} for recipe in recipes))) if recipes else (),
            inputs=tuple(_changes(_short(a.inputs), _short(b.inputs))),
            outputs=tuple(_changes(_short(a.outputs), _short(b.outputs))),
            data=tuple(each for name, one, other in pairs for each in self._tables(one, other, name)),
            features=self._definitions([(one, other) for _, one, other in pairs]),
            environment=tuple(_environment(self.context, *(each.environment for each in recipes))) if recipes else (),
            hardware=tuple(_changes(_machine(a), _machine(b))),
            contents=tuple(contents),
            code=tuple(_code(self.context, *(recipe.code for recipe in recipes))) if recipes else (),
            unknown=(*self.unknown, *(f"{label} has no code and environment on record." for label in missing)),
        )

    def _pairs(self, a: Run, b: Run) -> Iterator[tuple[str, Artifact, Artifact]]:
        """Different artifacts in the same slot of both."""
        for side, first, second in (("inputs", a.inputs, b.inputs), ("outputs", a.outputs, b.outputs)):
            for slot in sorted(first.keys() & second.keys()):
                if first[slot] != second[slot]:
                    yield f"{side}.{slot}", self.ledger.artifact(first[slot]), self.ledger.artifact(second[slot])

    def _content(self, a: Artifact, b: Artifact, name: str) -> Iterator[Change]:
        yield from _changes(*(_flat(each.spec, f"{name}.") for each in (a, b)))
        yield from self._json(a, b, f"{name}.")

    def _json(self, a: Artifact, b: Artifact, prefix: str) -> Iterator[Change]:
        """Entries of two JSON values that differ, where they are not large."""
        if a.kind == b.kind == "json" and max(a.size, b.size) <= _LONGEST:
            try:
                loaded = [_flat(values.load(each, self.blobs), f"{prefix}value.") for each in (a, b)]
            except NotFound as exc:
                self.unknown.append(str(exc))
                return
            yield from _changes(*loaded)

    def _tables(self, a: Artifact, b: Artifact, name: str) -> tuple[RowsChange, ...]:
        if a.content == b.content:
            return ()
        try:
            before, after = read_rows(a, self.blobs), read_rows(b, self.blobs)
        except NotFound as exc:
            self.unknown.append(f"The rows of {name or a.id} are not compared: {exc}")
            return ()
        if before is None or after is None:
            return ()
        known = [column for column in self.key or () if column in before.columns and column in after.columns]
        key = (self.key if not name else known) or key_of(a, b)
        return (compare_rows(before, after, key, name=name, labels=(a.id, b.id)),)

    def _definitions(self, pairs: Sequence[tuple[Artifact, Artifact]]) -> tuple[DefinitionChange, ...]:
        """Differences of definitions: of the artifacts themselves, and of those that two training sets were joined from."""
        found: dict[tuple[Digest, Digest], str] = {}
        for a, b in pairs:
            if a.kind == b.kind and a.kind in _DEFINITIONS:
                found[a.digest, b.digest] = str(a.spec.get("name", a.kind))
            one, other = _views(a), _views(b)
            found |= {(one[name], other[name]): name for name in one.keys() & other.keys() if one[name] != other[name]}
        changes = (change for ends, name in found.items() for change in self._definition(*ends, name))
        return tuple(dict.fromkeys(changes))

    def _definition(self, a: Digest, b: Digest, name: str) -> Iterator[DefinitionChange]:
        try:
            one, other = self.ledger.artifact(a), self.ledger.artifact(b)
        except NotFound as exc:
            self.unknown.append(str(exc))
            return
        if self.describe is not None:
            yield from self.describe(one, other)
            return
        for change in _changes(_flat(one.spec), _flat(other.spec)):
            yield DefinitionChange(name, str(change))


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(a.keys() | b.keys()):
        before, after = a.get(name, UNSET), b.get(name, UNSET)
        if before is UNSET or after is UNSET or canonical(before) != canonical(after):
            yield Change(name, before, after)


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
        return resolve_at(ledger, thing)
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


def _with_models(found: Difference, models: Difference) -> Difference:
    """A difference of two predictions with that of their models."""
    joined = {name: (*getattr(found, name), *getattr(models, name)) for name in ("data", "features", "unknown")}
    named = {
        name: (*getattr(found, name), *(replace(each, name=f"model.{each.name}") for each in getattr(models, name)))
        for name in ("parameters", "metrics", "seeds", "environment", "hardware", "contents")
    }
    code = tuple({change.file: change for change in (*models.code, *found.code)}.values())
    return replace(found, **joined, **named, code=code)


def _metrics(ledger: Ledger, run: Run) -> dict[str, float]:
    """Those of a run, and of all steps of its pipeline; named with their step where several have one of that name."""
    around = run.id if run.kind == "pipeline" else run.parent if run.kind == "task" else None
    steps = ledger.runs(RunQuery(parent=around, limit=10_000)) if around else []
    names = [name for step in steps for name in step.metrics]
    of_steps = {
        name if names.count(name) == 1 else f"{step.name}.{name}": value
        for step in sorted(steps, key=lambda step: step.id)
        for name, value in step.metrics.items()
    }
    return of_steps | run.metrics


def _machine(run: Run) -> dict[str, Any]:
    """Where it ran and what was in force there."""
    if run.recipe is None:
        return {"host": run.host}
    facts = dict(run.recipe.active)
    libraries = {
        f"{one.get('library')}.{fact}": value
        for one in facts.pop("libraries", [])
        for fact, value in one.items()
        if fact != "library"
    }
    plain = {"host": run.host, "threads": run.recipe.threads, **run.recipe.variables, **facts, **libraries}
    return {
        name: " ".join(value) if name == "cpu" and isinstance(value, list) else value for name, value in plain.items()
    }


def _views(artifact: Artifact) -> dict[str, Digest]:
    """The definitions that a training set was joined from, by name."""
    if artifact.kind != "training_set":
        return {}
    joined = {str(each["feature"]).partition(":")[0]: each["view"] for each in artifact.spec.get("features", [])}
    defined: dict[str, Digest] = artifact.spec.get("definitions", {})
    return joined | defined


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in tags.items() if not name.startswith("trivet.")}


def _short(slots: Mapping[str, Digest]) -> dict[str, str]:
    return {slot: digest[:12] for slot, digest in slots.items()}
