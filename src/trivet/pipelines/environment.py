"""The libraries, interpreter and platform of a run as an artifact, and a fresh environment made from it.

Captured is a lock: every distribution that came from an index, pinned with the hashes of its files there. Editable
and local distributions are code (``trivet.pipelines.code``); those from other URLs are named in
``spec["not_locked"]``. Identity is the lock, the interpreter and the platform. What also describes the machine
(processor, kernel of the operating system, version of ``uv``) stands in ``environment.json`` and is no identity.

The hashes are asked from the index by ``uv`` once for each set of distributions and kept in ``.trivet/locks``.
Without ``uv`` or a network the lock pins versions and names the hash of each installed ``RECORD``
(``spec["hashes"] == "record"``). To capture never fails a run.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from trivet.clock import new_id
from trivet.digest import digest, digest_file
from trivet.errors import Invalid, MissingExtra, NotFound, StepFailed
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.context import Context
from trivet.pipelines.distributions import Installed, installed, normalised

__all__ = ["active", "capture_environment", "distribution_versions", "restore_environment"]

KIND = "environment"
LOCK = "requirements.lock"
DETAILS = "environment.json"
_POINTER = ".trivet-environment"
_RETRY_SECONDS = 3600.0
_ONLINE_SECONDS = 120.0
_FLAGS = frozenset(
    [
        "sse4_2",
        "avx",
        "avx2",
        "fma",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "amx_int8",
        "amx_bf16",
        "asimd",
        "sve",
        "sve2",
    ]
)


def capture_environment(context: Context) -> Artifact:
    """Record the environment of this process."""
    locked = [one for one in installed().values() if not one.url]
    lock, hashes = _lock(locked, context.root / ".trivet" / "locks")
    spec = _identity() | {
        "hashes": hashes,
        "distributions": len(locked),
        "not_locked": sorted(one.name for one in installed().values() if _is_remote(one)),
    }
    content = digest("environment", {"lock": lock, **_identity()})
    expected = Artifact.of(KIND, spec, content=content, created=context.clock())
    try:
        known = context.ledger.artifact(expected.digest)
    except NotFound:
        known = None
    if known is not None and not context.blobs.missing(file.digest for file in known.files.values()):
        return known
    details = msgspec.json.format(msgspec.json.encode(_details()), indent=2)
    files = {LOCK: context.blobs.put(lock.encode()), DETAILS: context.blobs.put(details)}
    artifact = Artifact.of(KIND, spec, files, content=content, created=context.clock())
    context.ledger.write(artifact)
    return artifact


def restore_environment(
    artifact: Artifact, blobs: Blobs, to: Path, progress: Callable[[str], None] | None = None
) -> Path:
    """Build the environment below the folder ``to``, unless it is there, and answer its Python interpreter.

    The interpreter is the recorded version, else another of the same minor version. Packages come from the local
    cache of ``uv`` where it has them, else from the index; where the lock has the index's hashes, every file
    must have one of them. An environment that was being built when its builder died is never used, and
    of several processes that build at once the first to finish wins.

    Raises:
        Invalid: the artifact is of another kind.
        MissingExtra: ``uv`` is not installed.
        StepFailed: ``uv`` could not build it; its last words are quoted.
    """
    if artifact.kind != KIND or LOCK not in artifact.files:
        raise Invalid(f"{artifact.id} is no environment, so it cannot be built.")
    tell = progress or (lambda _: None)
    if (python := _built(to, artifact)) is not None:
        return python
    uv = _uv()
    if uv is None:
        raise MissingExtra("uv", extra="reproduce", wanted_for="Restoring an environment")
    folder = to / new_id().lower()
    folder.mkdir(parents=True)
    try:
        python = _build(uv, artifact, blobs.read(artifact.files[LOCK].digest), folder, tell)
        if (first := _built(to, artifact)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            return first
        _write(to / _POINTER, f"{artifact.digest} {folder.name}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return python


def active() -> dict[str, Any]:
    """The numeric libraries loaded in this process and the features of its processor.

    ``libraries``: for each BLAS and OpenMP library its name, version, the kernel that it chose
    (``architecture``) and its threads, by ``threadpoolctl``; empty without that package. Loads no numeric library
    itself, so call it after the work.
    """
    found = []
    if find_spec("threadpoolctl") is not None:
        from threadpoolctl import threadpool_info

        for info in threadpool_info():
            names = {"library": "internal_api", "version": "version", "architecture": "architecture"}
            found.append(
                {ours: info.get(theirs) for ours, theirs in names.items()} | {"num_threads": info["num_threads"]}
            )
    return {"libraries": sorted(found, key=repr), "cpu": list(_cpu()[1])}


def distribution_versions(names: Iterable[str]) -> dict[str, str]:
    """The installed versions of those of ``names`` that are installed.

    Example:
        >>> distribution_versions(["no-such-distribution"])
        {}
    """
    known = installed()
    return {name: known[normalised(name)].version for name in names if normalised(name) in known}


# --- the lock ----------------------------------------------------------------------------------------------


def _lock(locked: list[Installed], folder: Path) -> tuple[str, str]:
    """The lock's text and whose hashes it holds: ``index`` or ``record``."""
    frozen = "".join(f"{one.name}=={one.version}\n" for one in locked)
    name = digest("lock", [platform.python_version(), platform.system(), platform.machine(), frozen])
    kept, fallback = folder / f"{name}.lock", folder / f"{name}.record.lock"
    if kept.is_file():
        return kept.read_text("utf-8"), "index"
    if fallback.is_file() and time.time() - fallback.stat().st_mtime < _RETRY_SECONDS:
        return fallback.read_text("utf-8"), "record"
    lock = _ask_index(frozen)
    if lock is not None:
        _write(kept, lock)
        return lock, "index"
    lock = "".join(f"{one.name}=={one.version}  # record sha256:{_record_digest(one)}\n" for one in locked)
    _write(fallback, lock)
    return lock, "record"


