"""From a request by entity key to a prediction: check, read features, score, write down. The hot path.

The predictor is handed plain callables for features, model and log, and knows nothing of where they come from. No
data frame is made and nothing here waits for a network. Invariant: what is logged is exactly what was scored, so
``trivet.serving.replay`` reproduces the output from the record and the model alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from threading import Lock
from time import perf_counter_ns
from typing import Any, Protocol, TypeAlias

import msgspec

from trivet.clock import Clock, new_id, system_clock
from trivet.errors import Invalid
from trivet.serving.inputs import Inputs, ModelSignature
from trivet.serving.metrics import ModelMetrics
from trivet.serving.records import Record
from trivet.types import Digest, Micros, to_micros

__all__ = ["Deployed", "Prediction", "Predictor", "Read", "Request", "Score", "Vector", "score_of"]


class Vector(Protocol):
    """The features of one entity, each by its reference ``view:feature``."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The value; None where there is none."""
        ...

    @property
    def times(self) -> Mapping[str, Micros | None]:
        """The event time of the row it came from."""
        ...

    @property
    def status(self) -> Mapping[str, str]:
        """``present``, ``null``, ``missing`` or ``expired``."""
        ...


Read: TypeAlias = Callable[..., Sequence[Vector]]
"""Entities and the moment to vectors; a third argument, what was sent with each, where ``Deployed.request`` asks."""
Score: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], Sequence[dict[str, Any]]]

_AHEAD = 86_400_000_000  # a day: clocks differ, and some ask about this evening
_REMEMBERED = 100_000  # ids that callers gave, so that none stands for two predictions
_GOOD = frozenset(("present", "null"))
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Deployed(msgspec.Struct, frozen=True):
    """Which model answers, as what.

    Attributes:
        entity_keys: key to ``text``, ``integer`` or ``boolean``; ``""`` where any scalar will do.
        deployment: the id of the run that serves it.
        role: ``champion``, ``canary`` or ``shadow``.
        request: values that features are computed of: name to ``number``, ``category`` or ``boolean``.
    """

    name: str
    version: str
    digest: Digest
    signature: ModelSignature
    entity_keys: dict[str, str] = {}
    deployment: str = ""
    role: str = "champion"
    request: dict[str, str] = {}


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked: whom it is about, what only the caller knows, and as of when (now, if not given)."""

    entities: dict[str, Any] = {}
    values: dict[str, Any] = {}
    at: datetime | None = None
    id: str | None = None


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is answered.

    Attributes:
        features: the values that were read, where asked for.
        feature_status: why features had no value (``missing``, ``expired``, ``unmaterialized``), where any had none; of all
            features where these were asked for.
    """

    id: str
    prediction: Any
    model: str
    version: str
    probability: Any = None
    features: dict[str, Any] | None = None
    feature_status: dict[str, str] | None = None


