"""What a pipeline does, found by running its function once with handles in the place of values.

``trace`` calls the function; every task called inside adds a ``Step`` and answers ``Handle``s, so the graph is
exactly what Python did: loops and conditions on parameters work, conditions on results are refused with a
sentence. Nothing is executed or recorded here. Invariant: the steps are in the order in which they were called,
and a step only ever needs earlier ones.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact
from trivet.types import Json

if TYPE_CHECKING:
    from trivet.pipelines.task import Task

__all__ = ["RESULT", "Graph", "Handle", "Step", "as_json", "bind", "current", "trace"]

RESULT = "result"
"""The slot of a task that declares no outputs."""


class NotYet(Invalid, AttributeError, TypeError):
    """The result of a step was used while the pipeline is only being drawn."""


@dataclass(frozen=True, eq=False)
class Handle:
    """Stands for one output of a step. It can be handed to other tasks and returned; it has no value yet."""

    step: str
    slot: str = RESULT

    @property
    def label(self) -> str:
        """``fit``, or ``split.test`` for a declared output."""
        return self.step if self.slot == RESULT else f"{self.step}.{self.slot}"

    def _refuse(self, *_: object) -> NoReturn:
        raise NotYet(
            f"{self.label!r} is a step: its value exists only when the pipeline runs. Hand it to a task and decide, "
            "compute or look inside there; to unpack it, declare @task(outputs=(...))."
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what copy, pickle and inspect ask of everything
            raise AttributeError(name)
        self._refuse()

    if not TYPE_CHECKING:
        __bool__ = __len__ = __iter__ = __getitem__ = __contains__ = __call__ = _refuse
        __int__ = __float__ = __index__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __abs__ = _refuse
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
        __and__ = __or__ = __xor__ = __invert__ = __mod__ = __pow__ = __floordiv__ = __matmul__ = _refuse


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a task.

    Attributes:
        name: unique in the graph: the task's name, then ``fit_2``, ``fit_3``.
        arguments: by parameter name, defaults filled in.
        inputs: slot to what must be an artifact when the step runs: a handle, an artifact, or a value that will
            be saved as one. A dict that holds such things spreads into the slots ``sources.flights``.
        parameters: the JSON values.
    """

    name: str
    task: Task[..., Any]
    arguments: dict[str, Any]
    inputs: dict[str, Any]
    parameters: dict[str, Json]

    @property
    def needs(self) -> list[str]:
        """The steps whose outputs it takes."""
        return list(dict.fromkeys(value.step for value in self.inputs.values() if isinstance(value, Handle)))

    @property
    def seed(self) -> int:
        """What its random generators start from: its own parameter ``seed``, else that of the task, else 0."""
        given = self.parameters.get("seed")
        return given if isinstance(given, int) and not isinstance(given, bool) else self.task.seed or 0


