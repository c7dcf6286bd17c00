from __future__ import annotations

import sys
from importlib import metadata
from importlib.metadata import EntryPoint

import pytest

from trivet.errors import ConfigError, MissingExtra
from trivet.ledger.blobs.memory import MemoryBlobs
from trivet.plugins import BUILTIN, load, open_url


@pytest.mark.parametrize(
    ("group", "scheme"), [(group, scheme) for group in ("ledger", "blobs") for scheme in BUILTIN[group]]
)
def test_the_engines_of_the_ledger_are_there(group, scheme):
    assert callable(load(group, scheme))


def test_open_url(tmp_path):
    assert isinstance(open_url("blobs", "memory:", tmp_path), MemoryBlobs)
    open_url("ledger", "sqlite:///x.db", tmp_path).close()
    assert (tmp_path / "x.db").is_file()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlit:///x", "called 'sqlit'. Did you mean 'sqlite'"),
        ("postgres://u:secret@h/d", "Did you mean 'postgresql'"),
        ("oracle://u:secret@h/d", "There are: memory, postgresql"),
        ("", "called ''. There are"),
    ],
)
def test_a_scheme_that_nobody_knows(tmp_path, url, says):
    with pytest.raises(ConfigError, match=says) as caught:
        open_url("ledger", url, tmp_path)
    assert "secret" not in str(caught.value)


def test_an_engine_from_outside(tmp_path, monkeypatch):
    point = EntryPoint("carrier-pigeon", "trivet.ledger.blobs.memory:open_blobs", "trivet.blobs")
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [point] if group == "trivet.blobs" else [])
    assert isinstance(open_url("blobs", "carrier-pigeon://loft", tmp_path), MemoryBlobs)
    with pytest.raises(ConfigError, match="Did you mean 'carrier-pigeon'"):
        load("blobs", "carrier-pidgeon")


def test_ours_come_before_those_from_outside(monkeypatch):
    point = EntryPoint("memory", "nowhere:nothing", "trivet.blobs")
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [point])
    assert load("blobs", "memory").__module__ == "trivet.ledger.blobs.memory"


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.delitem(sys.modules, "trivet.ledger.blobs.s3", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtra, match=r"blobs 's3' needs the package 'obstore': pip install 'trivet\[s3\]'"):
        load("blobs", "s3")


def test_a_mistake_of_ours_is_not_called_a_missing_library(monkeypatch):
    monkeypatch.setitem(BUILTIN["blobs"], "broken", ("trivet.no_such_module:opener", "s3"))
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as caught:
        load("blobs", "broken")
    assert not isinstance(caught.value, MissingExtra)


def test_spark_is_an_extra_that_nothing_brings_by_itself(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    for url in ("spark:local[2]", "spark://host:7077", "sc://host:15002"):
        monkeypatch.delitem(sys.modules, "trivet.features.engines.spark", raising=False)
        with pytest.raises(MissingExtra, match=r"needs the package 'pyspark.*pip install 'trivet\[spark\]'"):
            open_url("engine", url, tmp_path)
