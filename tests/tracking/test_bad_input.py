"""What people and programs hand to a run that nobody thought of."""

import io
import math
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Conflict, Invalid
from trivet.tracking.files import image_bytes
from trivet.tracking.runs import start

NAMES = ["val/auc", "a.b.c", "it's", 'say "it"', "✈️ délai", "a" * 250, "x; DROP TABLE runs", "100 %", "a`b", "{{7*7}}"]


@pytest.mark.parametrize("name", NAMES)
def test_curious_names_come_back_as_they_are(context, name):
    with start(context, name, tags={name: name}) as run:
        run.log({name: 0.5})
        run.params({name: name})
    stored = context.ledger.run(run.id)
    assert (stored.name, stored.metrics, stored.parameters) == (name, {name: 0.5}, {name: name})
    assert stored.tags[name] == name
    assert context.ledger.metrics(run.id, name)[0].value == 0.5


@pytest.mark.parametrize("name", ["", " ", "x" * 10_000, "a\nb", "\x00", "\ud800", None, 3, b"x"])
def test_names_that_are_none_are_refused_and_change_nothing(memory, name):
    with pytest.raises(Invalid):
        start(memory, name)
    with start(memory, "x") as run:
        for call in (
            lambda: run.log({name: 1.0}),
            lambda: run.params({name: 1}),
            lambda: run.tag({name: "x"}),
            lambda: run.text("x", name),
            lambda: run.child(name),
        ):
            with pytest.raises(Invalid):
                call()
    record = memory.ledger.run(run.id)
    assert (record.metrics, record.parameters, record.outputs) == ({}, {}, {})


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a/../../b", "C:\\x", "a//b", ".", "..", "a/", "~\\x"])
def test_no_file_leaves_its_run(memory, path):
    with start(memory, "x") as run:
        for call in (lambda: run.file(b"x", path), lambda: run.text("x", path), lambda: run.image(PNG, path)):
            with pytest.raises(Invalid, match="relative path"):
                call()


PNG = image_bytes(np.zeros((1, 1), np.uint8))[0]


@pytest.mark.parametrize("value", ["\ud800", {"a": ["\udfff"]}, {"\ud800": 1}])
def test_half_a_character_is_refused_before_it_is_taken(memory, value):
    with start(memory, "x") as run:
        with pytest.raises(Invalid, match="half of a character"):
            run.params(a=value)
        with pytest.raises(Invalid, match="half of a character"):
            run.tag(a="\ud800")
        run.params(a="fine")
    assert memory.ledger.run(run.id).parameters == {"a": "fine"}


def test_numbers_that_are_none_and_steps_in_any_order(context):
    with start(context, "x") as run:
        for step, value in [(5, 1.0), (2, math.nan), (2, math.inf), (9, -math.inf), (0, 3.0), (9, 2.0)]:
            run.log(loss=value, step=step)
        run.log(loss=7.0)  # goes on from the greatest step
    points = context.ledger.metrics(run.id, "loss")
    assert [one.step for one in points] == [0, 2, 2, 5, 9, 9, 10]
    assert [one.value for one in points if one.step == 9] == [-math.inf, 2.0]
    assert context.ledger.run(run.id).metrics == {"loss": 7.0}


@pytest.mark.parametrize("step", [-1, 2**63, 1.5, "3", None.__class__])
def test_steps_that_are_none_are_refused(memory, step):
    with start(memory, "x") as run, pytest.raises(Invalid, match="step"):
        run.log(loss=1.0, step=step)


def test_ten_thousand_parameters(context):
    given = {f"p/{number}": number for number in range(10_000)}
    with start(context, "x") as run:
        run.params(given)
        with pytest.raises(Conflict, match=r"'p/7' of run 'x' is 7 and cannot become 8"):
            run.params({"p/7": 8})
        run.params(given)
    assert context.ledger.run(run.id).parameters == given


def test_a_large_file_is_streamed(context, tmp_path):
    """Sparse, so that the test needs no room: 400 MB of which the memory holds a few."""
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 400 << 20)
    with start(context, "x") as run:
        tracemalloc.start()
        artifact = run.file(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert artifact.size == 400 << 20
    assert peak < 32 << 20


def read_png(content):
    """The pixels of a PNG whose rows are unfiltered: the other direction, from the specification."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    place, data = 8, b""
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        body = content[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", content, place + 8 + length)[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", body)
            assert (depth, rest) == (8, [0, 0, 0])
        data += body if kind == b"IDAT" else b""
        place += 12 + length
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, {0: 1, 4: 2, 2: 3, 6: 4}[colour])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 9))
def test_an_array_is_the_picture_of_its_pixels(height, width, channels, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    content, ending = image_bytes(pixels)
    assert ending == ".png"
    assert (read_png(content) == pixels).all()
    assert (read_png(image_bytes(pixels / 255)[0]) == pixels).all()
    assert (read_png(image_bytes(pixels.astype(int))[0]) == pixels).all()
    assert (read_png(image_bytes(pixels[..., 0] > 99)[0])[..., 0] == np.where(pixels[..., 0] > 99, 255, 0)).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 2, 5)),
        np.zeros(4),
        np.zeros((0, 3)),
        np.full((2, 2), 1.5),
        np.full((2, 2), np.nan),
        b"text",
        "x",
        3,
    ],
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(Invalid):
        image_bytes(image)


def test_images_and_text_become_files(context):
    class Pillow:
        def save(self, stream: io.BytesIO, format: str) -> None:  # noqa: A002
            stream.write(PNG)

        def getbands(self):
            return ("L",)

    with start(context, "x") as run:
        run.image(np.zeros((2, 2)), "black")
        run.image(Pillow(), "samples/epoch 3")
        run.image(b"\xff\xd8\xff\xe0 jpeg", "photo")
        run.text("It works ✈️", "report.md")
        run.text("again")
    assert set(context.ledger.run(run.id).outputs) >= {
        *("black.png", "samples/epoch 3.png", "photo.jpg", "report.md", "text.txt"),
    }
