from __future__ import annotations

import dataclasses
import hashlib
import io
import math
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.digest import canonical, digest, digest_bytes, digest_file, digest_stream, is_digest
from trivet.errors import Invalid


class Fit(msgspec.Struct):
    rounds: int
    name: str = "a"


@dataclasses.dataclass(frozen=True)
class Window:
    length: timedelta
    keys: tuple[str, ...]


class Pair(NamedTuple):
    x: int
    y: int


class Level(IntEnum):
    HIGH = 3


class Colour(Enum):
    RED = "red"


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

# To change one of these breaks every digest that anyone has ever recorded.
PINNED = [
    (None, b"n", "7053c8d2f8f2d33714816269c30e602aa3aa8d6f5d897721b37049a9a7291999"),
    (True, b"t", "49fbb5bdb1bb2b7e4d50c0124963e1c6c329b5c22c5178e6a3d86150afc2a092"),
    (False, b"f", "a30f1d1a8fc8beab6218f22e882288c39c3c083bf4f95b4cda2aed31b597b839"),
    (0, b"i0;", "d503d8a84ee58f203c303eb401474a306da4af99d1c64546b391c2cb8cbc9eac"),
    (-12, b"i-12;", "b0735550d54554850b6892e9996cdfb6b684c56de492503c710b95b777cb0489"),
    (1.0, b"d3ff0000000000000", "ddf58c0e8f98a35c5126f8c286d9e60711b0f2df616f079e6a64c4bfa244dcf6"),
    (-0.0, b"d8000000000000000", "1ac7a0fc1ba8e63edca88d4e3d01a57d274af4ed10acaa7c1b94127ac31a9072"),
    (math.inf, b"d7ff0000000000000", "12f6504a38e38db64769da77504aa01cfc872131db6bd4bf701b0fb9734bd64d"),
    (math.nan, b"d7ff8000000000000", "924f84c4699c052458ba4317f478cec50bc05ac267a00bdb05857dd5fd41e0f7"),
    ("", b"s0:", "44aa8b0e1242f7b0f2c1cf53df087d3304f717a85e2d9b5c7d896ae159abf6d0"),
    ("é", b"s2:\xc3\xa9", "56bab0d328e51a9f82f493a2273c2f0032dcc860741702ea4d42a303319edfac"),
    ("\ud800", b"s3:\xed\xa0\x80", "f9751b7b9c3115669d6c0048a895df169bf5b2fc0f230910e46825794c1b84a2"),
    (b"ab", b"b2:ab", "9c1a51c3bbefa950ef67368d99fff161ab40aaaf9f0099281ca5360a76f62223"),
    ([1, [2]], b"[i1;[i2;]]", "8668a9684a71aa12293584bbf5e4510a488ca697177c6dff77ef37825aaa5448"),
    (
        {"b": 1, "a": 2, 1: 3},
        b"{i1;i3;s1:ai2;s1:bi1;}",
        "c0f94a4ba764c6dc0a5e00cf13239954e4cb02d0a57aec58341db15b43a95a32",
    ),
    ({1, 2}, b"<i1;i2;>", "6f0a1c8fa1cc2d6764a7c184b3f96d924289a105a11707d9a1908e652b0dfd63"),
    (
        datetime(2026, 1, 1, tzinfo=UTC),
        b"T1767225600000000;",
        "bc4b54ee4859246ecd6387c1c6ac213929b8f2b739582f015f0f9f577bf167ee",
    ),
    (date(2026, 1, 1), b"D2026-01-01;", "dc7e78f426b119c45c2d853c7d29ce3edc518a026b81b938a9c5e7e5609cc7e5"),
    (
        timedelta(days=-1, microseconds=1),
        b"w-86399999999;",
        "677989a5cb39e8132b19fd72a44cae36930d1ce52c54de7dd28976cd1d0cbb03",
    ),
    (Fit(1), b"r3:Fit{s4:names1:as6:roundsi1;}", "b5334ce8d40128eedf646a6474186cf48d5639d33f5ea4dfbb7872bd24d6b8c9"),
    (Window(timedelta(hours=3), ("a",)), b"r6:Window{s4:keys[s1:a]s6:lengthw10800000000;}", "f274a8c7b88ad63ff8687764e1cff12ed89cf930c206ee40174b24652ac0ef4e"),
]


@pytest.mark.parametrize(("value", "encoded", "pinned"), PINNED, ids=[repr(one[0]) for one in PINNED])
def test_pinned(value, encoded, pinned):
    assert canonical(value) == encoded
    assert digest("test", value) == pinned
    assert hashlib.sha256(b"trivet/1" + b"s4:test" + encoded).hexdigest() == pinned  # by hand


