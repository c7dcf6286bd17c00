"""The rules of MLflow's JSON, as its client tests them.

Whole numbers of 64 bits are numbers; NaN and the infinities are the texts ``"NaN"``, ``"Infinity"``, ``"-Infinity"``; empty
lists and absent values are left out; unknown fields are accepted. An error is ``{"error_code", "message"}`` with the
status that goes with the code, and the texts are MLflow's where clients or their tests read them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from trivet.errors import Ambiguous, Conflict, Invalid, NotFound, Refused, TrivetError, Unavailable
from trivet.types import from_micros, to_micros

__all__ = [
    "MLflowError",
    "Schema",
    "as_error",
    "check_bounds",
    "encode",
    "invalid",
    "invalid_value",
    "missing",
    "moment",
    "number",
    "read",
    "to_millis",
]

Schema: TypeAlias = Mapping[str, str]
"""Field to type, with ``*`` behind it where it is required.

Types are ``string``, ``text`` (which may be empty, or a number), ``int``, ``double``, ``bool``, ``list``, ``strings`` and
``object``."""

STATUS: Final = {
    "INVALID_PARAMETER_VALUE": 400,
    "BAD_REQUEST": 400,
    "INVALID_STATE": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_CONFLICT": 409,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "INTERNAL_ERROR": 500,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
}
"""The HTTP status of each code: those of ``mlflow.exceptions.ERROR_CODE_TO_HTTP_STATUS``."""
_SEE = " See the API docs for more information about request parameters."
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_WORDS = {"true": True, "false": False}
_LONGEST = 1000


class MLflowError(Exception):
    """What a client is told: a code of MLflow's and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.code]


def invalid(message: str) -> MLflowError:
    """The request breaks a rule."""
    return MLflowError("INVALID_PARAMETER_VALUE", message)


def missing(message: str) -> MLflowError:
    """There is no such thing."""
    return MLflowError("RESOURCE_DOES_NOT_EXIST", message)


def invalid_value(path: str, value: Any, message: str = "") -> MLflowError:
    """MLflow's sentence for a value that breaks a rule.

    Example:
        >>> print(invalid_value("run_id", 31))
        Invalid value 31 for parameter 'run_id' supplied.
    """
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"))
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
    return invalid(f"Invalid value {shown} for parameter '{path}' supplied" + (f": {message}" if message else "."))


def as_error(exc: TrivetError) -> MLflowError:
    """What a client is told of an error of ours."""
    codes: dict[type[TrivetError], str] = {
        NotFound: "RESOURCE_DOES_NOT_EXIST",
        Ambiguous: "RESOURCE_DOES_NOT_EXIST",
        Invalid: "INVALID_PARAMETER_VALUE",
        Refused: "PERMISSION_DENIED",
        Conflict: "RESOURCE_CONFLICT",
        Unavailable: "TEMPORARILY_UNAVAILABLE",
    }
    code = next((code for kind, code in codes.items() if isinstance(exc, kind)), "INTERNAL_ERROR")
    return MLflowError(code, str(exc))


def read(given: Mapping[str, Any], schema: Schema, *, text: bool = False) -> dict[str, Any]:
    """The known fields of a request, each of its type; what is unknown is left out, as is what is null.

    Args:
        given: the request.
        schema: the fields and their types.
        text: whether it came from an address, where numbers are texts.

    Raises:
        MLflowError: a required field is missing or a field has another type.

    Example:
        >>> read({"run_id": "a", "step": 3, "new": 1}, {"run_id": "string*", "step": "int", "value": "double"})
        {'run_id': 'a', 'step': 3}
    """
    answer: dict[str, Any] = {}
    for name, kind in schema.items():
        value = given.get(name)
        if value is None or (value == "" and kind == "string*"):
            if kind.endswith("*"):
                raise invalid(f"Missing value for required parameter '{name}'.{_SEE}")
            continue
        answer[name] = _typed(name, value, kind.rstrip("*"), text=text)
    return answer


def _typed(name: str, value: Any, kind: str, *, text: bool) -> Any:
    fitting = _fit(value, kind, text=text)
    if fitting is None:
        hint = f"Hint: Value was of type '{type(value).__name__}'."
        raise invalid(f"{invalid_value(name, value, ' ' + hint)}{_SEE}")
    return fitting


def _fit(value: Any, kind: str, *, text: bool) -> Any:
    match kind:
        case "string":
            return value if isinstance(value, str) else None
        case "text":
            return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else None
        case "int":
            return _whole(value)
        case "double":
            return number(value)
        case "bool":
            return value if isinstance(value, bool) else _WORDS.get(str(value).lower())
        case "strings":
            values = [value] if text and isinstance(value, str) else value
            return values if isinstance(values, list) and all(isinstance(one, str) for one in values) else None
        case "list":
            return value if isinstance(value, list) and all(isinstance(one, dict) for one in value) else None
    return value if isinstance(value, dict) else None


def _whole(value: Any) -> int | None:
    """A whole number of 64 bits, which older clients write as text (protobuf's JSON allows both)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        whole = int(value)
    except (ValueError, OverflowError):
        return None
    if isinstance(value, float) and whole != value:
        return None
    return whole if -(2**63) <= whole < 2**63 else None


def number(value: Any) -> float | None:
    """A double as protobuf's JSON writes it, or None.

    Example:
        >>> number("NaN"), number("-Infinity"), number(1), number("abc"), number(True)
        (nan, -inf, 1.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if value in _SPECIAL:
        return _SPECIAL[str(value)]
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def encode(value: Any) -> bytes:
    """An answer as JSON.

    Example:
        >>> encode({"value": float("nan"), "tags": [], "step": 3, "note": None})
        b'{"value":"NaN","step":3}'
    """
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    match value:
        case float() if value != value:
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case Mapping():
            return {str(key): _plain(one) for key, one in value.items() if one is not None and not _is_empty(one)}
        case list() | tuple():
            return [_plain(one) for one in value]
    return value


def _is_empty(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and not value


def moment(millis: int, name: str = "timestamp") -> datetime:
    """The time of a number of milliseconds since 1970.

    Raises:
        MLflowError: it is before the year 1 or after 9999.
    """
    try:
        return from_micros(millis * 1000)
    except Invalid as exc:
        raise invalid_value(name, millis, str(exc)) from exc


def to_millis(value: datetime | None) -> int | None:
    """Whole milliseconds since 1970."""
    return None if value is None else to_micros(value) // 1000


def check_bounds(name: str, value: int, most: int) -> int:
    """The size of a page.

    Raises:
        MLflowError: it is below 1 or above ``most``.
    """
    if not 0 < value <= most:
        raise invalid(
            f"Invalid value {value} for parameter '{name}' supplied: It must be a positive integer no more than {most}."
        )
    return value
