"""Environments for the peers, each its own under ``benchmarks/.work``, made by uv once and kept until ``make clean``."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "benchmarks" / ".work"
_STAMP = "requirements.txt"


def environment(name: str, *requirements: str, afresh: bool = False) -> Path:
    """The folder of an environment with these requirements, compiled; made if it is not there or has others."""
    folder, asked = WORK / name, "\n".join(requirements)
    stamp = folder / _STAMP
    if not afresh and stamp.is_file() and stamp.read_text("utf-8") == asked:
        return folder
    beside = Path(sys.executable).parent / "uv"
    uv = [beside if beside.exists() else "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, folder], check=True)
    if requirements:
        install = [*uv, "pip", "install", "--compile-bytecode", *requirements]
        subprocess.run(install, check=True, env=plain_variables() | {"VIRTUAL_ENV": str(folder)})
    stamp.write_text(asked, "utf-8")
    return folder


def version(folder: Path, name: str) -> str:
    """Which version of a distribution an environment holds."""
    found = next(folder.glob(f"lib/python*/site-packages/{name}-*.dist-info"))
    return found.name.removesuffix(".dist-info").partition("-")[2]


def plain_variables(*kept: str) -> dict[str, str]:
    """The environment variables without those that change how Python starts, except ``kept``."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") or name in kept}


def peak_mb() -> float:
    """The most memory that this process took. What ``getrusage`` says is at least what its parent took before."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load() -> str:
    """How busy the machine is, for the head of a table: everything but Trivet on it disturbs."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
