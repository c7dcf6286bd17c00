"""One file with all that it takes to make a run again elsewhere: records, code, lock and content, without the ledger.

The file is an uncompressed tar: ``trivet.json`` first, with the run and everything that it was made from, then the content
as ``blobs/SHA-256``, each once, in the order of their names. Nothing in it tells when or where it was written, so the
same run gives the same bytes. It is written and read as a stream, one blob at a time.

Invariant: what is read is believed only as far as it can be checked. Nothing is unpacked by its name, so no name can lead
anywhere; every blob must be announced, have the announced size and digest to what it is called, and every artifact must
digest to what it says. Records that are there already are kept; a run of the same id that says something else is a conflict.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, cast

import msgspec

from trivet.digest import digest
from trivet.errors import Conflict, Corrupt, Invalid, NotFound
from trivet.ledger import Artifact, Blobs, File, Ledger, Metric, Pointer, Run
from trivet.ledger.erasures import check_not_erased
from trivet.ledger.lineage import ancestors
from trivet.pipelines.context import Context
from trivet.pipelines.repeated import all_runs, same_process
from trivet.types import Digest

__all__ = ["Manifest", "export_run", "import_archive", "read_manifest"]

MANIFEST = "trivet.json"
FORMAT = 1
LARGEST_MANIFEST = 256 << 20
_BLOB = re.compile(r"blobs/([0-9a-f]{64})")
_OVER = ("finished", "failed", "killed", "cached")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in front of the content.

    Attributes:
        format: of the file.
        subject: the run that the file is about; of a prediction a run that only stands for it.
        runs: the subject, those beneath it, and those that its inputs came from.
        pointers: names of these artifacts when the subject began.
    """

    format: int = FORMAT
    subject: Run
    runs: list[Run]
    artifacts: list[Artifact]
    metrics: list[Metric] = []
    pointers: list[Pointer] = []

    @property
    def files(self) -> dict[Digest, File]:
        """All content that must follow."""
        return {file.digest: file for artifact in self.artifacts for file in artifact.files.values()}


def export_run(context: Context, run: Run, to: Path) -> Manifest:
    """Write everything that it takes to make ``run`` again into the file ``to``, by write-then-rename.

    Raises:
        Invalid: the run has no recipe, so nothing could be made again.
        Conflict: ``to`` exists.
        NotFound, Corrupt: recorded content is gone, erased or damaged; no file is left.
    """
    if run.recipe is None and run.kind != "pipeline":
        raise Invalid(
            f"The {run.kind} {run.name!r} (run {run.id}) has no recipe, so it could not be made again elsewhere."
        )
    if to.exists():
        raise Conflict(f"{to} exists and is not written over. Name another file, or remove it first.")
    manifest = _gather(context, run)
    check_not_erased(context.ledger, context.blobs, manifest.artifacts)
    if gone := context.blobs.missing(manifest.files):
        whose = next(one for one in manifest.artifacts if any(file.digest in gone for file in one.files.values()))
        raise NotFound("content of", whose.id, hint="It is not stored any more, so the archive would not be whole.")
    _write(context.blobs, manifest, to)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """What an archive is about, without its content.

    Raises:
        NotFound: there is no such file.
        Invalid: it is no such archive, or of a later format.
        Corrupt: it is damaged.
    """
    with _opened(path) as archive:
        return _manifest(archive, path)


def import_archive(context: Context, path: Path, *, names: bool = False) -> Manifest:
    """Take an archive into a project: content first, then all records in one transaction.

    Args:
        context: the project.
        path: the archive.
        names: also give the names that its artifacts had, where the project has none of them.

    Raises:
        NotFound, Invalid: as ``read_manifest``; or the archive holds what it may not.
        Corrupt: content is missing, cut off, or not what it is called.
        Conflict: a run of the same id is on record and says something else.
    """
    with _opened(path) as archive:
        manifest = _manifest(archive, path)
        _check_artifacts(manifest, path)
        new = _new_runs(context.ledger, manifest)
        _take_blobs(archive, manifest, context.blobs, path)
    known = {run.id for run in new}
    metrics = [each for each in manifest.metrics if each.run in known]
    context.ledger.write(*manifest.artifacts, *new, *metrics)
    if names:
        for each in manifest.pointers:
            context.ledger.point(each.name, each.label, each.digest, by=each.by, why=each.why)
    return manifest


