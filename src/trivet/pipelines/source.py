"""One Python file as pieces: what each top-level statement binds, reads and does, found without running it.

``trivet.pipelines.closure`` walks from piece to piece; this module only reads one file and knows nothing of
others. The invariant is caution: a name that may be global counts as global, and what cannot be read from the
text is named in ``Piece.dynamic``.

The normal form of a piece is our own walk over its syntax tree, without positions, comments, docstrings, other
statements without effect and empty fields. It does not use ``ast.dump``, whose output changes between minor
versions of Python, so equal code has equal digests on every version whose grammar reads it alike.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

from trivet.digest import canonical, digest_bytes
from trivet.pipelines.freshness import FileCache
from trivet.types import Digest

__all__ = ["Chain", "Piece", "Ref", "SourceFile", "read_source"]

Chain: TypeAlias = tuple[str, ...]
"""``util.f.x`` as ``("util", "f", "x")``."""

_RUNS_TEXT = frozenset({"eval", "exec", "__import__", "__builtins__"})  # may reach any file
_OWN_NAMES = frozenset({"globals"})  # may reach any name of this file
_IMPORT_TIME_NAMES = frozenset({"vars", "locals"})  # outside a function they are globals()
_REFLECTION = frozenset({"__subclasses__", "__globals__"})
_CLASS_HOOKS = frozenset({"__init_subclass__", "__set_name__"})
_MUTATORS = frozenset(
    [
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "extendleft",
        "insert",
        "pop",
        "popitem",
        "popleft",
        "register",
        "remove",
        "reverse",
        "setdefault",
        "sort",
        "update",
        "__setitem__",
        "__setattr__",
        "__delitem__",
        "set",
        "connect",
    ]
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
        runs: what it reads while the module is imported; empty unless it then calls something.
        callees: the part of ``runs`` that is called (decorators are calls).
        stores: global names that are changed in place, now or when a function in it is called.
        mutates: function bodies change something local in place, which may be a global by another name.
        modules: modules that it imports inside function bodies.
        effect: it stands there for what it does rather than for what it binds.
        constant: it binds nothing but immutable literals.
        definition: it is a function or a class.
        dynamic: ``""``, ``"module"`` (may reach any name of this file) or ``"project"`` (any file).
        digest: of its normal form.
    """

    binds: set[str] = field(default_factory=set)
    loads: set[Ref] = field(default_factory=set)
    runs: set[Ref] = field(default_factory=set)
    callees: set[Ref] = field(default_factory=set)
    stores: set[Ref] = field(default_factory=set)
    mutates: bool = False
    modules: set[str] = field(default_factory=set)
    effect: bool = False
    constant: bool = False
    definition: bool = False
    dynamic: str = ""
    digest: Digest = ""


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
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return SourceFile(module, [], {}, {}, set(), set(), digest_bytes(content), readable=False)
    file = SourceFile(module, [], {}, {}, set(), set(), digest_bytes(content))
    origin = module if package else module.rpartition(".")[0]
    for statement in tree.body:
        if _matters(statement) and not _is_main_guard(statement):
            piece = _PieceReader(file, origin).read(statement)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                continue  # it is what it binds, and that is in ``file.imports``
            for name in piece.binds:
                file.names.setdefault(name, []).append(len(file.pieces))
            file.pieces.append(piece)
    return file


def _matters(node: ast.AST) -> bool:
    """Whether a statement does anything: docstrings, other bare literals and ``pass`` do not."""
    return not (isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)))


def _is_main_guard(node: ast.stmt) -> bool:
    """``if __name__ == "__main__":`` without ``else`` never runs in a module that is imported."""
    match node:
        case ast.If(
            test=ast.Compare(left=ast.Name("__name__"), ops=[ast.Eq()], comparators=[ast.Constant("__main__")]),
            orelse=[],
        ):
            return True
    return False


# --- the normal form ---------------------------------------------------------------------------------------


_SKIPPED_FIELDS = frozenset({"ctx", "type_comment", "kind", "type_ignores"})


def _normal_digest(node: ast.AST) -> Digest:
    return hashlib.sha256(b"".join(_normal(node))).hexdigest()


def _normal(value: object) -> Iterator[bytes]:
    if isinstance(value, ast.Constant):
        yield b"C" + _literal(value.value)
    elif isinstance(value, ast.AST):
        yield b"(" + type(value).__name__.encode()
        for name, item in ast.iter_fields(value):
            if name not in _SKIPPED_FIELDS and item is not None and item != []:
                yield b" " + name.encode() + b"="
                yield from _normal(item)
        yield b")"
    elif isinstance(value, list):
        yield b"["
        for item in value:
            if not isinstance(item, ast.AST) or _matters(item):
                yield from _normal(item)
        yield b"]"
    else:
        yield canonical(value)


