"""What is installed is read from its metadata, without importing any of it."""

from __future__ import annotations

import importlib.metadata

import pytest

from trivet.pipelines import distributions
from trivet.pipelines.distributions import installed, normalised, versions_for


@pytest.fixture
def fresh():
    """Nothing remembered, before and after."""
    caches = [function for function in vars(distributions).values() if hasattr(function, "cache_clear")]
    [function.cache_clear() for function in caches]
    yield
    [function.cache_clear() for function in caches]


def test_names_and_versions_agree_with_the_metadata():
    expected = {normalised(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()}
    assert {name: one.version for name, one in installed().items()} == expected


def test_requirements_are_followed_and_extras_only_if_asked():
    found = versions_for(["httpx"])
    assert {"httpx", "httpcore", "anyio", "idna", "certifi", "h11"} <= found.keys()
    assert "rich" not in found  # an extra of httpx that nothing asks for


def test_without_packaging_every_requirement_counts(fresh, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "packaging.requirements", None)
    found = versions_for(["httpx"])
    assert {"httpx", "httpcore", "rich"} <= found.keys()


def test_a_module_of_no_distribution_is_known_by_its_source(fresh, tmp_path, monkeypatch):
    (tmp_path / "loose_module.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = versions_for(["loose_module"])["loose_module"]
    assert before.startswith("source+")
    distributions._loose_version.cache_clear()
    (tmp_path / "loose_module.py").write_text("x = 2\n")
    assert versions_for(["loose_module"])["loose_module"] != before


def test_an_editable_distribution_is_known_by_version_and_source(fresh, tmp_path, monkeypatch):
    package = tmp_path / "checkout/src/libby"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1\n")
    info = tmp_path / "site/libby-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: libby\nVersion: 1.0\n")
    (info / "RECORD").write_text("libby.pth,,\n")
    (tmp_path / "site/libby.pth").write_text(f"{package.parent}\n")
    (info / "direct_url.json").write_text(f'{{"url": "file://{tmp_path}/checkout", "dir_info": {{"editable": true}}}}')
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert installed()["libby"].packages == (package,)
    before = versions_for(["libby"])["libby"]
    assert before.startswith("1.0+")
    (package / "__init__.py").write_text("x = 2\n")
    distributions._version.cache_clear()
    assert versions_for(["libby"])["libby"] != before