# --- writing -----------------------------------------------------------------------------------------------


def _gather(context: Context, run: Run) -> Manifest:
    runs = {one.id: one for one in _with_origins(context.ledger, run) if one.status in _OVER}
    for one in list(runs.values()):
        runs |= {each.id: each for each in ancestors(context.ledger, one).runs if each.status in _OVER}
    runs.pop(run.id, None)  # the subject stands for itself
    ordered = [run, *(runs[name] for name in sorted(runs))]
    digests = dict.fromkeys(digest for one in ordered for digest in _mentioned(one))
    artifacts = {name: context.ledger.artifact(name) for name in sorted(digests)}
    points = (
        each for each in context.ledger.pointers(history=True) if each.digest in artifacts and each.at <= run.started
    )
    metrics = [each for one in ordered if one.kind == "experiment" for each in context.ledger.metrics(one.id)]
    return Manifest(
        subject=run, runs=ordered, artifacts=list(artifacts.values()), metrics=metrics, pointers=_last(points)
    )


def _with_origins(ledger: Ledger, run: Run) -> Iterator[Run]:
    """A run, those beneath it, those of the same process that it is told from by its order, and where cached ones came from."""
    yield run
    if run.kind == "experiment":
        yield from same_process(ledger, run)
    for child in all_runs(ledger, parent=run.id):
        if child.kind in ("task", "experiment"):
            yield from _with_origins(ledger, child)
    if (origin := run.tags.get("cached_from")) is not None:
        with suppress(NotFound):
            yield ledger.run(origin)


def _mentioned(run: Run) -> Iterator[Digest]:
    yield from (*run.inputs.values(), *run.outputs.values())
    if run.recipe is not None:
        yield from (run.recipe.code, run.recipe.environment)


def _last(pointers: Iterable[Pointer]) -> list[Pointer]:
    """Versions, and each alias where it pointed last."""
    ordered = sorted(pointers, key=lambda each: (each.at, each.name, each.label))
    aliases = {(each.name, each.label): each for each in ordered if not each.is_version}
    return [*(each for each in ordered if each.is_version), *aliases.values()]


def _write(blobs: Blobs, manifest: Manifest, to: Path) -> None:
    content = msgspec.json.encode(manifest, order="deterministic")
    to.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")
    partial = Path(name)
    try:
        with (
            os.fdopen(handle, "wb") as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.addfile(_member(MANIFEST, len(content)), io.BytesIO(content))
            for digest_ in sorted(manifest.files):
                _add_blob(archive, blobs, digest_, partial)
        partial.chmod(0o644)
        os.link(partial, to)  # unlike a renaming, this fails where something is there by now
    except FileExistsError as exc:
        raise Conflict(f"{to} exists and is not written over. Name another file, or remove it first.") from exc
    finally:
        partial.unlink(missing_ok=True)


def _add_blob(archive: tarfile.TarFile, blobs: Blobs, digest_: Digest, beside: Path) -> None:
    copy = blobs.fetch(digest_, beside.with_name(f"{beside.name}.blob"))
    try:
        with copy.open("rb") as stream:
            archive.addfile(_member(f"blobs/{digest_}", copy.stat().st_size), stream)
    finally:
        copy.unlink()


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)  # times and owners are zero by default
    member.size, member.mode = size, 0o644
    return member


# --- reading -----------------------------------------------------------------------------------------------


def _opened(path: Path) -> tarfile.TarFile:
    if not path.is_file():
        raise NotFound("file", str(path), [each.name for each in path.parent.glob("*")] if path.parent.is_dir() else [])
    try:
        return tarfile.open(path, mode="r:")
    except (tarfile.TarError, EOFError) as exc:
        raise Invalid(f"{path} is no archive that `trivet export` wrote.") from exc


