"""Jobs in processes of this machine: one fresh interpreter each, so that it can be killed and threads can be set.

A thread per job waits for its process. The job's folder is temporary; only blobs outlive it. Invariant: whatever
way a process ends, its future answers an ``Outcome``, and when this process ends the workers end with it (each holds
the reading end of a pipe, see ``worker``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from trivet.errors import Conflict, TrivetError
from trivet.pipelines.runners.contract import Job, Outcome
from trivet.pipelines.worker import JOB, OUTCOME, sentence
from trivet.plugins import open_url

__all__ = ["LocalRunner", "child_environment", "open_runner"]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
_NEEDED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
_GRACE = 2.0  # seconds between asking a worker to end and ending it
_TAIL_LINES, _TAIL_BYTES = 15, 8192
_MOST_JOBS = 512
_CRASH = "A library crashed; the log shows where."
_HINTS = {
    "SIGKILL": "The system does that when memory runs out: give it less data at a time, or run fewer steps at once "
    "([pipelines] workers).",
    "SIGSEGV": _CRASH,
    "SIGABRT": _CRASH,
    "SIGBUS": _CRASH,
}


class LocalRunner:
    """Starts a process per job."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_MOST_JOBS, thread_name_prefix="trivet-job")
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, job: Job) -> Future[Outcome]:
        """Start a job.

        Raises:
            Conflict: this runner was closed.
        """
        with self._lock:
            if self._closed:
                raise Conflict("This runner is closed and starts no more jobs. Open another.")
            return self._threads.submit(self._perform, job)

    def close(self) -> None:
        """End every process that still runs and wait for it."""
        with self._lock:
            self._closed = True
            processes = list(self._processes)
        for process in processes:
            _signal(process, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
        self._threads.shutdown(wait=True)

    def _perform(self, job: Job) -> Outcome:
        try:
            return self._in_a_folder(job)
        except (OSError, TrivetError) as exc:  # no interpreter, no space for the job or its log
            return Outcome(status="failed", error=sentence(exc))

    def _in_a_folder(self, job: Job) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="trivet-job-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            (folder / JOB).write_bytes(msgspec.json.encode(job))
            status = self._run(job, folder)
            return self._outcome(job, folder, status)

    def _run(self, job: Job, folder: Path) -> int | None:
        """The exit status of the worker, None if it was not started because this runner is closed."""
        command = [job.python or sys.executable, "-P", "-m", "trivet.pipelines.worker", str(folder)]
        with (folder / "log.txt").open("wb") as log:
            with self._lock:
                if self._closed:
                    return None
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,  # held open as long as this process lives, and never written
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=job.folder,
                    env=child_environment(job, os.environ),
                    process_group=0,  # Ctrl-C is for us; we tell the workers
                )
                self._processes.add(process)
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._processes.discard(process)
                if process.stdin is not None:
                    process.stdin.close()

    def _outcome(self, job: Job, folder: Path, status: int | None) -> Outcome:
        result = folder / OUTCOME
        if result.exists():
            outcome = msgspec.json.decode(result.read_bytes(), type=Outcome)
        elif self._closed:
            return Outcome(status="killed", error="It was interrupted before it had finished.")
        else:
            outcome = _without_result(status or 0)
        printed = folder / "log.txt"
        if not printed.stat().st_size:
            return outcome
        log = open_url("blobs", job.blobs, Path(job.root)).put(printed)
        return msgspec.structs.replace(outcome, log=log, tail=_tail(printed))


def open_runner(url: str, root: Path) -> LocalRunner:  # noqa: ARG001 - every opener is called with a URL and the root
    """The runner of the URL ``local:``."""
    return LocalRunner()


def child_environment(job: Job, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of the worker of ``job``.

    Threads and the seed of hashes must be in place before the interpreter starts, so they cannot be set inside.
    """
    kept = {name: inherited[name] for name in _NEEDED if name in inherited} if job.clean else dict(inherited)
    path = list(job.path)
    if job.clean:
        kept |= {"HOME": job.folder, "PYTHONNOUSERSITE": "1"}
    elif before := inherited.get("PYTHONPATH"):
        path += [folder for folder in before.split(os.pathsep) if folder not in path]
    return {
        **kept,
        **dict.fromkeys(THREAD_VARIABLES, str(job.threads)),
        "PYTHONHASHSEED": str(job.seed % 2**32),
        **job.variables,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _without_result(status: int) -> Outcome:
    if status < 0:
        name = signal.Signals(-status).name
        return Outcome(status="killed", error=f"Its process was ended by {name}. {_HINTS.get(name, '')}".rstrip())
    return Outcome(status="failed", error=f"Its process ended with status {status} and left no result.")


def _tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = stream.read().decode("utf-8", "replace")
    return "\n".join(text.rstrip().splitlines()[-_TAIL_LINES:])


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return  # it ended in between
