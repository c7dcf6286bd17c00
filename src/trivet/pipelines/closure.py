"""What a function can reach: digests of project code by qualified name, and versions of libraries.

Static: files are read and parsed, nothing is imported or executed, so the answer does not depend on what the
process has done before. Files come from ``trivet.pipelines.source``; what is made of the answer (the cache key)
is left to ``trivet.pipelines.cache``.

The invariant is that an edit which can change what the function does changes the answer. The closure holds

* each function, class and module variable that the entry names, and what those name, through aliases,
  re-exports, relative and function-level imports, decorators, defaults, bases and annotations;
* for every module that gets imported on the way, the statements that stand there for their effect (key
  ``module:<effects>``), and those that may change a variable that is reached (``@register``, ``add(REGISTRY)``);
* whole files (``module:*``, digest of the bytes) where the text does not say what is reached: of one module and
  all project modules that it imports for ``import *``, ``globals()``, a module handed around as a value, a
  module's ``__getattr__`` or a name that cannot be found; of every module below the folders for ``eval``,
  ``exec``, ``importlib``, ``sys.modules``, ``__subclasses__`` and ``__init_subclass__``.

Where it errs it holds too much. Data files and environment variables are no code: declare them as inputs.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from trivet.digest import digest, digest_file
from trivet.errors import NotFound
from trivet.pipelines.source import Chain, Piece, Ref, SourceFile, read_source
from trivet.types import Digest

__all__ = ["code_closure", "distributions", "import_roots"]

_MODULE_NAMES = frozenset(
    [
        "__name__",
        "__file__",
        "__doc__",
        "__package__",
        "__path__",
        "__spec__",
        "__loader__",
        "__annotations__",
        "__debug__",
        "__all__",
        "__version__",
        "__class__",
        "WindowsError",
    ]
)
_BUILTINS = frozenset(dir(builtins)) | _MODULE_NAMES
_ANY_IMPORT = frozenset({"importlib", "runpy", "pkgutil", "imp", "zipimport"})
_HARMLESS_IMPORTLIB = frozenset({"metadata", "resources", "abc", "machinery"})
_EXTENSIONS = (".so", ".pyd")
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


def code_closure(entry: str, folders: Sequence[Path]) -> dict[str, Digest]:
    """Everything project-local that ``entry`` can reach: qualified name to digest of its normal form.

    Args:
        entry: ``module:qualname`` of a function. An entry outside the folders is a library's and has an empty
            closure: its identity is the version of its distribution (``distributions``).
        folders: the project's folders. Modules are looked for in each of them, in its ``src`` and in entries of
            ``sys.path`` below it.

    Raises:
        NotFound: the module is the project's and has no such name.
    """
    walk = _Walk(folders)
    walk.start(entry)
    return dict(sorted(walk.digests()))


def distributions(entry: str, folders: Sequence[Path]) -> dict[str, str]:
    """Third-party distributions that ``entry`` depends on: normalised name to version.

    Those that the modules on the way import, and what these require (by their metadata; environment markers are
    evaluated if ``packaging`` is installed, else every requirement that is installed counts). An editable
    distribution, whose version says nothing, has the digest of its source as well: ``0.1.0+3f2a9c01d4e5``.
    A module that no distribution provides is listed as ``not installed``.
    """
    from trivet.pipelines.distributions import versions_for

    walk = _Walk(folders)
    walk.start(entry)
    outside = {name.partition(".")[0] for name in walk.outside}
    if not walk.seen_modules:
        outside.add(entry.partition(":")[0].partition(".")[0])
    return versions_for(outside - set(sys.stdlib_module_names) - {""})


def import_roots(folders: Sequence[Path]) -> list[Path]:
    """The folders that modules are imported from: each folder, its ``src``, entries of ``sys.path`` below it."""
    roots: list[Path] = []
    entries = [Path(entry).resolve() for entry in sys.path if entry]
    for folder in (Path(folder).resolve() for folder in folders):
        below = [entry for entry in entries if entry.is_relative_to(folder) and entry.is_dir()]
        below = [entry for entry in below if not _is_skipped(entry.relative_to(folder))]
        roots += [root for root in (folder / "src", *below, folder) if root.is_dir()]
    return list(dict.fromkeys(roots))


def _is_skipped(path: Path) -> bool:
    return any(part.startswith(".") or part in _SKIPPED_FOLDERS for part in path.parts)


class _Node(NamedTuple):
    """A piece by its place; ``place`` -1 stands for the whole file and -2 for a name that only imports bind."""

    module: str
    place: int


class _Walk:
    """One closure being worked out. ``reached`` grows until nothing adds to it."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.roots = import_roots(folders)
        self.files: dict[str, SourceFile | Path | None] = {}
        self.loaded: dict[str, None] = {}
        self.reached: dict[_Node, None] = {}
        self.whole: dict[str, None] = {}
        self.outside: set[str] = set()
        self.seen_modules = False
        self._effects: dict[_Node, set[_Node]] = {}

    # what there is

    def file(self, module: str) -> SourceFile | None:
        """The project's file of a module name, or None for a library's module, a bare folder or an extension."""
        if module not in self.files:
            self.files[module] = self._find(module)
        found = self.files[module]
        return found if isinstance(found, SourceFile) else None

    def is_project(self, module: str) -> bool:
        """Whether the name is of a file or folder of the project."""
        self.file(module)
        return self.files[module] is not None

    def _find(self, module: str) -> SourceFile | Path | None:
        if not module or not all(part.isidentifier() for part in module.split(".")):
            return None
        folder: Path | None = None
        for root in self.roots:
            base = root.joinpath(*module.split("."))
            if (init := base / "__init__.py").is_file():
                return read_source(module, init, package=True)
            if (path := base.with_name(base.name + ".py")).is_file():
                return read_source(module, path, package=False)
            if compiled := [p for p in base.parent.glob(f"{base.name}.*") if p.suffix in _EXTENSIONS]:
                return compiled[0]
            if folder is None and base.is_dir() and not _is_skipped(base.relative_to(root)):
                folder = base  # a namespace package, unless a later root has a file
        return folder

    # what a name means

    def resolve(self, module: str, chain: Chain, seen: frozenset[tuple[str, Chain]] = frozenset()) -> Iterator[_Node]:
        """The places that ``chain`` in ``module`` may mean; libraries' are noted in ``outside``."""
        if (module, chain) in seen:
            return
        seen |= {(module, chain)}
        if not self.is_project(module):
            self._note_outside(module, chain)
            return
        file = self.file(module)
        if not chain:
            yield _Node(module, -1)
        elif file is not None and (chain[0] in file.names or chain[0] in file.imports):
            for place in file.names.get(chain[0], ()):
                yield _Node(module, place)
            for target in file.imports.get(chain[0], ()):
                yield from self.resolve(target.module, target.chain + chain[1:], seen)
        elif self.is_project(f"{module}.{chain[0]}"):
            yield from self.resolve(f"{module}.{chain[0]}", chain[1:], seen)
        elif chain[0] not in _BUILTINS:
            yield _Node(module, -1)

    def _note_outside(self, module: str, chain: Chain) -> None:
        self.outside.add(module)
        path = (*module.split("."), *chain)
        any_import = path[0] in _ANY_IMPORT and not (len(path) > 1 and path[1] in _HARMLESS_IMPORTLIB)
        if any_import or path[:2] in {("sys", "modules"), ("builtins", "eval"), ("builtins", "exec")}:
            self._take_everything()

    def nodes(self, module: str, refs: Iterable[Ref]) -> Iterator[_Node]:
        """The places that names written in ``module`` may mean."""
        for ref in refs:
            if ref.module == "?":
                file = self.file(module)
                if file is None or not (ref.chain[0] in file.names or ref.chain[0] in file.imports):
                    continue
            yield from self.resolve(module if ref.module in {"", "?"} else ref.module, ref.chain)

    def piece(self, node: _Node) -> Piece | None:
        """The piece at a place, None for a whole file."""
        file = self.file(node.module)
        return file.pieces[node.place] if file is not None and node.place >= 0 else None

    # the walk

    def start(self, entry: str) -> None:
        """Reach the entry and everything from there."""
        module, _, name = entry.partition(":")
        if not self.is_project(module):
            return
        self.seen_modules = True
        file = self.file(module)
        chain = (name.partition(".")[0],)
        known = [] if file is None else [*file.names, *file.imports]
        if file is not None and file.readable and not file.stars and not {chain[0], "__getattr__"} & {*known}:
            raise NotFound("function", entry, [f"{module}:{other}" for other in known])
        self._load(module)
        for node in list(self.resolve(module, chain)):
            self._reach(node)
        while self._reach_acting():
            pass

    def _load(self, module: str) -> None:
        """Follow what importing a module runs: its packages, its imports, its effects."""
        for name in _with_parents(module):
            if name in self.loaded:
                continue
            if not self.is_project(name):
                if not self.is_project(module.partition(".")[0]):
                    self.outside.add(module)
                return  # a library's module, or a name inside a project's module
            self.loaded[name] = None
            file = self.file(name)
            if file is None:
                if isinstance(path := self.files[name], Path) and path.is_file():
                    self.whole[name] = None
                continue
            for other in sorted(file.modules):
                self._load(other)
            for place, piece in enumerate(file.pieces):
                if piece.effect:
                    self._reach(_Node(name, place))

    def _reach(self, node: _Node) -> None:
        stack = [node]
        while stack:
            node = stack.pop()
            if node in self.reached:
                continue
            self.reached[node] = None
            self._load(node.module)
            piece = self.piece(node)
            file = self.file(node.module)
            if piece is None or (file is not None and file.stars):
                self._take_whole(node.module)
            if piece is None:
                continue
            if piece.dynamic == "module":
                self._take_whole(node.module)
            elif piece.dynamic == "project":
                self._take_everything()
            for module in sorted(piece.modules):
                self._load(module)
            stack += self.nodes(node.module, piece.loads)

    def _take_whole(self, module: str) -> None:
        """Take a file and all project files that it imports, as they are."""
        stack = [module]
        while stack:
            name = stack.pop()
            for part in _with_parents(name):
                if part in self.whole or not self.is_project(part):
                    continue
                self.whole[part] = None
                self._load(part)
                file = self.file(part)
                if file is not None:
                    stack += sorted({*file.all_modules(), *file.stars})

    def _take_everything(self) -> None:
        if "*" in self.whole:
            return
        self.whole["*"] = None
        for module in sorted(set(self._all_modules())):
            self._take_whole(module)

    def _all_modules(self) -> Iterator[str]:
        for root in self.roots:
            for folder, folders, names in os.walk(root):
                here = Path(folder).relative_to(root)
                folders[:] = [n for n in folders if n.isidentifier() and not _is_environment(Path(folder, n))]
                for name in names:
                    stem = name.partition(".")[0]
                    if name == "__init__.py" and here.parts:
                        yield ".".join(here.parts)
                    elif stem.isidentifier() and (name == f"{stem}.py" or name.endswith(_EXTENSIONS)):
                        yield ".".join((*here.parts, stem))

    # statements that change what is reached

    def _reach_acting(self) -> bool:
        """Reach statements that may change a reached variable while modules are imported; False when none is new."""
        before = len(self.reached), len(self.whole)
        for module in list(self.loaded):
            file = self.file(module)
            for place, piece in enumerate(file.pieces if file is not None else ()):
                node = _Node(module, place)
                if piece.runs and node not in self.reached and self._changes(node, piece) & self.reached.keys():
                    self._reach(node)
        return (len(self.reached), len(self.whole)) != before

    def _changes(self, node: _Node, piece: Piece) -> set[_Node]:
        if node not in self._effects:
            self._effects[node] = self._work_out_changes(node, piece)
        return self._effects[node]

    def _work_out_changes(self, node: _Node, piece: Piece) -> set[_Node]:
        direct = set(self.nodes(node.module, piece.runs))
        changed = {other for other in direct if self._is_variable(other)}
        for ref in piece.callees:
            if len(ref.chain) > 1:
                changed |= set(self.nodes(node.module, [ref]))  # ``Base.register(...)``, ``@f.register``
        called = [(other, inner) for other in self._descend(direct) if (inner := self.piece(other)) is not None]
        for other, inner in called:
            changed |= set(self.nodes(other.module, inner.stores))
        by_other_names = {other for other, _ in called} if any(inner.mutates for _, inner in called) else set()
        aliased = self._descend(changed | by_other_names)
        return (changed | {other for other in aliased if self._is_variable(other)}) - {node}

    def _descend(self, nodes: Iterable[_Node]) -> set[_Node]:
        """All places that are reached from these, effects of imports aside."""
        found: set[_Node] = set()
        stack = list(nodes)
        while stack:
            node = stack.pop()
            if node not in found:
                found.add(node)
                if (piece := self.piece(node)) is not None:
                    stack += self.nodes(node.module, piece.loads)
        return found

    def _is_variable(self, node: _Node) -> bool:
        piece = self.piece(node)
        return piece is not None and not piece.definition and not piece.constant

    # the answer

    def digests(self) -> Iterator[tuple[str, Digest]]:
        """Qualified names with their digests."""
        for module in self.whole:
            found = self.files.get(module)
            if isinstance(found, SourceFile):
                yield f"{module}:*", found.whole
            elif isinstance(found, Path) and found.is_file():
                yield f"{module}:*", digest_file(found)
        groups: dict[str, list[Digest]] = {}
        for node in sorted(self.reached):
            piece = self.piece(node)
            if piece is not None and node.module not in self.whole:
                for name in sorted(piece.binds) if piece.binds and not piece.effect else ["<effects>"]:
                    groups.setdefault(f"{node.module}:{name}", []).append(piece.digest)
        for name, found_digests in groups.items():
            yield name, found_digests[0] if len(found_digests) == 1 else digest("pieces", found_digests)


@cache
def _with_parents(module: str) -> tuple[str, ...]:
    parts = module.split(".")
    return tuple(".".join(parts[: count + 1]) for count in range(len(parts)))


def _is_environment(folder: Path) -> bool:
    return folder.name in _SKIPPED_FOLDERS or folder.name.startswith(".") or (folder / "pyvenv.cfg").is_file()
