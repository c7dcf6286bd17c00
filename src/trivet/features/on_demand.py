"""On-demand features: computed at the moment of asking, from other features and from what the caller sends.

An ``OnDemand`` is a named, stored, vectorised Python function. The same text computes the columns of a training set
and the values of a request, so the two cannot drift. Its inputs are references, found as those of a model are; its
outputs' names and types are fixed when it is declared, by a call with empty arrays. Where the arrays come from is
``trivet.features.computed``'s business. Invariant: a row's outputs depend on the row's inputs only, and a float
that is not finite is null, in training as in an answer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

from trivet.digest import digest
from trivet.errors import Invalid, NotFound
from trivet.features.declare import described
from trivet.features.definitions import FeatureView, check_name
from trivet.features.functions import Portable, described_error
from trivet.types import Digest

__all__ = ["REQUEST_TYPES", "Input", "OnDemand", "declared_digest", "on_demand"]

if TYPE_CHECKING:
    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[Any]

REQUEST_TYPES = {"int": "number", "float": "number", "bool": "number", "string": "text", "date": "time", "time": "time"}
"""Types of request values, and what the function sees: numbers, text or times."""
DTYPES = {"number": "float64", "text": "object", "time": "datetime64[us]"}
_OUTPUTS = {"f": "float", "i": "int", "u": "int", "b": "bool", "U": "string", "O": "string", "M": "time"}
_SEEN_AS = {"float": "number", "int": "number", "bool": "number", "string": "text", "time": "time"}
_NUMBERS = frozenset({"count", "sum", "mean", "std", "nunique", "quantile"})
_ANNOTATIONS: dict[Any, str] = {
    **dict.fromkeys((str, "str"), "text"),
    **dict.fromkeys((int, float, bool, "int", "float", "bool"), "number"),
    **dict.fromkeys((date, datetime, "date", "datetime", "datetime.datetime", "datetime.date"), "time"),
}


@dataclass(frozen=True)
class Input:
    """One parameter that is a feature: its reference, and whether it is ``number``, ``text`` or ``time``."""

    parameter: str
    reference: str
    type: str


@dataclass(frozen=True, eq=False)
class OnDemand:
    """A declared function of features and request values. ``on_demand`` makes one.

    Attributes:
        inputs: the features among its parameters.
        request: parameters that the caller sends, with their types (``REQUEST_TYPES``).
        outputs: name to ``float``, ``int``, ``bool``, ``string`` or ``time``.
        function: the text.
        given: definitions that were handed over as objects; no part of the declaration.
    """

    __trivet_kind__ = "on_demand"

    name: str
    inputs: tuple[Input, ...]
    request: Mapping[str, str]
    outputs: Mapping[str, str]
    function: Portable
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] | None = None
    given: tuple[FeatureView | OnDemand, ...] = ()

    @property
    def features(self) -> Mapping[str, str]:
        """Its outputs, under the name that views have for theirs."""
        return self.outputs

    @property
    def digest(self) -> Digest:
        """The digest of its artifact of kind ``on_demand``."""
        return declared_digest("on_demand", self.to_spec())

    def compute(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for rows whose parameters are ``columns``, in arrays of their declared types.

        Raises:
            Invalid: the function raises, or answers something else than one value of the declared type for each row.
        """
        import numpy as np

        function = self.function.load()
        rows = len(next(iter(columns.values())))
        try:
            with np.errstate(all="ignore"):
                answer = function(**columns)
        except Exception as exc:
            raise Invalid(f"On-demand view {self.name!r} fails: {described_error(exc)}") from exc
        if not isinstance(answer, Mapping) or answer.keys() != self.outputs.keys():
            shown = ", ".join(map(str, answer)) if isinstance(answer, Mapping) else type(answer).__name__
            raise Invalid(
                f"On-demand view {self.name!r} answers {shown}, and {', '.join(self.outputs)} when it was declared."
            )
        return {name: self._finished(name, kind, answer[name], rows) for name, kind in self.outputs.items()}

    def _finished(self, name: str, kind: str, values: Any, rows: int) -> Array:
        import numpy as np

        array = np.asarray(values)
        if array.shape != (rows,):
            shape = f"an array of shape {array.shape}" if array.shape else "one value"
            raise Invalid(
                f"Output {name!r} of {self.name!r} is {shape} for {rows} rows. Answer one value for each row."
            )
        given = array.dtype.kind
        if kind == "float" and given in "fiub":
            array = array.astype(np.float64)
            array[~np.isfinite(array)] = np.nan
            return array
        if kind == "int" and given in "iub":
            return array.astype(np.int64)
        if kind == "string" and given in "UO" and all(value is None or isinstance(value, str) for value in array):
            return array.astype(object)
        if (kind, given) == ("bool", "b"):
            return array
        if (kind, given) == ("time", "M"):
            return array.astype("datetime64[us]")
        raise Invalid(
            f"Output {name!r} of {self.name!r} is of type {array.dtype}, and {kind} when it was declared with empty "
            f"arrays. Give the type, for example outputs={{{name!r}: 'string'}} or np.asarray(..., dtype=...)."
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OnDemand) and self.to_spec() == other.to_spec()

    def __hash__(self) -> int:
        return hash((self.name, self.function.entry))

    def __str__(self) -> str:
        takes = [f"{each.parameter} = {each.reference}" for each in self.inputs]
        takes += [f"{name} = the request's ({kind})" for name, kind in self.request.items()]
        answers = [f"{name}: {kind}" for name, kind in self.outputs.items()]
        return "\n".join([f"  from {line}" for line in takes] + [f"  {line}" for line in answers])

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON."""
        return {
            "name": self.name,
            "inputs": [[each.parameter, each.reference, each.type] for each in self.inputs],
            "request": [[name, kind] for name, kind in self.request.items()],
            "outputs": [[name, kind] for name, kind in self.outputs.items()],
            "function": self.function.to_spec(),
            "description": self.description,
            "owner": self.owner,
            "tags": dict(self.tags or {}),
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> OnDemand:
        """The declaration that ``to_spec`` wrote."""
        options = dict(spec)
        options["inputs"] = tuple(Input(*each) for each in spec["inputs"])
        options |= {part: dict(spec[part]) for part in ("request", "outputs")}
        return cls(**{**options, "function": Portable.from_spec(spec["function"])})

    def check(self) -> None:
        """Load it in a clean process and call it there with empty arrays.

        Raises:
            Invalid: it does not run there, or answers other outputs.
        """
        kinds = {each.parameter: each.type for each in self.inputs}
        kinds |= {name: REQUEST_TYPES[kind] for name, kind in self.request.items()}
        answered = self.function.check({"columns": {name: DTYPES[kind] for name, kind in kinds.items()}})
        if answered.keys() != self.outputs.keys():
            raise Invalid(f"On-demand view {self.name!r} answers {', '.join(answered)} in a clean process.")


def declared_digest(kind: str, spec: Mapping[str, Any]) -> Digest:
    """The digest of an artifact that is a declaration and nothing else."""
    return digest("artifact", {"kind": kind, "spec": spec, "content": digest("files", {})})


def on_demand(
    *,
    inputs: Sequence[FeatureView | OnDemand | str] = (),
    request: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
    name: str | None = None,
    owner: str = "",
    tags: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Mapping[str, Any]]], OnDemand]:
    """Make a vectorised function into features that are computed when they are asked for.

    Its parameters are NumPy arrays: features by their short name (or as ``view__feature`` where two share one), and
    request values. Numbers and truth values come as float64 with NaN for null, text as objects with None, times as
    ``datetime64[us]`` in UTC with NaT. A parameter is a number unless its view says otherwise or it is annotated:
    ``carrier: str``, ``since: datetime``. It answers a dict of arrays, one value for each row.

    Args:
        inputs: views, other on-demand views, and references (``"weather:wind_speed"``, ``"weather:*"``).
        request: what the caller sends, and a training set's spine has: name to ``int``, ``float``, ``bool``,
            ``string``, ``date`` or ``time``.
        outputs: types of outputs where the call with empty arrays would mislead: ``float``, ``int``, ``bool``,
            ``string`` or ``time``.
        name: instead of the function's name.
        owner: instead of what the docstring says.
        tags: instead of what the docstring says.

    Raises:
        NotFound: a parameter is no input.
        Invalid: the function cannot be stored (see ``Portable``), fails on empty arrays, or answers no dict of arrays.

    Example:
        >>> @on_demand(inputs=["weather:wind_speed"], request={"minute": "int"})
        ... def rush(wind_speed, minute):
        ...     "Wind for each minute of the day."
        ...     return {"per_minute": wind_speed / minute}
        >>> rush.outputs, rush.inputs[0].reference
        ({'per_minute': 'float'}, 'weather:wind_speed')
    """

    def declare(function: Callable[..., Mapping[str, Any]]) -> OnDemand:
        called, said = check_name("an on-demand view", name or function.__name__), described(function.__doc__)
        asked = dict(request or {})
        for each, kind in asked.items():
            if kind not in REQUEST_TYPES:
                raise NotFound(f"type of the request value {each!r} called", str(kind), REQUEST_TYPES)
        parameters, portable = _parameters(called, function), Portable.of(function)
        if missing := [each for each in asked if each not in parameters]:
            raise Invalid(f"On-demand view {called!r} asks for {missing[0]!r} and has no such parameter. Add it.")
        several = [inputs] if isinstance(inputs, FeatureView | OnDemand | str) else list(inputs)
        known = _Inputs(called, several)
        found = {each: known.reference(each) for each in parameters if each not in asked}
        kinds = {
            each: _ANNOTATIONS.get(annotation) or known.kind(found.get(each)) for each, annotation in parameters.items()
        }
        kinds |= {each: REQUEST_TYPES[kind] for each, kind in asked.items()}
        settled, learned = _tried(called, portable, kinds)
        for each in outputs or {}:
            if each not in learned:
                raise NotFound(f"output of {called!r} called", each, learned)
        return OnDemand(
            called,
            tuple(Input(each, reference, settled[each]) for each, reference in found.items()),
            asked,
            {**learned, **(outputs or {})},
            portable,
            said.description,
            owner or said.owner,
            said.tags if tags is None else dict(tags),
            tuple(each for each in several if not isinstance(each, str)),
        )

    return declare


def _parameters(view: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Parameter to annotation."""
    found = inspect.signature(function).parameters
    if not found:
        raise Invalid(f"On-demand view {view!r} takes nothing. Its parameters are its inputs.")
    for each in found.values():
        if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            raise Invalid(f"On-demand view {view!r} has the parameter {each}. Name each input.")
    return {each.name: each.annotation for each in found.values()}


