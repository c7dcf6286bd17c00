"""What every online store must do, as test classes. Inherit one, name a URL, and pytest runs it on your engine.

    class TestMine(SharedOnlineContract):
        url = "mine:store"   # opened by trivet.plugins; each test has an empty root folder

``OnlineContract`` asks what a store in one process promises; ``SharedOnlineContract`` adds what one that outlives its
process promises. Nothing here knows an engine. Whole histories of writes are compared with a dictionary that is
obviously right.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.features.online.contract import Batch, Found, Key, OnlineStore, Row
from trivet.features.online.encoding import decode_row, encode_key, encode_row
from trivet.features.online.rows import batch_of
from trivet.plugins import open_url

__all__ = ["OnlineContract", "SharedOnlineContract"]

_scalars = st.one_of(st.text(max_size=3), st.integers(-2, 2), st.booleans(), st.sampled_from([0.0, 1.0, 2.5]))
_keys = st.lists(_scalars, min_size=1, max_size=3).map(tuple)
_values = st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text())
_moments = st.integers(-3, 9)


@st.composite
def _rows(draw: st.DrawFn) -> Row:
    values = draw(st.lists(_values, max_size=3))
    times = [draw(st.none() | _moments) for _ in values]
    return Row(draw(_moments), values, times)


_writes = st.tuples(
    st.sampled_from(["a", "ab", "a view", "ä"]),
    st.lists(st.tuples(_keys, _rows()), max_size=6),
    st.none() | _moments,
)


class _Oracle:
    """The rules of the contract, said as slowly as possible."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Any, ...], Row] = {}
        self.watermarks: dict[str, int] = {}

    @staticmethod
    def name(view: str, key: Key) -> tuple[Any, ...]:
        return (view, *((type(value), value) for value in key))

    def write(self, view: str, rows: list[tuple[Key, Row]], watermark: int | None) -> int:
        changed = set()
        for key, row in rows:
            name = self.name(view, key)
            if name not in self.rows or self.rows[name].as_of <= row.as_of:
                self.rows[name] = row
                changed.add(name)
        if watermark is not None:
            self.watermarks[view] = max(watermark, self.watermarks.get(view, watermark))
        return len(changed)