def _ask_index(frozen: str) -> str | None:
    """One line for each requirement with the hashes of its files, or None if ``uv`` cannot tell."""
    uv = _uv()
    if uv is None:
        return None
    command = ["pip", "compile", "-", "--generate-hashes", "--no-deps", "--no-header", "--no-annotate", "--quiet"]
    command += ["--python-version", _python_minor()]
    for network in (["--offline"], []):
        try:
            done = _run([uv, *command, *network], given=frozen, seconds=_ONLINE_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            return None
        lines = _one_line_each(done.stdout)
        if done.returncode == 0 and len(lines) == len(frozen.splitlines()) and all("--hash" in line for line in lines):
            return "".join(f"{line}\n" for line in lines)
    return None


def _one_line_each(text: str) -> list[str]:
    """Requirements with their hashes on one line, sorted; anything else (such as an index's URL) is dropped."""
    lines = [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines()]
    found = []
    for line in lines:
        if re.match(r"[A-Za-z0-9]", line):
            requirement, *hashes = line.split(" --hash=")
            found.append(" --hash=".join([requirement, *sorted(hashes)]))
    return sorted(found)


def _record_digest(one: Installed) -> str:
    for entry in sys.path:
        for path in Path(entry or ".").glob(f"{one.name.replace('-', '[-_.]')}-{one.version}.dist-info/RECORD"):
            return digest_file(path)
    return "unknown"


def _is_remote(one: Installed) -> bool:
    return bool(one.url) and urlsplit(one.url).scheme != "file"


def _write(path: Path, text: str) -> None:
    """Write-then-rename, so that a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# --- interpreter and platform ------------------------------------------------------------------------------


def _identity() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": " ".join(_libc()),
    }


@cache
def _libc() -> tuple[str, str]:
    return platform.libc_ver()


def _details() -> dict[str, Any]:
    model, flags = _cpu()
    return _identity() | {
        "build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "os": f"{platform.system()} {platform.release()}",
        "cpu": model,
        "cpu_flags": list(flags),
        "uv": installed()["uv"].version if "uv" in installed() else "",
    }


@cache
def _cpu() -> tuple[str, tuple[str, ...]]:
    """The processor's name and those of its features that numeric kernels choose by (Linux; else none known)."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor(), ()
    lines = [line.partition(":") for line in path.read_text("utf-8", "replace").splitlines()]
    facts = {name.strip().lower(): value.strip() for name, _, value in reversed(lines)}
    flags = facts.get("flags") or facts.get("features") or ""
    return facts.get("model name", platform.machine()), tuple(sorted(_FLAGS & set(flags.split())))


def _python_minor() -> str:
    return ".".join(platform.python_version_tuple()[:2])


# --- building ----------------------------------------------------------------------------------------------


def _build(uv: str, artifact: Artifact, lock: bytes, folder: Path, tell: Callable[[str], None]) -> Path:
    tell(f"Creating an environment with Python {artifact.spec['python']}.")
    venv = folder / "venv"
    _first_that_works(_venv_commands(uv, artifact.spec["python"], venv), "no such interpreter could be found")
    python = next(path for path in (venv / "bin/python", venv / "Scripts/python.exe") if path.exists())
    tell(f"Installing {artifact.spec['distributions']} distributions.")
    path = folder / LOCK
    path.write_bytes(lock)
    sync = [uv, "pip", "sync", "--quiet", "--python", str(python), "--compile-bytecode", "--allow-empty-requirements"]
    sync += ["--require-hashes"] if artifact.spec["hashes"] == "index" else []
    _first_that_works([[*sync, "--offline", str(path)], [*sync, str(path)]], "its packages could not be installed")
    tell("The environment is ready.")
    return python


def _venv_commands(uv: str, version: str, venv: Path) -> list[list[str]]:
    """Ways to get the interpreter, best first: this one, the same version, the same minor version, a download."""
    minor = ".".join(version.split(".")[:2])
    here = [sys.executable] if platform.python_version() == version else []
    create = [uv, "venv", "--quiet", "--clear", "--no-project"]
    found = [[*create, "--no-python-downloads", "--python", python, str(venv)] for python in (*here, version, minor)]
    return [*found, [*create, "--python", version, str(venv)]]


def _first_that_works(commands: list[list[str]], complaint: str) -> None:
    said = ""
    for command in commands:
        done = _run(command)
        if done.returncode == 0:
            return
        said = done.stderr.strip() or said
    last = " ".join(said.splitlines()[-1:]).strip()
    raise StepFailed(f"The environment could not be restored: {complaint}. uv says: {last or 'nothing'}")


def _built(to: Path, artifact: Artifact) -> Path | None:
    """The interpreter of a complete environment of this artifact."""
    pointer = to / _POINTER
    if not pointer.is_file():
        return None
    known, _, name = pointer.read_text("utf-8").partition(" ")
    for python in (to / name / "venv/bin/python", to / name / "venv/Scripts/python.exe"):
        if known == artifact.digest and python.exists():
            return python
    return None


@cache
def _uv() -> str | None:
    """The executable of ``uv``: of the installed package, else on the path."""
    if find_spec("uv") is not None:
        import uv

        try:
            return str(uv.find_uv_bin())
        except FileNotFoundError:
            pass
    return shutil.which("uv")


def _run(
    command: list[str], *, given: str | None = None, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    hidden = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        command, input=given, capture_output=True, text=True, env=environment, timeout=seconds, check=False
    )
