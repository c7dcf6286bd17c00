"""Plain files as artifacts: what a run keeps that is neither a value nor a model (figures, logs, tracebacks).

They are of the kind ``folder``, form ``file``: the same artifact that saving a path makes, so they come back as paths.
Figures are recognised by what they can do, so neither Matplotlib nor Plotly is imported here.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from trivet.errors import Invalid
from trivet.ledger import Artifact
from trivet.pipelines.context import Context
from trivet.tracking.entries import check_path

__all__ = ["figure_bytes", "save_file"]


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