class OnlineContract:
    """The obligations of ``trivet.features.online.contract.OnlineStore``."""

    url: ClassVar[str]

    @contextmanager
    def opened(self, root: Path) -> Iterator[OnlineStore]:
        """The store in ``root``, closed at the end."""
        store: OnlineStore = open_url("online", self.url, root)
        try:
            yield store
        finally:
            store.close()

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[OnlineStore]:
        """An empty store."""
        with self.opened(tmp_path) as store:
            yield store

    # --- rows ------------------------------------------------------------------------------------------------------

    def test_what_was_written_is_read_in_the_order_asked(self, store: OnlineStore) -> None:
        one, two = Row(5, [1, 2.5, "x", True, None], [1, 2, 3, 4, None]), Row(5, [], [])
        assert store.write("v", [(("a",), one), (("b",), two)]) == 2
        assert store.read("v", [("b",), ("none",), ("a",), ("b",)]) == [two, None, one, two]
        assert store.read("v", []) == []
        assert store.read("never written", [("a",)]) == [None]

    def test_values_keep_their_types_and_every_digit(self, store: OnlineStore) -> None:
        values = [0.1, 1e308, -0.0, 2**63 - 1, -(2**63), "Zürich\x00", False, None, [1, [2.0]], float("inf")]
        store.write("v", [(("k",), Row(2**53, values, [None] * len(values)))])
        [row] = store.read("v", [("k",)])
        assert row is not None
        assert list(map(repr, row.values)) == list(map(repr, values))
        assert row.as_of == 2**53

    def test_keys_that_look_alike_are_different(self, store: OnlineStore) -> None:
        keys: list[Key] = [
            ("1", "12"), ("11", "2"), ("112",), (1,), ("1",), (1.0,), (True,), (0,), (False,), ("",), ("", ""),
            (1, "2"), ("1", 2), ("a\x00b",), ("a", "b"), ("A",), ("a",), ("a ",), (2**40,), (float(2**40),), ("ä",),
            ("a\u0308",),
        ]  # fmt: skip
        store.write("v", [(key, Row(1, [number], [1])) for number, key in enumerate(keys)])
        found = [row.values[0] if row else None for row in store.read("v", keys)]
        assert found == list(range(len(keys)))

    def test_long_keys_are_told_apart_to_the_last_character(self, store: OnlineStore) -> None:
        keys: list[Key] = [("x" * length + end,) for length in range(230, 560, 9) for end in "ab"]
        assert store.write("v", [(key, Row(1, [key[0]], [1])) for key in keys]) == len(keys)
        assert [row.values[0] if row else None for row in store.read("v", keys)] == [key[0] for key in keys]

    def test_views_are_apart(self, store: OnlineStore) -> None:
        for view in ("a", "ab", "a b"):
            store.write(view, [(("b",), Row(1, [view], [1]))], watermark=len(view))
        store.drop("a")
        assert store.read("a", [("b",)]) == [None]
        assert store.watermark("a") is None
        assert store.read("ab", [("b",)]) == [Row(1, ["ab"], [1])]
        assert store.watermark("a b") == 3

    def test_a_dropped_view_starts_anew(self, store: OnlineStore) -> None:
        store.write("v", [(("k",), Row(9, ["new"], [9]))], watermark=9)
        store.drop("v")
        store.drop("v")
        assert store.write("v", [(("k",), Row(1, ["older"], [1]))], watermark=1) == 1
        assert store.read("v", [("k",)]) == [Row(1, ["older"], [1])]
        assert store.watermark("v") == 1

    def test_what_cannot_be_stored_is_refused_and_changes_nothing(self, store: OnlineStore) -> None:
        good = (("a",), Row(1, [1], [1]))
        for key, value in (((None,), 1), ((("a",),), 1), ((2**70,), 1), (("b",), object()), (("b",), 2**70)):
            with pytest.raises(Invalid):
                store.write("v", [good, (key, Row(1, [value], [1]))], watermark=3)  # type: ignore[list-item]
        assert store.read("v", [("a",)]) == [None]
        assert store.watermark("v") is None

    def test_several_views_are_written_and_read_at_once(self, store: OnlineStore) -> None:
        one, two = batch_of("a", [((1,), Row(1, [1], [1]))], watermark=5), batch_of("b", [((2,), Row(2, [2], [2]))])
        assert store.put([one, two, batch_of("c", [], watermark=7)]) == [1, 1, 0]
        key, other = encode_key((1,)), encode_key((2,))
        a, b, c, none = store.get([("a", [key, other]), ("b", [other]), ("c", []), ("never", [key])])
        assert (a.watermark, b.watermark, c, none) == (5, None, Found(7, []), Found(None, [None]))
        assert [None if data is None else decode_row(data) for data in (*a.rows, *b.rows)] == [
            Row(1, [1], [1]),
            None,
            Row(2, [2], [2]),
        ]
        assert store.get([]) == []
        assert store.put([]) == []

    def test_rows_are_opaque_behind_their_moment(self, store: OnlineStore) -> None:
        encode, key = msgspec.msgpack.encode, encode_key(("k",))
        new, old = encode([5, b"\x00\xff", {"tiles": [1, 2]}]), encode([4, "older"])
        assert store.put([Batch("tiles", [(key, new)], 5, 5)]) == [1]
        assert store.put([Batch("tiles", [(key, old)], 4, 4)]) == [0]
        assert store.get([("tiles", [key])]) == [Found(None, [new])]

    def test_what_is_there_is_listed(self, store: OnlineStore) -> None:
        assert store.views() == []
        names = ["a", "ab", "a b", "ä", "long" * 40]
        for name in names:
            store.write(name, [((number,), Row(1, [1], [1])) for number in range(3)])
        store.write("only a watermark", [], watermark=1)
        assert store.views() == sorted([*names, "only a watermark"])
        store.drop("ab")
        assert store.views() == sorted({*names, "only a watermark"} - {"ab"})

    def test_a_key_is_erased_and_nothing_else(self, store: OnlineStore) -> None:
        keys: list[Key] = [("ada",), ("x" * 600,), (1,), ("1",)]
        for view in ("v", "w"):
            store.write(view, [(key, Row(1, [1], [1])) for key in keys], watermark=1)
        assert store.erase("v", [("ada",), ("x" * 600,), ("none",)]) == 2
        assert store.erase("v", [("ada",)]) == 0
        assert store.erase("v", []) == 0
        assert [row is None for row in store.read("v", keys)] == [True, True, False, False]
        assert None not in store.read("w", keys)
        assert store.watermark("v") == 1
        assert store.write("v", [(("ada",), Row(0, [2], [0]))]) == 1

    def test_other_rows_are_forgotten_where_a_write_says_so(self, store: OnlineStore) -> None:
        keys: list[Key] = [("stays",), ("goes",), ("x" * 600,), ("newer",), (1,)]
        for view in ("v", "w"):
            store.write(view, [(key, Row(9 if key == ("newer",) else 5, [1], [1])) for key in keys], watermark=5)
        rows = [(encode_key(key), encode_row(Row(6, [2], [6]))) for key in [("new",), ("stays",)]]
        assert store.put([Batch("v", rows, 6, 6, 6, others=6)]) == [2]
        there = [row is not None for row in store.read("v", [*keys, ("new",)])]
        assert there == [True, False, False, True, False, True]
        assert store.watermark("v") == 6
        assert None not in store.read("w", keys)
        assert store.put([Batch("v", [], 0, 0, 7, others=5)]) == [0]  # the rows are of later
        assert store.read("v", [("stays",)]) == [Row(6, [2], [6])]
        assert store.put([Batch("empty", rows, 6, 6, 6, others=6)]) == [2]

    # --- time only goes forward ------------------------------------------------------------------------------------

    def test_older_never_replaces_newer(self, store: OnlineStore) -> None:
        assert store.write("v", [(("k",), Row(5, ["five"], [5]))]) == 1
        assert store.write("v", [(("k",), Row(4, ["four"], [4]))]) == 0
        assert store.read("v", [("k",)]) == [Row(5, ["five"], [5])]
        assert store.write("v", [(("k",), Row(5, ["five again"], [5]))]) == 1
        assert store.write("v", [(("k",), Row(6, ["six"], [6])), (("k",), Row(2, ["two"], [2]))]) == 1
        assert store.read("v", [("k",)]) == [Row(6, ["six"], [6])]

    def test_older_rows_of_other_keys_are_still_taken(self, store: OnlineStore) -> None:
        store.write("v", [(("new",), Row(9, [9], [9]))])
        assert store.write("v", [(("late",), Row(3, [3], [3])), (("new",), Row(3, [3], [3]))]) == 1
        assert store.read("v", [("late",), ("new",)]) == [Row(3, [3], [3]), Row(9, [9], [9])]

    def test_the_watermark_never_moves_back(self, store: OnlineStore) -> None:
        assert store.watermark("v") is None
        store.write("v", [], watermark=7)
        store.write("v", [], watermark=3)
        assert store.watermark("v") == 7
        store.write("v", [(("k",), Row(1, [1], [1]))])
        assert store.watermark("v") == 7

    def test_pieces_in_any_order_and_twice_end_alike(self, tmp_path: Path) -> None:
        pieces = [[((key,), Row(moment, [moment], [moment])) for key in range(moment, 20)] for moment in range(12)]
        ends = []
        for seed in range(4):
            order = pieces + pieces[3:7]
            Random(seed).shuffle(order)
            root = tmp_path / str(seed)
            root.mkdir()
            with self.opened(root) as store:
                for piece in order:
                    store.write("v", piece, watermark=piece[0][1].as_of)
                ends.append((store.read("v", [(key,) for key in range(20)]), store.watermark("v")))
        assert ends[0][1] == 11
        assert all(end == ends[0] for end in ends)

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_writes, max_size=8))
    def test_any_history_ends_as_the_oracle_says(self, history: list[tuple[str, list[tuple[Key, Row]], int]]) -> None:
        oracle = _Oracle()
        with tempfile.TemporaryDirectory() as folder, self.opened(Path(folder)) as store:
            for view, rows, watermark in history:
                assert store.write(view, rows, watermark=watermark) == oracle.write(view, rows, watermark)
            views, keys = {view for view, _, _ in history}, [key for _, rows, _ in history for key, _ in rows]
            for view in views:
                assert store.read(view, keys) == [oracle.rows.get(oracle.name(view, key)) for key in keys]
                assert store.watermark(view) == oracle.watermarks.get(view)

    # --- all or nothing, threads ------------------------------------------------------------------------------------

    def test_a_write_that_fails_half_way_changes_nothing(self, store: OnlineStore) -> None:
        def rows() -> Iterator[tuple[Key, Row]]:
            yield ("a",), Row(2, ["new"], [2])
            raise ConnectionError("the source broke")

        store.write("v", [(("a",), Row(1, ["old"], [1]))], watermark=1)
        with pytest.raises(ConnectionError):
            store.write("v", rows(), watermark=2)
        assert store.read("v", [("a",)]) == [Row(1, ["old"], [1])]
        assert store.watermark("v") == 1

    def test_readers_see_all_of_a_write_or_none_while_threads_write(self, store: OnlineStore) -> None:
        keys: list[Key] = [(number,) for number in range(50)]
        store.write("v", [(key, Row(0, [0], [0])) for key in keys])
        stop = threading.Event()

        def read() -> int:
            last = 0
            while not stop.is_set():
                seen = {row.values[0] for row in store.read("v", keys) if row}
                assert len(seen) == 1
                assert min(seen) >= last
                last = min(seen)
            return last

        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            writers = [
                pool.submit(
                    lambda part: [
                        store.write("v", [(key, Row(moment, [moment], [0])) for key in keys])
                        for moment in range(part, 80, 2)
                    ],
                    part,
                )
                for part in (1, 2)
            ]
            for writer in writers:
                writer.result()
            stop.set()
            assert all(reader.result() <= 79 for reader in readers)
        assert [row.as_of if row else None for row in store.read("v", keys)] == [79] * 50


