"""The page about monitoring runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "monitoring.md"


def test_the_blocks_run_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.S)
    assert len(blocks) == 6
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "delay@3 has made no prediction since it was deployed; one is expected every 1d." in printed
    assert "05 January: 144 of 144 matured have a label" in printed


def test_every_metric_is_on_the_page() -> None:
    source = (Path(__file__).parents[2] / "src" / "trivet" / "monitoring" / "metrics.py").read_text("utf-8")
    names = set(re.findall(r'"(trivet_[a-z_]+)"', source))
    assert names
    assert {name for name in names if name not in PAGE.read_text("utf-8")} == set()