class Predictor:
    """One deployed model with its ways to features and to the log. Safe to share among threads if these are.

    Args:
        deployed: which model it is.
        read: the features of entities as known at a moment; not called for a model without features.
        score: rows to outputs, each a dict with ``prediction`` and, for a classifier, ``probability``.
        log: takes the records of predictions and must not wait; what it raises is raised, and nothing is answered.
        metrics: counters and timings of this model.
    """

    def __init__(
        self,
        deployed: Deployed,
        read: Read,
        score: Score,
        log: Callable[[Sequence[Record]], None] | None = None,
        *,
        metrics: ModelMetrics | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.deployed = deployed
        self.inputs = Inputs(deployed.signature, deployed.entity_keys, deployed.request)
        self.metrics = metrics
        self._given: dict[str, None] = {}
        self._claiming = Lock()
        self._read, self._score, self._log, self._clock = read, score, log, clock

    def predict(self, requests: Sequence[Request], *, features: bool = False) -> list[Prediction]:
        """Answer all requests or none of them, in their order. An unknown entity has null features and is answered.

        Args:
            requests: what is asked.
            features: also answer the values that were read.

        Raises:
            Invalid: a request does not fit the model; it says which, and what is expected.
            Unrecorded: the predictions cannot be recorded; the same ids may be asked about again.
        """
        started, received = perf_counter_ns(), to_micros(self._clock())
        moments = self._checked(requests, received)
        try:
            records = self._recorded(requests, moments, received, started)
        except BaseException:
            with self._claiming:  # nothing has the id, so the caller may ask again
                for request in requests:
                    self._given.pop(request.id or "", None)
            raise
        return [self._answer(record, features=features) for record in records]

    def _answer(self, record: Record, *, features: bool) -> Prediction:
        status, output = record.feature_status, record.output
        if not features:
            status = {} if _GOOD.issuperset(status.values()) else {n: s for n, s in status.items() if s not in _GOOD}
        return Prediction(
            record.id,
            output["prediction"],
            record.model,
            record.version,
            output.get("probability"),
            dict(record.features) if features else None,
            dict(status) or None,
        )

    def _recorded(
        self, requests: Sequence[Request], moments: Sequence[Micros], received: Micros, started: int
    ) -> list[Record]:
        """Predictions as they were written down."""
        vectors = self._vectors(requests, moments)
        rows = [
            self.inputs.row(request.entities, request.values, vector.values)
            for request, vector in zip(requests, vectors, strict=True)
        ]
        read = perf_counter_ns()
        outputs = self._score(rows)
        scored = perf_counter_ns()
        ids = [request.id or new_id(self._clock) for request in requests]
        latency = (scored - started) // 1000
        records = [
            self._record(*parts, received=received, latency=latency)
            for parts in zip(ids, moments, requests, vectors, outputs, strict=True)
        ]
        if self._log is not None:
            self._log(records)
        if self.metrics is not None:
            self.metrics.predicted(records, started, read, scored, perf_counter_ns())
        return records

    def _checked(self, requests: Sequence[Request], now: Micros) -> list[Micros]:
        """The moment of each request, once all of them were found good."""
        several, moments = len(requests) > 1, []
        for number, request in enumerate(requests):
            where = f"Request {number}" if several else "The request"
            self.inputs.check(request.entities, request.values, where=where)
            moments.append(now if request.at is None else to_micros(request.at))
            if moments[-1] > now + _AHEAD:
                raise Invalid(
                    f"{where} asks about {request.at}, and nothing is known about the future. Leave 'at' out."
                )
        if any(request.id is not None for request in requests):
            self._claim([request.id for request in requests])
        return moments

    def _claim(self, ids: Sequence[str | None]) -> None:
        """Give ids that callers chose to these predictions, and to no others."""
        with self._claiming:
            claimed: dict[str, None] = {}
            for number, given in enumerate(ids):
                where = f"Request {number}" if len(ids) > 1 else "The request"
                if given is None:
                    continue
                if not _ID.fullmatch(given):
                    raise Invalid(f"{where} has an id that cannot be used. Use 1 to 128 letters, digits and . _ : -")
                if given in self._given:
                    taken = "which another prediction has. Give each its own, or none."
                    raise Invalid(f"{where} has the id {given!r}, {taken}")
                if given in claimed:
                    raise Invalid("Two requests have the same id. Give each its own, or none.")
                claimed[given] = None
            self._given.update(claimed)
            while len(self._given) > _REMEMBERED:
                self._given.pop(next(iter(self._given)))

    def _vectors(self, requests: Sequence[Request], moments: Sequence[Micros]) -> Sequence[Vector]:
        if not self.inputs.features:
            return [_NOTHING] * len(requests)
        if len(set(moments)) <= 1:
            return self._read_at(requests, moments[0]) if requests else []
        return [self._read_at([request], at)[0] for request, at in zip(requests, moments, strict=True)]

    def _read_at(self, requests: Sequence[Request], at: Micros) -> Sequence[Vector]:
        entities = [request.entities for request in requests]
        if not self.deployed.request:
            return self._read(entities, at)
        return self._read(entities, at, [request.values for request in requests])

    def _record(
        self,
        id: str,  # noqa: A002 - the field's name
        at: Micros,
        request: Request,
        vector: Vector,
        output: dict[str, Any],
        *,
        received: Micros,
        latency: int,
    ) -> Record:
        deployed = self.deployed
        references = self.inputs.features.values()
        return Record(
            id=id,
            at=at,
            received=received,
            model=deployed.name,
            version=deployed.version,
            digest=deployed.digest,
            deployment=deployed.deployment,
            role=deployed.role,
            entities=request.entities,
            request=request.values,
            features={reference: vector.values.get(reference) for reference in references},
            feature_times={reference: vector.times.get(reference) for reference in references},
            feature_status={reference: vector.status.get(reference, "missing") for reference in references},
            output=output,
            score=score_of(output),
            latency_us=latency,
        )


class _Nothing(msgspec.Struct, frozen=True):
    values: dict[str, Any] = {}
    times: dict[str, Micros | None] = {}
    status: dict[str, str] = {}


_NOTHING = _Nothing()


def score_of(output: Mapping[str, Any]) -> float | None:
    """One number that stands for an output: the probability of the last class, or the value; None if it has none.

    Example:
        >>> score_of({"prediction": "late", "probability": {"on time": 0.2, "late": 0.8}})
        0.8
        >>> score_of({"prediction": 12})
        12.0
    """
    value = output.get("probability")
    if isinstance(value, Mapping):
        value = next(reversed(list(value.values())), None)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        value = value[-1] if value else None
    if value is None:
        value = output.get("prediction")
    return float(value) if isinstance(value, int | float) else None
