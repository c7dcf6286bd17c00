"""What was not committed when a run began, as one patch that ``git apply`` takes on a fresh checkout of the commit.

Two trees are compared: the commit, and the commit with every changed file of the project put on top of it. Both live
in an index and an object folder of their own that are thrown away, so the repository's index, objects, locks and work
tree stay as they are, and no hook, external diff or textconv runs. What the content filters of the repository do
(line endings, Git LFS) is done, because a commit would do it.

Invariant: the patch holds no file that the archive of the code leaves out. Left out and listed with the reason in
``spec["left_out"]`` are likely secrets, links that lead outside, files in hidden folders, files above 5 MB (now or in
the commit), and what is uncommitted inside of a submodule, whose commit alone is in the patch. Binary files are in it.
Changes outside of the archived folders are not the project's and are not mentioned. The patch is an artifact of its
own kind, named by the tag ``git.patch`` of the run: the code's identity and the cache keys know nothing of it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from trivet.ledger import Artifact
from trivet.pipelines.code import ASIDE, LARGEST, origins, why_left_out
from trivet.pipelines.context import Context
from trivet.pipelines.git import ask, git_facts

__all__ = ["FILE", "KIND", "TAG", "capture_patch", "git_tags"]

KIND = "patch"
FILE = "changes.patch"
TAG = "git.patch"
_FIELDS = {"1": (8, 6, 5), "u": (10, 8, 6), "?": (1, None, None)}
"""By the first character of a line of status: how many fields stand before the name, and which of them are the object
in the commit and the mode in the work tree. https://git-scm.com/docs/git-status#_porcelain_format_version_2"""
_DIFF = (
    *("--patch", "--binary", "--full-index", "--unified=3", "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short"),
    *("--no-renames", "--no-color", "--no-ext-diff", "--no-textconv", "--no-relative", "--ignore-submodules=none"),
)

_log = logging.getLogger(__name__)


class _Change(NamedTuple):
    """What differs from the commit, by its name from the top of the repository.

    ``before`` is the object in the commit, empty where there was none; ``module`` what git says of a submodule.
    """

    name: str
    before: str
    module: str
    is_new: bool
    is_gone: bool


class _Failed(Exception):
    """Git did not do what it can do."""


def git_tags(context: Context, folders: Sequence[Path]) -> dict[str, str]:
    """What git says of the project, for the tags of a run, with the digest of the recorded patch as ``git.patch``.

    There is no ``git.patch`` where nothing in ``folders`` can be applied: all is committed, or left out.
    """
    facts = git_facts(context.root)
    if facts.get("git.dirty") != "true":
        return facts
    found = capture_patch(context, folders, facts.get("git.commit", ""))
    return facts if found is None else {**facts, TAG: found.digest}


def capture_patch(context: Context, folders: Sequence[Path], commit: str) -> Artifact | None:
    """Record how ``folders`` differ from ``commit`` (empty before the first one), or None where nothing does.

    Only what lies in the repository of the project is compared. A patch that git cannot make is a warning and no
    error: the archive of the code holds the same files.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="trivet-patch-") as aside:
            content, left_out = _compare(context.root, folders, commit, Path(aside))
    except (_Failed, OSError) as exc:
        _log.warning("The patch of uncommitted changes could not be made, only the code is kept: %s", exc)
        return None
    if not content:
        return None
    file = context.blobs.put(content)
    artifact = Artifact.of(KIND, {"commit": commit, "left_out": left_out}, {FILE: file}, created=context.clock())
    context.ledger.write(artifact)
    return artifact


def _compare(root: Path, folders: Sequence[Path], commit: str, aside: Path) -> tuple[bytes, list[dict[str, str]]]:
    top, objects = _places(root)
    scopes = [(base, scope) for base, scope in origins(folders) if scope.is_relative_to(top)]
    changes = list(_changes(top, [scope for _, scope in scopes]))
    why = {change: _why_left_out(top, scopes, change) for change in changes}
    for change in _large_before(top, changes):
        why[change] = why[change] or "larger than 5 MB in the commit"
    taken = [change for change in changes if not why[change]]
    for change in taken:
        if change.module[2:].strip("."):  # its commit is in the patch, what is not committed in it cannot be
            why[change] = "uncommitted inside of a submodule"
    said = {
        change.name: reason for change, reason in why.items() if reason and (reason, change.is_new) != (ASIDE, True)
    }
    left_out = [{"name": _plain(name), "why": said[name]} for name in sorted(said)]
    return (_diff(top, objects, commit, taken, aside) if taken else b""), left_out


def _places(root: Path) -> tuple[Path, Path]:
    """The top of the repository's work tree and where its objects are."""
    answer = os.fsdecode(_ask(root, "rev-parse", "--show-toplevel", "--git-path", "objects")).split("\n")
    if len(answer) != 3:
        raise _Failed(f"The path of the repository around {root} has more than one line.")
    return Path(answer[0]), (root / answer[1]).resolve()


