from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

import trivet as tv
from trivet.errors import Invalid, NotFound
from trivet.features.on_demand import OnDemand

SOURCE = tv.Source("s", event_time="e")
CONGESTION = tv.FeatureView(
    "congestion",
    entity=tv.Entity("origin"),
    source=SOURCE,
    features={"delay": tv.mean("d", "1h"), "last": tv.latest("d")},
)


def ratio(delay, wind, minute):
    """Delay for each knot.

    Owner: ada
    """
    return {"per_wind": delay / wind, "late": minute > 60}


def declared(function=ratio, **options):
    chosen = {"inputs": [CONGESTION, "weather:wind"], "request": {"minute": "int"}, **options}
    return tv.on_demand(**chosen)(function)


def test_names_and_types_are_fixed_when_it_is_declared():
    view = declared()
    assert view.outputs == {"per_wind": "float", "late": "bool"}
    assert [(each.parameter, each.reference, each.type) for each in view.inputs] == [
        ("delay", "congestion:delay", "number"),
        ("wind", "weather:wind", "number"),
    ]
    assert (view.description, view.owner) == ("Delay for each knot.", "ada")


def test_it_comes_back_from_its_declaration_without_the_code():
    view = declared()
    again = OnDemand.from_spec(view.to_spec())
    assert again == view
    assert again.digest == view.digest
    columns = {"delay": np.array([4.0]), "wind": np.array([2.0]), "minute": np.array([np.nan])}
    assert again.compute(columns)["per_wind"].tolist() == [2.0]
    again.check()


def test_the_digest_is_a_promise():
    assert declared().digest == declared().digest
    assert declared().digest != declared(request={"minute": "float"}).digest


def test_what_is_not_finite_is_null():
    view = declared()
    columns = {name: np.array([1.0, 1.0]) for name in ("delay", "minute")} | {"wind": np.array([0.0, np.nan])}
    assert np.isnan(view.compute(columns)["per_wind"]).all()


def typed(last: str, since: datetime):
    return {"text": np.array([f"{a}!" for a in last], object), "hours": since.astype("datetime64[h]")}


def test_text_and_times_are_annotated_or_asked_for():
    view = declared(typed, inputs=[CONGESTION, "w:since"], request={})
    assert [each.type for each in view.inputs] == ["text", "time"]
    assert view.outputs == {"text": "string", "hours": "time"}


def lengths(last):
    return {"n": np.array([len(a) for a in last]), "up": np.char.upper(last.astype(str))}


def test_types_that_empty_arrays_cannot_say_are_given():
    view = declared(lengths, request={}, outputs={"n": "int"})
    assert view.outputs == {"n": "int", "up": "string"}
    answer = view.compute({"last": np.array(["a", "bc"], object)})
    assert {name: values.tolist() for name, values in answer.items()} == {"n": [1, 2], "up": ["A", "BC"]}
    with pytest.raises(Invalid, match=r"output 'n'|Output 'n'.*float when it was declared|is of type"):
        declared(lengths, request={}, outputs={"n": "time"}).compute({"last": np.array(["a"], object)})


def unknown(delya):
    return {"x": delya}


def nothing():
    return {}


def scalar(delay):
    return {"x": delay.sum()}


def listed(delay):
    return [delay]


def broken(delay):
    return {"x": delay[3]}


def shared(delay):
    return {"x": delay}


def stars(*delay):
    return {"x": delay[0]}


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        (unknown, {"request": {}}, "for the parameter 'delya'. Did you mean 'delay'"),
        (nothing, {"request": {}}, "takes nothing"),
        (scalar, {"request": {}}, "one value for each row"),
        (listed, {"request": {}}, "Return a dict"),
        (broken, {"request": {}}, r"fails on empty arrays: IndexError.*in the line `return \{\"x\": delay\[3\]\}`"),
        (shared, {"request": {}, "inputs": [CONGESTION, "w:delay"]}, "may be congestion:delay or w:delay"),
        (stars, {"request": {}}, "Name each input"),
        (ratio, {"request": {"minute": "integer"}}, "Did you mean"),
        (ratio, {"request": {"minute": "int", "hour": "int"}}, "asks for 'hour' and has no such parameter"),
        (shared, {"request": {}, "inputs": [3]}, "no input of 'shared'"),
        (shared, {"request": {}, "outputs": {"y": "int"}}, "no output of 'shared' called 'y'"),
        (shared, {"request": {}, "inputs": ["v:*", "w:*"]}, "Name it in inputs"),
    ],
)
def test_bad_declarations_get_a_sentence(function, options, sentence):
    with pytest.raises((Invalid, NotFound), match=sentence):
        declared(function, **options)


def fragile(delay):
    share = 1 / len(delay) if len(delay) else 0
    if share == 1:
        raise ValueError("one row only.")
    return {"x": delay * 2}


def short(delay):
    return {"x": delay[1:]}


def test_errors_of_the_function_become_a_sentence_with_its_line():
    view = declared(fragile, request={})
    with pytest.raises(Invalid, match=r"'fragile' fails: ValueError: one row only in the line `raise ValueError"):
        view.compute({"delay": np.array([1.0])})
    with pytest.raises(Invalid, match=r"shape \(1,\) for 2 rows"):
        declared(short, request={}).compute({"delay": np.zeros(2)})


def test_a_wildcard_takes_the_parameters_that_nothing_else_is():
    view = declared(inputs=[CONGESTION, "weather:*"])
    assert view.inputs[1].reference == "weather:wind"


def doubled(shared__x):
    return {"y": shared__x * 2}


def test_on_demand_views_are_inputs_of_others():
    first = declared(shared, request={})
    second = declared(doubled, request={}, inputs=[first])
    assert [each.reference for each in second.inputs] == ["shared:x"]
    assert second.given == (first,)
