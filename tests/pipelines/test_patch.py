"""The patch of uncommitted changes, applied by git to a fresh checkout, gives the files as they were."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.workshop import build, tidy
from trivet.clock import system_clock
from trivet.config import load_settings
from trivet.ledger.blobs.memory import open_blobs
from trivet.ledger.stores.memory import open_store
from trivet.pipelines import patch
from trivet.pipelines.code import capture_code, restore_code
from trivet.pipelines.context import Context
from trivet.pipelines.patch import capture_patch, git_tags
from trivet.pipelines.recording import record

IDENTITY = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always")
SECRET = "TOKEN=hunter2"


def git(folder, *arguments, given=None):
    done = subprocess.run(["git", "-C", folder, *IDENTITY, *arguments], capture_output=True, input=given, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def repository(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    write(folder, files)
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    return folder


def context_of(folder):
    store, blobs = open_store("memory:", folder), open_blobs("memory:", folder)
    return Context(folder, load_settings(folder, {}), store, blobs, system_clock, "ada", "here")


def kept(context, folders=None):
    """The recorded patch and its artifact."""
    tags = git_tags(context, folders or [context.root])
    found = context.ledger.artifact(tags["git.patch"])
    return context.blobs.read(found.files["changes.patch"].digest), found


def applied(top, content, artifact, to, *config):
    """A fresh clone at the commit, with the patch applied."""
    settings = [word for each in config for word in ("-c", each)]
    if artifact.spec["commit"]:
        git(top, "clone", "-q", *settings, "--no-checkout", top, to)
        git(to, "checkout", "-q", "--detach", artifact.spec["commit"])
    else:
        git(top, "init", "-q", to)
    git(to, *settings, "apply", "-", given=content)
    return to


def files_of(folder):
    """What git tracks or would track: content, executable bit, target of a link."""
    listed = git(folder, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split(b"\0")
    found = {}
    for name in filter(None, listed):
        path = folder / os.fsdecode(name)
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file():
            found[name] = path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR)
    return found


def state(folder):
    """All that git keeps of a repository, byte for byte, and what it says."""
    inside = Path(os.fsdecode(git(folder, "rev-parse", "--absolute-git-dir")).strip())
    known = {path: path.read_bytes() for path in inside.rglob("*") if path.is_file()}
    return known, git(folder, "--no-optional-locks", "status", "--porcelain", "-uall")


@pytest.fixture
def top(tmp_path):
    return repository(
        tmp_path / "top",
        {
            "steps.py": "".join(f"line {number}\n" for number in range(30)),
            "gone.py": "x = 1\n",
            "staged gone.py": "x = 1\n",
            "folder/a.py": "a = 1\n",
            "file": "x\n",
            "run.sh": "true\n",
            "no newline": "one\ntwo",
            "windows.bat": b"one\r\ntwo\r\nthree\r\n",
            "data.bin": bytes(range(256)) * 8,
            ".gitignore": "*.log\n",
            ".env": "TOKEN=old\n",
            ".github/ci.yml": "on: push\n",
            "secrets.toml": "a = 1\n",
        },
    )


def edit(top):
    """Every kind of change at once; nothing of it is left out."""
    (top / "steps.py").write_text((top / "steps.py").read_text().replace("line 3\n", "line three\n", 1) + "\n\n")
    git(top, "add", "steps.py")
    (top / "steps.py").write_text("zero\n" + (top / "steps.py").read_text())  # staged, and then changed again
    (top / "gone.py").unlink()
    git(top, "rm", "-q", "staged gone.py")
    shutil.rmtree(top / "folder")
    (top / "folder").write_text("a file now\n")
    (top / "file").unlink()
    (top / "run.sh").chmod(0o755)
    (top / "link.py").symlink_to("steps.py")
    changes = {
        "file/now a folder.py": "x\n",
        "no newline": "one\nthree",
        "windows.bat": b"one\r\n2\r\nthree\r\nmixed\n",
        "data.bin": bytes(range(255, -1, -1)) * 8,
        "empty.py": "",
        "new.sh": "true\n",
        'deep/a "quoted" name\t\\.py': "q = 1\n",
        "deep/Grüße 你好.py": "# é",
        "deep/new\nline.py": "x\n",
        " leading and trailing ": "x\n",
        "-dash": "x\n",
        "staged new.bin": b"\0\1\2" * 100,
        "noise.log": "ignored",
    }
    write(top, changes)
    (top / "new.sh").chmod(0o755)
    git(top, "add", "staged new.bin")
    git(top, "add", "-N", "empty.py")


CONFIGS = {
    "plain": [],
    "noprefix": ["diff.noprefix=true", "color.ui=always", "color.diff=always", "diff.renames=copies"],
    "odd": ["diff.mnemonicPrefix=true", "diff.suppressBlankEmpty=true", "core.quotePath=false", "core.splitIndex=true"],
    "context": ["diff.context=0", "diff.submodule=log", "diff.relative=true", "status.showUntrackedFiles=no"],
    "paranoid": ["core.safecrlf=true", "core.untrackedCache=true", "diff.algorithm=histogram", "core.pager=false"],
}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_kind_of_change(top, tmp_path, config):
    edit(top)
    for setting in CONFIGS[config]:
        git(top, "config", *setting.split("=", 1))
    before, context = state(top), context_of(top)
    content, artifact = kept(context)
    assert state(top) == before
    assert artifact.spec == {"commit": git(top, "rev-parse", "HEAD").decode().strip(), "left_out": []}
    clone = files_of(applied(top, content, artifact, tmp_path / "clone"))
    assert clone == files_of(top)
    assert b"\x1b[" not in content
    restore_code(capture_code(context, [top]), context.blobs, tmp_path / "archive")
    archived = files_of(repository(tmp_path / "archive/project", {}))
    assert set(clone) - set(archived) == {b".env", b".github/ci.yml", b"secrets.toml"}
    assert archived.items() <= clone.items()


def test_nothing_of_git_is_started(top, tmp_path):
    trace = tmp_path / "trace"
    script = tmp_path / "tell.sh"
    script.write_text(f'#!/bin/sh\necho "$0 $*" >> "{trace}"\ncat "$1" 2>/dev/null\n')
    script.chmod(0o755)
    for hook in ("post-index-change", "pre-commit", "fsmonitor-watchman"):
        (top / ".git/hooks").mkdir(exist_ok=True)
        shutil.copy(script, top / ".git/hooks" / hook)
    write(top, {".gitattributes": "*.py diff=odd\n*.bin diff=odd\n"})
    edit(top)
    for setting in (
        "diff.external", "diff.odd.command", "diff.odd.textconv", "core.fsmonitor", "core.pager", "pager.diff"
    ):  # fmt: skip
        git(top, "config", setting, str(script))
    trace.unlink(missing_ok=True)
    content, artifact = kept(context_of(top))
    assert not trace.exists()
    git(top, "config", "core.fsmonitor", "false")
    assert files_of(applied(top, content, artifact, tmp_path / "clone")) == files_of(top)


def test_what_the_archive_leaves_out_is_not_in_the_patch(top, tmp_path):
    write(top, {
        ".env": SECRET, "deep/.env.local": SECRET, "keys/id_rsa": SECRET, "large.csv": "x" * 5_000_001,
        ".github/ci.yml": SECRET, ".vscode/settings.json": SECRET, "venv/pyvenv.cfg": "", "venv/lib/x.py": SECRET,
        "steps.py": "changed\n",
    })  # fmt: skip
    (top / "secrets.toml").unlink()
    (tmp_path / "outside.txt").write_text(SECRET)
    (top / "outward").symlink_to(tmp_path / "outside.txt")
    git(top, "add", "-f", ".env", "deep/.env.local", "outward", "large.csv")
    context = context_of(top)
    content, artifact = kept(context)
    assert b"hunter2" not in content
    assert content.count(b"diff --git") == 1
    assert {each["name"]: each["why"] for each in artifact.spec["left_out"]} == {
        ".env": "may hold a secret",
        ".github/ci.yml": "in a hidden folder, an environment or a cache",
        "deep/.env.local": "may hold a secret",
        "keys/id_rsa": "may hold a secret",
        "large.csv": "larger than 5 MB",
        "outward": "a link that leads outside",
        "secrets.toml": "may hold a secret",
    }
    clone = applied(top, content, artifact, tmp_path / "clone")
    assert (clone / "steps.py").read_text() == "changed\n"
    assert (clone / ".env").read_text() == "TOKEN=old\n"
    archived = {item["name"] for item in capture_code(context, [top]).spec["left_out"]}
    assert {"project/.env", "project/large.csv", "project/outward"} <= archived


def test_what_is_large_in_the_commit_is_not_repeated(tmp_path):
    top = repository(tmp_path / "top", {"large.csv": "x" * 5_000_001, "a.py": "1"})
    (top / "large.csv").unlink()
    write(top, {"a.py": "2"})
    content, artifact = kept(context_of(top))
    assert len(content) < 1000
    assert artifact.spec["left_out"] == [{"name": "large.csv", "why": "larger than 5 MB in the commit"}]


def test_where_nothing_can_be_applied_there_is_no_patch(top, tmp_path):
    context = context_of(top)
    clean = git_tags(context, [top])
    assert (clean["git.dirty"], "git.patch" in clean) == ("false", False)
    write(top, {".env": SECRET})
    assert git_tags(context, [top]) == clean | {"git.dirty": "true", "git.changed": ".env"}
    assert git_tags(context_of(tmp_path), [tmp_path]) == {}
    assert context.ledger.artifacts() == []


def test_a_clean_tree_costs_no_call_more(top, monkeypatch):
    asked = []
    monkeypatch.setattr(patch, "ask", lambda *given, **more: asked.append(given))
    git_tags(context_of(top), [top])
    assert asked == []


def test_the_same_changes_are_kept_once_and_change_no_identity(top):
    context = context_of(top)
    write(top, {"steps.py": "changed\n"})
    before = capture_code(context, [top])
    first = git_tags(context, [top])
    assert git_tags(context, [top]) == first
    assert len(context.ledger.artifacts(kind="patch")) == 1
    git(top, "add", "steps.py")
    assert git_tags(context, [top])["git.patch"] == first["git.patch"]  # staged or not is the same change
    git(top, "commit", "-q", "-m", "second")
    assert "git.patch" not in git_tags(context, [top])
    assert capture_code(context, [top]) == before


def test_before_the_first_commit(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    git(top, "init", "-q", "-b", "main")
    write(top, {"a.py": "a = 1\n", "deep/b.py": "", ".env": SECRET})
    git(top, "add", "a.py", ".env")
    before = state(top)
    content, artifact = kept(context_of(top))
    assert state(top) == before
    assert artifact.spec["commit"] == ""
    clone = applied(top, content, artifact, tmp_path / "again")
    assert files_of(clone) == {b"a.py": (b"a = 1\n", False), b"deep/b.py": (b"", False)}


def test_a_detached_head_and_a_work_tree_of_its_own(top, tmp_path):
    write(top, {"later.py": ""})
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "second")
    aside = tmp_path / "aside"
    git(top, "worktree", "add", "-q", "--detach", aside, "HEAD~1")
    edit(aside)
    before = state(aside), state(top)
    content, artifact = kept(context_of(aside))
    assert (state(aside), state(top)) == before
    assert files_of(applied(aside, content, artifact, tmp_path / "clone")) == files_of(aside)


def test_a_project_in_a_subfolder_keeps_its_own_changes_only(top, tmp_path):
    write(top, {"deep/project/steps.py": "x = 1\n", "deep/other.py": "x = 1\n"})
    git(top, "add", "deep")
    git(top, "commit", "-q", "-m", "second")
    write(top, {"deep/project/steps.py": "x = 2\n", "deep/project/new.py": "", "deep/other.py": "x = 2\n"})
    project = top / "deep/project"
    context = context_of(project)
    content, artifact = kept(context)
    clone = applied(top, content, artifact, tmp_path / "clone")
    assert files_of(clone / "deep/project") == files_of(project)
    assert (clone / "deep/other.py").read_text() == "x = 1\n"
    assert artifact.spec["left_out"] == []
    content, artifact = kept(context, [project, top / "deep"])  # an entry of the run is imported from there
    assert files_of(applied(top, content, artifact, tmp_path / "both")) == files_of(top)
    write(top, {"deep/project/steps.py": "x = 1\n"})
    (project / "new.py").unlink()
    assert "git.patch" not in git_tags(context, [project])


def test_a_submodule_is_its_commit(top, tmp_path):
    library = repository(tmp_path / "library", {"lib.py": "x = 1\n", ".gitignore": ""})
    for name in ("moved", "edited"):
        git(top, "submodule", "--quiet", "add", library, name)
    git(top, "commit", "-q", "-m", "second")
    write(top, {"steps.py": "changed\n", "edited/lib.py": "x = 2\n", "moved/lib.py": "x = 3\n"})
    git(top / "moved", "commit", "-q", "-a", "-m", "later")
    repository(top / "inside", {"lib.py": ""})
    before = state(top)
    content, artifact = kept(context_of(top))
    assert state(top) == before
    assert artifact.spec["left_out"] == [
        {"name": "edited", "why": "uncommitted inside of a submodule"},
        {"name": "inside/", "why": "a repository inside of the project"},
    ]
    later = git(top / "moved", "rev-parse", "HEAD").strip()
    assert b"+Subproject commit " + later in content
    assert b"x = " not in content
    clone = applied(top, content, artifact, tmp_path / "clone")
    assert (clone / "steps.py").read_text() == "changed\n"
    git(clone, "reset", "-q", "--hard")
    git(clone, "apply", "--index", "-", given=content)
    assert later in git(clone, "ls-files", "-s", "moved")


@pytest.mark.parametrize("mode", ["true", "input"])
def test_line_endings_are_those_of_a_commit(tmp_path, mode):
    ending = "\r\n" if mode == "true" else "\n"
    top = tmp_path / "top"
    top.mkdir()
    git(top, "init", "-q")
    git(top, "config", "core.autocrlf", mode)
    write(top, {"a.txt": f"one{ending}two{ending}"})
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "first")
    write(top, {"a.txt": f"one{ending}2{ending}", "new.txt": f"x{ending}"})
    content, artifact = kept(context_of(top))
    assert b"\r" not in content
    assert files_of(applied(top, content, artifact, tmp_path / "clone", f"core.autocrlf={mode}")) == files_of(top)


def test_a_file_taken_from_the_index_and_a_folder_that_became_a_link(top, tmp_path):
    write(top, {"real/a.py": "a = 2\n"})
    shutil.rmtree(top / "folder")
    (top / "folder").symlink_to("real")
    git(top, "rm", "-q", "--cached", "gone.py", "run.sh")
    write(top, {"gone.py": "x = 2\n", ".gitignore": "*.log\nrun.sh\n"})
    content, artifact = kept(context_of(top))
    assert files_of(applied(top, content, artifact, tmp_path / "clone")) == files_of(top)


def test_a_merge_under_way(top, tmp_path):
    git(top, "switch", "-q", "-c", "other")
    for branch in ("other", "main"):
        git(top, "switch", "-q", branch)
        write(top, {"file": f"{branch}\n"})
        git(top, "commit", "-q", "-a", "-m", branch)
    subprocess.run(["git", "-C", top, *IDENTITY, "merge", "-q", "other"], capture_output=True, check=False)
    assert b"<<<<" in (top / "file").read_bytes()
    content, artifact = kept(context_of(top))
    assert files_of(applied(top, content, artifact, tmp_path / "clone")) == files_of(top)


def test_a_patch_that_cannot_be_made_is_a_warning(top, monkeypatch, caplog):
    write(top, {"steps.py": "changed\n"})
    real = patch.ask
    monkeypatch.setattr(patch, "ask", lambda *given, **more: None if "read-tree" in given else real(*given, **more))
    with caplog.at_level(logging.WARNING):
        assert capture_patch(context_of(top), [top], git(top, "rev-parse", "HEAD").decode().strip()) is None
    assert "git read-tree failed" in caplog.text


def test_an_operation_in_process_has_it(tmp_path):
    shop = build(tmp_path, "def work():\n    return 1\n")
    try:
        git(tmp_path, "init", "-q")
        run, *_ = record(shop.context, "task", "work", shop.module.work, inputs={}, parameters={})
        artifact = shop.context.ledger.artifact(run.tags["git.patch"])
        content = shop.context.blobs.read(artifact.files["changes.patch"].digest)
        assert f"+++ b/{shop.file.name}".encode() in content
        assert b".trivet" not in content
    finally:
        tidy(shop)


NAMES = st.sampled_from(["a.py", "b c.py", "d/e.py", "d/f", "d", "g/h/i", "g/h", 'q"\\.txt', "ü"])
CONTENT = st.binary(max_size=12) | st.lists(st.sampled_from([b"a\n", b"b\r\n", b"c", b"\n", b"d\0\n"])).map(b"".join)
EDIT = st.tuples(st.sampled_from(["write", "write", "remove", "stage", "unstage", "mode"]), NAMES, CONTENT)


def change(top, what, name, content):
    """One edit, where it is possible."""
    path = top / name
    if what == "write" and not path.is_dir() and not any(part.is_file() for part in path.parents):
        write(top, {name: content})
    elif what == "remove" and path.exists():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif what == "mode" and path.is_file():
        path.chmod(path.stat().st_mode ^ stat.S_IXUSR)
    elif what == "stage":
        git(top, "add", "-A")
    elif what == "unstage":
        git(top, "rm", "-r", "-f", "-q", "--cached", "--ignore-unmatch", "--", name)


@settings(max_examples=30, deadline=None)
@given(st.lists(EDIT, max_size=8), st.lists(EDIT, min_size=1, max_size=8))
def test_any_edits(committed, edits):
    with tempfile.TemporaryDirectory() as folder:
        top = repository(Path(folder).resolve() / "top", {})
        for each in committed:
            change(top, *each)
        git(top, "add", "-A")
        git(top, "commit", "-q", "--allow-empty", "-m", "second")
        for each in edits:
            change(top, *each)
        context = context_of(top)
        before = state(top)
        tags = git_tags(context, [top])
        assert state(top) == before
        if "git.patch" not in tags:
            git(top, "add", "-A")
            assert git(top, "status", "--porcelain") == b""
            return
        content, artifact = kept(context)
        assert files_of(applied(top, content, artifact, Path(folder) / "clone")) == files_of(top)
