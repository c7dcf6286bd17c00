"""A project's code as one artifact: an archive of its files from which a run can be executed again.

Identity is the content of the archived files and where they go on ``sys.path``: not the commit, the folder's
name, or any time. The same files give the same artifact on every machine, inside and outside git. What git says
(commit, branch, remote, what is not committed) describes a moment and not the content, so it belongs into the
tags of the run (``trivet.pipelines.git``), and so does the patch of uncommitted changes
(``trivet.pipelines.patch``), which holds no file that this archive leaves out.

Left out: what ``.gitignore`` names, environments, caches, the ledger, likely secrets (``.env*``, ``*.pem``,
private keys), links that lead outside, and data above 5 MB, which are listed with their digests in
``spec["left_out"]``. Editable distributions are archived beside the project, their packages only.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from trivet.digest import digest, digest_bytes, digest_file
from trivet.errors import Conflict, Corrupt, Invalid, NotFound
from trivet.ledger import Artifact, Blobs, File
from trivet.pipelines.closure import import_roots
from trivet.pipelines.context import Context
from trivet.pipelines.distributions import installed
from trivet.pipelines.fileindex import FileIndex, Stamp, stamp_of
from trivet.pipelines.freshness import FileCache
from trivet.pipelines.git import ask
from trivet.pipelines.gitignore import is_aside, walk
from trivet.types import Digest

__all__ = ["ASIDE", "LARGEST", "capture_code", "origins", "recorded", "restore_code", "why_left_out"]

KIND = "code"
ARCHIVE = "code.tar.gz"
LARGEST = 5_000_000
SENSITIVE = "may hold a secret"
ASIDE = "in a hidden folder, an environment or a cache"
_LARGEST_DIGESTED = 256_000_000
_MARKER = ".trivet-code"
_ATTEMPTS = 3
_INDEX = Path(".trivet") / "index"
_SECRETS = (
    ".env*",
    "*.pem",
    "*.key",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    ".pypirc",
    ".pgpass",
    ".git-credentials",
    "credentials*",
    "secrets.*",
    "kaggle.json",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
)
_SECRET = re.compile(r"(?:^|/)(?:{})(?=/|\Z)".format("|".join(map(re.escape, _SECRETS)).replace(r"\*", "[^/]*")))
"""Any part of a path that looks like one of them, in lower case."""

_digest_of = FileCache(digest_file)


class _Entry(NamedTuple):
    """One member of the archive: a file with its stamp, or a link to another member."""

    name: str
    path: str
    link: str
    executable: bool
    stamp: Stamp


class _LeftOut(NamedTuple):
    name: str
    why: str
    size: int
    digest: Digest | None


_FOLDER = _LeftOut("", "", 0, None)
"""In the place of a folder that git lists like a file."""


def capture_code(context: Context, folders: Sequence[Path]) -> Artifact:
    """Record the code of a project: its files below ``folders`` and the editable distributions of this process.

    ``spec["path"]`` lists the folders inside the archive that go on ``sys.path``, in order; ``spec["left_out"]``
    what is not in the archive and why. Nothing is archived again when nothing changed.

    Raises:
        Invalid: a folder does not exist.
        Conflict: files came and went while they were read, several times in a row.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _capture(context, folders)
        except FileNotFoundError:
            continue  # an editor or a build replaced a file just now
    try:
        return _capture(context, folders)
    except FileNotFoundError as exc:
        raise Conflict(f"{exc.filename} went away while the code was recorded. Let it settle and run again.") from exc


def _capture(context: Context, folders: Sequence[Path]) -> Artifact:
    index = FileIndex(context.root / _INDEX, _digest_of)
    entries, left_out = _inventory(folders, index)
    spec = {"path": _import_path(folders), "left_out": [item._asdict() for item in left_out]}
    question = repr((spec, entries)).encode("utf-8", "surrogatepass")
    if (found := index.whole(question)) is not None and (known := recorded(context, found)) is not None:
        return known
    expected = _describe(entries, [_entry_digest(entry, index) for entry in entries])
    identity = Artifact.of(KIND, spec, content=expected, created=context.clock()).digest
    if (known := recorded(context, identity)) is None:
        file, content = _archive(entries, context.blobs)
        known = Artifact.of(KIND, spec, {ARCHIVE: file}, content=content, created=context.clock())
        context.ledger.write(known)
    if known.digest == identity:  # else a file changed between the two readings, and the stamps are of neither
        index.keep(question, identity, (entry.stamp for entry in entries))
    return known


def recorded(context: Context, digest: Digest) -> Artifact | None:
    """The artifact, if it is on record with its content."""
    try:
        known = context.ledger.artifact(digest)
    except NotFound:
        return None
    return None if context.blobs.missing(file.digest for file in known.files.values()) else known


