"""Files and folders come back as they were, and neither way leads outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.errors import Corrupt, Invalid
from trivet.ledger import Artifact
from trivet.pipelines import values


def contents(root: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    }


NAMES = st.lists(st.sampled_from(["a", "b c", "ü", ".hidden"]), min_size=1, max_size=3).map("/".join)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, st.none() | st.binary(max_size=20), max_size=5))
def test_folders_come_back(context, tmp_path_factory, files):
    root = tmp_path_factory.mktemp("folder")
    for name, content in sorted(files.items()):
        path = root / f"{name}.d" if content is None else root / name
        if any(parent.is_file() for parent in path.parents) or path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if content is None else path.write_bytes(content)
    artifact = values.save(root, context)
    assert contents(values.load(artifact, context.blobs)) == contents(root)


def test_a_single_file_keeps_its_name(context, tmp_path):
    (tmp_path / "report.html").write_text("<p>")
    again = values.load(values.save(tmp_path / "report.html", context), context.blobs)
    assert (again.name, again.read_text()) == ("report.html", "<p>")


def test_each_load_is_a_copy_of_its_own(context, tmp_path):
    (tmp_path / "a.txt").write_text("1")
    artifact = values.save(tmp_path / "a.txt", context)
    first = values.load(artifact, context.blobs)
    first.write_text("2")
    assert values.load(artifact, context.blobs).read_text() == "1"


def test_identity_is_names_and_bytes(context, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("1")
    assert values.save(tmp_path / "one", context).digest == values.save(tmp_path / "two", context).digest
    (tmp_path / "two/x").rename(tmp_path / "two/y")
    assert values.save(tmp_path / "one", context).digest != values.save(tmp_path / "two", context).digest


def test_links(context, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "real").write_text("1")
    (root / "link").symlink_to("real")
    assert contents(values.load(values.save(root, context), context.blobs)) == {"real": b"1", "link": b"1"}
    (tmp_path / "secret").write_text("2")
    (root / "escape").symlink_to(tmp_path / "secret")
    with pytest.raises(Invalid, match="outside"):
        values.save(root, context)


def test_what_does_not_exist_is_a_sentence(context, tmp_path):
    with pytest.raises(Invalid, match="neither a file nor a folder"):
        values.save(tmp_path / "nowhere", context)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_names_cannot_lead_outside(context, tmp_path, name):
    artifact = Artifact.of("folder", {"form": "folder"}, {name: context.blobs.put(b"x")}, created=context.clock())
    with pytest.raises(Corrupt, match="outside"):
        values.load(artifact, context.blobs)
