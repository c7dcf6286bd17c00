"""Functions that travel: the text of a function and of all that it reaches in the project, as JSON.

A transformation that is stored must run later, in another process, on another machine, where the project's files are
others or none. So a ``Portable`` holds the texts of the reached definitions and nothing around them: for each
project file the imports of libraries, functions, classes and constants that are needed, with links in place of the
imports of one project file from another. It is read from the syntax tree and never pickled; what the text does not
say (values captured at run time, ``eval``, a module handed around) is refused when it is declared. Invariant: equal
text has equal digests, wherever it lies. ``requires`` says with which distributions it was written and is no part
of its identity. ``trivet.features.loading`` makes functions of the texts.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import linecache
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from trivet.digest import digest
from trivet.errors import Invalid
from trivet.features import loading
from trivet.pipelines.source import Piece, Ref, SourceFile, read_text
from trivet.pipelines.syntax import Chain, chain_of
from trivet.types import Digest

__all__ = ["Module", "Portable", "described_error"]

_LITERALS = (bool, int, float, str, bytes, type(None))
_BUILTINS = frozenset(dir(builtins))
_UNREADABLE = frozenset({"importlib", "runpy", "pkgutil", "pickle", "cloudpickle", "dill", "joblib", "shelve"})
_OUTSIDE_WORLD = frozenset({"open", "input", "breakpoint"})
_CHANGES = (("random",), ("secrets",), ("uuid",), ("numpy", "random"), ("time", "time"), ("os", "urandom"))
_CHANGING_METHODS = frozenset({"sample", "shuffle", "now", "utcnow", "today"})


@dataclass(frozen=True)
class Module:
    """The reached definitions of one project file.

    Attributes:
        text: imports of libraries first, then the definitions in the file's order.
        links: names that other files define: name to the place of the module and the name there.
    """

    text: str
    links: Mapping[str, tuple[int, str]]

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON."""
        return {"text": self.text, "links": {name: list(self.links[name]) for name in sorted(self.links)}}


@dataclass(frozen=True)
class Portable:
    """A function with all that it needs of the project.

    Attributes:
        entry: its name.
        modules: its own first.
        requires: distributions that it imports, with the versions of now.

    Example:
        >>> def half(x):
        ...     return x / 2
        >>> Portable.of(half).load()(3)
        1.5
    """

    entry: str
    modules: tuple[Module, ...]
    requires: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, function: Callable[..., Any], *, reads_the_world: bool = False) -> Portable:
        """The declaration of a function written with ``def``, in a file, a script or a notebook.

        Args:
            function: the function.
            reads_the_world: it is one that fetches data, so it may open files and answer differently from call to call.

        Raises:
            Invalid: it reaches something that cannot travel, or answers differently from call to call; the sentence
                says what and what to do.
        """
        gathered = _Gathered(_plain_function(function), reads_the_world=reads_the_world)
        return cls(gathered.name, gathered.modules(), gathered.requires())

    @property
    def digest(self) -> Digest:
        """Of the text, whatever the files are called and wherever they lie."""
        return digest("portable", self.to_spec())

    @property
    def text(self) -> str:
        """All of it, for people."""
        return "\n\n\n".join(module.text for module in self.modules)

    @cached_property
    def _function(self) -> Callable[..., Any]:
        try:
            return loading.load(self.entry, [module.to_spec() for module in self.modules])
        except Exception as exc:
            raise Invalid(f"{self.entry!r} cannot be loaded here: {described_error(exc)}{self._advice()}") from exc

    def load(self) -> Callable[..., Any]:
        """The function, in namespaces of its own; loaded once for each declaration at hand.

        Raises:
            Invalid: its text does not run here, for example for lack of a library.
        """
        return self._function

    def check(self, sample: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Load it in a clean process that sees installed distributions only, and call it there.

        Args:
            sample: ``{"columns": {name: dtype}}`` for a call with empty arrays, ``{"frames": {name: base64 of an Arrow
                file}}`` for one with lazy frames; it is only loaded without.

        Raises:
            Invalid: it does not load or not run there.
        """
        job = json.dumps({**self.to_spec(), **(sample or {})}, sort_keys=True)
        answer = _in_clean_process(job)
        if "error" in answer:
            raise Invalid(
                f"{self.entry!r} does not run in a clean process, so it would not run elsewhere: {answer['error']}."
                f"{self._advice()}"
            )
        found: dict[str, str] = answer["answer"]
        return found

    def _advice(self) -> str:
        wanted = ", ".join(f"{name} {version}" for name, version in self.requires.items())
        return f" It was written with {wanted}." if wanted else ""

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON, without ``requires``."""
        return {"entry": self.entry, "modules": [module.to_spec() for module in self.modules]}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], requires: Mapping[str, str] | None = None) -> Portable:
        """The declaration that ``to_spec`` wrote."""
        modules = [
            Module(each["text"], {name: (place, target) for name, (place, target) in each["links"].items()})
            for each in spec["modules"]
        ]
        return cls(spec["entry"], tuple(modules), dict(requires or {}))