class _Inputs:
    """What the parameters of one on-demand view may mean."""

    def __init__(self, view: str, inputs: Sequence[object]) -> None:
        self.view = view
        self.kinds: dict[str, str | None] = {}
        self.whole: list[str] = []
        for each in inputs:
            if isinstance(each, FeatureView):
                numbers = {name: one.operation in _NUMBERS for name, one in each.features.items()}
                self.kinds |= {f"{each.name}:{name}": "number" if sure else None for name, sure in numbers.items()}
            elif isinstance(each, OnDemand):
                self.kinds |= {f"{each.name}:{name}": _SEEN_AS[kind] for name, kind in each.outputs.items()}
            elif isinstance(each, str):
                name, _, feature = each.partition(":")
                if feature in ("", "*"):
                    self.whole.append(check_name("a view", name))
                else:
                    self.kinds.setdefault(f"{check_name('a view', name)}:{check_name('a feature', feature)}", None)
            else:
                raise Invalid(f"{each!r} is no input of {view!r}. Give views, or references such as 'weather:temp'.")

    def reference(self, parameter: str) -> str:
        """The feature that a parameter is."""
        fitting = [each for each in self.kinds if parameter in (each.partition(":")[2], each.replace(":", "__"))]
        if len(fitting) > 1:
            raise Invalid(
                f"Parameter {parameter!r} of {self.view!r} may be {' or '.join(fitting)}. Call it "
                f"{fitting[0].replace(':', '__')!r} or the like."
            )
        if not fitting and len(self.whole) == 1 and "__" not in parameter:
            return f"{self.whole[0]}:{parameter}"
        if not fitting:
            available = [each.partition(":")[2] for each in self.kinds]
            hint = "Name it in inputs=[...] or request={...}."
            raise NotFound(f"input of {self.view!r} for the parameter", parameter, available, hint=hint)
        return fitting[0]

    def kind(self, reference: str | None) -> str | None:
        """What a feature surely is, None where only its data say it."""
        return self.kinds.get(reference or "")


