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
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

from trivet.digest import digest_file
from trivet.ledger import Artifact
from trivet.pipelines.code import ASIDE, LARGEST, origins, recorded, why_left_out
from trivet.pipelines.context import Context
from trivet.pipelines.fileindex import FileIndex, Stamp, stamp_of
from trivet.pipelines.git import ask, git_facts, status_of

__all__ = ["FILE", "KIND", "TAG", "begin_git_tags", "capture_patch", "git_tags"]

KIND = "patch"
FILE = "changes.patch"
TAG = "git.patch"
_INDEX = Path(".trivet") / "changes"
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
    status = status_of(context.root)
    facts = git_facts(context.root, status)
    if facts.get("git.dirty") != "true":
        return facts
    found = capture_patch(context, folders, facts.get("git.commit", ""), status)
    return facts if found is None else {**facts, TAG: found.digest}


def begin_git_tags(context: Context, folders: Sequence[Path]) -> Callable[[], dict[str, str]]:
    """Ask git in a thread, beside other work, and answer what waits for ``git_tags`` and answers or raises as it does."""
    done: Future[dict[str, str]] = Future()

    def work() -> None:
        try:
            done.set_result(git_tags(context, folders))
        except BaseException as exc:  # noqa: BLE001 - raised where it is waited for
            done.set_exception(exc)

    threading.Thread(target=work, name="trivet git", daemon=True).start()
    return done.result


def capture_patch(
    context: Context, folders: Sequence[Path], commit: str, status: bytes | None = None
) -> Artifact | None:
    """Record how ``folders`` differ from ``commit`` (empty before the first one), or None where nothing does.

    Only what lies in the repository of the project is compared. A patch that git cannot make is a warning and no
    error: the archive of the code holds the same files. The same changes are not compared again.
    """
    try:
        return _capture(context, folders, commit, status_of(context.root) if status is None else status)
    except (_Failed, OSError) as exc:
        _log.warning("The patch of uncommitted changes could not be made, only the code is kept: %s", exc)
        return None


def _capture(context: Context, folders: Sequence[Path], commit: str, status: bytes | None) -> Artifact | None:
    if status is None:
        raise _Failed(f"git status failed in {context.root}.")
    top, objects = _places(context.root)
    scopes = [(base, scope) for base, scope in origins(folders) if scope.is_relative_to(top)]
    changes = list(_changes(status, top, [scope for _, scope in scopes]))
    stamps = [stamp for change in changes if (stamp := _stamp(top / change.name)) is not None]
    question = repr((str(top), commit, scopes, changes, stamps)).encode("utf-8", "surrogatepass")
    index = FileIndex(context.root / _INDEX, digest_file)
    if not any(change.module for change in changes):  # what a submodule says of itself has no stamp
        known = index.whole(question)
        if known == "":
            return None
        if known is not None and (artifact := recorded(context, known)) is not None:
            return artifact
    made = _made(context, scopes, top, objects, commit, changes)
    index.keep(question, made.digest if made else "", stamps)
    return made


def _made(
    context: Context,
    scopes: Sequence[tuple[Path, Path]],
    top: Path,
    objects: Path,
    commit: str,
    changes: Sequence[_Change],
) -> Artifact | None:
    with tempfile.TemporaryDirectory(prefix="trivet-patch-") as aside:
        content, left_out = _compare(scopes, top, objects, commit, changes, Path(aside))
    if not content:
        return None
    file = context.blobs.put(content)
    artifact = Artifact.of(KIND, {"commit": commit, "left_out": left_out}, {FILE: file}, created=context.clock())
    context.ledger.write(artifact)
    return artifact


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _compare(
    scopes: Sequence[tuple[Path, Path]], top: Path, objects: Path, commit: str, changes: Sequence[_Change], aside: Path
) -> tuple[bytes, list[dict[str, str]]]:
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


def _changes(status: bytes, top: Path, scopes: Sequence[Path]) -> Iterator[_Change]:
    """The lines of a status that are about files below ``scopes``."""
    names = [scope.relative_to(top).as_posix() for scope in scopes]
    everything, inside = "." in names, tuple(f"{name}/" for name in names)
    for change in _all_changes(status):
        if everything or change.name.startswith(inside) or change.name in names:
            yield change


def _all_changes(status: bytes) -> Iterator[_Change]:
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
