"""The documentation is true: its blocks run, its links lead somewhere, its reference is what the code says."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs import generate
from tests.pages import Block, blocks, commands

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
TO_RUN = [page for page in PAGES if "design" not in page.parts]  # design pages argue; their code is not for use
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "changelog.d").glob("*.md"))]
ELSEWHERE = ROOT / "src/trivet/features/engines/spark.py"  # needs PySpark: see tests/stories/spark
MODULES = sorted(
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "src").rglob("*.py")
    if path.name != "__main__.py" and path != ELSEWHERE
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)[^)]*\)|!\[[^\]]*\]\((?P<image>[^)\s]+)[^)]*\)")
HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *#*$", re.MULTILINE)
FENCED = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2 *$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def does_something(page: Path) -> bool:
    return any(block.action != "show" for block in blocks(page))


@pytest.mark.parametrize("page", [page for page in TO_RUN if does_something(page)], ids=name)
def test_a_page_runs_as_written_in_an_empty_folder(page: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TRIVET_", "PYTEST_"))}
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "PYTHONWARNINGS": "error::DeprecationWarning:__main__",
    }
    folder = tmp_path / "empty"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "pages.py"), str(page)],
        check=False,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_that_is_not_executed_says_why(page: Path) -> None:
    silent = [f"{name(page)}:{block.line}" for block in blocks(page) if block.reason == ""]
    assert not silent, "write <!-- not executed: REASON -->"


@pytest.mark.parametrize("page", [page for page in LINKED if page.exists()], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text("utf-8"))
    broken = []
    for match in LINK.finditer(text):
        target = match["target"] or match["image"]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or not found.is_relative_to(ROOT) or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert not broken


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to headings: lower case, words joined by hyphens, repeated ones numbered."""
    given: dict[str, int] = {}
    for match in HEADING.finditer(FENCED.sub("", page.read_text("utf-8"))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match["text"]).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        given[slug] = given.get(slug, -1) + 1
        if given[slug]:
            given[f"{slug}-{given[slug]}"] = 0
    return set(given)


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, waiting = set(), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        targets = (match["target"] for match in LINK.finditer(page.read_text("utf-8")))
        waiting += [(page.parent / target.partition("#")[0]).resolve() for target in targets if target]
    lost = sorted(name(page) for page in set(DOCS) - reached)
    assert not lost, "run `make docs` and link these pages"


@pytest.mark.parametrize("page", sorted(generate.pages()), ids=name)
def test_generated_pages_say_what_the_code_says(page: Path) -> None:
    assert page.read_text("utf-8") == generate.pages()[page], "run `make docs` and commit what it wrote"


QUOTED = re.compile(r"quoted from (?P<file>[\w./-]+)")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_is_quoted_from_a_file_stands_there(page: Path) -> None:
    for block in blocks(page):
        if match := QUOTED.match(block.reason or ""):
            text = (ROOT / match["file"]).read_text("utf-8")
            wrong = [line for line in block.code.splitlines() if line.strip() not in text]
            assert not wrong, f"{name(page)}:{block.line} does not say what {match['file']} says"


def test_every_public_name_is_used_or_explained_in_a_page_that_people_read() -> None:
    import trivet

    written = "\n".join(page.read_text("utf-8") for page in PAGES if "reference" not in page.parts)
    public = [each for each in getattr(trivet, "__all__", []) if not each.startswith("_")]
    assert [each for each in public if not re.search(rf"\b{re.escape(each)}\b", written)] == []


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


PAGE = """# Title

Text with a `span`.

```python
x = 1
```

<!-- not executed: it would never end -->
```console
$ trivet serve delay
```

1. In a list
   ```python
   y = x + \\
       1
   ```

```python
# steps/fit.py
z = 1
```

```console
$ trivet runs \\
    --json
a line of output
$ pip install trivet
```
<!-- not executed -->
```python
never
```
"""


class TestPages:
    """The player itself."""

    def test_blocks_with_their_lines_and_reasons(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text(PAGE)
        first, second, third, fourth, fifth, sixth = blocks(page)
        assert first == Block(6, "python", "x = 1\n")
        assert (second.action, second.reason) == ("show", "it would never end")
        assert (third.code, third.action) == ("y = x + \\\n    1\n", "execute")
        assert (fourth.action, fourth.file) == ("save", "steps/fit.py")
        assert commands(fifth) == ["trivet runs --json"]
        assert sixth.reason == ""

    def play(self, page: Path, text: str) -> subprocess.CompletedProcess[str]:
        page.write_text(text)
        folder = page.parent / "here"
        folder.mkdir()
        command = [sys.executable, str(ROOT / "tests" / "pages.py"), str(page)]
        return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)

    def test_a_page_is_played_in_order_with_files_and_commands(self, tmp_path: Path) -> None:
        done = self.play(
            tmp_path / "page.md",
            "```python\n# steps.py\ndef five(): return 5\n```\n```python\nimport steps, inspect\nx = steps.five()\n"
            'def f():\n    return x\n```\n```console\n$ python -c \'open("made", "w").write("by a command")\'\n```\n'
            "```python\nassert open('made').read() == 'by a command' and x == 5 and __name__ == '__main__'\n"
            "assert inspect.getsource(f) == 'def f():\\n    return x\\n'\n```\n",
        )
        assert done.returncode == 0, done.stderr

    def test_a_block_or_a_command_that_fails_fails_the_page_at_its_line(self, tmp_path: Path) -> None:
        done = self.play(tmp_path / "page.md", "Words.\n\n```python\nx = 1\nassert x == 2\n```\n")
        assert done.returncode == 1
        assert "line 5" in done.stderr
        (tmp_path / "second").mkdir()
        done = self.play(tmp_path / "second" / "page.md", "```console\n$ python -c 'import sys; sys.exit(3)'\n```\n")
        assert done.returncode == 1
        assert "left with 3" in done.stderr
