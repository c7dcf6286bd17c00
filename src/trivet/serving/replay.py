"""One recorded prediction made again from its record and its model, with nothing else.

The recipe of a prediction names ``predict_again`` as its entry, the model as its input, and the recorded feature
values and request as its parameters. The row is put together by the code that put it together when it was served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from trivet.serving.inputs import Inputs, ModelSignature

__all__ = ["ENTRY", "Scoring", "predict_again"]

ENTRY = "trivet.serving.replay:predict_again"


class Scoring(Protocol):
    """What a model must be able to do here. ``trivet.pipelines.values.model.Model`` is one."""

    @property
    def signature(self) -> ModelSignature:
        """What it reads."""
        ...

    def score(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
        """Rows to outputs."""
        ...


def predict_again(
    model: Scoring, *, features: Mapping[str, Any], request: Mapping[str, Any], entities: Mapping[str, Any]
) -> dict[str, Any]:
    """The output of ``model`` for recorded values, as the record's ``output`` has it.

    Args:
        model: the model artifact's value.
        features: the record's ``features``, by reference ``view:feature``.
        request: the record's ``request``.
        entities: the record's ``entities``.

    Raises:
        Invalid: the record does not fit the model's signature.
    """
    known = {column.name for column in model.signature.inputs if column.feature is None}
    more = {name: "" for name in request if name not in known}  # what recorded features were computed of
    inputs = Inputs(model.signature, dict.fromkeys(entities, ""), more)
    inputs.check(entities, request, where="The record")
    [output] = model.score([inputs.row(entities, request, features)])
    again: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(output))
    return again
