"""Plain functions as tasks and pipelines. They stay what they were: called outside a pipeline, they just run.

A ``Task`` knows how its function is to be run (outputs, cache, threads, seed), a ``Pipeline`` is a function that
calls tasks. Drawing the graph is ``graph``'s work, running it ``execution``'s. Invariant: decorating changes nothing
about what the function does when called.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, overload

import msgspec

from trivet.errors import Invalid
from trivet.pipelines import graph
from trivet.pipelines.entry import Entry, locate

__all__ = ["Pipeline", "Task", "pipeline", "task"]

P = ParamSpec("P")
R = TypeVar("R")

_TEXTUAL = (bool, int, float, str, type(None), datetime, date)


@dataclass(frozen=True, eq=False)
class _Wrapped(Generic[P, R]):
    function: Callable[P, R]
    name: str

    def __post_init__(self) -> None:
        copied = ("__module__", "__name__", "__qualname__", "__doc__")
        self.__dict__.update({key: getattr(self.function, key) for key in copied}, __wrapped__=self.function)

    @cached_property
    def signature(self) -> inspect.Signature:
        """The function's own."""
        return inspect.signature(self.function)

    @cached_property
    def entry(self) -> Entry:
        """Where other processes import it from.

        Raises:
            Invalid: it cannot be imported (a lambda, a nested function, a notebook cell).
        """
        return locate(self, self.function)


@dataclass(frozen=True, eq=False)
class Task(_Wrapped[P, R]):
    """A function that can be a step of a pipeline.

    Attributes:
        outputs: the names of what the function returns as a tuple; None for one result.
        cache: whether an earlier run with the same key may answer in its place.
        threads: for numeric libraries; None for the setting ``[pipelines] threads``.
        seed: where random generators start; the function's own parameter ``seed`` gets it too.
    """

    outputs: tuple[str, ...] | None = None
    cache: bool = True
    threads: int | None = None
    seed: int | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function, or, while a pipeline is being drawn, add a step to it."""
        drawn = graph.current()
        if drawn is None:
            return self.function(*args, **kwargs)
        return drawn.add(self, args, kwargs)  # type: ignore[return-value] - handles stand for what it will return


@dataclass(frozen=True, eq=False)
class Pipeline(_Wrapped[P, R]):
    """A function that calls tasks. Called, it runs them one after the other in this process, unrecorded."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run plainly; inside another pipeline its steps become steps of that one."""
        return self.function(*args, **kwargs)

    def trace(self, **inputs: Any) -> graph.Graph:
        """The graph of its steps for these inputs; nothing is run.

        Raises:
            NotFound: an input that the pipeline has no parameter for.
            Invalid: an input is missing, or a task is called wrongly.
        """
        arguments = graph.bind(f"pipeline {self.name!r}", self.signature, (), inputs)
        drawn = graph.trace(self.function, arguments)
        if not drawn.steps:
            raise Invalid(f"The pipeline {self.name!r} has no steps: it called no function decorated with @task.")
        return drawn

    def parse(self, arguments: Mapping[str, str], *, resolve: Callable[[str], object] | None = None) -> dict[str, Any]:
        """Values for text, by the annotations of the parameters: what a command line hands over.

        ``resolve`` answers for parameters of a type that has no textual form (a training set, a model).

        Raises:
            NotFound: a name that is no parameter.
            Invalid: a text that is no value of its parameter's type.

        Example:
            >>> @pipeline
            ... def train(max_iter: int, quick: bool = False, origins: list[str] = []): ...
            >>> train.parse({"max_iter": "200", "quick": "true", "origins": '["EWR", "JFK"]'})
            {'max_iter': 200, 'quick': True, 'origins': ['EWR', 'JFK']}
        """
        graph.bind(f"pipeline {self.name!r}", self.signature, (), self._placeholders() | dict(arguments))
        hints = _hints(self.function)
        return {name: self._value(name, text, hints.get(name, Any), resolve) for name, text in arguments.items()}

    def _placeholders(self) -> dict[str, Any]:
        return {name: None for name, parameter in self.signature.parameters.items() if parameter.kind.value in (1, 3)}

    def _value(self, name: str, text: str, hint: Any, resolve: Callable[[str], object] | None) -> Any:
        if hint is Any:
            return _json_or_text(text)
        if not _is_textual(hint):
            if resolve is not None:
                return resolve(text)
            raise Invalid(
                f"The parameter {name!r} of pipeline {self.name!r} is a {_shown(hint)}, which cannot be written as text. "
                "Run the pipeline from Python."
            )
        try:
            return _from_text(text, hint)
        except (msgspec.MsgspecError, ValueError) as exc:
            raise Invalid(
                f"{text!r} is no value for the parameter {name!r} of pipeline {self.name!r}, which is {_shown(hint)}."
            ) from exc


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    outputs: tuple[str, ...] | None = None,
    cache: bool = True,
    threads: int | None = None,
    seed: int | None = None,
    name: str | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    outputs: tuple[str, ...] | None = None,
    cache: bool = True,
    threads: int | None = None,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Make a function a task.

    Args:
        function: given by the bare ``@task``.
        outputs: names for the items of the tuple that the function returns.
        cache: False for a function whose answer depends on more than its arguments and code.
        threads: how many threads numeric libraries get, set before their import because it changes results.
        seed: where Python's and NumPy's random generators start.
        name: of its steps; the function's own by default.

    Raises:
        Invalid: names that are no identifiers, or a number of threads below one.

    Example:
        >>> @task(outputs=("low", "high"))
        ... def split(values: list[int], at: int = 10):
        ...     return [v for v in values if v < at], [v for v in values if v >= at]
        >>> split([3, 30])
        ([3], [30])
    """

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        own_name = name or function.__name__
        _check_names(own_name, outputs)
        if threads is not None and threads < 1:
            raise Invalid(f"The task {own_name!r} asks for {threads} threads. Ask for one or more.")
        slots = None if outputs is None else tuple(outputs)
        return Task(function, own_name, slots, cache, threads, seed)

    return decorate if function is None else decorate(function)


@overload
def pipeline(function: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline(*, name: str | None = None) -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...
def pipeline(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Make a function that calls tasks a pipeline.

    Example:
        >>> @task
        ... def double(x: int) -> int:
        ...     return 2 * x
        >>> @pipeline
        ... def twice(x: int = 1) -> int:
        ...     return double(double(x))
        >>> twice(3), list(twice.trace().steps)
        (12, ['double', 'double_2'])
    """

    def decorate(function: Callable[P, R]) -> Pipeline[P, R]:
        return Pipeline(function, name or function.__name__)

    return decorate if function is None else decorate(function)