def described_error(exc: BaseException) -> str:
    """What a person's function raised, with the line of its text where that was."""
    frames, line = exc.__traceback__, ""
    while frames is not None:
        if (name := frames.tb_frame.f_code.co_filename).startswith("<portable "):
            text = linecache.getline(name, frames.tb_lineno).strip()
            line = f" in the line `{text}`" if text else ""
        frames = frames.tb_next
    return f"{type(exc).__name__}: {str(exc).rstrip('.')}{line}."


@cache
def _in_clean_process(job: str) -> dict[str, Any]:
    """The answer of a Python that knows nothing of the project; asked once for each job."""
    done = subprocess.run(
        [sys.executable, "-I", str(Path(loading.__file__))],
        input=job,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
        return {"error": last.rstrip(".")}
    answer: dict[str, Any] = json.loads(done.stdout.rpartition("\n")[2])
    return answer


def _plain_function(function: Callable[..., Any]) -> FunctionType:
    plain = inspect.unwrap(function)
    if not isinstance(plain, FunctionType):
        raise Invalid(
            f"{function!r} is no function of the project with a text of its own. Write one with def that calls it."
        )
    if plain.__name__ == "<lambda>":
        raise Invalid("A lambda has no name to be stored under. Write the function with def.")
    if captured := plain.__code__.co_freevars:
        raise Invalid(
            f"{plain.__name__!r} captures {captured[0]!r} of the function around it, and values captured at run time "
            f"do not travel. Make {captured[0]!r} a constant of the module, or write it into the function."
        )
    return plain


# --- the texts of names --------------------------------------------------------------------------------------------


class _Unit:
    """A text whose definitions can be taken one by one: a file, or a cell of a notebook."""

    def __init__(self, module: str, text: str, *, package: bool = False) -> None:
        self.lines = text.splitlines()
        self.file: SourceFile = read_text(module, text.encode(), package=package)
        self._imports = list(_imports(ast.parse(text))) if self.file.readable else []

    def knows(self, name: str) -> bool:
        return name in self.file.names or name in self.file.imports

    def text_of(self, place: int) -> str:
        first, last = self.file.pieces[place].lines
        return "\n".join(line.rstrip() for line in self.lines[first - 1 : last])

    def imports_of(self, name: str) -> list[str]:
        """The import statements that bind a name, one name each."""
        return [text for bound, text in self._imports if bound == name]

    @property
    def future(self) -> set[str]:
        """Statements that change how the text is read."""
        return {text for _, text in self._imports if text.startswith("from __future__")}

    def places(self, name: str) -> set[int]:
        """Where a name is bound, and where what it is bound to is changed in place."""
        changed = {
            place
            for place, piece in enumerate(self.file.pieces)
            if piece.effect and any(ref.module == "" and ref.chain[0] == name for ref in piece.stores)
        }
        return changed | set(self.file.names.get(name, ()))


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], ast.unparse(ast.Import([alias]))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, ast.unparse(ast.ImportFrom(node.module, [alias], node.level))


