"""The contract, by a cluster that is a loop in this process: everything but the sending."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest

from trivet.errors import ConfigError
from trivet.features import Entity, FeatureView, Source, select_all
from trivet.features.engines.executors import Kind, batch_of, messages_of
from trivet.features.engines.filling import SpreadFilling
from trivet.features.engines.spread import spread
from trivet.features.frames import as_polars
from trivet.features.logs import with_logs
from trivet.testing.engines import EngineContract


class Loop:
    """An engine that spreads over itself."""

    def __init__(self, *, here=True, change=lambda work: work):
        self.here, self.change, self.sent = here, change, []

    def point_in_time(self, spine, features, sources, *, time, strict=False):
        known = with_logs([each.view.source for each in features], sources, self.point_in_time)
        frame = as_polars(spine, "The spine")
        return spread(frame, features, known, time=time, strict=strict, here=self.here, send=self.send)

    def send(self, work, messages):
        work = self.change(work)
        self.sent = list(messages)
        dealt = [m for each in self.sent for m in messages_of(work.deal([batch_of([each])]))]
        together = sorted(dealt, key=lambda m: (m.share, m.part, m.kind, m.place))
        return list(messages_of(work.answer([batch_of(together)])))

    def filling(self, views, sources):
        known = with_logs([view.source for view in views], sources, self.point_in_time)
        return SpreadFilling(views, known, here=self.here, fetch=self.fetch)

    @contextmanager
    def fetch(self, work, messages):
        answers = self.send(work, messages)
        yield [m for m in answers if m.kind != Kind.ANSWER], (m for m in answers if m.kind == Kind.ANSWER)


class TestLoop(EngineContract):
    examples = 100

    def open(self):
        return Loop()


def test_other_versions_over_there_are_refused():
    data = {"key": [1], "at": ["2013-01-01T00:00:00Z"], "x": [1.0]}
    import polars as pl

    source = Source("events", event_time="at")
    view = FeatureView("view", entity=Entity("key"), source=source, features=["x"])
    engine = Loop(change=lambda work: replace(work, versions=("Trivet 9", "Polars 9")))
    with pytest.raises(ConfigError, match="this process Trivet 9 and Polars 9"):
        engine.point_in_time(
            pl.DataFrame(data).select("key", "at"), select_all([view]), {"events": pl.DataFrame(data)}, time="at"
        )
