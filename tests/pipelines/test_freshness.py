"""A file is read again when it may have changed, and not otherwise."""

from __future__ import annotations

import os

from trivet.pipelines.freshness import FileCache


def test_a_settled_file_is_read_once(tmp_path):
    path, reads = tmp_path / "x", []
    path.write_text("1")
    os.utime(path, (1, 1))
    cache = FileCache(lambda path: reads.append(1) or path.read_text())
    assert [cache(path), cache(path)] == ["1", "1"]
    assert len(reads) == 1


def test_a_file_written_a_moment_ago_is_not_remembered(tmp_path):
    path = tmp_path / "x"
    cache = FileCache(lambda path: path.read_text())
    for text in "123456789":  # all of one size, within the grain of the file system's clock
        path.write_text(text)
        assert cache(path) == text


def test_another_file_in_its_place_is_read(tmp_path):
    path = tmp_path / "x"
    cache = FileCache(lambda path: path.read_text())
    path.write_text("1")
    os.utime(path, (1, 1))
    assert cache(path) == "1"
    (tmp_path / "y").write_text("2")
    os.utime(tmp_path / "y", (1, 1))
    (tmp_path / "y").replace(path)
    assert cache(path) == "2"