@dataclass
class _Namespace:
    """Names of one module: its file, or the cells that were run in it."""

    module: str
    units: list[_Unit]
    values: Mapping[str, Any] | None = None  # of cells: what names are bound to, where no text says it
    taken: set[tuple[int, int]] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    constants: dict[str, str] = field(default_factory=dict)
    links: dict[str, tuple[int, str]] = field(default_factory=dict)
    entry: str = ""

    def unit_of(self, name: str) -> int | None:
        """The newest text that binds a name."""
        return next((i for i in reversed(range(len(self.units))) if self.units[i].knows(name)), None)

    @property
    def text(self) -> str:
        future = sorted(line for line in self.imports if line.startswith("from __future__"))
        head = "\n".join([*future, *sorted(self.imports - {*future})])
        constants = "\n".join(self.constants[name] for name in sorted(self.constants))
        pieces = [self.units[unit].text_of(place) for unit, place in sorted(self.taken)]
        return "\n\n\n".join(filter(None, [head, constants, *pieces, self.entry]))


class _Gathered:
    """What a function reaches, being worked out from name to name."""

    def __init__(self, function: FunctionType, *, reads_the_world: bool) -> None:
        self.name, self.reads_the_world = function.__name__, reads_the_world
        self.spaces: list[_Namespace] = []
        self.outside: set[str] = set()
        self._places: dict[str, int] = {}
        text = _own_text(function)
        own = self._space_of(function)
        own.entry = text
        self.spaces.append(own)
        if (name := own.module) != "__main__":
            self._places[name] = 0
        unit = _Unit(own.module, text)
        if len(unit.file.pieces) != 1:
            raise Invalid(f"The text of {self.name!r} cannot be read. Write it with def in a file or a cell.")
        if own.units:
            own.imports |= own.units[-1].future
        self._follow(0, unit.file.pieces[0], ast.parse(text).body[0])

    def modules(self) -> tuple[Module, ...]:
        return tuple(Module(space.text, space.links) for space in self.spaces)

    def requires(self) -> dict[str, str]:
        from trivet.pipelines.distributions import versions_for

        return versions_for(self.outside - set(sys.stdlib_module_names) - {"trivet", ""})

    # finding texts

    def _space_of(self, function: FunctionType) -> _Namespace:
        """The file of a function, or its cells: texts that have no file of their own."""
        module, path = function.__module__, Path(function.__code__.co_filename)
        if path.suffix == ".py" and path.is_file():
            found = sys.modules.get(module)
            package = hasattr(found, "__path__")
            return _Namespace(module, [_Unit(module, path.read_text("utf-8"), package=package)])
        cells = [_Unit("__main__", cell) for cell in function.__globals__.get("In", ()) if isinstance(cell, str)]
        cells = [cell for cell in cells if cell.file.readable]
        own = "".join(linecache.getlines(function.__code__.co_filename, function.__globals__))
        if not cells:
            cells = [unit for unit in [_Unit("__main__", own)] if unit.file.readable]
        return _Namespace("__main__", cells, function.__globals__)

    def _open(self, module: str) -> int:
        """The place of a project module."""
        if module not in self._places:
            found = _local_file(module)
            assert found is not None
            if found.suffix not in ("", ".py"):
                raise Invalid(f"{self.name!r} needs {module!r}, which is compiled. Install it as a distribution.")
            package = found.is_dir() or found.name == "__init__.py"
            text = "" if found.is_dir() else found.read_text("utf-8")
            self._places[module] = len(self.spaces)
            self.spaces.append(_Namespace(module, [_Unit(module, text, package=package)]))
        return self._places[module]

    # from name to name

    def _follow(self, here: int, piece: Piece, node: ast.stmt) -> None:
        """Reach all that a piece names."""
        if piece.dynamic:
            raise Invalid(
                f"{self.name!r} reaches a definition that uses eval, exec, globals() or the like, so its text does "
                "not say what it needs. Name what it uses."
            )
        if not self.reads_the_world:
            _check_repeatable(self.name, node)
        for module in _inner_imports(node):
            if _is_local(module):
                raise Invalid(
                    f"{self.name!r} imports {module!r} of the project inside a function. Import it at the top of the "
                    "file, so that what it needs can be taken along."
                )
        for ref in sorted(piece.loads):
            if ref.module not in ("", "?"):
                self._note(ref)
            elif ref.module == "" or self.spaces[here].unit_of(ref.chain[0]) is not None:
                self._reach(here, ref.chain[0], ref.chain[1:])

    def _reach(self, here: int, name: str, rest: Chain) -> None:
        space = self.spaces[here]
        place = space.unit_of(name)
        if name in space.links:
            self._attribute(space.links[name], rest)
        elif here == 0 and name == self.name and _defines(space, name):
            return  # it calls itself
        elif place is not None and name in space.units[place].file.names:
            self._take(here, place, name)
        elif place is not None:
            for target in space.units[place].file.imports[name]:
                self._import(here, space.units[place], name, target, rest)
        elif space.values is not None and name in space.values:
            self._by_value(here, name, space.values[name], rest)
        elif name in _OUTSIDE_WORLD and not self.reads_the_world:
            raise Invalid(f"{self.name!r} calls {name}(), and what it reads does not travel. Pass it as an input.")
        elif name not in _BUILTINS:
            star = any(unit.file.stars for unit in space.units)
            hint = "Import it by name instead of with '*'." if star else "Define or import it at the top of the file."
            raise Invalid(f"{self.name!r} reaches the name {name!r}, which no text defines. {hint}")

    def _take(self, here: int, unit: int, name: str) -> None:
        space = self.spaces[here]
        source = space.units[unit]
        space.imports |= source.future
        for place in sorted(source.places(name)):
            if (unit, place) not in space.taken:
                space.taken.add((unit, place))
                text = textwrap.dedent(source.text_of(place))
                self._follow(here, source.file.pieces[place], ast.parse(text).body[0])

    def _import(self, here: int, unit: _Unit, name: str, target: Ref, rest: Chain) -> None:
        space = self.spaces[here]
        if not _is_local(target.module):
            space.imports |= set(unit.imports_of(name))
            self._note(Ref(target.module, target.chain + rest))
            return
        place, chain = self._open(target.module), target.chain
        if chain and self.spaces[place].unit_of(chain[0]) is None and _is_local(f"{target.module}.{chain[0]}"):
            place, chain = self._open(f"{target.module}.{chain[0]}"), ()
        space.links[name] = (place, chain[0] if chain else "")
        self._attribute(space.links[name], rest)

    def _attribute(self, link: tuple[int, str], rest: Chain) -> None:
        """Reach what is linked: a name of a module, or of a module itself the attribute that is named."""
        place, name = link
        if name:
            self._reach(place, name, rest)
            return
        module = self.spaces[place].module
        if not rest:
            raise Invalid(
                f"{self.name!r} hands the project's module {module!r} around as a value, so the text does not say "
                "what it needs of it. Import the names that it uses."
            )
        if self.spaces[place].unit_of(rest[0]) is None and _is_local(f"{module}.{rest[0]}"):
            self.spaces[place].links[rest[0]] = (self._open(f"{module}.{rest[0]}"), "")
        self._reach(place, rest[0], rest[1:])

    def _by_value(self, here: int, name: str, value: Any, rest: Chain) -> None:
        """A name of another cell whose text is not at hand."""
        space, module = self.spaces[here], getattr(value, "__module__", None) or ""
        if isinstance(value, ModuleType) and not _is_local(value.__name__):
            space.imports.add(f"import {value.__name__}" + (f" as {name}" if name != value.__name__ else ""))
            self._note(Ref(value.__name__, rest))
        elif isinstance(value, FunctionType) and value.__globals__ is space.values:
            space.units.insert(0, _Unit("__main__", _own_text(_plain_function(value))))
            space.taken = {(unit + 1, place) for unit, place in space.taken}
            self._take(here, 0, value.__name__)
        elif (
            isinstance(value, FunctionType | BuiltinFunctionType | type)
            and module != "__main__"
            and not _is_local(module)
        ):
            space.imports.add(
                f"from {module} import {value.__qualname__}" + (f" as {name}" if name != value.__name__ else "")
            )
            self._note(Ref(module, (value.__qualname__, *rest)))
        elif _is_literal(value):
            space.constants[name] = f"{name} = {value!r}"
        else:
            raise Invalid(
                f"{self.name!r} reaches {name!r}, a {type(value).__name__} whose text is not at hand. Define it in a "
                "file, or inside the function."
            )

    def _note(self, ref: Ref) -> None:
        """A library's name: the distribution is required, and it must answer the same each time."""
        path = (*ref.module.split("."), *ref.chain)
        self.outside.add(path[0])
        if path[0] in _UNREADABLE:
            raise Invalid(
                f"{self.name!r} uses {path[0]}, and what it loads is not in the text. Import what it needs by name."
            )
        if not self.reads_the_world and any(path[: len(each)] == each for each in _CHANGES):
            raise _not_repeatable(self.name, ".".join(path))


