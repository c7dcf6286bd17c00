"""Who uses what, from bare records of the ledger; how it plays together with real models is in ``test_plan``."""

from __future__ import annotations

import pytest

from trivet.clock import new_id
from trivet.features import Entity, FeatureView, Source, latest
from trivet.features.catalogue import Catalogue
from trivet.features.usage import Usage
from trivet.ledger import Artifact, Run
from trivet.pipelines.recording import process_tags


def weather(column="temp"):
    source = Source("w", "w.parquet", event_time="hour")
    return FeatureView(
        "weather", entity=Entity("place"), source=source, features={"temp": latest(column), "wind": latest("wind")}
    )


def run(context, kind, **facts):
    now = context.clock()
    about = {"name": kind, "status": "finished", "host": context.host, **facts}
    made = Run(id=new_id(context.clock), kind=kind, started=now, **about)
    context.ledger.write(made)
    return made


def kept(context, kind, **spec):
    artifact = Artifact.of(kind, spec, created=context.clock())
    context.ledger.write(artifact)
    return artifact


@pytest.fixture
def model(context):
    """One model fitted on one of two training sets of version 1, of which only the temperature is an input."""
    Catalogue(context).apply(weather())
    view = weather().digest
    for number in range(2):
        train = kept(context, "training_set", number=number)
        asked = {"features": ["weather:temp", "weather:wind"]}
        run(context, "training_set", inputs={"views.weather": view}, outputs={"result": train.digest}, parameters=asked)
    column = {"name": "temp", "type": "float", "feature": "weather:temp", "view": view}
    return kept(context, "model", training_set=train.digest, signature={"inputs": [column]})


def test_a_model_uses_what_its_signature_names(context, model):
    users = Usage(context).of("weather")
    assert [(use.kind, use.features, use.version) for use in users.uses] == [
        ("model", ("temp",), 1), ("training_set", ("temp", "wind"), 1), ("training_set", ("temp", "wind"), 1),
    ]  # fmt: skip
    assert [use.kind for use in users.reading(["wind"]).uses] == ["training_set"] * 2
    assert (users.uses[0].name, users.uses[0].alive) == (model.id, False)
    assert users.uses[0].through in {use.id for use in users.of("training_set")}
    assert str(users) == "1 model, 2 training sets"


def test_an_alias_makes_a_model_alive(context, model):
    context.ledger.point("model/delay", None, model.digest, by="ada")
    assert Usage(context).of("weather").alive == []
    context.ledger.point("model/delay", "champion", model.digest, by="ada")
    [use] = Usage(context).of("weather").alive
    assert str(use) == "model delay@1 (version 1, champion)"


def test_deployments_and_the_versions_that_they_need(context, model):
    def serve(**facts):
        return run(context, "serve", inputs={"model": model.digest}, **facts)

    gone = {"pid": "4194305", "pid_started": "1"}
    answering = serve(status="running", tags=process_tags())
    serve(status="running", tags=gone)
    serve(status="failed")
    run(context, "retire", parent=serve().id)
    states = [use.state for use in Usage(context).of("weather").of("deployment")]
    assert sorted(states) == ["alive", "failed", "retired", "stopped"]
    assert [use.id for use in Usage(context).of("weather").alive] == [answering.id]
    assert Usage(context).served() == []
    Catalogue(context).apply(weather("other"))
    assert Usage(context).served() == ["weather@1"]
    assert {use.version for use in Usage(context).of("weather").of("deployment")} == {1}


def test_the_same_set_made_twice_is_one_user(context, model):
    [first, _] = context.ledger.runs()[:2]
    run(context, "training_set", inputs=first.inputs, outputs=first.outputs, parameters=first.parameters)
    assert len(Usage(context).of("weather").of("training_set")) == 2


def test_feature_servers_use_what_they_answer_with(context):
    Catalogue(context).apply(weather())
    asked = {"features": ["weather:temp"], "services": [], "address": "http://127.0.0.1:1"}
    about = {"inputs": {"views.weather": weather().digest}, "parameters": asked, "name": "weather"}
    answering = run(context, "serve_features", status="running", tags=process_tags(), **about)
    run(context, "serve_features", status="running", tags={"pid": "4194305", "pid_started": "1"}, **about)
    run(context, "serve_features", **about | {"inputs": {"views.other": weather().digest}})
    servers = Usage(context).of("weather").of("feature_server")
    assert [(use.state, use.features, use.version) for use in servers] == [
        ("stopped", ("temp",), 1), ("alive", ("temp",), 1)
    ]  # fmt: skip
    [use] = Usage(context).of("weather").alive
    assert (use.id, str(use)) == (answering.id, "feature server weather (version 1, alive)")
    assert Usage(context).served() == []
    Catalogue(context).apply(weather("other"))
    assert Usage(context).served() == ["weather@1"]
