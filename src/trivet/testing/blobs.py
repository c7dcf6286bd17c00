"""What every store of bytes must do, as tests: subclass ``BlobsContract`` and supply two fixtures.

class TestMyBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path):
        return open_blobs("mine://...", tmp_path)

    @pytest.fixture
    def damage(self, blobs):
        def damage(digest, content): ...  # put other bytes in the place of a blob, behind the store's back
        return damage
"""

from __future__ import annotations

import hashlib
import io
import os
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from trivet.errors import Corrupt, Invalid, NotFound
from trivet.ledger import Blobs, File

__all__ = ["BlobsContract"]

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SIZES = [0, 1, 1 << 20, (1 << 20) + 1, 3_000_001]


class BlobsContract:
    """Each method examines one promise; its docstring says which."""

    @pytest.fixture
    def blobs(self) -> Blobs:
        """An empty store."""
        raise NotImplementedError("Supply the fixture `blobs` in the subclass.")

    @pytest.fixture
    def damage(self) -> Callable[[str, bytes], None]:
        """A function that overwrites a stored blob."""
        raise NotImplementedError("Supply the fixture `damage` in the subclass.")

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("form", ["bytes", "file", "stream", "pipe"])
    def test_what_was_put_is_read(self, blobs: Blobs, tmp_path: Path, size: int, form: str) -> None:
        """Bytes, a file, a stream, a stream that cannot go back: same digest, same content."""
        content = os.urandom(size)
        (tmp_path / "content").write_bytes(content)
        given: dict[str, Any] = {
            "bytes": content,
            "file": tmp_path / "content",
            "stream": io.BytesIO(content),
            "pipe": _Pipe(content),
        }
        file = blobs.put(given[form])
        assert file == File(hashlib.sha256(content).hexdigest(), size)
        assert blobs.read(file.digest) == content
        assert blobs.fetch(file.digest, tmp_path / "deep" / "fetched").read_bytes() == content
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["fetched"]

    def test_a_stream_is_stored_from_where_it_stands(self, blobs: Blobs) -> None:
        """What was read before is not part of it."""
        stream = io.BytesIO(b"header:content")
        stream.seek(7)
        assert blobs.read(blobs.put(stream).digest) == b"content"

    def test_nothing_is_content_too(self, blobs: Blobs) -> None:
        """The digest of no bytes is known the world over."""
        assert blobs.put(b"") == File(EMPTY, 0)

    def test_twice_is_no_error(self, blobs: Blobs, tmp_path: Path) -> None:
        """In any form."""
        (tmp_path / "file").write_bytes(b"same")
        assert blobs.put(b"same") == blobs.put(tmp_path / "file") == blobs.put(io.BytesIO(b"same"))

    def test_missing(self, blobs: Blobs) -> None:
        """Those that are not stored, asked for in any number, also twice."""
        stored = [blobs.put(bytes([number])).digest for number in range(20)]
        absent = [hashlib.sha256(bytes([number, 0])).hexdigest() for number in range(20)]
        assert blobs.missing([*stored, *absent, *absent]) == set(absent)
        assert blobs.missing([]) == set()

    def test_what_is_not_stored_is_not_found(self, blobs: Blobs, tmp_path: Path) -> None:
        """With a sentence, and no file appears."""
        with pytest.raises(NotFound, match="no blob"):
            blobs.read("0" * 64)
        with pytest.raises(NotFound, match="no blob"):
            blobs.fetch("0" * 64, tmp_path / "out" / "file")
        assert [path for path in tmp_path.rglob("*") if path.is_file() and "out" in path.parts] == []

    @pytest.mark.parametrize("digest", ["", "..", "../../etc/passwd", "0" * 63, "0" * 65, "A" * 64, "/" * 64, "é" * 64])
    def test_what_is_no_digest_is_refused(self, blobs: Blobs, tmp_path: Path, digest: str) -> None:
        """No path can be smuggled in."""
        for ask in (blobs.read, lambda one: blobs.fetch(one, tmp_path / "f"), lambda one: blobs.missing([one])):
            with pytest.raises(Invalid, match="not a digest"):
                ask(digest)

    @pytest.mark.parametrize("content", [b"", b"other", b"contenT", b"content and more"])
    def test_damage_is_noticed(
        self, blobs: Blobs, damage: Callable[[str, bytes], None], tmp_path: Path, content: bytes
    ) -> None:
        """By reading and by fetching; the error names the blob, and an existing file is not touched."""
        digest = blobs.put(b"content").digest
        damage(digest, content)
        (tmp_path / "kept").write_bytes(b"before")
        with pytest.raises(Corrupt, match=digest):
            blobs.read(digest)
        with pytest.raises(Corrupt, match=digest):
            blobs.fetch(digest, tmp_path / "kept")
        assert (tmp_path / "kept").read_bytes() == b"before"
        assert not list(tmp_path.glob(".*.part"))

    def test_a_file_that_cannot_be_read_is_refused(self, blobs: Blobs, tmp_path: Path) -> None:
        """Neither a folder nor a file that is not there is content."""
        for path in (tmp_path, tmp_path / "nothing"):
            with pytest.raises(Invalid, match="cannot be stored"):
                blobs.put(path)

    def test_a_stream_that_breaks_leaves_nothing(self, blobs: Blobs) -> None:
        """The stream's own error comes through, and what was read so far is not content."""
        with pytest.raises(ValueError, match="broken"):
            blobs.put(_Pipe(b"x" * 5_000_000, breaks=True))
        assert blobs.missing([hashlib.sha256(b"x" * 5_000_000).hexdigest()])

    def test_big_content_in_bounded_memory(self, blobs: Blobs, tmp_path: Path) -> None:
        """A file of 64 MB passes both ways; what is in memory at once is for the engine to bound."""
        block = os.urandom(1 << 20)
        (tmp_path / "big").write_bytes(block * 64)
        tracemalloc.start()
        try:
            file = blobs.put(tmp_path / "big")
            blobs.fetch(file.digest, tmp_path / "back")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (tmp_path / "back").read_bytes() == block * 64
        assert peak < self.most_memory

    most_memory = 40 << 20
    """Bytes that an engine may hold for content of 64 MB."""

    def test_what_is_forgotten_is_gone_and_may_come_again(self, blobs: Blobs) -> None:
        """Forgetting is for good, of nothing else, and no error where there is nothing."""
        file, other = blobs.put(b"of someone"), blobs.put(b"of no one")
        blobs.forget(file.digest)
        blobs.forget(file.digest)
        assert blobs.missing([file.digest, other.digest]) == {file.digest}
        with pytest.raises(NotFound):
            blobs.read(file.digest)
        assert blobs.read(blobs.put(b"of someone").digest) == b"of someone"

    def test_threads(self, blobs: Blobs) -> None:
        """Eight writers of the same and of other contents, all readable at once."""

        def work(number: int) -> None:
            same, own = blobs.put(b"same" * 100_000), blobs.put(b"%d" % number * 100_000)
            assert blobs.read(same.digest) == b"same" * 100_000
            assert blobs.read(own.digest) == b"%d" % number * 100_000

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(16)))


class _Pipe(io.BytesIO):
    """A stream that only goes forward, hands out small pieces, and may break at the end."""

    def __init__(self, content: bytes, *, breaks: bool = False) -> None:
        super().__init__(content)
        self._breaks = breaks

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size if size is None or size < 0 else min(size, 70_000))
        if self._breaks and not data:
            raise ValueError("broken")
        return data
