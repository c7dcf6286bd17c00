"""Measured numbers, which clients time in milliseconds and the ledger in microseconds.

MLflow keeps every different (name, step, time, value) once, and its latest is the greatest (step, time, value). Here a point
is (name, step, at), so the values of one millisecond take its microseconds in ascending order: the same number told
twice stands once, different ones stand side by side, and the latest is MLflow's.

Invariant: points of one run are placed under its lock. Only where a point is not behind the latest one is the history read.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from trivet.interop.mlflow.identity import run_here, run_there
from trivet.interop.mlflow.runs import check_key, run_id
from trivet.interop.mlflow.store import Store
from trivet.interop.mlflow.wire import check_bounds, invalid, invalid_value, moment, number, to_millis
from trivet.ledger import Metric, Run, Summary
from trivet.types import from_micros, to_micros

__all__ = ["MetricCalls"]

_MOST_AT_ONCE = 25_000
_PER_MILLISECOND = 1000
_LIMITS = {"metrics": 1000, "params": 100, "tags": 100}


class MetricCalls:
    """The calls that log metrics and read their history."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def log(self, given: dict[str, Any]) -> dict[str, Any]:
        """One number."""
        point = _point(given, "")
        id_ = run_id(given)
        with self._store.locked(run_here(id_) or ""):
            run = self._store.active(id_)
            self._store.ledger.write(*self._placed(run, [point]))
        return {}

    def points(self, given: Sequence[Mapping[str, Any]]) -> list[Metric]:
        """The numbers of a batch, checked before anything is written."""
        return [_point(one, f"metrics[{i}]") for i, one in enumerate(given)]

    def placed(self, run: Run, points: Sequence[Metric]) -> list[Metric]:
        """``points`` as points of ``run``, whose lock the caller holds."""
        return self._placed(run, points)

    def history(self, given: dict[str, Any]) -> dict[str, Any]:
        """Every number of one name, by time then step."""
        run = self._store.run(run_id(given))
        points = sorted(self._store.ledger.metrics(run.id, given["metric_key"]), key=lambda one: (one.at, one.step))
        if "max_results" not in given:
            return {"metrics": [_told(one) for one in points]}
        most = check_bounds("max_results", given["max_results"], 1_000_000)
        start = _place(given.get("page_token", ""))
        token = _token(start + most) if len(points) > start + most else None
        return {"metrics": [_told(one) for one in points[start : start + most]], "next_page_token": token}

    def bulk(self, given: dict[str, Any]) -> dict[str, Any]:
        """The histories of one name in several runs, thinned evenly: the first and the last point stay."""
        if ("start_step" in given) != ("end_step" in given):
            raise invalid("Both start_step and end_step must be specified together, or neither may be specified.")
        most = max(1, given.get("max_results", 2500))
        found = []
        for id_ in given.get("run_ids", []):
            run = self._store.run(id_)
            low, high = given.get("start_step", -math.inf), given.get("end_step", math.inf)
            points = [one for one in self._store.ledger.metrics(run.id, given["metric_key"]) if low <= one.step <= high]
            found += [{**_told(one), "run_id": run_there(run.id)} for one in _thinned(points, most)]
        return {"metrics": found}

    def _placed(self, run: Run, points: Sequence[Metric]) -> list[Metric]:
        if not points:
            return []
        latest = {one.name: one for one in self._store.ledger.metrics(run.id, summary=True)} if run.metrics else {}
        groups: dict[tuple[str, int, int], list[Metric]] = {}
        for point in points:
            groups.setdefault((point.name, point.step, to_micros(point.at) // 1000), []).append(point)
        histories: dict[str, Sequence[Metric]] = {}
        answer: list[Metric] = []
        for (name, step, millis), group in groups.items():
            held: list[float] = []
            if _may_stand(latest.get(name), step, millis):
                if name not in histories:
                    histories[name] = self._store.ledger.metrics(run.id, name)
                held = [
                    one.value for one in histories[name] if one.step == step and to_micros(one.at) // 1000 == millis
                ]
            values = {_key(value): value for value in [*held, *(one.value for one in group)]}
            if len(values) == len({_key(value) for value in held}):
                continue  # told before
            if len(values) > _PER_MILLISECOND:
                raise invalid(f"Metric {name!r} has over {_PER_MILLISECOND} values at step {step} in one millisecond.")
            answer += [
                Metric(run.id, name, step, values[key], from_micros(millis * 1000 + i))
                for i, key in enumerate(sorted(values))
            ]
        return answer


def check_sizes(given: Mapping[str, Any]) -> None:
    """MLflow's limits of a batch.

    Raises:
        MLflowError: there is too much in it.
    """
    total = sum(len(given.get(name, [])) for name in _LIMITS)
    for name, most in [*_LIMITS.items(), ("metrics, params, and tags", 1000)]:
        length = total if name not in _LIMITS else len(given.get(name, []))
        if length > most:
            raise invalid(
                f"A batch logging request can contain at most {most} {name}. Got {length} {name}. Please split up "
                f"{name} across multiple requests and try again."
            )


def _may_stand(latest: Summary | None, step: int, millis: int) -> bool:
    """Whether something may be recorded at this step and millisecond already."""
    if latest is None or latest.at is None:
        return False
    return (step, millis) <= (latest.step, to_micros(latest.at) // 1000)


def _key(value: float) -> tuple[int, float]:
    """Values in MLflow's order, where NaN is the smallest and equal to itself."""
    return (0, 0.0) if math.isnan(value) else (1, value)


def _point(given: Mapping[str, Any], path: str) -> Metric:
    before = f"{path}." if path else ""
    name = check_key(given.get("key"), f"{before}name")
    value = number(given.get("value"))
    millis, step = given.get("timestamp"), given.get("step", 0)
    if given.get("value") is None:
        raise invalid(f"Missing value for required parameter '{before}value'.")
    if value is None:
        said = f"(timestamp={millis}). Please specify value as a valid double (64-bit floating point)"
        raise invalid_value(f"{before}value", given["value"], said)
    millis, step = _whole(millis), _whole(step)
    if millis is None or millis < 0:
        said = f"metric '{name}' (value={value}). Timestamp must be a nonnegative long (64-bit integer) "
        raise invalid_value(f"{before}timestamp", given.get("timestamp"), said)
    if step is None:
        said = f"metric '{name}' (value={value}). Step must be a valid long (64-bit integer)."
        raise invalid_value(f"{before}step", given.get("step"), said)
    return Metric("", name, step, value, moment(millis))


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str | float):
        return None
    try:
        whole = int(value)
    except (ValueError, OverflowError):
        return None
    return whole if whole == float(value) or isinstance(value, int | str) else None


def _told(point: Metric) -> dict[str, Any]:
    return {"key": point.name, "value": point.value, "timestamp": to_millis(point.at), "step": point.step}


def _thinned(points: Sequence[Metric], most: int) -> Sequence[Metric]:
    if len(points) <= most:
        return points
    if most == 1:
        return points[-1:]
    last = len(points) - 1
    return [points[round(i * last / (most - 1))] for i in range(most)]


def _token(offset: int) -> str:
    return base64.b64encode(json.dumps({"offset": offset}).encode()).decode()


def _place(token: str) -> int:
    from trivet.interop.mlflow.predicates import offset_of

    return offset_of(token)
