"""The walk leaves out what git leaves out: git itself is the oracle."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.pipelines.gitignore import is_aside, walk

NAMES = ["a", "b.py", "c.log", "[x]", "d e"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
PIECES = st.sampled_from(["a", "b.py", "*", "*.log", "?", "**", "[ab]*", "[!a]", "d e", "*.p?", "\\[x]", "[x]"])
PATTERNS = st.builds(
    lambda take_back, anchor, pieces, folder: take_back + anchor + "/".join(pieces) + folder,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "/"]),
)


def listed_by_git(root):
    command = ["git", "-C", root, "ls-files", "--others", "--exclude-standard", "-z"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in found.split("\0") if name)


@settings(max_examples=40, deadline=None)
@given(
    paths=st.lists(PATHS, min_size=1, max_size=6),
    top=st.lists(PATTERNS, max_size=3),
    inner=st.lists(PATTERNS, max_size=2),
)
def test_the_walk_agrees_with_git(tmp_path_factory, paths, top, inner):
    root = tmp_path_factory.mktemp("root")
    subprocess.run(["git", "init", "-q", root], check=True)
    for name in paths:
        path = root / name
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    (root / ".gitignore").write_text("".join(f"{line}\n" for line in top))
    if (root / "a").is_dir():
        (root / "a" / ".gitignore").write_text("".join(f"{line}\n" for line in inner))
    assert sorted(walk(root)) == listed_by_git(root)


@pytest.mark.parametrize("name", [".venv/x.py", "pkg/__pycache__/x.pyc", "lib.egg-info/PKG-INFO", ".git/config"])
def test_what_is_aside(name):
    assert is_aside(name)
    assert not is_aside("pkg/module.py")
