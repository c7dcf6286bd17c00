"""The proxy of artifacts: files come and go in pieces, and no more than a few of them are in memory at once.

A file that was cut off while it came is not there; a file is checked against its digest before its first byte leaves.
"""

from __future__ import annotations

import io
import mimetypes
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from anyio import from_thread
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from trivet.interop.mlflow.files import Files, Place, check_path, listed, place_of, root_of
from trivet.interop.mlflow.runs import run_id
from trivet.interop.mlflow.store import Store
from trivet.interop.mlflow.wire import encode, missing

__all__ = ["ArtifactCalls"]

_PIECE = 1 << 20
_SMALL = 4 << 20
"""Bytes of a file that is read at once; greater ones pass through a file of this machine."""


class ArtifactCalls:
    """The calls under ``mlflow-artifacts/artifacts``, and ``artifacts/list``."""

    def __init__(self, store: Store, files: Files) -> None:
        self._store, self._files = store, files

    async def upload(self, request: Request) -> Response:
        """Store a file."""
        place = place_of(request.path_params["path"])
        if not place.path or place.kind == "content":
            raise missing(f"No file can be stored at '{request.path_params['path'][:200]}'.")
        body = _Body(request.stream())

        def store() -> None:
            self._files.owner(place)
            self._files.add(place, self._store.blobs.put(cast("BinaryIO", body)))

        await run_in_threadpool(store)
        return Response(b"{}", media_type="application/json")

    async def download(self, request: Request) -> Response:
        """A file, checked."""
        return await run_in_threadpool(self._file, place_of(request.path_params["path"]))

    async def remove(self, request: Request) -> Response:
        """Forget a file or a folder."""
        await run_in_threadpool(self._files.remove, place_of(request.path_params["path"]))
        return Response(b"{}", media_type="application/json")

    async def listing(self, request: Request) -> Response:
        """What lies in a folder."""
        path = request.query_params.get("path", "").strip("/")
        found = await run_in_threadpool(self._listed, path) if path else []
        return Response(encode({"files": found}), media_type="application/json")

    def of_run(self, given: dict[str, Any]) -> dict[str, Any]:
        """What lies in a folder of a run."""
        run = self._store.run(run_id(given))
        path = check_path(given["path"]) if given.get("path") else ""
        return {"root_uri": root_of(run), "files": listed(self._files.of_run(run).items(), path, whole=True)}

    def _listed(self, path: str) -> list[dict[str, Any]]:
        place = place_of(path)
        return listed(self._files.of(place).items(), place.path)

    def _file(self, place: Place) -> Response:
        file = self._files.of(place).get(place.path)
        if file is None:
            raise missing(f"No such artifact: '{place.path}'")
        headers = _headers(PurePosixPath(place.path).name)
        if file.size <= _SMALL:
            return Response(self._store.blobs.read(file.digest), headers=headers)
        folder = tempfile.mkdtemp(prefix="trivet-")
        try:
            path = self._store.blobs.fetch(file.digest, Path(folder) / "file")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        gone = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
        return FileResponse(path, headers=headers, media_type=headers["Content-Type"], background=gone)


def _headers(name: str) -> dict[str, str]:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if PurePosixPath(name).suffix in {"", ".yaml", ".yml", ".txt", ".log", ".md", ".py"}:
        kind = "text/plain"
    return {
        "Content-Type": kind,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }


class _Body(io.RawIOBase):
    """The body of a request as a file that a thread reads, fetched piece by piece from the event loop."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream
        self._ahead = b""

    def readable(self) -> bool:
        """It can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next piece; of no more than ``size`` bytes where it is positive."""
        if not self._ahead:
            self._ahead = from_thread.run(self._next)
        size = size if size > 0 else len(self._ahead)
        piece, self._ahead = self._ahead[:size], self._ahead[size:]
        return piece

    async def _next(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for piece in self._stream:
            pieces.append(piece)
            size += len(piece)
            if size >= _PIECE:
                break
        return b"".join(pieces)
