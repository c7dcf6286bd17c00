"""Questions about a syntax tree that need nothing but the tree: its normal form, names it binds, what it does.

The normal form is our own walk over the tree, without positions, comments, docstrings, other statements without
effect and empty fields. It does not use ``ast.dump``, whose output changes between minor versions of Python,
so equal code has equal digests on every version whose grammar reads it alike.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from trivet.digest import canonical
from trivet.types import Digest

__all__ = [
    "Chain",
    "arguments",
    "bound",
    "chain_of",
    "is_constant",
    "is_effect",
    "is_main_guard",
    "matters",
    "normal_digest",
    "type_names",
]

Chain: TypeAlias = tuple[str, ...]
"""``util.f.x`` as ``("util", "f", "x")``."""

_SKIPPED_FIELDS = frozenset({"ctx", "type_comment", "kind", "type_ignores"})


def normal_digest(node: ast.AST) -> Digest:
    r"""The digest of a tree's normal form.

    Example:
        >>> one, other = ast.parse("def f( x ):\n  'Doc.'\n  return x"), ast.parse("def f(x): return x # same")
        >>> normal_digest(one) == normal_digest(other)
        True
    """
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
            if not isinstance(item, ast.AST) or matters(item):
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


def matters(node: ast.AST) -> bool:
    """Whether a statement does anything: docstrings, other bare literals and ``pass`` do not."""
    return not (isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)))


def is_main_guard(node: ast.stmt) -> bool:
    """``if __name__ == "__main__":`` without ``else`` never runs in a module that is imported."""
    match node:
        case ast.If(
            test=ast.Compare(left=ast.Name("__name__"), ops=[ast.Eq()], comparators=[ast.Constant("__main__")]),
            orelse=[],
        ):
            return True
    return False


def chain_of(node: ast.expr) -> Chain | None:
    """The chain of names that an expression is, or None where it is anything else.

    Example:
        >>> chain_of(ast.parse("util.f.x", mode="eval").body)
        ('util', 'f', 'x')
    """
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else None


def arguments(args: ast.arguments) -> list[ast.arg]:
    """All arguments of a function, ``*args`` and ``**kwargs`` too."""
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, [args.vararg, args.kwarg])]


def type_names(type_params: Iterable[ast.AST]) -> set[str]:
    """The names of type parameters, which are local to what they parametrise."""
    return {str(getattr(param, "name", "")) for param in type_params}


def is_effect(node: ast.stmt) -> bool:
    """Whether a statement at module level does more than bind names."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import() | ast.ImportFrom():
            return False
        case ast.Assign() | ast.AnnAssign() | ast.Pass():
            return False
        case ast.If():
            return any(map(is_effect, [*node.body, *node.orelse]))
        case ast.Try():
            handlers = [statement for handler in node.handlers for statement in handler.body]
            return any(map(is_effect, [*node.body, *handlers, *node.orelse, *node.finalbody]))
    return matters(node)


def is_constant(node: ast.stmt) -> bool:
    """Whether a statement binds names to immutable literals and nothing else."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    allowed = (ast.Constant, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop, ast.Load)
    return all(isinstance(target, ast.Name) for target in targets) and all(
        isinstance(part, allowed) for part in ast.walk(node.value)
    )


def bound(body: Iterable[ast.stmt]) -> tuple[set[str], set[str]]:
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
