"""Which files of a folder are the project's, where git cannot be asked: a walk that honours ``.gitignore``.

The patterns follow https://git-scm.com/docs/gitignore: the last pattern that fits decides, ``!`` takes back, a
slash at the end means folders, a slash elsewhere anchors. Where git is installed and the folder is in a
repository, ``trivet.pipelines.code`` asks git instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["is_aside", "walk"]

_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages"})


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    wanted: bool
    folders_only: bool


def walk(root: Path) -> Iterator[str]:
    """Names relative to ``root`` of all files that no ``.gitignore`` excludes, with ``/``; links are not followed.

    Hidden folders, virtual environments and folders of caches are left out.
    """
    rules: dict[Path, list[_Rule]] = {}
    for here, folders, files in os.walk(root):
        folder = Path(here)
        inherited = rules.get(folder.parent, []) if folder != root else []
        rules[folder] = [*inherited, *_rules(folder, folder.relative_to(root).as_posix())]
        kept = []
        for name in sorted(folders):
            relative = (folder / name).relative_to(root).as_posix()
            if (folder / name).is_symlink():
                if not _ignored(relative, rules[folder], is_folder=False):
                    yield relative
            elif not _is_left_out(folder / name) and not _ignored(relative, rules[folder], is_folder=True):
                kept.append(name)
        folders[:] = kept
        for name in sorted(files):
            relative = (folder / name).relative_to(root).as_posix()
            if not _ignored(relative, rules[folder], is_folder=False):
                yield relative


def is_aside(name: str) -> bool:
    """Whether a file lies in a hidden folder or one of caches and build products.

    Example:
        >>> is_aside(".trivet/ledger.db"), is_aside(".gitignore")
        (True, False)
    """
    return any(map(_is_aside_folder, name.split("/")[:-1]))


def _is_aside_folder(name: str) -> bool:
    return name.startswith(".") or name in _FOLDERS or name.endswith(".egg-info")


def _is_left_out(folder: Path) -> bool:
    return _is_aside_folder(folder.name) or (folder / "pyvenv.cfg").is_file()


def _ignored(relative: str, rules: list[_Rule], *, is_folder: bool) -> bool:
    for rule in reversed(rules):
        if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(relative):
            return not rule.wanted
    return False


def _rules(folder: Path, prefix: str) -> Iterator[_Rule]:
    path = folder / ".gitignore"
    if not path.is_file() or path.is_symlink():
        return
    base = "" if prefix == "." else re.escape(prefix) + "/"
    for line in path.read_text("utf-8", errors="replace").splitlines():
        text = line.rstrip()
        if not text or text.startswith("#"):
            continue
        wanted = text.startswith("!")
        text = text.removeprefix("!").removeprefix("\\")
        folders_only = text.endswith("/")
        text = text.rstrip("/")
        anchored = "/" in text
        middle = "" if anchored else "(?:.*/)?"
        yield _Rule(re.compile(base + middle + _translate(text.removeprefix("/"))), wanted, folders_only)


def _translate(glob: str) -> str:
    """A regular expression for one pattern: ``*`` and ``?`` stop at slashes, ``**`` does not."""
    found, place = "", 0
    while place < len(glob):
        if glob.startswith("**/", place):
            found, place = found + "(?:.*/)?", place + 3
        elif glob.startswith("**", place):
            found, place = found + ".*", place + 2
        elif glob[place] == "*":
            found, place = found + "[^/]*", place + 1
        elif glob[place] == "?":
            found, place = found + "[^/]", place + 1
        elif glob[place] == "[" and (end := glob.find("]", place + 2)) > 0:
            inner = glob[place + 1 : end].replace("\\", "\\\\")
            found, place = found + f"[{'^' + inner[1:] if inner[0] in '!^' else inner}]", end + 1
        else:
            found, place = found + re.escape(glob[place]), place + 1
    return found
