from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import resource
import signal
import stat
import subprocess
import sys
import time

import pytest

from trivet.errors import TrivetError
from trivet.ledger.blobs.local import open_blobs
from trivet.testing.blobs import BlobsContract


@pytest.fixture
def blobs(tmp_path):
    return open_blobs("file:.trivet/blobs", tmp_path)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / ".trivet" / "blobs"


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


class TestLocal(BlobsContract):
    @pytest.fixture
    def blobs(self, blobs):
        return blobs

    @pytest.fixture
    def damage(self, folder):
        def damage(digest, content):
            path = folder / digest[:2] / digest
            path.chmod(0o644)
            path.write_bytes(content)

        return damage


def test_files_are_named_by_their_digest_and_read_only(blobs, folder):
    digest = blobs.put(b"hello").digest
    path = folder / "2c" / "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert path.name == digest
    assert path.read_bytes() == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_opening_and_asking_makes_no_folder(blobs, folder):
    assert blobs.missing(["0" * 64])
    assert not folder.exists()


@pytest.mark.parametrize("content", [b"", b"contenT", b"half"])
def test_putting_again_heals(blobs, folder, content):
    digest = blobs.put(b"content").digest
    path = folder / digest[:2] / digest
    path.chmod(0o644)
    path.write_bytes(content)
    blobs.put(b"content")
    assert blobs.read(digest) == b"content"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(blobs, folder, monkeypatch, number):
    def full(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrivetError, match="no space left"):
        blobs.put(b"content")
    assert files_in(folder) == []


def limited_put(tmp_path, connection):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    try:
        open_blobs("file:.trivet/blobs", tmp_path).put(b"x" * 3_000_000)
    except TrivetError as exc:
        connection.send(str(exc))


def test_a_file_that_the_system_refuses_to_grow(tmp_path, folder):
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=limited_put, args=(tmp_path, theirs))
    process.start()
    process.join()
    assert "no space left" in ours.recv()
    assert files_in(folder) == []


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "taken").write_bytes(b"a file")
    with pytest.raises(TrivetError, match="Nothing can be written"):
        open_blobs("file:taken", tmp_path).put(b"content")


def test_drafts_of_the_dead_are_swept_when_old(tmp_path, folder):
    (folder / "incoming").mkdir(parents=True)
    old, young = folder / "incoming" / "..0123456789abcdef.part", folder / "incoming" / "..fedcba9876543210.part"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    open_blobs("file:.trivet/blobs", tmp_path)
    assert files_in(folder) == [young.name]


WRITER = """
import os, sys
from pathlib import Path
from trivet.ledger.blobs.local import open_blobs

class Endless:
    def read(self, size):
        print("reading", flush=True)
        return os.urandom(size)

open_blobs("file:.trivet/blobs", Path(sys.argv[1])).put(Endless())
"""


def test_a_killed_writer_leaves_only_a_draft(tmp_path, blobs, folder):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as process:
        for _ in range(5):
            process.stdout.readline()
        process.kill()
    assert [path.parent.name for path in folder.rglob("*") if path.is_file()] == ["incoming"]
    assert blobs.read(blobs.put(b"content").digest) == b"content"
    assert blobs.sweep(older_than=0) == 1


def put_many(tmp_path):
    blobs = open_blobs("file:.trivet/blobs", tmp_path)
    for number in range(20):
        content = b"%d" % number * 50_000
        assert blobs.read(blobs.put(content).digest) == content


def test_processes_that_write_the_same(tmp_path, folder):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(put_many, [tmp_path] * 3)
    expected = [hashlib.sha256(b"%d" % number * 50_000).hexdigest() for number in range(20)]
    assert files_in(folder) == sorted(expected)
