from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import Ambiguous, Invalid, NotFound
from trivet.ledger.references import Reference, parse, resolve
from trivet.ledger.stores.memory import MemoryStore
from trivet.testing.records import a_run, an_artifact

MODELS = [an_artifact(number, kind="model") for number in range(3)]
TABLE = an_artifact(7, kind="table")
RUN = a_run("01JCZ8W3T5Y7K9M2N4P6Q8R0S1")


@pytest.fixture
def ledger():
    store = MemoryStore()
    store.write(*MODELS, TABLE, RUN)
    for model in MODELS:
        store.point("model/delay", None, model.digest, by="ada")
    store.point("model/delay", "champion", MODELS[1].digest, by="ada")
    store.point("feature_view/congestion", None, TABLE.digest, by="ada")
    store.point("model/shadowed", "canary", MODELS[0].digest, by="ada")
    return store


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("training_set:3f2a9c01d4e5", Reference("id", kind="training_set", id="3f2a9c01d4e5")),
        ("  model:3F2A9C01D4E5\n", Reference("id", kind="model", id="3f2a9c01d4e5")),
        ("run:01JCZ8", Reference("id", kind="run", id="01JCZ8")),
        ("prediction:01JCZ8-7", Reference("id", kind="prediction", id="01JCZ8-7")),
        ("01JCZ8W3T5", Reference("id", id="01JCZ8W3T5")),
        ("f" * 64, Reference("id", id="f" * 64)),
        ("delay@champion", Reference("label", name="model/delay", label="champion")),
        ("late flights@2", Reference("label", name="model/late flights", label="2")),
        ("feature_view/congestion@3", Reference("label", name="feature_view/congestion", label="3")),
        ("model/delay", Reference("name", name="model/delay")),
    ],
)
def test_parse(text, reference):
    assert parse(text) == reference
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "@",
        "delay@",
        "@champion",
        "a@b@c",
        "Model:123456",
        "a:b:123456",
        "x/",
        "/x",
        "a/b/c",
        "model:",
        ":123456",
        "model:12/34",
        "a b",
        "🛫",
        "-rf",
        "../etc",
    ],
)
def test_what_is_no_reference_is_a_sentence(text):
    with pytest.raises(Invalid, match=r"not a reference.*Write KIND:ID"):
        parse(text)


@given(st.text(max_size=30) | st.from_regex(r"[a-z]{1,3}[:/@][a-zA-Z0-9@:/]{1,8}", fullmatch=True))
def test_any_text_is_read_or_refused_and_reads_back(text):
    try:
        reference = parse(text)
    except Invalid:
        return
    assert parse(str(reference)) == reference


def test_ids(ledger):
    assert resolve(ledger, MODELS[0].id) == MODELS[0]
    assert resolve(ledger, TABLE.digest) == TABLE
    assert resolve(ledger, TABLE.digest[:8].upper()) == TABLE
    assert resolve(ledger, f"run:{RUN.id}") == resolve(ledger, RUN.id[:8]) == RUN


def test_labels_and_names(ledger):
    assert resolve(ledger, "delay@champion") == MODELS[1]
    assert resolve(ledger, "delay@1") == resolve(ledger, "model/delay@1") == MODELS[0]
    assert resolve(ledger, "feature_view/congestion@1") == resolve(ledger, "feature_view/congestion") == TABLE
    assert resolve(ledger, "model/delay") == MODELS[2]


def test_the_newest_version_is_the_greatest_number(ledger):
    for label, model in (("10", MODELS[0]), ("9", MODELS[1])):
        ledger.point("model/many", label, model.digest, by="ada")
    assert resolve(ledger, "model/many") == MODELS[0]


def test_a_plain_name_means_what_is_in_force_under_it_else_the_newest_version(ledger):
    assert resolve(ledger, "delay") == MODELS[1]
    ledger.point("model/delay", "champion", None, by="ada")
    assert resolve(ledger, "delay") == MODELS[2]
    assert resolve(ledger, "congestion") == TABLE


def test_a_plain_name_of_two_kinds_names_both(ledger):
    ledger.point("feature_service/delay", None, TABLE.digest, by="ada")
    with pytest.raises(Ambiguous, match="feature_service/delay, model/delay"):
        resolve(ledger, "delay")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("delay@champoin", "Did you mean 'model/delay@champion'"),
        ("delay@9", "no label 'model/delay@9'.*model/delay@1"),
        ("dealy@champion", "Did you mean 'model/delay'"),
        ("model/nothing_like_it", "There are: model/delay, model/shadowed"),
        ("table/nothing_like_it", "feature_view/congestion"),
        ("model/shadowed", "no version of 'model/shadowed'.*model/shadowed@canary"),
        ("dely", "Did you mean 'delay'"),
        ("unheard-of", "no artifact, run or name 'unheard-of'"),
        ("f4", "needs 6 characters at least"),
        ("model:f4", "no model 'f4'. That is too short: the beginning of an id needs 6 characters"),
        ("model:000000000000", "no model '000000000000'. The newest are: model:"),
        ("sculpture:000000000000", "Nothing of kind 'sculpture'"),
        (f"model:{TABLE.digest[:12]}", f"It is a table: {TABLE.id}"),
        ("prediction:01JCZ8AAAA", "no prediction '01JCZ8AAAA'"),
        ("run:01AAAAAA", "no run '01AAAAAA'"),
    ],
)
def test_what_does_not_exist_offers_what_does(ledger, text, says):
    with pytest.raises(NotFound, match=says):
        resolve(ledger, text)


def test_a_label_taken_away_is_not_found(ledger):
    ledger.point("model/delay", "champion", None, by="ada")
    with pytest.raises(NotFound, match="no label 'model/delay@champion'"):
        resolve(ledger, "delay@champion")


def test_an_empty_ledger_says_so():
    with pytest.raises(NotFound, match="No names are given yet"):
        resolve(MemoryStore(), "delay@champion")


def test_a_prefix_that_fits_a_run_and_an_artifact(ledger):
    ledger.write(a_run(MODELS[0].digest[:12]))
    with pytest.raises(Ambiguous, match=r"fits several things: model:.*, run:"):
        resolve(ledger, MODELS[0].digest[:8])
    assert resolve(ledger, f"model:{MODELS[0].digest[:8]}") == MODELS[0]
