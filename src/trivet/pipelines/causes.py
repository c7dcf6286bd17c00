"""Why the same code on the same data may answer other bits: what of the machine is other than it was.

Interpreter, platform, numeric libraries with their kernels and threads, features of the processor.
Pure functions over what runs record as ``active``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["likely_causes"]

_FACTS = (("version", "version"), ("architecture", "kernel"), ("num_threads", "number of threads"))


def likely_causes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Sentences about differences that are known to change results; facts that one side does not tell are passed over.

    Example:
        >>> likely_causes({"python": "3.11.1", "cpu": ["avx2"]}, {"python": "3.12.0", "cpu": ["avx2", "fma"]})
        ['the interpreter was 3.11.1 and is 3.12.0.', 'the processor can do more now: fma.']
    """
    causes = [
        f"{noun} was {before[name]} and is {now[name]}."
        for name, noun in (("python", "the interpreter"), ("platform", "the platform"))
        if name in before and name in now and before[name] != now[name]
    ]
    then, today = _libraries(before), _libraries(now)
    for name in then.keys() & today.keys():
        for fact, noun in _FACTS:
            if then[name].get(fact) != today[name].get(fact):
                causes.append(f"the {noun} of {name} was {then[name].get(fact)} and is {today[name].get(fact)}.")
    return [*causes, *_processor(before, now)]


def _libraries(facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(one.get("library")): one for one in facts.get("libraries", [])}


def _processor(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if "cpu" not in before or "cpu" not in now:
        return []
    lost, gained = sorted(set(before["cpu"]) - set(now["cpu"])), sorted(set(now["cpu"]) - set(before["cpu"]))
    causes = [f"the processor cannot do now what it could then: {', '.join(lost)}."] if lost else []
    return causes + ([f"the processor can do more now: {', '.join(gained)}."] if gained else [])
