"""Which process a run lives in, so that a reader can tell a run at work from one whose process died.

A killed process cannot say so, and nothing may block on it: its run stays ``running`` in the ledger, and whoever
reads asks ``is_stale``. The answer is known on the machine of the run only; elsewhere a run counts as alive.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from socket import gethostname

from trivet.ledger import Run

__all__ = ["HOST", "PID", "is_stale", "process_tags", "running_cell", "status_of"]

PID, HOST, BIRTH = "trivet.pid", "trivet.host", "trivet.birth"


def process_tags(host: str) -> dict[str, str]:
    """Tags that find this process again: its id, the machine and when it was born (ids are used again)."""
    return {PID: str(os.getpid()), HOST: host, BIRTH: _birth(os.getpid()) or ""}


def is_stale(run: Run, *, host: str | None = None) -> bool:
    """Whether ``run`` says ``running`` although its process is gone, as seen from ``host`` (this machine)."""
    host = gethostname() if host is None else host
    if run.status != "running" or run.tags.get(HOST) != host or not run.tags.get(PID, "").isdecimal():
        return False
    return not _lives(int(run.tags[PID]), run.tags)


def status_of(run: Run, *, host: str | None = None) -> str:
    """The status to show: the recorded one, or ``dead``."""
    return "dead" if is_stale(run, host=host) else run.status


def running_cell() -> str | None:
    """The source of the notebook's cell that is executed now; IPython is never imported for this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    cells = shell.user_ns.get("In", []) if shell is not None else []
    return str(cells[-1]) if cells and str(cells[-1]).strip() else None


def _lives(pid: int, tags: Mapping[str, str]) -> bool:
    if Path("/proc/self/stat").exists():
        birth = _birth(pid)
        return birth is not None and tags.get(BIRTH, "") in ("", birth)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process: it exists
        return True
    return True


def _birth(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None where it is gone, a zombie, or nobody knows.

    Fields 3 and 22 of ``/proc/PID/stat`` (proc_pid_stat(5)); field 2 may hold spaces and parentheses.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