def _literal(value: object) -> bytes:
    if value is Ellipsis:
        return b"..."
    if isinstance(value, complex):
        return b"j" + canonical([value.real, value.imag])
    return canonical(value)


# --- reading one statement ---------------------------------------------------------------------------------


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

    def read(self, statement: ast.stmt) -> Piece:
        piece = self.piece
        piece.digest = _normal_digest(statement)
        piece.definition = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        piece.constant = _is_constant(statement)
        piece.effect = _is_effect(statement)
        piece.binds |= _bound([statement])[0]
        self.visit(statement)
        if not self.calls:
            piece.runs.clear()
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
        chain = _chain(node)
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
        chain = _chain(node.func)
        if chain is None:
            self.visit(node.func)
        else:
            self._load(chain, called=True)
        if isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
            self._store(node.func.value)
        for item in [*node.args, *node.keywords]:
            self.visit(item)

    def _store(self, target: ast.expr) -> None:
        """Note that something global is changed in place, now or when a function is called."""
        node: ast.expr = target
        while (chain := _chain(node)) is None:
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
        self.scopes.append(_Scope({arg.arg for arg in _arguments(node.args)}))
        self.visit(node.body)
        self.scopes.pop()

    def _function(
        self, args: ast.arguments, body: list[ast.stmt], type_params: list[ast.AST], returns: ast.expr | None
    ) -> None:
        self.scopes.append(_Scope(_type_names(type_params), open=True))
        for part in [*type_params, *args.defaults, *filter(None, args.kw_defaults), returns]:
            if part is not None:
                self.visit(part)
        for arg in _arguments(args):
            if arg.annotation is not None:
                self._annotation(arg.annotation)
        names, outer = _bound(body)
        self.piece.binds |= outer
        self.piece.stores |= {Ref("", (name,)) for name in outer}
        self.scopes.append(_Scope({arg.arg for arg in _arguments(args)} | names, outer=outer))
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
            chain = _chain(decorator)
            if chain is None:
                self.visit(decorator)
            else:
                self._load(chain, called=True)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class: its body runs at once, in a scope that its methods do not see."""
        self._decorators(node.decorator_list)
        self.scopes.append(_Scope(_type_names(getattr(node, "type_params", [])), open=True))
        for base in node.bases:
            self.visit(base)
        for keyword in node.keywords:
            self.visit(keyword.value)
        names, outer = _bound(node.body)
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


def _chain(node: ast.expr) -> Chain | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else None


def _arguments(args: ast.arguments) -> list[ast.arg]:
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]


def _type_names(type_params: Iterable[ast.AST]) -> set[str]:
    return {str(getattr(param, "name", "")) for param in type_params}


def _is_effect(node: ast.stmt) -> bool:
    """Whether a statement at module level does more than bind names."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
            return False
        case ast.Assign() | ast.AnnAssign() | ast.Pass():
            return False
        case ast.If():
            return any(map(_is_effect, [*node.body, *node.orelse]))
        case ast.Try():
            handlers = [statement for handler in node.handlers for statement in handler.body]
            return any(map(_is_effect, [*node.body, *handlers, *node.orelse, *node.finalbody]))
    return _matters(node)


def _is_constant(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    allowed = (ast.Constant, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop, ast.Load)
    return all(isinstance(target, ast.Name) for target in targets) and all(
        isinstance(part, allowed) for part in ast.walk(node.value)
    )


def _bound(body: Iterable[ast.stmt]) -> tuple[set[str], set[str]]:
    """Names that these statements bind in their own scope, and those that they declare to be global.

    Only assignments to the latter inside nested functions are of their module, so both are walked.
    """
    names: set[str] = set()
    outer: set[str] = set()
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                names |= {part.target.id for part in ast.walk(node) if isinstance(part, ast.NamedExpr)}
                continue
            case ast.Global():
                outer |= set(node.names)
            case ast.Nonlocal():
                outer -= set(node.names)
            case ast.Name(ctx=ast.Store() | ast.Del()):
                names.add(node.id)
            case ast.alias():
                names.add((node.asname or node.name).partition(".")[0])
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names.add(name)
            case ast.MatchMapping(rest=str(name)):
                names.add(name)
        stack.extend(ast.iter_child_nodes(node))
    return names, outer