def _own_text(function: FunctionType) -> str:
    """The text of a function without Trivet's decorators and those above them."""
    try:
        lines, _ = inspect.getsourcelines(function.__code__)
        text = textwrap.dedent("".join(lines))
        node = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError, IndexError) as exc:
        raise Invalid(
            f"The text of {function.__name__!r} is not at hand. Write it with def in a file or a cell of a notebook."
        ) from exc
    if not isinstance(node, ast.FunctionDef):
        raise Invalid(f"{function.__name__!r} is no plain function. Write it with def.")
    ours = [i for i, each in enumerate(node.decorator_list) if _is_ours(each, function.__globals__)]
    kept = node.decorator_list[ours[-1] + 1 :] if ours else node.decorator_list
    first = min([node.lineno, *(each.lineno for each in kept)])
    return "\n".join(line.rstrip() for line in text.splitlines()[first - 1 : node.end_lineno])


def _is_ours(decorator: ast.expr, values: Mapping[str, Any]) -> bool:
    chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
    value = values.get(chain[0]) if chain else None
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
    of_series = chain is not None and chain[-2:] == ("series", "transform")  # of a project that a local variable holds
    return of_series or name.partition(".")[0] == "trivet"


def _defines(space: _Namespace, name: str) -> bool:
    """Whether the entry itself is what the module calls so."""
    return any(line.startswith(f"def {name}(") for line in space.entry.splitlines())


