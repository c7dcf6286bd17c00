"""One Python file as pieces: what each top-level statement binds, reads and does, found without running it.

``trivet.pipelines.closure`` walks from piece to piece; this module only reads one file and knows nothing of
others. The invariant is caution: a name that may be global counts as global, and what cannot be read from the
text is named in ``Piece.dynamic``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from trivet.digest import digest_bytes
from trivet.pipelines.freshness import FileCache
from trivet.pipelines.syntax import (
    Chain,
    arguments,
    bound,
    chain_of,
    is_constant,
    is_effect,
    is_main_guard,
    matters,
    normal_digest,
    type_names,
)
from trivet.types import Digest

__all__ = ["Piece", "Ref", "SourceFile", "read_source", "read_text"]

_RUNS_TEXT = frozenset({"eval", "exec", "__import__", "__builtins__"})  # may reach any file
_OWN_NAMES = frozenset({"globals"})  # may reach any name of this file
_IMPORT_TIME_NAMES = frozenset({"vars", "locals"})  # outside a function they are globals()
_REFLECTION = frozenset({"__subclasses__", "__globals__"})
_OUTWARD = frozenset(  # calls that change the state of the process or of a library
    {"basicConfig", "chdir", "disable", "enable", "filterwarnings", "manual_seed", "putenv", "seed", "set_config"}
    | {"set_default_dtype", "set_num_threads", "set_option", "set_state", "seterr", "setlocale", "simplefilter"}
    | {"use_deterministic_algorithms"}
)
_CLASS_HOOKS = frozenset({"__init_subclass__", "__set_name__"})
_MUTATORS = frozenset(  # methods that change their object
    {"add", "append", "appendleft", "clear", "connect", "discard", "extend", "extendleft", "insert", "pop", "popitem"}
    | {"popleft", "register", "remove", "reverse", "set", "setdefault", "sort", "update"}
    | {"__delitem__", "__setattr__", "__setitem__"}
)


class Ref(NamedTuple):
    """A name as code writes it: ``chain`` looked up in ``module``, or in the file itself where that is empty.

    ``module`` is ``"?"`` where the name is one of the file's own only if there is such a name at all.
    """

    module: str
    chain: Chain


@dataclass(slots=True)
class Piece:
    """One top-level statement.

    Attributes:
        binds: names of the module that it binds, also from inside functions by ``global``.
        loads: everything global that it may read, at any time.
        runs: what it reads while the module is imported; the bases of classes only unless it then calls something.
        callees: the part of ``runs`` that is called (decorators are calls).
        stores: global names that are changed in place, now or when a function in it is called.
        mutates: function bodies change something local in place, which may be a global by another name.
        modules: modules that it imports inside function bodies.
        outward: it may change the state of the process or of a library when a function in it is called.
        effect: it stands there for what it does rather than for what it binds.
        constant: it binds nothing but immutable literals.
        definition: it is a function or a class.
        dynamic: ``""``, ``"module"`` (may reach any name of this file) or ``"project"`` (any file).
        digest: of its normal form.
        lines: the first and the last line of its text, decorators with it.
    """

    binds: set[str] = field(default_factory=set)
    loads: set[Ref] = field(default_factory=set)
    runs: set[Ref] = field(default_factory=set)
    callees: set[Ref] = field(default_factory=set)
    stores: set[Ref] = field(default_factory=set)
    mutates: bool = False
    outward: bool = False
    modules: set[str] = field(default_factory=set)
    effect: bool = False
    constant: bool = False
    definition: bool = False
    dynamic: str = ""
    digest: Digest = ""
    lines: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class SourceFile:
    """A file read: its pieces by the names they bind, and what it imports.

    Attributes:
        names: name to positions in ``pieces``.
        imports: name to what import statements at module level bind it to.
        modules: modules imported while this one is.
        stars: modules of ``from ... import *``.
        whole: digest of the file's bytes.
        readable: False where the file is no Python that this interpreter can parse.
    """

    module: str
    pieces: list[Piece]
    names: dict[str, list[int]]
    imports: dict[str, list[Ref]]
    modules: set[str]
    stars: set[str]
    whole: Digest
    readable: bool = True

    def all_modules(self) -> set[str]:
        """Every module that an import statement anywhere in the file names."""
        return self.modules | {name for piece in self.pieces for name in piece.modules}


def read_source(module: str, path: Path, *, package: bool) -> SourceFile:
    """The pieces of a file, parsed once per process as long as the file stays the same."""
    return _caches(module, package)(path)


@cache
def _caches(module: str, package: bool) -> FileCache[SourceFile]:
    return FileCache(lambda path: _read(module, path, package))


def _read(module: str, path: Path, package: bool) -> SourceFile:
    return read_text(module, path.read_bytes(), package=package)


def read_text(module: str, content: bytes, *, package: bool = False) -> SourceFile:
    """The pieces of a text that is, or would be, the file of a module."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return SourceFile(module, [], {}, {}, set(), set(), digest_bytes(content), readable=False)
    file = SourceFile(module, [], {}, {}, set(), set(), digest_bytes(content))
    origin = module if package else module.rpartition(".")[0]
    for statement in tree.body:
        if matters(statement) and not is_main_guard(statement):
            piece = _PieceReader(file, origin).read(statement)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                continue  # it is what it binds, and that is in ``file.imports``
            for name in piece.binds:
                file.names.setdefault(name, []).append(len(file.pieces))
            file.pieces.append(piece)
    return file


