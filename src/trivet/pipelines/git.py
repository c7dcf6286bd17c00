"""What git says about a folder, asked so that nothing of the repository changes.

No lock is taken, no hook and no file monitor is started, nobody is prompted, and variables that point git elsewhere
(``GIT_DIR``) are not passed on. Without git, or outside a repository, the answer is None or empty.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

__all__ = ["ask", "git_facts", "status_of"]

_MOST_CHANGED = 50
_SETTINGS = ("core.fsmonitor=false", "core.splitIndex=false", "core.safecrlf=false", f"core.hooksPath={os.devnull}")


def ask(folder: Path, *arguments: str, given: bytes = b"", variables: Mapping[str, str] = {}) -> bytes | None:
    """What git prints about ``folder`` when it reads ``given``; None without git, outside a repository or if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **variables}
    settings = (word for setting in _SETTINGS for word in ("-c", setting))
    command = ["git", "-C", str(folder), *settings, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, env=environment, check=False, input=given)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def status_of(folder: Path) -> bytes | None:
    """What git says of the whole repository around ``folder``: branch, commit, and every name that differs from it."""
    return ask(
        folder, "status", "--porcelain=v2", "--branch", "--no-renames", "--untracked-files=all",
        "--ignore-submodules=none", "-z",
    )  # fmt: skip


def git_facts(folder: Path, status: bytes | None = None) -> dict[str, str]:
    """What git says about a folder, for the tags of a run; empty outside a repository or without git.

    ``git.commit``, ``git.branch``, ``git.remote`` (without credentials), ``git.dirty`` (``"true"`` or
    ``"false"``) and, when dirty, ``git.changed``: the names that differ from the commit, at most 50. ``status`` is the
    answer of ``status_of`` where it is known.
    """
    status = status_of(folder) if status is None else status
    if status is None:
        return {}
    lines = os.fsdecode(status).split("\0")
    headers = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    # fields before the name, by the first character of a line: https://git-scm.com/docs/git-status
    changed = [line.split(" ", {"1": 8, "u": 10, "?": 1}[line[0]])[-1] for line in lines if line[:1] in {"1", "u", "?"}]
    remote = ask(folder, "config", "--get", "remote.origin.url")
    facts = {
        "git.commit": headers.get("branch.oid", "").replace("(initial)", ""),
        "git.branch": headers.get("branch.head", "").replace("(detached)", ""),
        "git.remote": _without_credentials(os.fsdecode(remote or b"").strip()),
        "git.dirty": "true" if changed else "false",
        "git.changed": "\n".join(sorted(changed)[:_MOST_CHANGED]),
    }
    return {name: value for name, value in facts.items() if value}


def _without_credentials(url: str) -> str:
    """A remote's URL without user and password.

    Example:
        >>> _without_credentials("https://user:token@example.org/team/project.git")
        'https://example.org/team/project.git'
    """
    parts = urlsplit(url)
    if not parts.scheme or "@" not in parts.netloc:
        return url
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
