"""A clean folder in which a program can be run again: its code, its files, and a scratch project that knows the past.

A program that opens the project in its folder finds one whose ledger holds what was on record when the run began, as
far as the run can have used it: its inputs with all that these were made from, and the names as they pointed then.
Sources answer from what was recorded of them (``.trivet/recorded``), files that the archive of the code
leaves out for their size come back if their content is still known. Invariant: the project itself is only read,
and the program can reach neither its ledger nor its blobs through its settings.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

from trivet.digest import digest_file
from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact, Ledger, Pointer, Recipe, Run
from trivet.ledger.lineage import ancestors
from trivet.pipelines.capture import HIDDEN
from trivet.pipelines.code import restore_code
from trivet.pipelines.context import Context
from trivet.pipelines.program import PROGRAMS
from trivet.plugins import open_url

__all__ = ["ARGUMENTS", "FOLDER", "PLACE", "RECORDED", "Stage", "check_program", "note_name", "set_up"]

ARGUMENTS, FOLDER = "trivet.arguments", "trivet.folder"
PLACE = "trivet.place."
"""Before the slot of an input: the tag that says where in the project the file was."""
RECORDED = Path(".trivet") / "recorded"
_LEDGER = "sqlite:///.trivet/ledger.db"
_LARGE = 64 << 20  # bytes of an artifact that is only named, not used: its record goes along, its content does not


@dataclass(frozen=True)
class Stage:
    """Where and how to start the program; ``known`` are the runs that were there before it."""

    root: Path
    folder: Path
    program: str
    arguments: list[str]
    path: list[str]
    variables: dict[str, str]
    known: frozenset[str]
    missing: tuple[str, ...] = field(default=())

    def ledger(self) -> Ledger:
        """The scratch ledger, opened anew."""
        opened: Ledger = open_url("ledger", _LEDGER, self.root)
        return opened


def check_program(run: Run, recipe: Recipe) -> None:
    """Refuse a run whose program left nothing to start.

    Raises:
        Invalid: it was an interactive session, an installed program, or had a secret among its arguments.
    """
    if recipe.entry.partition(":")[0] not in PROGRAMS:
        raise Invalid(
            f"The {run.kind} {run.name!r} (run {run.id}) is what {recipe.entry!r} said while it ran, of which there is no "
            "script to start again. Training sets, gate reports and predictions made in it can be made again; for its "
            "models write a script or a task."
        )
    if HIDDEN in run.tags.get(ARGUMENTS, ""):
        raise Invalid(
            f"The {run.kind} {run.name!r} (run {run.id}) was given a secret as an argument, which is not on record. "
            "Hand secrets over in the environment, and what needs them to a run of its own."
        )


def set_up(context: Context, run: Run, to: Path, blobs: str, copy: Callable[[Iterable[Artifact]], None]) -> Stage:
    """Prepare the folder ``to``, which does not exist yet.

    Args:
        context: the project.
        run: what is to be run again; it has a recipe.
        to: where.
        blobs: the URL of the blobs that the program works with.
        copy: puts the content of artifacts there.

    Raises:
        Invalid: there is no program to start.
        NotFound, Corrupt: recorded code or inputs are gone or damaged.
    """
    assert run.recipe is not None
    check_program(run, run.recipe)
    code = context.ledger.artifact(run.recipe.code)
    path = restore_code(code, context.blobs, to)
    root = to / "project"
    (root / RECORDED).mkdir(parents=True)
    past = _Past(context, run)
    inputs = {slot: context.ledger.artifact(digest) for slot, digest in run.inputs.items()}
    copy(inputs.values())
    missing = list(_bring_back(context, code, to))
    _place(context, run, inputs, root)
    _answer_sources(past, blobs, root, copy)
    _seed(past, root, copy)
    program, before = _program(context, run.recipe, inputs, root)
    folder = root / _relative(run.tags.get(FOLDER, ""))
    folder.mkdir(parents=True, exist_ok=True)
    return Stage(
        root=root,
        folder=folder,
        program=program,
        arguments=shlex.split(run.tags.get(ARGUMENTS, "")),
        path=[*before, *map(str, path)],
        variables={
            "PYTHONHASHSEED": "random",
            "LOGNAME": context.user,
            **run.recipe.variables,
            **_scratch(root, blobs),
        },
        known=frozenset(past.runs),
        missing=tuple(missing),
    )


def _scratch(root: Path, blobs: str) -> dict[str, str]:
    """Settings of the scratch project, by whole paths: they hold although the program opens a folder by its name."""
    return {
        "TRIVET_LEDGER_URL": f"sqlite:///{root}/.trivet/ledger.db",
        "TRIVET_BLOBS_URL": blobs,
        "TRIVET_FEATURES_ONLINE": f"lmdb:{root}/.trivet/online",
        "TRIVET_SERVING_RECORDS": f"{root}/.trivet/tables",
        "TRIVET_PIPELINES_RUNNER": "local:",
    }


class _Past:
    """What was on record when a run began, as far as it can have used it."""

    def __init__(self, context: Context, run: Run) -> None:
        self.context, self.run = context, run
        found = [one for one in ancestors(context.ledger, run).runs if one.id != run.id]
        self.runs = {one.id: one for one in found if one.status in ("finished", "cached")}

    def artifacts(self) -> dict[str, Artifact]:
        """All that these runs and names mention, by digest; what is not on record any more is passed over."""
        named = [pointer.digest for pointer in self.pointers() if pointer.digest]
        edges = [digest for one in self.runs.values() for digest in (*one.inputs.values(), *one.outputs.values())]
        recipes = [
            digest for one in self.runs.values() if one.recipe for digest in (one.recipe.code, one.recipe.environment)
        ]
        found = {}
        for digest in dict.fromkeys([*self.run.inputs.values(), *edges, *recipes, *named]):
            try:
                found[digest] = self.context.ledger.artifact(digest)
            except NotFound:
                continue
        return found

    def pointers(self) -> list[Pointer]:
        """Versions in their order, and each alias where it pointed when the run began."""
        history = self.context.ledger.pointers(history=True)
        then = [each for each in sorted(history, key=lambda each: each.at) if each.at <= self.run.started]
        aliases = {(each.name, each.label): each for each in then if not each.is_version}
        return [*(each for each in then if each.is_version), *aliases.values()]


def _seed(past: _Past, root: Path, copy: Callable[[Iterable[Artifact]], None]) -> None:
    artifacts = past.artifacts()
    pointers = [each for each in past.pointers() if each.digest in artifacts]
    named = [artifacts[each.digest] for each in pointers if each.digest]
    copy(_readable(past.context, (one for one in named if one.size <= _LARGE and one.kind != "model")))
    ledger: Ledger = open_url("ledger", _LEDGER, root)
    try:
        ledger.write(*artifacts.values(), *past.runs.values())
        for each in pointers:
            ledger.point(each.name, each.label, each.digest, by=each.by, why=each.why)
    finally:
        ledger.close()


def _readable(context: Context, artifacts: Iterable[Artifact]) -> Iterator[Artifact]:
    """Those whose content is stored; what is only named need not be."""
    for one in artifacts:
        if not context.blobs.missing(file.digest for file in one.files.values()):
            yield one


def _answer_sources(past: _Past, blobs: str, root: Path, copy: Callable[[Iterable[Artifact]], None]) -> None:
    """Leave a note for each source that the inputs were made from: what was recorded of it last."""
    found: dict[str, Artifact] = {}
    for one in sorted(past.runs.values(), key=lambda each: each.id):
        for slot, digest in one.inputs.items():
            if slot.startswith("sources.") or slot == "spine":
                artifact = past.context.ledger.artifact(digest)
                if artifact.kind == "source":
                    found[slot.removeprefix("sources.")] = artifact
    copy(found.values())
    for name, artifact in found.items():
        note = root / RECORDED / f"{note_name(name)}.json"
        note.write_bytes(msgspec.json.encode({"blobs": blobs, "artifact": artifact}))


def note_name(source: str) -> str:
    """The name of the note about a source, which may be called anything.

    Example:
        >>> note_name("../weather")
        '2e2e2f77656174686572'
    """
    return source.encode().hex()


def _bring_back(context: Context, code: Artifact, to: Path) -> Iterator[str]:
    """Put files that were too large for the archive where they were; answer those of which nothing is left."""
    for item in code.spec["left_out"]:
        digest, target = item["digest"], to / _relative(item["name"])
        if digest is None or target.exists() or not item["name"].startswith("project/"):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if not context.blobs.missing([digest]):
            context.blobs.fetch(digest, target)
        elif not _copied(context.root / PurePosixPath(item["name"]).relative_to("project"), digest, target):
            yield item["name"].removeprefix("project/")


def _copied(here: Path, digest: str, target: Path) -> bool:
    if not here.is_file() or digest_file(here) != digest:
        return False
    shutil.copyfile(here, target)
    return True


def _place(context: Context, run: Run, inputs: Mapping[str, Artifact], root: Path) -> None:
    """Put files that were given to the run as inputs where it had them."""
    for slot, artifact in inputs.items():
        if (name := run.tags.get(PLACE + slot)) is None:
            continue
        target = root / _relative(name)
        is_file = artifact.spec.get("form") == "file"
        for inner, file in artifact.files.items():
            context.blobs.fetch(file.digest, _made(target if is_file else target / _relative(inner)))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _program(context: Context, recipe: Recipe, inputs: Mapping[str, Artifact], root: Path) -> tuple[str, list[str]]:
    """What to start, and what goes in front on the path."""
    kind, _, name = recipe.entry.partition(":")
    if kind == "module":
        return recipe.entry, []
    inside = not Path(name).is_absolute()
    if kind == "script" and inside:
        return f"script:{root / _relative(name)}", []
    source = inputs.get("script")
    if source is None:
        raise Invalid(f"What {recipe.entry!r} ran is not on record, so it cannot be run again.")
    content = context.blobs.read(next(iter(source.files.values())).digest)
    file = _made(root / ".trivet" / "loose" / (Path(name).name or "cells.py"))
    file.write_bytes(content)
    if kind == "notebook":
        _check_cells(content, recipe)
    return f"script:{file}", [str(root)]


def _check_cells(content: bytes, recipe: Recipe) -> None:
    try:
        compile(content, "cells.py", "exec")
    except SyntaxError as exc:
        raise Invalid(
            f"The cells of {recipe.entry!r} hold what is no Python ({(exc.text or '').strip()!r}), such as a magic, so they "
            "cannot be run again as a script. Move that out of the notebook, or write a script."
        ) from exc


def _relative(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise Invalid(f"The record names the file {name!r}, which lies outside of the project.")
    return name
