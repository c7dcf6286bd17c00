"""Rows that a function makes of Narwhals lazy frames: ``python -m trivet.features.sources.transforms FOLDER``.

Polars adds floats up in an order that depends on its threads and on how rows lie in memory, so a function is given
each frame in one piece and runs on one thread: here if this process has one, else in a process of its own. The number
of threads is fixed when Polars is imported, which is why no setting would do. Invariant: the same function of the same
frames answers the same bits, wherever it runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import polars as pl

from trivet.errors import Invalid
from trivet.features.functions import Portable, described_error

__all__ = ["transformed"]

JOB, ANSWER, FAILURE = "job.json", "answer.arrow", "failure.txt"


def transformed(name: str, function: Portable, frames: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """What ``function`` makes of ``frames``, for the source called ``name``.

    Raises:
        Invalid: the function fails or answers no Narwhals frame.
    """
    return _called(name, function, frames) if pl.thread_pool_size() == 1 else _elsewhere(name, function, frames)


def _called(name: str, function: Portable, frames: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    import narwhals as nw

    whole = {each: frame.collect().rechunk().lazy() for each, frame in frames.items()}
    try:
        answer = function.load()(**{each: nw.from_native(frame) for each, frame in whole.items()})
        if not isinstance(answer, nw.LazyFrame | nw.DataFrame):
            raise Invalid(
                f"The function of {name!r} answers a {type(answer).__name__}. Return a Narwhals frame, as its "
                "parameters are."
            )
        return pl.DataFrame(answer.lazy().collect().to_native())
    except Invalid:
        raise
    except Exception as exc:
        raise Invalid(f"The function of {name!r} fails: {described_error(exc)}") from exc


def _elsewhere(name: str, function: Portable, frames: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """The same in a process with one thread."""
    with tempfile.TemporaryDirectory(prefix="trivet-transform-") as text:
        folder = Path(text)
        for each, frame in frames.items():
            frame.collect().write_ipc(folder / f"{each}.frame.arrow")
        job = {"name": name, "function": function.to_spec(), "frames": list(frames)}
        (folder / JOB).write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-P", "-m", __name__, text]
        path = os.pathsep.join(each for each in sys.path if each)
        environment = {**os.environ, "POLARS_MAX_THREADS": "1", "PYTHONPATH": path}
        done = subprocess.run(command, capture_output=True, env=environment, check=False, stdin=subprocess.DEVNULL)
        if (failure := folder / FAILURE).exists():
            raise Invalid(failure.read_text("utf-8"))
        if done.returncode:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise Invalid(f"The function of {name!r} ended its process: {' '.join(last) or done.returncode}")
        return pl.read_ipc((folder / ANSWER).read_bytes())


def main(folder: Path) -> None:
    """Answer the job in ``folder``."""
    job = msgspec.json.decode((folder / JOB).read_bytes())
    frames = {each: pl.read_ipc((folder / f"{each}.frame.arrow").read_bytes()).lazy() for each in job["frames"]}
    try:
        _called(job["name"], Portable.from_spec(job["function"]), frames).write_ipc(folder / ANSWER)
    except Invalid as exc:
        (folder / FAILURE).write_text(str(exc), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
