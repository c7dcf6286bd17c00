"""Plain files as artifacts: what a run keeps that is neither a value nor a model (figures, logs, tracebacks).

They are of the kind ``folder``, form ``file``: the same artifact that saving a path makes, so they come back as paths.
Figures and images are recognised by what they can do, so neither Matplotlib, Plotly, Pillow nor NumPy is imported here.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from trivet.errors import Invalid
from trivet.ledger import Artifact
from trivet.pipelines.context import Context
from trivet.tracking.entries import check_path

__all__ = ["figure_bytes", "image_bytes", "save_file"]

_ENDINGS = {
    b"\x89PNG\r\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels to PNG's colour types: grey, grey and alpha, RGB, RGB and alpha


def save_file(context: Context, content: bytes | Path, name: str) -> Artifact:
    """Record bytes or the content of a file under ``name``, in bounded memory.

    Raises:
        Invalid: ``name`` is no relative path.
    """
    base = PurePosixPath(check_path(name)).name
    artifact = Artifact.of("folder", {"form": "file"}, {base: context.blobs.put(content)}, created=context.clock())
    context.ledger.write(artifact)
    return artifact


def figure_bytes(figure: Any) -> tuple[bytes, str]:
    """A figure's content and the ending of its name: ``.png`` for Matplotlib, ``.json`` for Plotly.

    Takes the figure, axes of it, or a scikit-learn display that drew it.

    Raises:
        Invalid: it is neither.
    """
    candidates: tuple[Any, ...] = (figure, getattr(figure, "figure_", None), getattr(figure, "figure", None))
    for candidate in candidates:
        if hasattr(candidate, "savefig"):
            stream = BytesIO()
            # Without the library's version in the file, the same picture has the same digest.
            candidate.savefig(stream, format="png", bbox_inches="tight", metadata={"Software": None})
            return stream.getvalue(), ".png"
        if hasattr(candidate, "to_plotly_json") and hasattr(candidate, "to_json"):
            return str(candidate.to_json()).encode(), ".json"
    raise Invalid(
        f"A {type(figure).__module__}.{type(figure).__qualname__} is no figure. "
        "Give a Matplotlib or Plotly figure, or the bytes of a picture to run.file()."
    )


def image_bytes(image: Any) -> tuple[bytes, str]:
    """An image's content and the ending of its name.

    Takes the bytes of an image file as they are; a Pillow image; an array of rows, columns and up to four channels, of
    bytes, of booleans, or of floats from 0 to 1. The last two become PNG.

    Raises:
        Invalid: it is nothing of the kind.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image), _ending(bytes(image[:16]))
    if hasattr(image, "save") and hasattr(image, "getbands"):
        stream = BytesIO()
        image.save(stream, format="PNG")
        return stream.getvalue(), ".png"
    if hasattr(image, "__array_interface__") or hasattr(image, "__array__"):
        return _png(image), ".png"
    raise Invalid(
        f"A {type(image).__module__}.{type(image).__qualname__} is no image. "
        "Give a Pillow image, a NumPy array, or the bytes of an image file; run.figure() takes figures."
    )


def _ending(start: bytes) -> str:
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return ".webp"
    for magic, ending in _ENDINGS.items():
        if start.startswith(magic):
            return ending
    if start.lstrip().startswith((b"<svg", b"<?xml")):
        return ".svg"
    raise Invalid("These bytes are no PNG, JPEG, GIF, WebP, BMP, TIFF or SVG. Keep other files with run.file().")


def _png(image: Any) -> bytes:
    """An array as PNG (ISO/IEC 15948), rows unfiltered: the same pixels are the same bytes everywhere."""
    import numpy as np

    pixels = np.asarray(image)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels not in _COLOURS or 0 in pixels.shape:
        raise Invalid(f"An array of shape {pixels.shape} is no image: give rows and columns, and up to 4 channels.")
    rows = _as_bytes(pixels).reshape(pixels.shape[0], -1)
    unfiltered = np.concatenate([np.zeros((len(rows), 1), np.uint8), rows], axis=1)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, _COLOURS[channels], 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(unfiltered.tobytes(), 6)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(b)) + t + b + struct.pack(">I", zlib.crc32(t + b)) for t, b in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _as_bytes(pixels: Any) -> Any:
    import numpy as np

    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(pixels.dtype, np.floating) and bool(np.all((pixels >= 0) & (pixels <= 1))):
        return np.rint(pixels * 255).astype(np.uint8)
    if np.issubdtype(pixels.dtype, np.integer) and bool(np.all((pixels >= 0) & (pixels <= 255))):
        return pixels.astype(np.uint8)
    raise Invalid(
        "The pixels of an image are whole numbers from 0 to 255 or floats from 0 to 1, and this array holds others. "
        "Scale it first."
    )
