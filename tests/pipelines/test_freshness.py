"""A file is read again when it may have changed, and not otherwise."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path

from trivet.pipelines.freshness import FileCache, forget_doubtful_bytecode


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


def said(folder: Path) -> str:
    """What the module says to a process that has not seen it."""
    command = [sys.executable, "-c", "import answer; print(answer.WORD)"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_an_edit_of_equal_length_within_a_second_is_seen(tmp_path):
    module = tmp_path / "answer.py"
    module.write_text("WORD = 'old'")
    os.utime(module, ns=(10**18, 10**18))
    compiled = Path(py_compile.compile(str(module)))
    os.utime(compiled, ns=(10**18 + 10**8, 10**18 + 10**8))
    module.write_text("WORD = 'new'")
    os.utime(module, ns=(10**18 + 5 * 10**8, 10**18 + 5 * 10**8))
    assert said(tmp_path) == "old"  # Python's own rule
    forget_doubtful_bytecode([module, tmp_path / "never_written.py"])
    assert said(tmp_path) == "new"


def test_settled_bytecode_stays(tmp_path):
    module = tmp_path / "answer.py"
    module.write_text("WORD = 'old'")
    os.utime(module, (1, 1))
    compiled = Path(py_compile.compile(str(module)))
    forget_doubtful_bytecode([module])
    assert compiled.exists()
