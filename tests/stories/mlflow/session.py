"""What people do with the ``mlflow`` client, told as JSON without ids and times: run against any tracking server.

``python session.py URI OUT`` in an environment that has MLflow 3.17.2, scikit-learn and pandas. What it prints must be the
same for Trivet's server and for MLflow's own.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

TOLD: dict[str, Any] = {}
_IDS = re.compile(r"m-[0-9a-f]{32}|[0-9a-f]{32}|mlflow-artifacts:/[0-9]+|(?<=id=)[0-9]+")


def tell(name: str, value: Any) -> None:
    text = json.dumps(value, default=str, sort_keys=True)
    TOLD[name] = json.loads(_IDS.sub("ID", text))


def refused(name: str, call: Any) -> None:
    try:
        call()
    except MlflowException as exc:
        tell(name, [exc.error_code, _IDS.sub("ID", exc.message.split("\n")[0].partition(" Error: ")[0])[:120]])
    else:
        tell(name, "accepted")


def experiments(client: MlflowClient) -> str:
    id_ = client.create_experiment("flights/2013: 'ö' 🛫", tags={"team": "a"})
    refused("experiment twice", lambda: client.create_experiment("flights/2013: 'ö' 🛫"))
    client.set_experiment_tag(id_, "stage", "one")
    found = client.get_experiment_by_name("flights/2013: 'ö' 🛫")
    tell("experiment", [found.name, found.lifecycle_stage, found.tags, found.experiment_id == id_])
    tell("no experiment", client.get_experiment_by_name("nothing"))
    refused("no such experiment", lambda: client.get_experiment("999999"))
    refused("no number", lambda: client.get_experiment("abc"))
    other = client.create_experiment("other")
    client.rename_experiment(other, "another")
    client.delete_experiment(other)
    tell("deleted", client.get_experiment(other).lifecycle_stage)
    tell("deleted only", [one.name for one in client.search_experiments(view_type=ViewType.DELETED_ONLY)])
    client.restore_experiment(other)
    tell("names", [one.name for one in client.search_experiments()])
    tell("like", [one.name for one in client.search_experiments(filter_string="name ILIKE 'AN%'")])
    tell("by tag", [one.name for one in client.search_experiments(filter_string="tags.team = 'a'")])
    tell("ordered", [one.name for one in client.search_experiments(order_by=["name ASC"])])
    refused("default stays", lambda: client.get_experiment("0").name and None)
    return id_


def runs(client: MlflowClient, id_: str) -> list[str]:
    made = []
    for i in range(5):
        run = client.create_run(id_, run_name=f"run {i}", start_time=1000 + i, tags={"i": str(i), "odd": str(i % 2)})
        made.append(run.info.run_id)
        client.log_param(run.info.run_id, "depth", str(i))
        client.log_param(run.info.run_id, "rate", f"{i}.0")
        if i != 3:
            client.log_metric(
                run.info.run_id, "auc", [0.5, math.nan, math.inf, 0, -math.inf][i], step=1, timestamp=5000
            )
        client.set_terminated(run.info.run_id, "FAILED" if i == 4 else "FINISHED", end_time=9000 + i)
    first = made[0]
    client.log_metric(first, "late", 1.5, timestamp=1, step=0)
    refused("param changed", lambda: client.log_param(first, "depth", "7"))
    client.log_param(first, "depth", "0")
    client.log_batch(
        first,
        metrics=[Metric("loss", 1 / (i + 1), 7000 + i // 4, i % 3) for i in range(20)] + [Metric("loss", 1.0, 7000, 0)],
        params=[Param("solver", "lbfgs"), Param("empty", "")],
        tags=[RunTag("note", "ü\n🙂"), RunTag("mlflow.note.content", "text")],
    )
    refused("batch changes", lambda: client.log_batch(first, params=[Param("solver", "x"), Param("fresh", "1")]))
    told = client.get_run(first)
    tell("run", [told.info.status, told.info.run_name, told.info.start_time, told.info.end_time, told.data.params])
    tell("metrics", {key: repr(value) for key, value in told.data.metrics.items()})
    tell("tags", told.data.tags)
    history = client.get_metric_history(first, "loss")
    tell("history", sorted([one.timestamp, one.step, one.value] for one in history))
    tell("no history", client.get_metric_history(first, "nothing"))
    client.delete_tag(first, "note")
    refused("no tag", lambda: client.delete_tag(first, "note"))
    refused("no run", lambda: client.get_run("0" * 32))
    refused("bad name", lambda: client.log_metric(first, "a%b", 1.0))
    refused("climbs", lambda: client.log_param(first, "../x", 1))
    client.set_terminated(first, "KILLED")
    tell("killed", client.get_run(first).info.status)
    client.update_run(first, status="RUNNING")
    tell("runs again", client.get_run(first).info.status)
    client.update_run(first, status="FINISHED", name="renamed")
    tell("renamed", [client.get_run(first).info.run_name, client.get_run(first).data.tags["mlflow.runName"]])
    client.delete_run(made[2])
    refused("bin takes none", lambda: client.log_metric(made[2], "auc", 1.0))
    tell("without bin", [one.info.run_name for one in client.search_runs([id_])])
    tell("bin", [one.info.run_name for one in client.search_runs([id_], run_view_type=ViewType.DELETED_ONLY)])
    client.restore_run(made[2])
    return made


FILTERS = [
    "metrics.auc > 0.1", "metrics.auc != 0.5", "metrics.auc = 0.5", "metrics.auc <= 0", "metrics.`auc` >= 0.5",
    "params.depth = '3'", "params.rate = '3'", "params.rate = '3.0'", "params.depth != '3'", "params.solver != 'x'",
    "params.solver IS NULL", "params.solver IS NOT NULL", "tags.odd = '1' AND params.depth LIKE '%'",
    "tags.i ILIKE '_'", "tag.\"mlflow.runName\" = 'run 1'", "attributes.status = 'FAILED'", "status != 'FINISHED'",
    "attributes.start_time > 1002", "start_time <= 1001", "attribute.end_time = 9004", "created != 1000",
    "run_name LIKE 'run%'", "attributes.run_name = 'renamed'", "user_id = 'nobody'", "params.depth > '3'",
    "metrics.auc = 'x'", "params.depth = 3", "attributes.nothing = '1'", "foo.bar = '1'", "lifecycle_stage = 'active'",
    "metrics.auc > 0.1 OR metrics.auc < 0", "(metrics.auc > 0.1)", "NOT metrics.auc > 0", "metrics.auc IS NULL",
    "status IN ('FAILED')", "metrics.auc >", "and", "tags.i = '1' tags.i = '2'", "params.depth LIKE 'x_%'",
    "tags.i = ''", "  ", "metrics.auc > 1e-3", "metrics.auc > -1",
]  # fmt: skip
ORDERS = [
    ["metrics.auc ASC"], ["metrics.auc DESC"], ["params.depth DESC"], ["tags.odd ASC", "params.depth DESC"],
    ["attributes.start_time ASC"], ["run_name DESC"], ["end_time"], ["status DESC", "start_time ASC"],
    ["metrics.nothing DESC"], ["attributes.nothing"], ["metrics.auc sideways"], ["metrics.`auc` desc"],
]  # fmt: skip


def search(client: MlflowClient, id_: str) -> None:
    for text in FILTERS:
        try:
            found = client.search_runs([id_], filter_string=text)
            tell(f"filter {text}", [one.info.start_time for one in found])
        except MlflowException as exc:
            tell(f"filter {text}", exc.error_code)
    for order in ORDERS:
        try:
            tell(f"order {order}", [one.info.start_time for one in client.search_runs([id_], order_by=order)])
        except MlflowException as exc:
            tell(f"order {order}", exc.error_code)
    pages, token = [], None
    while True:
        found = client.search_runs([id_], max_results=2, page_token=token, order_by=["metrics.auc DESC"])
        pages.append([one.info.start_time for one in found])
        token = found.token
        if not token:
            break
    tell("pages", pages)
    ids = [one.info.run_id for one in client.search_runs([id_])][:2]
    listed = client.search_runs([id_], filter_string=f"attributes.run_id IN ('{ids[0]}', '{ids[1]}')")
    tell("in", [one.info.start_time for one in listed])
    tell("frame", sorted(mlflow.search_runs([id_]).columns))


def artifacts(client: MlflowClient, run: str, folder: Path) -> None:
    source = folder / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "a b.txt").write_text("hello")
    (source / "deep" / "er" / "ü.bin").write_bytes(bytes(range(256)) * 5000)
    client.log_artifacts(run, str(source), "things")
    client.log_text(run, "one", "text.txt")
    client.log_text(run, "two", "text.txt")
    client.log_dict(run, {"a": [1, 2]}, "d.json")
    client.log_table(run, {"x": [1, 2], "y": ["a", "b"]}, "t.json")
    tell("root", [[one.path, one.is_dir, one.file_size] for one in client.list_artifacts(run) if one.path != "t.json"])
    tell("things", [[one.path, one.is_dir, one.file_size] for one in client.list_artifacts(run, "things")])
    tell("file listed", [one.path for one in client.list_artifacts(run, "text.txt")])
    target = folder / "target"
    target.mkdir()
    client.download_artifacts(run, "", str(target))
    tell(
        "files",
        sorted([str(one.relative_to(target)), one.stat().st_size] for one in target.rglob("*") if one.is_file()),
    )
    tell("text", (target / "text.txt").read_text())
    tell("bytes", (target / "things/deep/er/ü.bin").read_bytes() == bytes(range(256)) * 5000)
    tell("dict", mlflow.artifacts.load_dict(f"runs:/{run}/d.json"))
    refused("no artifact", lambda: client.download_artifacts(run, "nothing.txt", str(target)))


def fluent(id_: str) -> None:
    mlflow.set_experiment(experiment_id=id_)
    with mlflow.start_run(run_name="parent") as parent:
        mlflow.log_params({"a": 1, "b": None})
        mlflow.log_metrics({"m": 1.0, "n": 2}, step=3)
        with mlflow.start_run(run_name="child", nested=True):
            mlflow.log_metric("m", 2.0)
        mlflow.log_table({"x": [1], "y": ["a"]}, "t.json")
        mlflow.log_table({"x": [2], "y": ["b"]}, "t.json")
    children = mlflow.search_runs([id_], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    tell("children", list(children["tags.mlflow.runName"]))
    with mlflow.start_run(run_id=parent.info.run_id):
        mlflow.log_metric("m", 5.0, step=9)
    tell("resumed", mlflow.get_run(parent.info.run_id).data.metrics)
    tell("resumed status", mlflow.get_run(parent.info.run_id).info.status)
    table = mlflow.load_table("t.json", run_ids=[parent.info.run_id])
    tell("table", sorted(map(list, table[["x", "y"]].itertuples(index=False))))
    try:
        with mlflow.start_run(run_name="broken"):
            raise RuntimeError
    except RuntimeError:
        pass
    tell("broken", mlflow.search_runs([id_], "attributes.run_name = 'broken'").status.tolist())


def learning(client: MlflowClient, id_: str) -> None:
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    target = (frame.a + frame.b > 0).astype(int)
    with mlflow.start_run(run_name="data") as run:
        data = mlflow.data.from_pandas(frame, name="frame", source="https://example.com/x.csv")
        mlflow.log_input(data, context="training", tags={"k": "v"})
    told = client.get_run(run.info.run_id).inputs.dataset_inputs[0]
    tell("dataset", [told.dataset.name, told.dataset.source_type, sorted([tag.key, tag.value] for tag in told.tags)])
    for text in ("datasets.name = 'frame'", "datasets.context = 'training'", "dataset.context != 'training'",
                 "datasets.name LIKE 'fr%'", "datasets.name IN ('x', 'frame')", "datasets.nothing = 'x'"):  # fmt: skip
        try:
            tell(f"filter {text}", [one.info.run_name for one in client.search_runs([id_], text)])
        except MlflowException as exc:
            tell(f"filter {text}", exc.error_code)
    mlflow.sklearn.autolog()
    with mlflow.start_run(run_name="fit") as run:
        model = LogisticRegression().fit(frame, target)
        model.score(frame, target)
    told = client.get_run(run.info.run_id)
    tell("autolog", [sorted(told.data.metrics), told.data.params, len(told.outputs.model_outputs)])
    with mlflow.start_run(run_name="grid") as run:
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(frame, target)
    children = client.search_runs([id_], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    tell("grid", [len(children), sorted(client.get_run(run.info.run_id).data.metrics)])
    mlflow.sklearn.autolog(disable=True)
    registry(client, id_, model, frame)


def registry(client: MlflowClient, id_: str, model: Any, frame: Any) -> None:
    with mlflow.start_run(run_name="log") as run:
        info = mlflow.sklearn.log_model(model, name="model", registered_model_name="delay", input_example=frame[:2])
        again = mlflow.sklearn.log_model(model, name="model", registered_model_name="delay")
    client.set_registered_model_alias("delay", "champion", 2)
    client.set_registered_model_alias("delay", "2026-best", "1")
    client.set_model_version_tag("delay", "1", "k", "v")
    client.set_registered_model_tag("delay", "team", "a")
    client.update_registered_model("delay", "about delays")
    client.update_model_version("delay", "1", "the first")
    expected = model.predict(frame).tolist()
    for uri in ("models:/delay@champion", "models:/delay/1", "models:/delay/latest", info.model_uri,
                f"runs:/{run.info.run_id}/model"):  # fmt: skip
        shown = re.sub("m-[0-9a-f]+|[0-9a-f]{32}", "ID", uri)
        tell(f"load {shown}", mlflow.sklearn.load_model(uri).predict(frame).tolist() == expected)
    tell("pyfunc", mlflow.pyfunc.load_model("models:/delay@2026-best").predict(frame).tolist() == expected)
    found = client.get_registered_model("delay")
    tell("registered", [found.description, found.tags, found.aliases, [one.version for one in found.latest_versions]])
    version = client.get_model_version("delay", "1")
    tell("version", [version.description, version.tags, version.aliases, version.status, version.current_stage,
                     version.run_id == run.info.run_id, version.model_id == info.model_id])  # fmt: skip
    tell("by alias", client.get_model_version_by_alias("delay", "champion").version)
    refused("no alias", lambda: client.get_model_version_by_alias("delay", "nobody"))
    refused("no model", lambda: client.get_registered_model("nobody"))
    refused("no version", lambda: client.get_model_version("delay", "9"))
    refused("twice", lambda: client.create_registered_model("delay"))
    refused("reserved", lambda: client.set_registered_model_alias("delay", "latest", "1"))
    refused("bad model name", lambda: client.create_registered_model("a/b"))
    refused("local source", lambda: client.create_model_version("delay", "/etc/passwd"))
    for text in (None, "name = 'delay'", "name LIKE 'de%'", "name ILIKE 'DE%'", "tags.team = 'a'", "tags.team != 'a'",
                 "name IN ('delay')", "name = 'x'", "foo = '1'"):  # fmt: skip
        try:
            tell(f"models {text}", [one.name for one in client.search_registered_models(text)])
        except MlflowException as exc:
            tell(f"models {text}", exc.error_code)
    for text in ("name='delay'", f"run_id = '{run.info.run_id}'", "version_number > 1", "tags.k = 'v'", "name IN ('delay')",
                 "version_number = '1'", "alias = 'x'"):  # fmt: skip
        try:
            found = client.search_model_versions(text, order_by=["version_number ASC"])
            tell(f"versions {_IDS.sub('ID', text)}", [one.version for one in found])
        except MlflowException as exc:
            tell(f"versions {_IDS.sub('ID', text)}", exc.error_code)
    third = mlflow.register_model(f"runs:/{run.info.run_id}/model", "delay")
    tell("third", third.version)
    client.transition_model_version_stage("delay", "3", "Production")
    tell("stages", [[one.version, one.current_stage] for one in client.get_latest_versions("delay")])
    client.copy_model_version("models:/delay/1", "copied")
    tell("copied", [one.version for one in client.search_model_versions("name = 'copied'")])
    tell("load copied", mlflow.sklearn.load_model("models:/copied/1").predict(frame).tolist() == expected)
    logged(client, id_, again.model_id)
    client.delete_registered_model_alias("delay", "champion")
    client.delete_model_version("delay", "2")
    tell("left", sorted(one.version for one in client.search_model_versions("name = 'delay'")))
    client.rename_registered_model("delay", "late flights")
    refused("old name", lambda: client.get_registered_model("delay"))
    tell("new name", client.get_registered_model("late flights").aliases)
    client.delete_registered_model("late flights")
    tell("none left", [one.name for one in client.search_registered_models()])


def logged(client: MlflowClient, id_: str, model: str) -> None:
    found = client.get_logged_model(model)
    tell("logged", [found.name, str(found.status), bool(found.source_run_id), found.model_type])
    client.set_logged_model_tags(model, {"a": "1", "b": "2"})
    client.delete_logged_model_tag(model, "b")
    client.log_model_params(model, {"p": "1"})
    found = client.get_logged_model(model)
    tell("logged tags", [{key: value for key, value in found.tags.items() if key == "a"}, found.params])
    with mlflow.start_run(run_name="measure"):
        mlflow.log_metric("rmse", 0.5, model_id=model)
    tell("logged metrics", [[one.key, one.value] for one in client.get_logged_model(model).metrics])
    for text in (
        "name = 'model'",
        "tags.a = '1'",
        "params.p = '1'",
        "metrics.rmse < 1",
        "metrics.rmse > 1",
        "name = 'x'",
    ):
        tell(f"logged {text}", len(client.search_logged_models([id_], filter_string=text)))
    external = mlflow.create_external_model(name="outside", experiment_id=id_)
    tell("outside", str(client.get_logged_model(external.model_id).status))
    client.delete_logged_model(external.model_id)
    refused("deleted model", lambda: client.get_logged_model(external.model_id))


def main(uri: str, out: str) -> None:
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    id_ = experiments(client)
    made = runs(client, id_)
    search(client, id_)
    with tempfile.TemporaryDirectory() as folder:
        artifacts(client, made[1], Path(folder))
    fluent(id_)
    learning(client, id_)
    Path(out).write_text(json.dumps(TOLD, indent=1, sort_keys=True, ensure_ascii=False))


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    finally:
        Path(sys.argv[2] + ".part").write_text(json.dumps(TOLD, indent=1, sort_keys=True, ensure_ascii=False))
