"""A project's code is archived whole, without secrets, and comes back as it was."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from trivet.clock import system_clock
from trivet.config import load_settings
from trivet.errors import Conflict, Corrupt, Invalid
from trivet.ledger import Artifact
from trivet.ledger.blobs.memory import open_blobs
from trivet.ledger.stores.memory import open_store
from trivet.pipelines import code
from trivet.pipelines.code import capture_code, restore_code
from trivet.pipelines.context import Context


@pytest.fixture
def context(tmp_path):
    store, blobs = open_store("memory:", tmp_path), open_blobs("memory:", tmp_path)
    return Context(tmp_path, load_settings(tmp_path, {}), store, blobs, system_clock, "ada", "here")


@pytest.fixture(params=["git", "no git"])
def project(request, tmp_path):
    """The same project, once in a repository and once in a folder."""
    folder = tmp_path / "project"
    files = {
        "steps.py": "K = 1\n",
        "pkg/__init__.py": "",
        "pkg/data.csv": "a,b\n1,2\n",
        ".gitignore": "*.log\n/out/\n!keep.log\nnested/**/deep.txt\n",
        "noise.log": "x",
        "keep.log": "kept",
        "out/result.txt": "x",
        "pkg/out/result.txt": "kept",
        "nested/a/b/deep.txt": "x",
        "nested/.gitignore": "local.txt\n",
        "nested/local.txt": "x",
        "nested/shared.txt": "kept",
        ".env": "TOKEN=secret",
        ".env.local": "TOKEN=secret",
        "certs/server.pem": "secret",
        "keys/id_rsa": "secret",
        "__pycache__/steps.pyc": "x",
        ".trivet/ledger.db": "x",
        ".venv/pyvenv.cfg": "x",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "run.sh").write_text("true\n")
    (folder / "run.sh").chmod(0o755)
    if request.param == "git":
        git(folder, "init", "-q", "-b", "main")
        git(folder, "add", "steps.py", ".env", "pkg/__init__.py")
        git(folder, "commit", "-q", "-m", "first")
    return folder


def git(folder, *arguments):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout


def members(artifact, context):
    with tarfile.open(fileobj=io.BytesIO(context.blobs.read(artifact.files["code.tar.gz"].digest))) as archive:
        return {member.name: member for member in archive if member.name.startswith("project")}


def test_the_archive_holds_the_project_and_no_secret(context, project):
    artifact = capture_code(context, [project])
    assert sorted(members(artifact, context)) == [
        "project/.gitignore",
        "project/keep.log",
        "project/nested/.gitignore",
        "project/nested/shared.txt",
        "project/pkg/__init__.py",
        "project/pkg/data.csv",
        "project/pkg/out/result.txt",
        "project/run.sh",
        "project/steps.py",
    ]
    secrets = {item["name"] for item in artifact.spec["left_out"] if item["why"] == "may hold a secret"}
    assert "project/.env" in secrets
    assert "project/certs/server.pem" in secrets
    assert artifact.spec["path"][0] == "project"


def test_times_owners_and_modes_are_fixed(context, project):
    found = members(capture_code(context, [project]), context)
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in found.values()} == {(0, 0, 0, "")}
    assert {name for name, member in found.items() if member.mode == 0o755} == {"project/run.sh"}
    assert {member.mode for member in found.values()} == {0o644, 0o755}


def test_identity_is_content_only(context, project, tmp_path):
    first = capture_code(context, [project])
    for path in project.rglob("*"):
        os.utime(path, (1, 1))
    moved = project.rename(tmp_path / "elsewhere")
    again = capture_code(context, [moved])
    assert again == first
    if (moved / ".git").exists():
        git(moved, "add", "run.sh")
        git(moved, "commit", "-q", "-m", "second")
        assert capture_code(context, [moved]) == first


@pytest.mark.parametrize(
    "edit",
    [
        lambda root: (root / "steps.py").write_text("K = 2\n"),
        lambda root: (root / "new.py").write_text(""),
        lambda root: (root / "steps.py").unlink(),
        lambda root: (root / "steps.py").rename(root / "renamed.py"),
        lambda root: (root / "run.sh").chmod(0o644),
    ],
)
def test_an_edit_changes_identity(context, project, edit):
    first = capture_code(context, [project])
    edit(project)
    assert capture_code(context, [project]).digest != first.digest


def test_both_ways_of_listing_agree(context, project):
    """The walk without git and git itself choose the same files."""
    git(project, "init", "-q")
    for name in (".github/ci.yml", "venv/pyvenv.cfg", "venv/lib/x.py", "x.egg-info/PKG-INFO", "sub/node_modules/y.js"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("")
    assert sorted(code._project_files(project)) == sorted(code.walk(project))


def test_it_works_where_git_is_not_installed(context, project, monkeypatch):
    expected = capture_code(context, [project])
    monkeypatch.setenv("PATH", "")
    assert capture_code(context, [project]).digest == expected.digest


def test_a_restored_folder_has_the_same_files_and_is_reused(context, project, tmp_path):
    artifact = capture_code(context, [project])
    paths = restore_code(artifact, context.blobs, tmp_path / "again")
    assert paths[0] == tmp_path / "again" / "project"
    assert (paths[0] / "steps.py").read_text() == "K = 1\n"
    assert os.access(paths[0] / "run.sh", os.X_OK)
    (paths[0] / "trace").write_text("the folder stays")
    assert restore_code(artifact, context.blobs, tmp_path / "again") == paths
    assert (paths[0] / "trace").exists()
    assert capture_code(context, [paths[0]]).content != artifact.content  # the trace is a file more
    (paths[0] / "trace").unlink()
    assert capture_code(context, [paths[0]]).content == artifact.content


def test_a_folder_with_something_else_is_not_touched(context, project, tmp_path):
    artifact = capture_code(context, [project])
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("mine")
    with pytest.raises(Conflict, match="holds something else"):
        restore_code(artifact, context.blobs, other)
    assert [path.name for path in other.iterdir()] == ["precious.txt"]
    assert not list(tmp_path.glob(".other.*"))


def test_several_may_restore_at_once(context, project, tmp_path):
    artifact = capture_code(context, [project])
    failures = []

    def restore():
        try:
            restore_code(artifact, context.blobs, tmp_path / "again")
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=restore) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failures == []
    assert (tmp_path / "again/project/steps.py").exists()
    assert not list(tmp_path.glob(".again.*"))


def test_links_inside_are_kept_and_links_outside_left_out(context, tmp_path):
    project = tmp_path / "project"
    (project / "pkg").mkdir(parents=True)
    (project / "pkg/real.py").write_text("x = 1\n")
    (project / "link.py").symlink_to("pkg/real.py")
    (project / "folder").symlink_to("pkg")
    (project / "absolute.py").symlink_to(project / "pkg/real.py")
    (tmp_path / "outside.txt").write_text("secret")
    (project / "escape.txt").symlink_to(tmp_path / "outside.txt")
    (project / "etc").symlink_to("/etc")
    (project / "broken").symlink_to("nowhere")
    artifact = capture_code(context, [project])
    assert {item["name"] for item in artifact.spec["left_out"]} == {
        "project/escape.txt",
        "project/etc",
        "project/broken",
    }
    root = restore_code(artifact, context.blobs, tmp_path / "again")[0]
    assert (root / "link.py").read_text() == (root / "folder/real.py").read_text() == "x = 1\n"
    assert (root / "absolute.py").resolve() == (root / "pkg/real.py").resolve()


def test_large_data_is_named_and_left_out(context, tmp_path):
    (tmp_path / "steps.py").write_text("")
    (tmp_path / "big.bin").write_bytes(b"\0" * (code.LARGEST + 1))
    artifact = capture_code(context, [tmp_path])
    (item,) = artifact.spec["left_out"]
    assert (item["name"], item["size"], item["why"]) == ("project/big.bin", code.LARGEST + 1, "larger than 5 MB")
    first = artifact.digest
    (tmp_path / "big.bin").write_bytes(b"\1" * (code.LARGEST + 1))
    assert capture_code(context, [tmp_path]).digest != first


def evil_archive(context, name, *, link=""):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        if link:
            member.type, member.linkname = tarfile.SYMTYPE, link
        archive.addfile(member)
    files = {"code.tar.gz": context.blobs.put(stream.getvalue())}
    return Artifact.of("code", {"path": ["project"]}, files, created=context.clock())


@pytest.mark.parametrize(
    ("name", "link"),
    [("../evil", ""), ("project/../../evil", ""), ("project/x", "../../evil"), ("project/x", "/etc/passwd")],
)
def test_an_archive_cannot_write_outside(context, tmp_path, name, link):
    with pytest.raises(Corrupt, match="cannot be unpacked"):
        restore_code(evil_archive(context, name, link=link), context.blobs, tmp_path / "deep" / "to")
    assert not list(tmp_path.rglob("evil"))
    assert list((tmp_path / "deep").iterdir()) == []


def test_the_import_path_of_an_archive_cannot_lead_outside(context, tmp_path):
    for name in ("../up", "/etc"):
        artifact = Artifact.of(
            "code", {"path": [name]}, {"code.tar.gz": context.blobs.put(b"")}, created=context.clock()
        )
        with pytest.raises(Corrupt, match="outside"):
            restore_code(artifact, context.blobs, tmp_path / "to")


def test_a_damaged_archive_is_corrupt_and_leaves_nothing(context, tmp_path):
    files = {"code.tar.gz": context.blobs.put(b"\x1f\x8bnot an archive")}
    artifact = Artifact.of("code", {"path": []}, files, created=context.clock())
    with pytest.raises(Corrupt):
        restore_code(artifact, context.blobs, tmp_path / "to")
    assert list(tmp_path.iterdir()) == []


def test_other_kinds_and_missing_folders_are_sentences(context, tmp_path):
    with pytest.raises(Invalid, match="no archive of code"):
        restore_code(Artifact.of("json", {}, created=context.clock()), context.blobs, tmp_path / "to")
    with pytest.raises(Invalid, match="does not exist"):
        capture_code(context, [tmp_path / "nowhere"])


def test_editable_distributions_come_along_as_packages_only(context, tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    (checkout / "src/libby").mkdir(parents=True)
    (checkout / "src/libby/__init__.py").write_text("x = 1\n")
    (checkout / "README.md").write_text("not code")
    info = tmp_path / "site/libby-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: libby\nVersion: 1.0\n")
    (info / "direct_url.json").write_text(f'{{"url": "file://{checkout}", "dir_info": {{"editable": true}}}}')
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    code.installed.cache_clear()
    try:
        (tmp_path / "project").mkdir()
        (tmp_path / "project/steps.py").write_text("")
        artifact = capture_code(context, [tmp_path / "project"])
    finally:
        code.installed.cache_clear()
    assert "distributions/libby" in artifact.spec["path"]
    root = restore_code(artifact, context.blobs, tmp_path / "again")[0].parent
    assert [path.name for path in (root / "distributions/libby").rglob("*.*")] == ["__init__.py"]


def test_a_folder_that_the_repository_around_it_ignores_is_walked(context, tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("/drafts/\n")
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts/steps.py").write_text("")
    assert set(members(capture_code(context, [tmp_path / "drafts"]), context)) == {"project/steps.py"}


def test_a_repository_inside_the_project_is_archived_too(context, tmp_path):
    git(tmp_path, "init", "-q")
    inner = tmp_path / "vendored"
    inner.mkdir()
    (inner / "lib.py").write_text("")
    git(inner, "init", "-q")
    git(inner, "add", ".")
    git(inner, "commit", "-q", "-m", "inner")
    assert set(members(capture_code(context, [tmp_path]), context)) == {"project/vendored/lib.py"}


def test_nothing_is_written_twice(context, project, monkeypatch):
    first = capture_code(context, [project])
    monkeypatch.setattr(code, "_archive", lambda *_: pytest.fail("archived again"))
    assert capture_code(context, [project]) == first


def test_folders_of_the_import_path_keep_their_order(context, tmp_path):
    for name in ("one/src/a.py", "two/b.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    artifact = capture_code(context, [tmp_path / "one", tmp_path / "two"])
    assert artifact.spec["path"][:3] == ["project/src", "project", "project-2"]
    assert all(isinstance(path, Path) for path in restore_code(artifact, context.blobs, tmp_path / "to"))


def test_a_file_that_goes_away_meanwhile_is_no_reason_to_give_up(context, tmp_path, monkeypatch):
    folder = tmp_path / "moving"
    folder.mkdir()
    for name in ("a.py", "b.py"):
        (folder / name).write_text("X = 1\n")
    genuine, gone = code._entry_digest, []

    def going(entry, index):
        if entry.path.endswith("/b.py") and not gone:
            gone.append(entry.path)
            Path(entry.path).unlink()
            raise FileNotFoundError(2, "No such file or directory", entry.path)
        return genuine(entry, index)

    monkeypatch.setattr(code, "_entry_digest", going)
    artifact = capture_code(context, [folder])
    [place] = [each for each in restore_code(artifact, context.blobs, tmp_path / "out") if (each / "a.py").exists()]
    assert not (place / "b.py").exists()


def test_files_that_keep_coming_and_going_are_a_sentence(context, tmp_path, monkeypatch):
    folder = tmp_path / "restless"
    folder.mkdir()
    (folder / "a.py").write_text("X = 1\n")

    genuine = code._entry_digest

    def going(entry, index):
        if entry.path.endswith("/a.py"):
            raise FileNotFoundError(2, "No such file or directory", entry.path)
        return genuine(entry, index)

    monkeypatch.setattr(code, "_entry_digest", going)
    with pytest.raises(Conflict, match=r"a\.py went away while the code was recorded\. Let it settle and run again"):
        capture_code(context, [folder])
    assert context.ledger.artifacts(kind="code") == []