@dataclass(eq=False)
class Graph:
    """The steps of a pipeline by name, in the order of the calls, and what the pipeline returns."""

    steps: dict[str, Step] = field(default_factory=dict)
    outputs: dict[str, Handle] = field(default_factory=dict)

    def step(self, name: str) -> Step:
        """The step ``name``.

        Raises:
            NotFound: there is none; the nearest names are offered.
        """
        if name not in self.steps:
            raise NotFound("step", name, self.steps)
        return self.steps[name]

    def add(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle | tuple[Handle, ...]:
        """Take up a call of ``task`` and answer handles of its outputs."""
        arguments = bind(f"task {task.name!r}", task.signature, args, kwargs)
        arguments = _with_seed(task, arguments, given="seed" in kwargs or len(args) > _position(task, "seed"))
        inputs, parameters = _split(task, arguments)
        name = self._free_name(task.name)
        self.steps[name] = Step(name, task, arguments, inputs, parameters)
        if task.outputs is None:
            return Handle(name)
        return tuple(Handle(name, slot) for slot in task.outputs)

    def _free_name(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self.steps:
            count += 1
            candidate = f"{name}_{count}"
        return candidate


_current: ContextVar[Graph | None] = ContextVar("trivet_graph", default=None)


def current() -> Graph | None:
    """The graph that is being drawn by the code that asks, if any."""
    return _current.get()


def trace(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Graph:
    """The graph of what ``function`` does when called with ``arguments``.

    Raises:
        Invalid: a task was called wrongly, a handle was used as a value, the function returned something that is
            no output of a step.
    """
    graph = Graph()
    with _drawing(graph):
        returned = function(**arguments)
    graph.outputs = _returned(returned)
    return graph


def bind(what: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by parameter name, defaults filled in.

    Raises:
        NotFound: a name that is no parameter; the nearest is offered.
        Invalid: a parameter without default was not given, or there are too many.
    """
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    if {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY} & set(kinds.values()):
        raise Invalid(f"The {what} takes arguments without names. Give every parameter a name: no *args, no /.")
    spread = [name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_KEYWORD]
    for name in kwargs:
        if name not in kinds and not spread:
            raise NotFound(f"parameter of {what}", name, kinds)
    try:
        found = signature.bind_partial(*args, **kwargs)
    except TypeError as exc:
        raise Invalid(f"The {what} was called wrongly: {exc}. It takes {signature}.") from exc
    found.apply_defaults()
    missing = [name for name in kinds if name not in found.arguments]
    if missing:
        raise Invalid(f"The {what} also needs {', '.join(map(repr, missing))}. It takes {signature}.")
    arguments = dict(found.arguments)
    for name in spread:
        arguments.update(arguments.pop(name))
    return arguments


def as_json(value: Any, name: str) -> tuple[bool, Json]:
    """Whether ``value`` is a JSON value, and that value with NumPy's scalars made plain.

    A tuple is not: it would come back as a list.

    Raises:
        Invalid: a number that JSON cannot hold (NaN, infinity).

    Example:
        >>> as_json({"depth": [1, 2]}, "grid"), as_json((1, 2), "pair")
        ((True, {'depth': [1, 2]}), (False, None))
    """
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    match value:
        case None | bool() | str():
            return True, value
        case int():
            return True, int(value)
        case float():
            if not math.isfinite(value):
                raise Invalid(
                    f"The parameter {name!r} is {value}, which JSON cannot hold. Use None or a finite number."
                )
            return True, float(value)
        case list():
            items = [as_json(item, name) for item in value]
            return (True, [item for _, item in items]) if all(fits for fits, _ in items) else (False, None)
        case dict() if all(isinstance(key, str) for key in value):
            pairs = {key: as_json(item, name) for key, item in value.items()}
            fits = all(fit for fit, _ in pairs.values())
            return (True, {key: item for key, (_, item) in pairs.items()}) if fits else (False, None)
    return False, None


@contextmanager
def _drawing(graph: Graph) -> Iterator[None]:
    token = _current.set(graph)
    try:
        yield
    finally:
        _current.reset(token)


def _returned(value: object) -> dict[str, Handle]:
    match value:
        case None:
            return {}
        case Handle():
            return {RESULT: value}
        case tuple() if all(isinstance(item, Handle) for item in value):
            return {item.label: item for item in value}
        case dict() if all(isinstance(item, Handle) for item in value.values()):
            return {str(name): item for name, item in value.items()}
    raise Invalid(
        f"The pipeline returned a {type(value).__name__} that is no output of its steps. "
        "Return what a task returned, a tuple or a dict of such, or nothing."
    )


def _position(task: Task[..., Any], name: str) -> int:
    names = list(task.signature.parameters)
    return names.index(name) if name in names else len(names)


def _with_seed(task: Task[..., Any], arguments: dict[str, Any], *, given: bool) -> dict[str, Any]:
    """A seed declared with the task goes to the function unless the call gave one."""
    if "seed" not in arguments or given or task.seed is None:
        return arguments
    return arguments | {"seed": task.seed}


def _split(task: Task[..., Any], arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Json]]:
    inputs: dict[str, Any] = {}
    parameters: dict[str, Json] = {}
    for name, value in arguments.items():
        if isinstance(value, dict) and any(_is_input(item) for item in value.values()):
            inputs |= {f"{name}.{_slot(task, name, key)}": item for key, item in value.items()}
            continue
        if isinstance(value, (list, tuple)) and any(_is_input(item) for item in value):
            raise Invalid(
                f"The parameter {name!r} of task {task.name!r} was given a {type(value).__name__} of steps. "
                "Hand over one of them, or a dict that names them."
            )
        fits, plain = as_json(value, name)
        if fits:
            parameters[name] = plain
        elif not _is_default(task, name, value):
            inputs[name] = value
    return inputs, parameters


def _is_input(value: object) -> bool:
    return isinstance(value, (Handle, Artifact))


def _is_default(task: Task[..., Any], name: str, value: object) -> bool:
    """A default that JSON cannot hold stays with the function: it is part of its code."""
    parameter = task.signature.parameters.get(name)
    return parameter is not None and parameter.default is value


def _slot(task: Task[..., Any], name: str, key: object) -> str:
    if not isinstance(key, str) or not key or "." in key:
        raise Invalid(f"The parameter {name!r} of task {task.name!r} has the key {key!r}. Use names without dots.")
    return key