def origins(folders: Sequence[Path]) -> list[tuple[Path, Path]]:
    """What is archived, project folders and editable packages, each behind the folder that its names begin in."""
    projects = [(folder, folder) for _, folder in _projects(folders)]
    return [*projects, *((package.parent, package) for _, package in _editable_packages(folders))]


def why_left_out(folder: Path, name: str, *, is_gone: bool = False) -> str:
    """Why the archive does not hold a file that git lists below ``folder``; empty if it does.

    Of a file that ``is_gone`` only the name can say so.

    Example:
        >>> why_left_out(Path(), "deep/.env"), why_left_out(Path(), ".vscode/settings.json", is_gone=True)
        ('may hold a secret', 'in a hidden folder, an environment or a cache')
    """
    if _is_secret(name):
        return SENSITIVE
    around = (folder / parent for parent in PurePosixPath(name).parents if parent.name)
    if is_aside(name) or any((parent / "pyvenv.cfg").is_file() for parent in around):
        return ASIDE
    found = None if is_gone else _entry("", str(folder), name)
    return found.why if isinstance(found, _LeftOut) else ""


def restore_code(artifact: Artifact, blobs: Blobs, to: Path) -> list[Path]:
    """Unpack an archive into the folder ``to`` and answer the folders for ``sys.path``, in order.

    A folder that already holds this artifact is used as it is. Several processes may do so at once.

    Raises:
        Invalid: the artifact is of another kind.
        Conflict: ``to`` holds something else.
        Corrupt: the archive is damaged or would write outside ``to``.
    """
    if artifact.kind != KIND or ARCHIVE not in artifact.files:
        raise Invalid(f"{artifact.id} is no archive of code, so it cannot be unpacked as one.")
    paths = [to / _safe(name) for name in artifact.spec["path"]]
    if _holds(to, artifact):
        return paths
    to.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=to.parent, prefix=f".{to.name}."))
    try:
        _unpack(blobs.read(artifact.files[ARCHIVE].digest), fresh, artifact)
        (fresh / _MARKER).write_text(artifact.digest, "utf-8")
        fresh.chmod(0o755)
        fresh.rename(to)
    except OSError as exc:
        if not _holds(to, artifact):  # else another process was quicker
            raise Conflict(f"{to} exists and holds something else than {artifact.id}. Name an empty folder.") from exc
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return paths


# --- what is archived --------------------------------------------------------------------------------------


def _inventory(folders: Sequence[Path], index: FileIndex) -> tuple[list[_Entry], list[_LeftOut]]:
    entries: dict[str, _Entry] = {}
    left_out: list[_LeftOut] = []
    for prefix, folder, names in _places(folders):
        for found in _found(prefix, str(folder), names, index):
            if isinstance(found, _Entry):
                entries[found.name] = found
            else:
                left_out.append(found)
    return [entries[name] for name in sorted(entries)], sorted(left_out)


def _found(prefix: str, folder: str, names: Iterable[str], index: FileIndex) -> Iterator[_Entry | _LeftOut]:
    for name in names:
        found = _entry(prefix, folder, name, index)
        if found is not None and found != _FOLDER:
            yield found
        elif found is not None and not is_aside(f"{name.rstrip('/')}/"):  # a submodule, or a repository inside
            inner = _project_files(Path(folder, name))
            yield from _found(prefix, folder, (f"{name.rstrip('/')}/{each}" for each in inner), index)


def _places(folders: Sequence[Path]) -> Iterator[tuple[str, Path, Iterable[str]]]:
    """Prefix in the archive, folder, and the names of files below it."""
    for prefix, folder in _projects(folders):
        if not folder.is_dir():
            raise Invalid(f"The project's folder {folder} does not exist.")
        yield prefix, folder, _project_files(folder)
    for name, package in _editable_packages(folders):
        names = [package.name] if package.is_file() else (f"{package.name}/{inner}" for inner in walk(package))
        yield f"distributions/{name}", package.parent, names