def _inner_imports(node: ast.stmt) -> Iterator[str]:
    """Modules imported inside a definition."""
    if isinstance(node, ast.If) and (chain_of(node.test) or ("",))[-1] == "TYPE_CHECKING":
        return
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            yield from (alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom):
            yield "." if part.level else part.module or ""


def _check_repeatable(name: str, node: ast.stmt) -> None:
    for part in ast.walk(node):
        match part:
            case ast.Call(func=ast.Attribute(attr=method)) if method in _CHANGING_METHODS:
                raise _not_repeatable(name, f".{method}()")


def _not_repeatable(name: str, what: str) -> Invalid:
    return Invalid(
        f"{name!r} uses {what}, which answers differently from call to call, so nothing made with it could be made "
        "again. Compute from the inputs alone."
    )


def _is_literal(value: object) -> bool:
    if isinstance(value, tuple | list | set | frozenset):
        return all(map(_is_literal, value)) and (bool(value) or isinstance(value, tuple | list))
    if isinstance(value, dict):
        return all(map(_is_literal, [*value, *value.values()]))
    return type(value) in _LITERALS and not (isinstance(value, float) and value - value != 0)


# --- what is of the project ----------------------------------------------------------------------------------------


def _is_local(module: str) -> bool:
    """Whether a module is the project's own: found on the path, and neither installed nor Python's nor Trivet's."""
    root = module.partition(".")[0]
    if module.startswith("."):
        return True
    return root not in sys.stdlib_module_names and root != "trivet" and _local_file(module) is not None


def _local_file(module: str) -> Path | None:
    """The file or folder of a project module, found without importing it."""
    found = _on_path(module.split("."))
    return None if found is None or _is_installed(found) else found


def _on_path(parts: Sequence[str]) -> Path | None:
    if not all(part.isidentifier() for part in parts):
        return None
    if len(parts) == 1 and (path := getattr(sys.modules.get(parts[0]), "__file__", None)):
        return Path(path)
    bare: Path | None = None
    for entry in sys.path:
        base = Path(entry or ".").joinpath(*parts)
        if (init := base / "__init__.py").is_file():
            return init
        if (file := base.with_name(f"{base.name}.py")).is_file():
            return file
        if bare is None and base.is_dir():
            bare = base
    return bare


def _is_installed(path: Path) -> bool:
    where = path.resolve()
    if {"site-packages", "dist-packages"} & {*where.parts}:
        return True
    return any(where.is_relative_to(_library(kind)) for kind in ("stdlib", "platstdlib"))


@cache
def _library(kind: str) -> Path:
    return Path(sysconfig.get_path(kind)).resolve()