class SharedOnlineContract(OnlineContract):
    """The obligations of a store that several processes share and that outlives them."""

    def test_reopened_it_is_as_it_was(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as store:
            store.write("v", [(("k",), Row(1, [1], [1]))], watermark=1)
            store.close()
            store.close()
        with self.opened(tmp_path) as store:
            assert store.read("v", [("k",)]) == [Row(1, [1], [1])]
            assert store.watermark("v") == 1

    def test_two_stores_of_one_folder_in_one_process(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as one, self.opened(tmp_path) as two:
            one.write("v", [(("k",), Row(1, [1], [1]))])
            assert two.read("v", [("k",)]) == [Row(1, [1], [1])]
            one.close()
            assert two.write("v", [(("k",), Row(2, [2], [2]))]) == 1

    def test_another_process_reads_while_this_one_writes(self, tmp_path: Path) -> None:
        with self.opened(tmp_path) as store:
            store.write("v", [((number,), Row(0, [0], [0])) for number in range(300)])
            with self._process(tmp_path, _READING) as reader:
                assert reader.stdout is not None
                assert reader.stdout.readline() == "ready\n"
                for moment in range(1, 60):
                    store.write("v", [((number,), Row(moment, [moment], [0])) for number in range(300)])
                assert reader.wait(60) == 0, reader.stdout.read()

    def test_a_killed_writer_leaves_whole_writes(self, tmp_path: Path) -> None:
        for delay in (0.0, 0.02, 0.05, 0.1):
            with self._process(tmp_path, _WRITING) as writer:
                assert writer.stdout is not None
                assert writer.stdout.readline() == "ready\n"
                threading.Event().wait(delay)
                writer.send_signal(signal.SIGKILL)
                writer.wait(30)
            with self.opened(tmp_path) as store:
                rows = store.read("v", [(number,) for number in range(2000)])
                seen = {row.as_of if row else None for row in rows}
                assert len(seen) == 1
                assert seen == {store.watermark("v")}

    @contextmanager
    def _process(self, root: Path, program: str) -> Iterator[subprocess.Popen[str]]:
        arguments = [sys.executable, "-c", program, self.url, str(root)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                yield process
            finally:
                process.kill()


_OPENING = """
import sys, time
from pathlib import Path
from trivet.features.online.contract import Row
from trivet.plugins import open_url
store = open_url("online", sys.argv[1], Path(sys.argv[2]))
"""

_READING = f"""{_OPENING}
print("ready", flush=True)
last, until = 0, time.monotonic() + 50
while last < 59 and time.monotonic() < until:
    seen = {{row.as_of for row in store.read("v", [(number,) for number in range(300)])}}
    assert len(seen) == 1 and min(seen) >= last, (seen, last)
    last = min(seen)
sys.exit(last != 59)
"""

_WRITING = f"""{_OPENING}
start = store.watermark("v") or 0
for moment in range(start + 1, 100_000):
    rows = [((number,), Row(moment, ["x" * 50, moment], [moment, None])) for number in range(2000)]
    store.write("v", rows, watermark=moment)
    if moment == start + 2:
        print("ready", flush=True)
"""