def _tried(view: str, portable: Portable, kinds: Mapping[str, str | None]) -> tuple[dict[str, str], dict[str, str]]:
    """Types of the parameters and of the outputs, by calls with empty arrays: numbers first where nothing is said."""
    import numpy as np

    open_ones = [name for name, kind in kinds.items() if kind is None]
    trials = (
        product(("number", "text", "time"), repeat=1) if len(open_ones) > 3 else product(DTYPES, repeat=len(open_ones))
    )
    failure: BaseException | None = None
    for trial in trials:
        chosen = dict(zip(open_ones, trial if len(trial) == len(open_ones) else trial * len(open_ones), strict=True))
        settled = {name: kind or chosen[name] for name, kind in kinds.items()}
        try:
            with np.errstate(all="ignore"):
                answer = portable.load()(**{name: np.empty(0, DTYPES[kind]) for name, kind in settled.items()})
        except Invalid:
            raise
        except Exception as exc:  # noqa: BLE001 - a person's function may raise anything
            failure = failure or exc
        else:
            return settled, _learned(view, answer)
    assert failure is not None
    raise Invalid(f"On-demand view {view!r} fails on empty arrays: {described_error(failure)}") from failure


def _learned(view: str, answer: Any) -> dict[str, str]:
    import numpy as np

    if not isinstance(answer, Mapping) or not answer:
        raise Invalid(f"On-demand view {view!r} answers {answer!r}. Return a dict of name to array.")
    learned = {}
    for name, values in answer.items():
        array = np.asarray(values)
        if array.dtype.kind not in _OUTPUTS or array.shape != (0,):
            raise Invalid(
                f"Output {name!r} of {view!r} is {values!r} for no rows. Answer an array with one value for each row."
            )
        learned[check_name("a feature", name)] = _OUTPUTS[array.dtype.kind]
    return learned
