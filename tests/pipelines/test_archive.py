"""Archives that carry a run elsewhere: what comes out goes in, and what was tampered with does not."""

import io
import tarfile

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pipelines.workshop import build, open_context, tidy
from trivet.errors import Conflict, Corrupt, Invalid, NotFound, TrivetError
from trivet.ledger import Artifact
from trivet.pipelines.archive import MANIFEST, Manifest, export_run, import_archive, read_manifest
from trivet.pipelines.execution import execute
from trivet.pipelines.recording import begin
from trivet.pipelines.replay import reproduce
from trivet.project.evidence import reproduce_file

SOURCE = """
@tv.task
def numbers(count: int = 3):
    return list(range(count))

@tv.task
def total(values):
    return {"sum": sum(values)}

@tv.pipeline
def flow():
    return total(numbers())
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    built = build(tmp_path_factory.mktemp("archive"), SOURCE)
    yield built
    tidy(built)


@pytest.fixture(scope="module")
def done(shop):
    return execute(shop.context, shop.module.flow, {})


@pytest.fixture(scope="module")
def packed(shop, done, tmp_path_factory):
    file = tmp_path_factory.mktemp("packed") / "total.trivet"
    export_run(shop.context, done.steps["total"], file)
    return file


@pytest.fixture
def elsewhere(tmp_path):
    (tmp_path / "other").mkdir()
    context = open_context(tmp_path / "other")
    yield context
    context.ledger.close()


def members(file):
    with tarfile.open(file) as archive:
        return [(one, archive.extractfile(one).read()) for one in archive]


def rewritten(file, to, change):
    """The archive with its members changed; ``change`` answers (TarInfo, bytes) pairs."""
    with tarfile.open(to, "w") as archive:
        for member, content in change(members(file)):
            member.size = len(content) if member.isreg() else member.size
            archive.addfile(member, io.BytesIO(content))
    return to


def test_the_same_run_gives_the_same_bytes(shop, done, packed, tmp_path):
    manifest = export_run(shop.context, done.steps["total"], tmp_path / "again.trivet")
    assert (tmp_path / "again.trivet").read_bytes() == packed.read_bytes()
    assert [run.name for run in manifest.runs] == ["total", "numbers"]
    assert read_manifest(packed) == manifest
    assert [one.name for one in tmp_path.iterdir()] == ["again.trivet"]
    with pytest.raises(Conflict, match="is not written over"):
        export_run(shop.context, done.steps["total"], packed)


def test_it_is_made_again_from_the_file_alone(packed, done):
    said = []
    found = reproduce_file(packed, environment="current", tolerance=0.0, diagnose=True, progress=said.append)
    assert (found.level, found.run.id) == ("bytes", done.steps["total"].id)
    assert said[0] == f"Reading {packed}."


def test_a_pipeline_with_its_steps(shop, done, tmp_path):
    export_run(shop.context, done.run, tmp_path / "flow.trivet")
    found = reproduce_file(
        tmp_path / "flow.trivet", environment="current", tolerance=0.0, diagnose=True, progress=lambda _: None
    )
    assert {slot: one.level for slot, one in found.outputs.items()} == {
        "numbers.result": "bytes",
        "total.result": "bytes",
    }


def test_it_becomes_part_of_another_project(packed, done, elsewhere):
    for _ in range(2):  # the second time everything is there
        assert import_archive(elsewhere, packed).subject.id == done.steps["total"].id
    run = elsewhere.ledger.run(done.steps["total"].id)
    assert run == done.steps["total"]
    assert reproduce(elsewhere, run, environment="current").level == "bytes"


def test_a_run_that_says_something_else_is_a_conflict(packed, done, elsewhere):
    elsewhere.ledger.write(msgspec.structs.replace(done.steps["total"], inputs={}, outputs={}, parent=None))
    with pytest.raises(Conflict, match="says something else"):
        import_archive(elsewhere, packed)


def blob_named(name):
    def change(found):
        member, content = found[1]
        member.name = name
        return [found[0], (member, content), *found[2:]]

    return change


def of_type(kind, target=""):
    def change(found):
        member, _ = found[1]
        member.type, member.linkname, member.size = kind, target, 0
        return [found[0], (member, b""), *found[2:]]

    return change


def manifest_with(**changes):
    def change(found):
        manifest = msgspec.json.decode(found[0][1], type=Manifest)
        return [(found[0][0], msgspec.json.encode(msgspec.structs.replace(manifest, **changes))), *found[1:]]

    return change


def other_content(found):
    member, content = found[1]
    return [found[0], (member, b"x" * len(content)), *found[2:]]


def other_artifact(found):
    manifest = msgspec.json.decode(found[0][1], type=Manifest)
    first, *rest = manifest.artifacts
    return manifest_with(artifacts=[msgspec.structs.replace(first, spec={"a": "lie"}), *rest])(found)


def odd_digest(found):
    manifest = msgspec.json.decode(found[0][1], type=Manifest)
    first, *rest = manifest.artifacts
    files = {name: msgspec.structs.replace(file, digest="../../etc/passwd") for name, file in first.files.items()}
    return manifest_with(artifacts=[msgspec.structs.replace(first, files=files), *rest])(found)


BAD = {
    "parent folder": (blob_named("../escaped"), Invalid, "which no archive of ours does"),
    "absolute path": (blob_named("/tmp/escaped"), Invalid, "which no archive of ours does"),
    "another file": (blob_named("notes.txt"), Invalid, "which no archive of ours does"),
    "unannounced": (blob_named(f"blobs/{'a' * 64}"), Invalid, "do not announce"),
    "link": (of_type(tarfile.SYMTYPE, "/etc/passwd"), Invalid, "which no archive of ours does"),
    "hard link": (of_type(tarfile.LNKTYPE, "/etc/passwd"), Invalid, "which no archive of ours does"),
    "device": (of_type(tarfile.CHRTYPE), Invalid, "which no archive of ours does"),
    "twice": (lambda found: [*found[:2], *found[1:]], Invalid, "do not announce"),
    "other content": (other_content, Corrupt, "is not what it is called"),
    "longer content": (lambda f: [f[0], (f[1][0], f[1][1] + b"!"), *f[2:]], Corrupt, "and should have"),
    "lacking": (lambda found: found[:-1], Corrupt, "was cut off"),
    "other artifact": (other_artifact, Corrupt, "is not what its digest says"),
    "odd digest": (odd_digest, Corrupt, "which is no digest"),
    "later format": (manifest_with(format=2), Invalid, "and this Trivet reads 1"),
    "no records": (lambda found: found[1:], Invalid, f"does not begin with {MANIFEST}"),
    "no json": (lambda found: [(found[0][0], b"{"), *found[1:]], Corrupt, "cannot be read"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_was_tampered_with_is_refused_in_a_sentence(what, packed, elsewhere, tmp_path):
    change, error, words = BAD[what]
    file = rewritten(packed, tmp_path / "bad.trivet", change)
    with pytest.raises(error, match=words):
        import_archive(elsewhere, file)
    assert elsewhere.ledger.runs() == []
    assert elsewhere.ledger.artifacts() == []
    assert not (tmp_path / "escaped").exists()


def test_a_file_of_holes_is_no_content(packed, elsewhere, tmp_path):
    """A sparse member claims a terabyte in a kilobyte."""
    content = members(packed)
    with tarfile.open(tmp_path / "sparse.trivet", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(content[0][0], io.BytesIO(content[0][1]))
        member = tarfile.TarInfo(content[1][0].name)
        member.pax_headers = {"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": f"{1 << 40},0"}
        archive.addfile(member)
    with pytest.raises(TrivetError):
        import_archive(elsewhere, tmp_path / "sparse.trivet")
    assert elsewhere.ledger.runs() == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 40_000))
def test_an_archive_that_was_cut_off(packed, elsewhere, tmp_path, cut):
    content = packed.read_bytes()
    (tmp_path / "cut.trivet").write_bytes(content[: min(cut, len(content) - 11_000)])
    with pytest.raises((Invalid, Corrupt)):
        import_archive(elsewhere, tmp_path / "cut.trivet")
    assert elsewhere.ledger.runs() == []


def test_what_is_no_archive(elsewhere, tmp_path):
    (tmp_path / "text.trivet").write_text("hello")
    with pytest.raises(Invalid, match="is no archive"):
        import_archive(elsewhere, tmp_path / "text.trivet")
    with pytest.raises(NotFound, match="There is no file"):
        import_archive(elsewhere, tmp_path / "none.trivet")


def test_what_cannot_be_exported_leaves_no_file(shop, done, tmp_path):
    typed = begin(shop.context, kind="experiment", name="typed")
    with pytest.raises(Invalid, match="has no recipe"):
        export_run(shop.context, typed, tmp_path / "typed.trivet")
    file = msgspec.structs.replace(next(iter(done.artifact("numbers").files.values())), digest="0" * 64)
    lost = Artifact.of("json", {}, {"value.json": file}, created=shop.context.clock())
    shop.context.ledger.write(lost)
    with pytest.raises(NotFound, match="would not be whole"):
        export_run(
            shop.context,
            msgspec.structs.replace(done.steps["total"], inputs={"values": lost.digest}),
            tmp_path / "x.trivet",
        )
    assert list(tmp_path.iterdir()) == []
