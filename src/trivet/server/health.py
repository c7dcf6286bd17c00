"""``/metrics``: the health of what is deployed, in Prometheus' text format, worked out at most every few seconds."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from trivet.monitoring.metrics import render

if TYPE_CHECKING:
    from trivet.project import Project
    from trivet.serving.deployment import Deployment

__all__ = ["Health", "watched"]

_FRESH_SECONDS = 5.0


class Health:
    """The health of a project. Nothing is recorded by asking; several scrapers at once share one answer."""

    def __init__(self, project: Project, *, fresh: float = _FRESH_SECONDS) -> None:
        self._project, self._fresh = project, fresh
        self._lock = threading.Lock()
        self._at, self._text = float("-inf"), b""

    def text(self) -> bytes:
        """What Prometheus reads."""
        with self._lock:
            if time.monotonic() - self._at > self._fresh:
                reports = [
                    self._project.monitor(each.id, record=False) for each in watched(self._project.deployments())
                ]
                self._text = render(reports, [found.alarm for found in self._project.alarms()])
                self._at = time.monotonic()
            return self._text


def watched(deployments: list[Deployment]) -> list[Deployment]:
    """Those that should be healthy: all that are alive, and of each model and role the newest. Each version once.

    A version that was replaced is not watched any more; one that stopped and was not replaced is. What never came to
    answer and what is retired is no concern.
    """
    newest: dict[tuple[str, str], str] = {}
    answering = [each for each in deployments if each.state not in {"failed", "retired"}]
    for each in answering:  # newest first
        newest.setdefault((each.name, each.role), each.id)
    wanted = [each for each in answering if each.state == "alive" or newest[each.name, each.role] == each.id]
    return list({(each.name, each.version): each for each in reversed(wanted)}.values())