def _changes(top: Path, scopes: Sequence[Path]) -> Iterator[_Change]:
    names = [scope.relative_to(top).as_posix() for scope in scopes]
    status = _ask(
        top, "status", "--porcelain=v2", "--no-renames", "--untracked-files=all", "--ignore-submodules=none", "-z",
        "--", *names, variables={"GIT_LITERAL_PATHSPECS": "1"},
    )  # fmt: skip
    for line in os.fsdecode(status).split("\0"):
        count, before, mode = _FIELDS.get(line[:1], (0, None, None))
        *fields, name = line.split(" ", count)
        if before is None or mode is None:
            yield from [_Change(name, "", "", is_new=True, is_gone=False)] if count else []
            continue
        module = fields[2] if fields[2].startswith("S") else ""
        yield _Change(name, fields[before].strip("0") and fields[before], module, False, not fields[mode].strip("0"))


def _why_left_out(top: Path, scopes: Sequence[tuple[Path, Path]], change: _Change) -> str:
    if change.name.endswith("/"):
        return "a repository inside of the project"
    if change.module:
        return ""
    path = top / change.name
    base = next(base for base, scope in scopes if path.is_relative_to(scope))
    return why_left_out(base, path.relative_to(base).as_posix(), is_gone=change.is_gone)


def _large_before(top: Path, changes: Sequence[_Change]) -> Iterator[_Change]:
    """The changes whose file is large in the commit; a patch that removes it would hold all of it."""
    known = [change for change in changes if change.before and not change.module]
    asked = "".join(f"{change.before}\n" for change in known).encode()
    sizes = _ask(top, "cat-file", "--batch-check=%(objectsize)", given=asked).split() if known else []
    return (change for change, size in zip(known, sizes, strict=True) if int(size) > LARGEST)


def _diff(top: Path, objects: Path, commit: str, taken: Sequence[_Change], aside: Path) -> bytes:
    """The commit against the commit with the taken files on top, by way of an index and objects in ``aside``."""
    (aside / "objects" / "info").mkdir(parents=True)
    (aside / "objects" / "info" / "alternates").write_bytes(os.fsencode(objects) + b"\n")
    variables = {"GIT_INDEX_FILE": str(aside / "index"), "GIT_OBJECT_DIRECTORY": str(aside / "objects")}
    tree = commit or _ask(top, "hash-object", "-w", "-t", "tree", "--stdin", variables=variables).decode().strip()
    _ask(top, "read-tree", tree, variables=variables)
    # what is gone first: a folder may stand in the place of a file, or a link in that of a folder
    for gone, how in ((True, ["--force-remove"]), (False, ["--add", "--remove", "--replace"])):
        names = os.fsencode("".join(f"{change.name}\0" for change in taken if change.is_gone == gone))
        if names:
            _ask(top, "update-index", *how, "-z", "--stdin", given=names, variables=variables)
    return _ask(top, "diff-index", "--cached", *_DIFF, tree, "--", variables=variables)


def _plain(name: str) -> str:
    """A name that JSON can hold; bytes that are no UTF-8 are written out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _ask(folder: Path, *arguments: str, given: bytes = b"", variables: dict[str, str] | None = None) -> bytes:
    answer = ask(folder, *arguments, given=given, variables=variables or {})
    if answer is None:
        raise _Failed(f"git {arguments[0]} failed in {folder}.")
    return answer
