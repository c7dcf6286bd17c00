"""What git says about a folder is asked without a trace."""

import subprocess

from trivet.pipelines.git import ask, git_facts


def git(folder, *arguments):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout


def test_git_facts(tmp_path):
    assert git_facts(tmp_path) == {}
    git(tmp_path, "init", "-q", "-b", "main")
    assert git_facts(tmp_path) == {"git.branch": "main", "git.dirty": "false"}
    (tmp_path / "a b.txt").write_text("1")
    (tmp_path / "gone.txt").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "remote", "add", "origin", "https://ada:token@example.org/team/project.git")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    clean = {
        "git.commit": commit,
        "git.branch": "main",
        "git.remote": "https://example.org/team/project.git",
        "git.dirty": "false",
    }
    assert git_facts(tmp_path) == clean
    (tmp_path / "a b.txt").write_text("2")
    (tmp_path / "gone.txt").unlink()
    (tmp_path / "new.txt").write_text("2")
    assert git_facts(tmp_path) == clean | {"git.dirty": "true", "git.changed": "a b.txt\ngone.txt\nnew.txt"}


def test_without_git_there_is_no_answer(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask(tmp_path, "status") is None
    assert git_facts(tmp_path) == {}