def _manifest(archive: tarfile.TarFile, path: Path) -> Manifest:
    member = _next(archive, path)
    if member is None or member.name != MANIFEST or not _is_plain(member):
        raise Invalid(f"{path} is no archive that `trivet export` wrote: it does not begin with {MANIFEST}.")
    if member.size > LARGEST_MANIFEST:
        raise Invalid(f"The records of {path} claim {member.size:,} bytes, which is more than is read.")
    try:
        content = _stream(archive, member, path).read()
        said = msgspec.json.decode(content, type=dict)
        if said.get("format") != FORMAT:
            raise Invalid(
                f"{path} has the format {said.get('format')!r}, and this Trivet reads {FORMAT}. Install a newer one."
            )
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, OSError, tarfile.TarError) as exc:
        raise Corrupt(f"The records of {path} cannot be read: {exc}.") from exc


def _check_artifacts(manifest: Manifest, path: Path) -> None:
    for one in manifest.artifacts:
        if digest("artifact", {"kind": one.kind, "spec": one.spec, "content": one.content}) != one.digest:
            raise Corrupt(
                f"{path} has an artifact {one.id} that is not what its digest says. Ask for the archive anew."
            )
        for file in one.files.values():
            if not _BLOB.fullmatch(f"blobs/{file.digest}") or file.size < 0:
                raise Corrupt(f"{path} names content of {one.id} by {file.digest!r}, which is no digest.")


def _new_runs(ledger: Ledger, manifest: Manifest) -> list[Run]:
    """The runs that are not on record yet."""
    new = []
    for one in manifest.runs:
        if one.status not in _OVER:
            raise Corrupt(f"The archive holds the run {one.id} as {one.status}, which no archive does.")
        try:
            known = ledger.run(one.id)
        except NotFound:
            new.append(one)
            continue
        if (known.kind, known.inputs, known.outputs) != (one.kind, one.inputs, one.outputs):
            raise Conflict(f"The run {one.id} is on record here and says something else. Import into another project.")
    return new


def _take_blobs(archive: tarfile.TarFile, manifest: Manifest, blobs: Blobs, path: Path) -> None:
    expected, seen = manifest.files, set[Digest]()
    while (member := _next(archive, path)) is not None:
        found = _BLOB.fullmatch(member.name)
        if found is None or not _is_plain(member):
            raise Invalid(f"{path} holds {member.name!r}, which no archive of ours does, so nothing of it is taken.")
        name = found.group(1)
        if name not in expected or name in seen:
            raise Invalid(f"{path} holds content {name[:12]} that its records do not announce once.")
        if member.size != expected[name].size:
            raise Corrupt(
                f"Content {name[:12]} of {path} has {member.size:,} bytes and should have {expected[name].size:,}."
            )
        seen.add(name)
        if not blobs.missing([name]):
            continue
        _take(_stream(archive, member, path), name, blobs, path)
    if lost := blobs.missing(expected.keys() - seen):
        raise Corrupt(f"{path} lacks content {min(lost)[:12]}, so it was cut off. Ask for the archive anew.")


def _take(stream: IO[bytes], name: Digest, blobs: Blobs, path: Path) -> None:
    try:
        file = blobs.put(cast("BinaryIO", stream))
    except (tarfile.TarError, OSError) as exc:
        raise Corrupt(f"Content {name[:12]} of {path} cannot be read: {exc}.") from exc
    if file.digest != name:
        blobs.forget(file.digest)
        raise Corrupt(f"Content {name[:12]} of {path} is not what it is called. Ask for the archive anew.")


def _next(archive: tarfile.TarFile, path: Path) -> tarfile.TarInfo | None:
    try:
        member = archive.next()
    except (tarfile.TarError, EOFError, OSError, ValueError) as exc:
        raise Corrupt(f"{path} is damaged: {exc}.") from exc
    vars(archive)["members"] = []  # it remembers every member otherwise
    return member


def _is_plain(member: tarfile.TarInfo) -> bool:
    """A regular file without holes: no link, no device, and no size that the file does not have."""
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None


def _stream(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> IO[bytes]:
    stream = archive.extractfile(member)
    if stream is None:
        raise Invalid(f"{path} holds {member.name!r}, which is no file.")
    return stream
