import os
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.digest import digest_file
from trivet.pipelines.fileindex import FileIndex, stamp_of

OLD = time.time_ns() - 10_000_000_000


def write(path, text, when=OLD):
    path.write_text(text)
    os.utime(path, ns=(when, when))
    return stamp_of(path.stat())


def counting():
    read = []
    return read, lambda path: read.append(path) or digest_file(path)


def looked_up(folder, read, *paths):
    """What a process of its own finds; its clock is past the stamps."""
    index = FileIndex(folder, read)
    index._began += 1_000_000_000  # the time of the inode cannot be set back
    stamps = [stamp_of(path.stat()) for path in paths]
    found = [index.digest(str(path), stamp) for path, stamp in zip(paths, stamps, strict=True)]
    index.keep(repr(stamps).encode(), "answer", stamps)
    return found, FileIndex(folder, read).whole(repr(stamps).encode())


def test_only_what_changed_is_read_again(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, "1")
    write(two, "2")
    read, function = counting()
    first = looked_up(tmp_path / "index", function, one, two)
    assert (first, read) == (([digest_file(one), digest_file(two)], "answer"), [one, two])
    assert looked_up(tmp_path / "index", function, one, two) == first
    write(two, "3")  # the same size and time: the inode's own time tells
    assert looked_up(tmp_path / "index", function, one, two)[0] == [digest_file(one), digest_file(two)]
    assert read == [one, two, two]


def test_a_file_of_this_moment_is_not_trusted(tmp_path):
    file = tmp_path / "file"
    stamp = write(file, "1", time.time_ns())
    read, function = counting()
    for _ in range(2):
        index = FileIndex(tmp_path / "index", function)
        index.digest(str(file), stamp)
        index.keep(b"q", "answer", [stamp])
    assert read == [file, file]
    assert FileIndex(tmp_path / "index", function).whole(b"q") is None


@settings(max_examples=30, deadline=None)
@given(damage=st.binary(max_size=60))
def test_damage_costs_a_reading_and_nothing_else(tmp_path_factory, damage):
    folder = tmp_path_factory.mktemp("damage")
    file = folder / "file"
    write(file, "1")
    _, function = counting()
    looked_up(folder / "index", function, file)
    for name in ("files", "whole"):
        (folder / "index" / name).write_bytes(damage)
    assert FileIndex(folder / "index", function).whole(b"another question") is None
    assert looked_up(folder / "index", function, file) == ([digest_file(file)], "answer")


def test_names_that_are_no_text_and_folders_that_cannot_be_written(tmp_path):
    file = tmp_path / os.fsdecode(b"\xff.py")
    write(file, "1")
    read, function = counting()
    assert looked_up(tmp_path / "index", function, file)[1] == "answer"
    looked_up(tmp_path / "index", function, file)
    assert len(read) == 1
    (tmp_path / "file").write_text("in the way")
    assert looked_up(tmp_path / "file", function, file) == ([digest_file(file)], None)
