"""Remember what was worked out from a file for as long as the file stays the same.

A file counts as the same while its inode, modification time and size are. A file written only a moment before it
was read may be written again within the grain of the file system's clock, so such an answer is not remembered
(the "racy" rule of git's index: https://git-scm.com/docs/racy-git). Python remembers its bytecode by whole seconds
and the size, and has no such rule: ``forget_doubtful_bytecode`` supplies it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from importlib.util import cache_from_source
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["SETTLED_NS", "FileCache", "forget_doubtful_bytecode"]

Value = TypeVar("Value")

SETTLED_NS = 100_000_000  # coarser than the clocks of common file systems
_SETTLED_BYTECODE_NS = 2_000_000_000  # a second is the grain of a .pyc, and reading and compiling takes a while


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
        if now - stat.st_mtime_ns > SETTLED_NS:
            self._known[path] = (stamp, value)
        return value


def forget_doubtful_bytecode(modules: Iterable[Path]) -> None:
    """Delete the bytecode of modules that were compiled within two seconds of their last change.

    Such a file may hold what the module said before: Python takes it for current when the second and the size agree
    (https://peps.python.org/pep-0552/), so an edit of equal length would run the old code under the new code's name.
    """
    for module in modules:
        compiled = Path(cache_from_source(str(module)))
        try:
            if compiled.stat().st_mtime_ns - module.stat().st_mtime_ns < _SETTLED_BYTECODE_NS:
                compiled.unlink()
        except (FileNotFoundError, PermissionError):
            continue  # never compiled, another process was quicker, or installed read-only with its bytecode
