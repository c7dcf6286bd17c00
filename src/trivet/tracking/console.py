"""What a run prints, kept: a copy of standard output and error, on disk as it is written and an output at the end.

The streams of Python are copied, not the file descriptors: what a subprocess prints is its own affair, and nothing that
goes wrong here can swallow what was printed. The first four megabytes and the last one or two are kept, however much is
printed. The copy lies under ``.trivet/console`` while the run is open, where ``live`` reads it, and survives the process:
``collect`` makes it an output of the run whose process died.

Invariant: printing never fails because of the copy, and after the run the streams are those of before.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from trivet.errors import NotFound
from trivet.pipelines.context import Context
from trivet.tracking.entries import free_slot
from trivet.tracking.files import save_file

__all__ = ["NAME", "Console", "collect", "live"]

NAME = "console.txt"
HEAD, TAIL = 4 << 20, 1 << 20  # bytes that are kept of the beginning, and at least of the end


class Console:
    """Copies what is printed until ``stop``. Several may be at work, one inside another."""

    def __init__(self, root: Path, run: str) -> None:
        self._folder = _folder(root) / run
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._files = {name: os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o600) for name in ("head", "tail")}
        fcntl.flock(self._files["head"], fcntl.LOCK_EX)  # says that the process lives
        self._process = os.getpid()
        self._sizes = {name: os.lseek(file, 0, os.SEEK_END) for name, file in self._files.items()}
        self._streams = [_Copied(name, getattr(sys, name), self) for name in ("stdout", "stderr")]
        for stream in self._streams:
            setattr(sys, stream._name, stream)

    def take(self, text: str) -> None:
        """Keep some text. What cannot be kept, on a full disk for example, is left out."""
        content = text.encode("utf-8", "replace")
        if os.getpid() != self._process:
            return
        with self._lock:
            try:
                first = content[: max(0, HEAD - self._sizes["head"])]
                self._append("head", first)
                self._append("tail", content[len(first) :])
                if self._sizes["tail"] > TAIL:
                    self._turn_over()
            except (OSError, KeyError):
                return  # printing goes on

    def stop(self) -> bytes:
        """Give the streams back and answer all that was kept."""
        for stream in self._streams:
            stream._give_back()
        with self._lock:
            kept = _assembled(self._folder)
            for file in self._files.values():
                os.close(file)
            self._files = {}
        return kept

    def forget(self) -> None:
        """Remove the copy, once it is an output."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _append(self, name: str, content: bytes) -> None:
        if content:
            self._sizes[name] += os.write(self._files[name], content)

    def _turn_over(self) -> None:
        os.close(self._files["tail"])
        left = (self._folder / "left").stat().st_size if (self._folder / "left").exists() else 0
        gone = (self._folder / "before").stat().st_size if (self._folder / "before").exists() else 0
        with (self._folder / "left").open("ab") as file:  # its size says how much was left out; it holds no byte
            file.truncate(left + gone)
        (self._folder / "tail").rename(self._folder / "before")
        self._files["tail"] = os.open(self._folder / "tail", os.O_RDWR | os.O_CREAT, 0o600)
        self._sizes["tail"] = 0


class _Copied:
    """A stream that also tells the console what it is told. Everything else is the stream's own."""

    def __init__(self, name: str, stream: Any, console: Console) -> None:
        self._name, self._stream, self._console = name, stream, console

    def write(self, text: str) -> Any:
        if isinstance(text, str):
            self._console.take(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def _give_back(self) -> None:
        if getattr(sys, self._name) is self:  # else another took its place, and passes on to this one
            setattr(sys, self._name, self._stream)


def live(root: Path, run: str) -> str | None:
    """What an open run has printed until now; None where it is not copied, or over."""
    folder = _folder(root) / run
    return _assembled(folder).decode("utf-8", "replace") if run.isalnum() and folder.is_dir() else None


def collect(context: Context) -> list[str]:
    """Make what dead processes printed outputs of their runs, and answer the ids of these.

    Raises:
        TrivetError: the ledger cannot be written to; the copies stay.
    """
    done = []
    for folder in sorted(_folder(context.root).glob("*")) if _folder(context.root).is_dir() else []:
        try:
            file = os.open(folder / "head", os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _keep(context, folder)
            shutil.rmtree(folder, ignore_errors=True)
            done.append(folder.name)
        except BlockingIOError:
            continue  # its process lives
        finally:
            os.close(file)
    return done


def _keep(context: Context, folder: Path) -> None:
    try:
        run = context.ledger.run(folder.name)
    except NotFound:  # removed for good
        return
    artifact = save_file(context, _assembled(folder), NAME)
    slot = free_slot(run.outputs, NAME, artifact.digest)
    context.ledger.write(replace(run, outputs=run.outputs | {slot: artifact.digest}))


def _assembled(folder: Path) -> bytes:
    parts = {name: (folder / name).read_bytes() for name in ("head", "before", "tail") if (folder / name).exists()}
    left = (folder / "left").stat().st_size if (folder / "left").exists() else 0
    gap = f"\n[... {left:,} bytes left out ...]\n".encode() if left else b""
    return parts.get("head", b"") + gap + parts.get("before", b"") + parts.get("tail", b"")


def _folder(root: Path) -> Path:
    return root / ".trivet" / "console"
