"""Remember what was worked out from a file for as long as the file stays the same.

A file counts as the same while its inode, modification time and size are. A file written only a moment before it
was read may be written again within the grain of the file system's clock, so such an answer is not remembered
(the "racy" rule of git's index: https://git-scm.com/docs/racy-git).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["FileCache"]

Value = TypeVar("Value")

_SETTLED_NS = 100_000_000  # coarser than the clocks of common file systems


class FileCache(Generic[Value]):
    """Answers of one function of a file. Safe among threads: at worst a file is read twice.

    Example:
        >>> sizes = FileCache(lambda path: len(path.read_bytes()))
        >>> sizes(Path("/dev/null"))
        0
    """

    def __init__(self, read: Callable[[Path], Value]) -> None:
        self._read = read
        self._known: dict[Path, tuple[tuple[int, int, int], Value]] = {}

    def __call__(self, path: Path) -> Value:
        """The answer for ``path`` as it is now."""
        stat = path.stat()
        stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        now = time.time_ns()
        value = self._read(path)
        if now - stat.st_mtime_ns > _SETTLED_NS:
            self._known[path] = (stamp, value)
        return value
