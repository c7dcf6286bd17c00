"""Tables against a slow and plain model: a list of dicts, searched from end to end."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.features.projects import opened
from trivet.clock import FixedClock
from trivet.features.tables import EventTables
from trivet.features.tables.stored import StoredTable

START = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = {"k": pl.Int64, "who": pl.Int64, "at": pl.Datetime("us", "UTC"), "v": pl.Int64}
ROW = st.fixed_dictionaries(
    {
        "k": st.one_of(st.none(), st.integers(0, 5)),
        "who": st.integers(0, 2),
        "at": st.one_of(st.none(), st.integers(0, 6).map(lambda hours: START + timedelta(hours=hours))),
        "v": st.one_of(st.none(), st.integers(0, 2)),
    }
)


def plain(row):
    return str([each.isoformat() if isinstance(each, datetime) else each for each in row])


class Model(RuleBasedStateMachine):
    """Rows as (content, commit number); the table beside it."""

    @initialize(keep=st.sampled_from(["first", "last"]))
    def begin(self, keep):
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FixedClock(START)
        self.context = opened(Path(self.folder.name), self.clock)
        self.tables, self.keep = EventTables(self.context), keep
        self.rows, self.refused, self.moments, self.versions = [], [], [], {}
        self.tables.create("t", key="k", event_time="at", keep=keep)

    def teardown(self):
        if hasattr(self, "context"):
            self.context.ledger.close()
            self.folder.cleanup()

    def expect(self, batch):
        """What must come of a batch, told row by row."""
        counts = dict.fromkeys(("new", "repeated", "changed", "late", "refused"), 0)
        newest = self.newest
        added = []
        for row in batch:
            before = [one for one, _ in self.rows] + added
            if row["k"] is None or row["at"] is None:
                counts["refused"] += 1
                self.refuse(row)
            elif row in before:
                counts["repeated"] += 1
            elif any(one["k"] == row["k"] for one in before) and self.keep == "first":
                counts["refused"] += 1
                self.refuse(row)
            else:
                counts["changed" if any(one["k"] == row["k"] for one in before) else "new"] += 1
                counts["late"] += newest is not None and row["at"] < newest
                added.append(row)
        return counts, added

    newest = None

    def refuse(self, row):
        if row not in self.refused:
            self.refused.append(row)

    @rule(batch=st.lists(ROW, max_size=6), minutes=st.integers(0, 3))
    def ingest(self, batch, minutes):
        self.clock.advance(timedelta(minutes=minutes))
        counts, added = self.expect(batch)
        report = self.tables.ingest("t", pl.DataFrame(batch, schema=SCHEMA))
        assert {name: getattr(report, name) for name in counts} == counts
        if added:
            self.moments.append(self.tables.read("t", history=True)["created"].max())
            self.rows += [(row, len(self.moments) - 1) for row in added]
            past = [row["at"] for row in added if row["at"] <= self.clock()]  # nothing is late beside what is to come
            self.newest = max(past + ([self.newest] if self.newest else []), default=None)
            self.versions[report.version] = len(self.moments) - 1

    @rule()
    def again(self):
        """Everything that was ever taken, in the other order: a delivery repeated after a crash."""
        held = [row for row, _ in reversed(self.rows)]
        report = self.tables.ingest("t", pl.DataFrame(held, schema=SCHEMA))
        assert (report.repeated, report.new, report.changed) == (len(held), 0, 0)

    @rule(batch=st.lists(ROW, min_size=1, max_size=4))
    def crash(self, batch):
        """The process dies at the commit: what was accepted is not there, what was refused is."""
        broken = [row for row in batch if row["k"] is None or row["at"] is None]
        append, calls = StoredTable.append, []

        def dying(table, *args):
            if table.name == "t":
                calls.append(table)
                raise KeyboardInterrupt
            return append(table, *args)

        StoredTable.append = dying
        try:
            self.tables.ingest("t", pl.DataFrame(batch, schema=SCHEMA))
        except KeyboardInterrupt:
            pass
        finally:
            StoredTable.append = append
        for row in broken:
            self.refuse(row)
        if self.keep == "first":
            before, seen = [one for one, _ in self.rows], []
            for row in (row for row in batch if row not in broken):
                if row not in before and row not in seen:
                    if any(one["k"] == row["k"] for one in [*before, *seen]):
                        self.refuse(row)
                    else:
                        seen.append(row)

    @rule()
    def compact(self):
        self.tables.compact("t", retention="0s")

    @rule(who=st.integers(0, 2))
    def erase(self, who):
        if not self.moments and not self.refused:
            return  # nobody knows of such a column yet
        gone = self.tables.erase("t", {"who": who}, why="asked")
        kept = [(row, n) for row, n in self.rows if row["who"] != who]
        assert gone.rows == len(self.rows) - len(kept)
        left = [row for row in self.refused if row["who"] != who]
        assert gone.refused == len(self.refused) - len(left)
        self.rows, self.refused = kept, left

    def as_of(self, commit):
        """The newest content of each key after that commit."""
        return {row["k"]: row for row, number in self.rows if number <= commit}

    @invariant()
    def now_and_then(self):
        if not hasattr(self, "tables"):
            return
        newest = len(self.moments) - 1
        assert self.read() == self.as_of(newest)
        history = [tuple(row[name] for name in SCHEMA) for row, _ in self.rows]
        found = self.tables.read("t", history=True)
        if "v" in found.columns:
            assert sorted(found.select(list(SCHEMA)).rows(), key=plain) == sorted(history, key=plain)
        for version, commit in list(self.versions.items())[-2:]:
            assert self.read(version=version) == self.as_of(commit)
        for commit, moment in list(enumerate(self.moments))[-2:]:
            if moment is not None:
                assert self.read(as_known_at=moment) == self.as_of(commit)
        refused = self.tables.read("t__refused").height if self.tables._refused("t") else 0
        assert refused == len(self.refused)

    def read(self, **options):
        rows = self.tables.read("t", **options).to_dicts()
        return {row["k"]: {name: row.get(name) for name in SCHEMA} for row in rows}


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=25, stateful_step_count=8, deadline=None)
