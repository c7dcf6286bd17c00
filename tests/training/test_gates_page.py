"""The page about gates runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import trivet
from trivet.training import fit, gates

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "gates.md"
NAMES = ("Gate", "at_least", "at_most", "better_than", "not_worse_than", "slices", "judge")


def test_the_blocks_run_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trivet, "fit", fit.fit, raising=False)
    for name in NAMES:
        monkeypatch.setattr(trivet, name, getattr(gates, name), raising=False)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.S)
    assert len(blocks) == 2
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {})
    assert "Gate delay: PASS" in capsys.readouterr().out
