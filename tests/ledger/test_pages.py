"""The pages about the ledger run as they are written."""

from __future__ import annotations

import re
from pathlib import Path

from trivet.digest import canonical

DOCS = Path(__file__).parents[2] / "docs"


def test_the_concept_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "concepts" / "ledger.md").read_text("utf-8"), re.M | re.S)
    assert blocks
    exec("\n".join(blocks), {})


def test_the_examples_of_the_encoding_are_true():
    page = (DOCS / "design" / "identity.md").read_text("utf-8")
    for value in (None, True, -12, 1.0, "é", b"ab", [1, 2], {"a": 2}, {1, 2}):
        assert f"| `{canonical(value).decode()}` |" in page