@pytest.mark.parametrize(
    "values",
    [
        (1, 1.0, True, "1", b"1", [1], {1}, {1: 1}),
        (0, 0.0, -0.0, False, None, "", b"", [], {}, set()),
        (["a", "bc"], ["ab", "c"], ["abc"], [["a"], "bc"], "abc"),
        ([[1], 2], [[1, 2]], [1, [2]], [1, 2]),
        ({"a": None}, {}, {"a": "None"}),
        ({"a": {"b": 1}}, {"a": {}, "b": 1}, {"a": 1, "b": {}}),
        (date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01", 1767225600000000),
        (timedelta(seconds=1), 1_000_000, "1s"),
        ("\ud83d\ude00", "😀", "\ufffd"),
        ("é", "e\u0301"),  # no normalisation: different text is different
        (Fit(1), {"rounds": 1, "name": "a"}, ["Fit", 1, "a"]),
        (np.nextafter(1.0, 2), 1.0),
    ],
)
def test_what_differs_differs(values):
    assert len({canonical(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    "values",
    [
        ((1, 2), [1, 2], Pair(1, 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({3, 1, 2}, frozenset([2, 3, 1]), {1: 0, 2: 0, 3: 0}.keys()),
        (b"ab", bytearray(b"ab"), memoryview(b"ab"), memoryview(b"xabx")[1:3]),
        (math.nan, -math.nan, np.nan, np.float64("nan"), math.inf - math.inf),
        (1.5, np.float64(1.5)),
        (3, Level.HIGH),
        (NOON, NOON.astimezone(timezone(timedelta(hours=-5))), pd.Timestamp(NOON)),
        (timedelta(hours=1), pd.Timedelta("1h")),
        ("a", np.str_("a")),
    ],
)
def test_what_is_equal_is_equal(values):
    assert len({canonical(value) for value in values}) == 1


@pytest.mark.parametrize(
    "value",
    [object(), len, int, Fit, Window, Decimal(1), 1j, Path("a"), Colour.RED, np.int64(1), np.arange(2), range(2), iter([])],
)
def test_what_has_no_canonical_form_is_refused_by_name(value):
    with pytest.raises(Invalid, match="has no canonical form"):
        canonical({"deep": [value]})


@pytest.mark.parametrize("value", [datetime(2026, 1, 1), pd.NaT, pd.Timestamp(1, tz="UTC"), pd.Timedelta(1), 1 << 9000])
def test_values_that_cannot_be_told_exactly_are_refused(value):
    with pytest.raises(Invalid):
        canonical(value)


def test_a_value_that_holds_itself_is_refused():
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(Invalid, match="holds itself"):
        canonical(circle)


def test_the_name_of_the_record_counts():
    assert len({digest(name, {"a": 1}) for name in ("task", "model", "")}) == 3
    assert digest("a", "bc") != digest("ab", "c")


def test_digests_do_not_depend_on_the_process():
    code = "from trivet.digest import digest; print(digest('t', [{'b', 'a', 'c'}, {'y': 1, 'x': 2}]))"
    prints = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": "src"}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert prints == {digest("t", [{"b", "a", "c"}, {"y": 1, "x": 2}]).encode() + b"\n"}


# Injectivity is proved by reading back: what can be decoded was not mixed up.

keys = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False)
scalars = keys | st.dates() | st.timedeltas() | st.datetimes(timezones=st.just(UTC))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4) | st.frozensets(scalars, max_size=4),
    max_leaves=12,
)


def tagged(value):
    """``value`` with the type of each part beside it, so that 1, 1.0 and True are told apart by ``==``."""
    match value:
        case list():
            return "list", [tagged(item) for item in value]
        case dict():
            return "dict", {tagged(key): tagged(item) for key, item in value.items()}
        case frozenset():
            return "set", frozenset(map(tagged, value))
        case float():
            return "float", value.hex()
        case _:
            return type(value).__name__, value


class Decoder:
    """Reads canonical bytes, written from the table in the docstring and from nothing else."""

    def __init__(self, data):
        self.stream = io.BytesIO(data)

    def until(self, end):
        taken = b""
        while not taken.endswith(end):
            taken += self.stream.read(1)
        return taken[:-1]

    def items(self, end):
        found = []
        while (one := self.value(end)) is not self:
            found.append(one)
        return found

    def value(self, end=b""):
        tag = self.stream.read(1)
        if tag == end:
            return self
        epoch, micro = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
        read = {
            b"n": lambda: None,
            b"t": lambda: True,
            b"f": lambda: False,
            b"i": lambda: int(self.until(b";")),
            b"d": lambda: np.frombuffer(bytes.fromhex(self.stream.read(16).decode()), ">f8")[0].item(),
            b"s": lambda: self.stream.read(int(self.until(b":"))).decode("utf-8", "surrogatepass"),
            b"b": lambda: self.stream.read(int(self.until(b":"))),
            b"[": lambda: self.items(b"]"),
            b"{": lambda: dict(zip(*[iter(self.items(b"}"))] * 2, strict=True)),
            b"<": lambda: frozenset(self.items(b">")),
            b"T": lambda: epoch + int(self.until(b";")) * micro,
            b"D": lambda: date.fromisoformat(self.until(b";").decode()),
            b"w": lambda: int(self.until(b";")) * micro,
        }
        return read[tag]()


@given(values)
def test_canonical_bytes_can_be_read_back(value):
    decoder = Decoder(canonical(value))
    assert tagged(decoder.value()) == tagged(value)
    assert decoder.stream.read() == b""


@given(values, values)
def test_different_values_have_different_bytes(one, other):
    assert (canonical(one) == canonical(other)) == (tagged(one) == tagged(other))


@given(st.dictionaries(keys, values, max_size=6), st.randoms())
def test_the_order_of_a_dictionary_does_not_matter(value, random):
    shuffled = list(value.items())
    random.shuffle(shuffled)
    assert canonical(dict(shuffled)) == canonical(value)


# Bytes.


@given(st.binary(max_size=5000))
def test_bytes_streams_and_files_have_the_digest_of_sha256sum(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "digested"
    path.write_bytes(data)
    expected = hashlib.sha256(data).hexdigest()
    assert digest_bytes(data) == digest_stream(io.BytesIO(data)) == digest_file(path) == expected


def test_a_stream_longer_than_a_chunk():
    data = b"0123456789" * 300_000
    assert digest_stream(io.BytesIO(data)) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("text", "is_one"), [("a" * 64, True), ("A" * 64, False), ("a" * 63, False), ("", False), ("g" * 64, False), ("٣" * 64, False)]
)
def test_is_digest(text, is_one):
    assert is_digest(text) == is_one
    assert is_digest(digest("x", text))
