from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import polars as pl
import pytest

import trivet as tv
from trivet.errors import Invalid
from trivet.features import Entity, FeatureView, Source
from trivet.features.catalogue import Catalogue
from trivet.features.changes import differences
from trivet.features.sources import read, snapshots_of

ROWS = pl.DataFrame({"x": [1, 2]})


def counted():
    tally = Path(os.environ["TALLY"])
    with tally.open("a") as file:
        file.write("x")
    return ROWS.head(tally.stat().st_size)


def doubled(factor=2):
    return (ROWS * factor).to_pandas()


def raising():
    raise KeyError("the shop")


def listed():
    return [1, 2]


def nothing():
    return None


def asking(t):
    return ROWS.head(t)


def rows(function):
    source = Source("s", function)
    return read(source, ["x"], snapshots_of([source]))["x"].to_list()


def test_functions_are_called_whenever_rows_are_read_and_may_read_the_world(tmp_path, monkeypatch):
    monkeypatch.setenv("TALLY", str(tmp_path / "tally"))
    assert [rows(counted), rows(counted)] == [[1], [1, 2]]
    assert rows(doubled) == [2, 4]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (raising, r"function 'raising' of source 's' fails: KeyError: 'the shop'.*raise KeyError"),
        (listed, r"function 'listed' of source 's' answered is a list. Give a pandas"),
        (nothing, r"answered is a NoneType"),
    ],
)
def test_functions_that_fail_get_a_sentence(function, sentence):
    with pytest.raises(Invalid, match=sentence):
        rows(function)


def test_functions_that_cannot_travel_are_refused_when_they_are_declared():
    captured = ROWS

    def closed():
        return captured

    for function, sentence in [
        (lambda: ROWS, "cannot be stored. A lambda has no name"),
        (closed, "captures 'captured'"),
        (partial(doubled, factor=2), "Write one with def"),
        (asking, "takes the parameter 't'"),
        (len, "Write one with def"),
    ]:
        with pytest.raises(Invalid, match=sentence):
            Source("s", function)


def connected():
    return pl.read_database_uri("select 1 as x", "postgresql://ada:s3cret@host/shop")


def configured():
    return pl.read_database_uri("select 1 as x", f"postgresql://ada:{os.environ['SHOP']}@host/shop")


def test_a_password_in_the_text_of_a_function_is_refused_and_not_repeated():
    with pytest.raises(Invalid, match="holds a password in clear") as refused:
        Source("s", connected)
    assert "s3cret" not in str(refused.value)
    assert "SHOP" in Source("s", configured).function.text


def test_a_function_stands_in_the_declaration_and_comes_back_with_it():
    source = Source("s", doubled)
    again = Source.from_spec(source.to_spec())
    assert again == source
    assert source.data is None
    assert read(again, ["x"], snapshots_of([again]))["x"].to_list() == [2, 4]
    assert Source("s", doubled) != Source("s", listed)


def test_a_source_stored_before_functions_travelled_says_so():
    source = Source.from_spec({"name": "s", "entry": "shop:load"})
    with pytest.raises(Invalid, match=r"has no data.* Its function shop:load was not stored"):
        snapshots_of([source])


SHOP = """
import polars as pl
import trivet as tv
from prices import PRICE

def load_orders():
    return pl.DataFrame({{"customer": [42], "spent": [{factor} * PRICE]}})

view = tv.FeatureView("orders", entity=tv.Entity("customer"), source=tv.Source("orders", load_orders), features=["spent"])
with tv.open() as project:
    [listed] = project.define(view)
    print(listed.version)
"""


def test_another_process_without_the_files_reads_with_what_was_stored_and_an_edit_is_a_new_version(tmp_path):
    (tmp_path / "prices.py").write_text("PRICE = 7\n")
    for version, factor in (("1", 2), ("1", 2), ("2", 3)):
        (tmp_path / "shop.py").write_text(SHOP.format(factor=factor))
        done = subprocess.run([sys.executable, "shop.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.stderr) == (version, "")
    for name in ("shop.py", "prices.py"):
        (tmp_path / name).unlink()
    with tv.open(tmp_path) as project:
        catalogue = Catalogue(project.context)
        for reference, spent in (("orders", 21), ("orders@1", 14)):
            view = catalogue.get(reference)
            assert read(view.source, ["spent"], snapshots_of([view.source]))["spent"].to_list() == [spent]
        [first, second] = project.definition_versions("orders")
        [change] = differences(first.definition, second.definition)
    assert "the function that reads it differs" in str(change)
    assert "3 * PRICE" in change.diff


def test_what_a_function_needs_is_checked_in_a_clean_process_when_it_is_saved(context, tmp_path, monkeypatch):
    (tmp_path / "reads.py").write_text(
        "import sys\nsys.modules['only_here'] = sys\nimport only_here\ndef load():\n    return only_here.path\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import reads

    view = FeatureView("v", entity=Entity("c"), source=Source("s", reads.load), features=["x"])
    with pytest.raises(Invalid, match="does not run in a clean process"):
        Catalogue(context).apply(view)
