"""A disk that fills up under a whole project: sentences, nothing half-written, and all is well when there is room."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import airport

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WORK = """
import sys
from tests import airport
from trivet.errors import TrivetError

try:
    with airport.opened({folder!r}) as project:
        project.define(*airport.views())
        made = project.training_set(airport.spine(), ["congestion:*", "weather:*"], time="t", label="late")
        project.execute(project.find_pipeline(project.root / "airport_full.py"), flights=made)
        project.materialize(until=airport.SPLIT)
except TrivetError as exc:
    sys.exit(str(exc))
print("done")
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk; limits on single files are tested beside the blobs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def work(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WORK.format(folder=str(folder))],
        env=airport.environment(), capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


@pytest.mark.parametrize("room", [8_000, 60_000, 300_000])
def test_a_full_disk_is_a_sentence_and_nothing_is_lost(disk: Path, room: int) -> None:
    airport.build(disk, "airport_full")
    with airport.opened(disk) as project:
        kept = project.training_set(airport.spine().head(30), airport.views(), time="t")
        content = kept.to_polars()
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast.write_bytes(bytes(free - room))
    done = work(disk)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr.splitlines()[0], done.stderr
    assert "full" in done.stderr or "No space" in done.stderr, done.stderr
    ballast.unlink()
    again = work(disk)
    assert again.stdout == "done\n", again.stderr
    with airport.opened(disk) as project:
        assert project.load(kept.artifact.id).to_polars().equals(content)
        for artifact in project.context.ledger.artifacts(limit=10_000):
            for file in artifact.files.values():
                assert len(project.context.blobs.read(file.digest)) == file.size  # reading verifies
        assert project.watermark(project.feature_view("congestion").view) == airport.SPLIT