def _projects(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    unique = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
    return [("project" if not place else f"project-{place + 1}", folder) for place, folder in enumerate(unique)]


def _editable_packages(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """Packages of editable distributions that are not part of the project anyway."""
    projects = [folder for _, folder in _projects(folders)]
    return [
        (one.name, package.resolve())
        for one in installed().values()
        for package in one.packages
        if not any(package.resolve().is_relative_to(project) for project in projects)
    ]


def _import_path(folders: Sequence[Path]) -> list[str]:
    projects = _projects(folders)
    found = []
    for root in import_roots(folders):
        prefix, folder = next((prefix, folder) for prefix, folder in projects if root.is_relative_to(folder))
        found.append(str(PurePosixPath(prefix, root.relative_to(folder).as_posix())))
    return list(dict.fromkeys([*found, *(f"distributions/{name}" for name, _ in _editable_packages(folders))]))


def _project_files(folder: Path) -> list[str]:
    """The files of a project: what git tracks or would track, else a walk; repositories inside by their folders."""
    if (folder / "pyvenv.cfg").is_file():
        return []
    listed = ask(folder, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    names = [name for name in os.fsdecode(listed or b"").split("\0") if name]
    if not names:  # no git, no repository, or a folder that the repository around it ignores
        return list(walk(folder))
    environments = {name.removesuffix("pyvenv.cfg") for name in names if name.endswith("/pyvenv.cfg")}
    aside = {each for each in {name.rstrip("/").rpartition("/")[0] for name in names} if is_aside(f"{each}/")}
    kept = (name for name in names if name.rstrip("/").rpartition("/")[0] not in aside)
    return [name for name in kept if not name.startswith(tuple(environments))]


def _entry(prefix: str, folder: str, name: str, index: FileIndex | None = None) -> _Entry | _LeftOut | None:
    """What becomes of one file. Text and no ``Path``: ten thousand files pass here before a run begins."""
    path, inside = f"{folder}/{name}", f"{prefix}/{name}"
    if _is_secret(name):
        return _LeftOut(inside, SENSITIVE, 0, None)
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None  # tracked and deleted
    stamp = stamp_of(info)
    if stat.S_ISLNK(info.st_mode):
        return _link(inside, Path(folder), Path(path), stamp)
    if stat.S_ISDIR(info.st_mode):
        return _FOLDER
    if not stat.S_ISREG(info.st_mode):
        return _LeftOut(inside, "no regular file", 0, None)
    if not info.st_mode & stat.S_IROTH and not os.access(path, os.R_OK):
        return _LeftOut(inside, "may not be read", info.st_size, None)
    if info.st_size > LARGEST:
        known = index.digest(path, stamp) if index and info.st_size <= _LARGEST_DIGESTED else None
        return _LeftOut(inside, "larger than 5 MB", info.st_size, known)
    return _Entry(inside, path, "", bool(info.st_mode & stat.S_IXUSR), stamp)


def _link(inside: str, folder: Path, path: Path, stamp: Stamp) -> _Entry | _LeftOut:
    target = path.resolve()
    if not target.is_relative_to(folder) or not target.exists():
        return _LeftOut(inside, "a link that leads outside", 0, None)
    return _Entry(inside, str(path), os.path.relpath(target, path.parent), False, stamp)


def _is_secret(name: str) -> bool:
    return _SECRET.search(name.lower()) is not None


# --- the archive -------------------------------------------------------------------------------------------


def _entry_digest(entry: _Entry, index: FileIndex) -> Digest:
    return digest("link", entry.link) if entry.link else index.digest(entry.path, entry.stamp)


def _describe(entries: Sequence[_Entry], digests: Sequence[Digest]) -> Digest:
    """What the archive says, whatever the bytes of the archive are."""
    return digest(
        "code", {entry.name: [known, entry.executable] for entry, known in zip(entries, digests, strict=True)}
    )


def _archive(entries: Sequence[_Entry], blobs: Blobs) -> tuple[File, Digest]:
    """Write the archive and digest what really went in, should a file change meanwhile."""
    digests: list[Digest] = []
    with tempfile.TemporaryFile() as stream:
        with (
            gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=stream, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for entry in entries:
                content = b"" if entry.link else Path(entry.path).read_bytes()
                digests.append(digest("link", entry.link) if entry.link else digest_bytes(content))
                archive.addfile(_member(entry, len(content)), io.BytesIO(content))
        stream.seek(0)
        return blobs.put(stream), _describe(entries, digests)


def _member(entry: _Entry, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(entry.name)  # times and owners are zero by default
    member.mode = 0o755 if entry.executable else 0o644
    member.size = size
    if entry.link:
        member.type, member.linkname, member.size = tarfile.SYMTYPE, entry.link, 0
    return member


def _unpack(content: bytes, to: Path, artifact: Artifact) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            archive.extractall(to, filter="data")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as exc:
        raise Corrupt(f"The archive of {artifact.id} cannot be unpacked: {exc}.") from exc
    for name in artifact.spec["path"]:
        (to / _safe(name)).mkdir(parents=True, exist_ok=True)


def _safe(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise Corrupt(f"An archive of code names the folder {name!r}, which lies outside of it.")
    return name


def _holds(folder: Path, artifact: Artifact) -> bool:
    marker = folder / _MARKER
    return marker.is_file() and marker.read_text("utf-8") == artifact.digest
