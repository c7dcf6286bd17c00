"""Reading the online store through its contract beside LMDB with msgspec alone: 3 views of 10 features.

    python benchmarks/online_read.py [--entities 100000] [--rounds 5]

Prints medians of one read of 1 and of 100 entities, of writing, and the ratios.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lmdb
import msgspec

from trivet.features.online.contract import Row
from trivet.features.online.lmdb import LmdbStore

VIEWS = ("a", "b", "c")
FEATURES = 10
NOW = 1_700_000_000_000_000


def rows(view: str, entities: int) -> list[tuple[tuple[int], Row]]:
    """The rows of one view in random order."""
    chance = random.Random(view)
    made = [
        ((number,), Row(NOW, [chance.random() for _ in range(FEATURES)], [NOW - number] * FEATURES))
        for number in range(entities)
    ]
    chance.shuffle(made)
    return made


class Bare:
    """What one would write by hand: integer keys, no order of time, no growth, one transaction for all views."""

    def __init__(self, path: Path) -> None:
        self.lmdb = lmdb.open(str(path), map_size=4 << 30)
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode = msgspec.msgpack.Decoder(Row).decode

    def write(self, view: str, made: list[tuple[tuple[int], Row]]) -> None:
        """All rows in one transaction."""
        prefix = view.encode()
        items = sorted((prefix + key[0].to_bytes(8, "big"), self.encode(row)) for key, row in made)
        with self.lmdb.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(items)

    def read(self, entities: list[int]) -> list[list[Row]]:
        """The rows of each view."""
        with self.lmdb.begin() as transaction:
            get, decode = transaction.get, self.decode
            return [[decode(get(v + entity.to_bytes(8, "big"))) for entity in entities] for v in (b"a", b"b", b"c")]


def median_us(call: Callable[[list[int]], object], entities: int, count: int, repeats: int) -> float:
    chance, taken = random.Random(0), []
    for _ in range(repeats):
        asked = [chance.randrange(entities) for _ in range(count)]
        start = time.perf_counter_ns()
        call(asked)
        taken.append(time.perf_counter_ns() - start)
    return statistics.median(taken) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, bare = LmdbStore(Path(folder, "store")), Bare(Path(folder, "bare"))
        written: dict[str, list[float]] = {"bare": [], "trivet": []}
        for view in VIEWS:
            made = rows(view, options.entities)
            for name, write in (("bare", bare.write), ("trivet", store.write)):
                start = time.perf_counter()
                write(view, made)
                written[name].append(options.entities / (time.perf_counter() - start))
        report("write, rows/s", statistics.median(written["bare"]), statistics.median(written["trivet"]), more=True)

        def through(asked: list[int]) -> object:
            keys = [(entity,) for entity in asked]
            return [store.read(view, keys) for view in VIEWS]

        assert through([1, 2]) == bare.read([1, 2])
        for count, repeats in ((1, 5000), (100, 300)):
            both = [
                (
                    median_us(bare.read, options.entities, count, repeats),
                    median_us(through, options.entities, count, repeats),
                )
                for _ in range(options.rounds)
            ]
            report(f"read {count} x 3 views, us", *(statistics.median(column) for column in zip(*both, strict=True)))
        store.close()


def report(what: str, bare: float, trivet: float, *, more: bool = False) -> None:
    ratio = bare / trivet if more else trivet / bare
    print(f"{what:26} bare {bare:12,.1f}   trivet {trivet:12,.1f}   {ratio:.2f}x the cost")


if __name__ == "__main__":
    main()