@dataclass(slots=True)
class _Scope:
    """Names that are local in a function, lambda, comprehension or class body.

    Names of a class body are seen from inside it only through ``open`` scopes: comprehensions and type parameters.
    """

    names: set[str]
    is_class: bool = False
    open: bool = False
    outer: set[str] = field(default_factory=set)
    imports: dict[str, Ref] = field(default_factory=dict)


class _PieceReader(ast.NodeVisitor):
    """Reads one top-level statement into a ``Piece``, keeping account of scopes."""

    def __init__(self, file: SourceFile, origin: str) -> None:
        self.file, self.origin = file, origin
        self.piece = Piece()
        self.scopes: list[_Scope] = []
        self.in_function = 0
        self.calls = False
        self.bases: set[Ref] = set()

    def read(self, statement: ast.stmt) -> Piece:
        piece = self.piece
        piece.digest = normal_digest(statement)
        decorators = getattr(statement, "decorator_list", [])
        piece.lines = (min(node.lineno for node in [statement, *decorators]), statement.end_lineno or statement.lineno)
        piece.definition = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        piece.constant = is_constant(statement)
        piece.effect = is_effect(statement)
        piece.binds |= bound([statement])[0]
        self.visit(statement)
        if not self.calls:
            piece.runs = self.bases  # whose ``__init_subclass__`` or metaclass is called
            piece.callees.clear()
        return piece

    # names

    def _refer(self, chain: Chain) -> Ref | None:
        """What a chain of names refers to if that is not local; None for a local."""
        root = chain[0]
        sees_class = True
        for scope in reversed(self.scopes):
            if scope.is_class and not sees_class:
                continue
            if root in scope.outer:
                break
            if root in scope.imports:
                target = scope.imports[root]
                return Ref(target.module, target.chain + chain[1:])
            if root in scope.names:  # a class body reads the module's name until it binds its own
                return Ref("?", chain) if scope.is_class else None
            sees_class = sees_class and scope.open
        return Ref("", chain)

    def _load(self, chain: Chain, *, called: bool = False) -> None:
        if not _REFLECTION.isdisjoint(chain):
            self.piece.dynamic = "project"
        ref = self._refer(chain)
        if ref is None:
            return
        self.piece.loads.add(ref)
        if not self.in_function:
            self.piece.runs.add(ref)
            if called:
                self.piece.callees.add(ref)
        if ref.module == "":
            self._watch(ref.chain[0])

    def _watch(self, name: str) -> None:
        if name in _RUNS_TEXT:
            self.piece.dynamic = "project"
        elif name in _OWN_NAMES or (name in _IMPORT_TIME_NAMES and not self.in_function):
            self.piece.dynamic = self.piece.dynamic or "module"

    def visit_Name(self, node: ast.Name) -> None:
        """A bare name."""
        if isinstance(node.ctx, ast.Load):
            self._load((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """A chain of names, or an attribute of something computed."""
        if node.attr in _REFLECTION:
            self.piece.dynamic = "project"
        if isinstance(node.ctx, ast.Store | ast.Del):
            self._store(node)
        chain = chain_of(node)
        if chain is None:
            self.visit(node.value)
        else:
            self._load(chain)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """An item, which may be one that is set."""
        if isinstance(node.ctx, ast.Store | ast.Del):
            self._store(node.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """A call; while the module is imported it may change whatever it can reach."""
        self.calls = self.calls or not self.in_function
        chain = chain_of(node.func)
        if chain is None:
            self.visit(node.func)
        else:
            self._load(chain, called=True)
            if chain[-1] in _OUTWARD and self._refer(chain) is not None:
                self.piece.outward = True
                self.piece.effect = self.piece.effect or not self.in_function
        if isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
            self._store(node.func.value)
        for item in [*node.args, *node.keywords]:
            self.visit(item)

    def _store(self, target: ast.expr) -> None:
        """Note that something global is changed in place, now or when a function is called."""
        node: ast.expr = target
        while (chain := chain_of(node)) is None:
            match node:
                case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
                    node = inner
                case _:
                    return
        ref = self._refer(chain)
        if ref is None:
            self.piece.mutates = True
        else:
            self.piece.stores.add(ref)
            self.piece.effect = self.piece.effect or not self.in_function

    # imports

    def visit_Import(self, node: ast.Import) -> None:
        """``import a.b`` binds ``a``; ``import a.b as c`` binds the module itself."""
        for alias in node.names:
            self._import(alias.name)
            if alias.asname:
                self._bind(alias.asname, Ref(alias.name, ()))
            else:
                root = alias.name.partition(".")[0]
                self._bind(root, Ref(root, ()))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """``from a import b``, where ``b`` may be a name or a submodule."""
        module = self._absolute(node)
        self._import(module)
        for alias in node.names:
            if alias.name == "*":
                self.file.stars.add(module)
            else:
                self._import(f"{module}.{alias.name}")
                self._bind(alias.asname or alias.name, Ref(module, (alias.name,)))
                if self.in_function:
                    self.piece.loads.add(Ref(module, (alias.name,)))

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.origin.split(".")
        base = ".".join(parts[: len(parts) - node.level + 1])
        return f"{base}.{node.module}".strip(".") if node.module else base

    def _import(self, module: str) -> None:
        (self.piece.modules if self.in_function else self.file.modules).add(module)

    def _bind(self, name: str, ref: Ref) -> None:
        if self.scopes and name not in self.scopes[-1].outer:
            self.scopes[-1].imports[name] = ref
        else:
            self.file.imports.setdefault(name, []).append(ref)

    # scopes

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """A function: decorators, defaults and annotations outside, the body inside."""
        self._decorators(node.decorator_list)
        if node.name in _CLASS_HOOKS:
            self.piece.dynamic = "project"
        self._function(node.args, node.body, getattr(node, "type_params", []), node.returns)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """A lambda may run at once, so its body counts as running where it stands."""
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        self.scopes.append(_Scope({arg.arg for arg in arguments(node.args)}))
        self.visit(node.body)
        self.scopes.pop()

    def _function(
        self, args: ast.arguments, body: list[ast.stmt], type_params: list[ast.AST], returns: ast.expr | None
    ) -> None:
        self.scopes.append(_Scope(type_names(type_params), open=True))
        for part in [*type_params, *args.defaults, *filter(None, args.kw_defaults), returns]:
            if part is not None:
                self.visit(part)
        for arg in arguments(args):
            if arg.annotation is not None:
                self._annotation(arg.annotation)
        names, outer = bound(body)
        self.piece.binds |= outer
        self.piece.stores |= {Ref("", (name,)) for name in outer}
        self.scopes.append(_Scope({arg.arg for arg in arguments(args)} | names, outer=outer))
        self.in_function += 1
        for statement in body:
            self.visit(statement)
        self.in_function -= 1
        del self.scopes[-2:]

    def _annotation(self, node: ast.expr) -> None:
        """Text annotations are names too; what is no expression is just text."""
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                try:
                    inner: ast.expr = ast.parse(part.value, mode="eval").body
                except (SyntaxError, ValueError):
                    continue
                self._soft(inner)
        self.visit(node)

    def _soft(self, node: ast.expr) -> None:
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and self._refer((part.id,)) == Ref("", (part.id,)):
                self.piece.loads.add(Ref("?", (part.id,)))

    def _decorators(self, decorators: Iterable[ast.expr]) -> None:
        for decorator in decorators:
            self.calls = self.calls or not self.in_function
            chain = chain_of(decorator)
            if chain is None:
                self.visit(decorator)
            else:
                self._load(chain, called=True)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class: its body runs at once, in a scope that its methods do not see."""
        self._decorators(node.decorator_list)
        self.scopes.append(_Scope(type_names(getattr(node, "type_params", [])), open=True))
        known = set(self.piece.runs)
        for base in [*node.bases, *(keyword.value for keyword in node.keywords)]:
            self.visit(base)
        self.bases |= self.piece.runs - known
        names, outer = bound(node.body)
        self.scopes.append(_Scope(names, is_class=True, outer=outer))
        for statement in node.body:
            self.visit(statement)
        del self.scopes[-2:]

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        targets = {
            part.id
            for generator in node.generators
            for part in ast.walk(generator.target)
            if isinstance(part, ast.Name)
        }
        self.scopes.append(_Scope(targets, open=True))
        self.generic_visit(node)
        self.scopes.pop()

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension  # noqa: N815
