import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lmdb
import pytest

from trivet.errors import Conflict, Corrupt, Invalid, Refused
from trivet.features.online.contract import Batch, Columns, Row
from trivet.features.online.encoding import encode_row
from trivet.features.online.lmdb import LmdbStore, open_store
from trivet.testing.online import SharedOnlineContract

SMALL = 64 << 10


def rows(count, moment=1, size=100):
    return [((number,), Row(moment, ["x" * size, number], [moment, None])) for number in range(count)]


class TestLmdb(SharedOnlineContract):
    url = "lmdb:online"


def test_the_map_grows_until_the_write_fits_and_keeps_what_was_there(tmp_path):
    store = LmdbStore(tmp_path, map_size=SMALL)
    store.write("v", rows(10))
    assert store.write("v", rows(20_000, 2), watermark=2) == 20_000
    assert store.read("v", [(19_999,)])[0].values == ["x" * 100, 19_999]
    assert store.watermark("v") == 2
    store.close()


def test_room_for_many_rows_is_made_at_once_and_few_words_are_no_promise(tmp_path):
    store = LmdbStore(tmp_path, map_size=SMALL)
    begun = []

    class Rows(list):
        def __iter__(self):
            begun.append(len(self))
            return super().__iter__()

    made = [
        (bytes([0xCE]) + number.to_bytes(4, "big"), encode_row(Row(1, ["x" * 50], [1]))) for number in range(20_000)
    ]
    columns = Columns([key for key, _ in made], Rows(row for _, row in made))
    assert store.put([Batch("v", columns, 1, 1)]) == [20_000]
    assert len(begun) == 2  # a look at the first row, and one write
    longer = Columns(columns.keys, Rows([columns.rows[0], *[encode_row(Row(2, ["y" * 900], [1]))] * 19_999]))
    assert store.put([Batch("v", longer, 1, 2, 2)]) == [20_000]
    assert len(begun) > 4  # the first row told too little
    assert store.watermark("v") == 2
    assert store.get([("v", [made[0][0], made[-1][0]])])[0].rows == [longer.rows[0], longer.rows[-1]]
    store.close()


def test_a_store_follows_growth_by_another_process(tmp_path):
    store = LmdbStore(tmp_path, map_size=SMALL)
    store.write("v", rows(10))
    grow = (
        "import sys; from pathlib import Path; from trivet.features.online.contract import Row\n"
        "from trivet.features.online.lmdb import LmdbStore\n"
        f"store = LmdbStore(Path(sys.argv[1]), map_size={SMALL})\n"
        "store.write('v', [((n,), Row(int(sys.argv[2]), ['y' * 100], [None])) for n in range(20_000)])\n"
    )
    subprocess.run([sys.executable, "-c", grow, str(tmp_path), "5"], check=True)
    assert [row.as_of for row in store.read("v", [(0,), (19_999,)])] == [5, 5]
    subprocess.run([sys.executable, "-c", grow.replace("20_000", "80_000"), str(tmp_path), "6"], check=True)
    assert store.write("v", rows(1, 7)) == 1
    assert [row.as_of for row in store.read("v", [(0,), (79_999,)])] == [7, 6]
    store.close()


def test_threads_read_on_while_the_map_grows(tmp_path):
    store = LmdbStore(tmp_path, map_size=SMALL)
    store.write("v", rows(100))
    with ThreadPoolExecutor(3) as pool:
        writing = pool.submit(lambda: [store.write("v", rows(100 << step, step + 2)) for step in range(8)])
        reading = [pool.submit(_read_until, store, writing) for _ in range(2)]
        assert writing.result() == [100 << step for step in range(8)]
        assert all(future.result() for future in reading)
    store.close()


def _read_until(store, writing):
    last = 0
    while not writing.done():
        moments = {row.as_of for row in store.read("v", [(number,) for number in range(100)])}
        assert len(moments) == 1
        assert min(moments) >= last
        last = min(moments)
    return True


def test_a_reader_writes_nothing(tmp_path):
    with pytest.raises(Invalid, match="Materialize"):
        LmdbStore(tmp_path / "none", readonly=True)
    writer = LmdbStore(tmp_path / "store")
    writer.write("v", rows(1))
    reader = LmdbStore(tmp_path / "store", readonly=True)
    for change in (lambda: reader.write("v", rows(1, 2)), lambda: reader.drop("v")):
        with pytest.raises(Refused, match="read-only"):
            change()
    assert reader.read("v", [(0,)]) == writer.read("v", [(0,)])
    writer.close()
    reader.close()
    alone = LmdbStore(tmp_path / "store", readonly=True)
    assert alone.read("v", [(0,)])[0].as_of == 1
    with pytest.raises(Conflict, match="open read-only"):
        LmdbStore(tmp_path / "store")
    alone.close()


def test_a_child_of_a_fork_has_a_store_of_its_own(tmp_path):
    program = f"""
import os, sys, threading
from pathlib import Path
from trivet.features.online.contract import Row
from trivet.features.online.lmdb import LmdbStore
store = LmdbStore(Path({str(tmp_path)!r}), map_size={SMALL})
store.write("v", [((0,), Row(1, [1], [1]))])
child = os.fork()
if child == 0:
    ok = store.read("v", [(0,)])[0].as_of == 1
    ok = ok and store.write("v", [((n,), Row(2, ["x" * 99], [2])) for n in range(9000)]) == 9000
    store.close()
    os._exit(0 if ok else 7)
status = os.waitpid(child, 0)[1]
assert status == 0, status
assert store.read("v", [(8999,)])[0].as_of == 2
assert store.write("v", [((0,), Row(3, [1], [1]))]) == 1
store.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_after_closing_it_says_so(tmp_path):
    store = open_store("lmdb:s", tmp_path)
    store.close()
    with pytest.raises(Conflict, match="closed"):
        store.read("v", [(1,)])


def test_a_name_too_long_is_refused(tmp_path):
    store = LmdbStore(tmp_path)
    with pytest.raises(Invalid, match="too long"):
        store.write("v" * 300, rows(1))
    assert store.write("v" * 250, [(("k" * 300,), Row(1, [1], [1]))]) == 1
    assert store.read("v" * 250, [("k" * 300,)]) == [Row(1, [1], [1])]
    store.close()


def test_a_file_that_is_no_database_is_corrupt_and_untouched(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt, match="materialize again"):
        LmdbStore(tmp_path)
    assert (tmp_path / "data.mdb").read_bytes() == b"not a database" * 1000


def test_bytes_on_disk_are_only_what_is_stored(tmp_path):
    store = LmdbStore(tmp_path)
    store.write("v", rows(10))
    assert (tmp_path / "data.mdb").stat().st_size < 100_000
    store.close()


def test_the_layout_is_pinned(tmp_path):
    store = LmdbStore(tmp_path)
    store.write("v", [(("k",), Row(1, [2], [3]))], watermark=4)
    store.close()
    with lmdb.open(str(tmp_path)) as env, env.begin() as transaction:
        assert [(key.hex(), data.hex()) for key, data in transaction.cursor()] == [
            ("a17691a16b", "930191029103"),
            ("a176c0", "920401"),
        ]