def _check_names(name: str, outputs: tuple[str, ...] | None) -> None:
    if isinstance(outputs, str):
        raise Invalid(f"The outputs of task {name!r} are a text. Write a tuple of names: outputs=({outputs!r},).")
    slots = outputs or ()
    wrong = [slot for slot in slots if not isinstance(slot, str) or not slot.isidentifier()]
    if wrong or len(set(slots)) < len(slots) or outputs == ():
        raise Invalid(f"The outputs of task {name!r} are {outputs!r}. Give one or more different names like 'train'.")


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):  # an annotation that exists for type checkers only
        return {}


def _is_textual(hint: Any) -> bool:
    if hint in _TEXTUAL or hint is Path or hint is Any:
        return True
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return True
    if origin in (typing.Union, types.UnionType, list, dict):
        return all(_is_textual(part) for part in inner)
    return hint in (list, dict)


def _from_text(text: str, hint: Any) -> Any:
    if Path in _parts(hint):
        return Path(text)
    if hint is bool and text.lower() in ("yes", "no"):
        return text.lower() == "yes"
    holds_structure = any(part in (list, dict) or typing.get_origin(part) in (list, dict) for part in _parts(hint))
    if holds_structure and text.lstrip()[:1] in ("[", "{"):
        return msgspec.json.decode(text.encode(), type=hint, strict=False)
    return msgspec.convert(text, hint, strict=False)


def _parts(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")
