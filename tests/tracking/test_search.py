import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact, Metric, Run
from trivet.tracking import search
from trivet.tracking.processes import BIRTH, process_tags
from trivet.tracking.search import RunList, as_table, runs

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
_numbers = itertools.count()


def a_run(name="trees", status="finished", kind="experiment", **fields) -> Run:
    number = next(_numbers)
    ended = None if status == "running" else NOW + timedelta(seconds=8.25)
    return Run(id=f"01RUN{number:021}", kind=kind, name=name, status=status, started=NOW, ended=ended, **fields)


def test_newest_first_and_no_more_than_asked_for(context):
    made = [a_run() for _ in range(5)]
    context.ledger.write(*made)
    assert [run.id for run in runs(context, limit=3)] == [run.id for run in reversed(made)][:3]
    assert len(runs(context, limit=0)) == 0
    assert len(runs(context)) == 5


some_runs = st.lists(
    st.builds(
        a_run,
        name=st.sampled_from(["a", "b"]),
        status=st.sampled_from(["finished", "failed", "running"]),
        metrics=st.dictionaries(st.just("auc"), st.floats(0, 1), max_size=1),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    made=some_runs,
    name=st.sampled_from([None, "a"]),
    status=st.sampled_from([None, "failed"]),
    least=st.sampled_from([None, 0.5]),
    limit=st.integers(0, 6),
)
def test_conditions_and_pages_agree_with_a_plain_filter(memory, monkeypatch, made, name, status, least, limit):
    monkeypatch.setattr(search, "_PAGE", 2)
    ledger = type(memory.ledger)()
    if made:
        ledger.write(*made)

    def where(run):
        return run.metrics.get("auc", 0) >= least

    found = runs(
        type(memory)(**{**vars(memory), "ledger": ledger}),
        name=name,
        status=status,
        limit=limit,
        where=where if least else None,
    )
    expected = [
        run.id
        for run in sorted(made, key=lambda run: run.id, reverse=True)
        if name in (None, run.name) and status in (None, run.status) and (least is None or where(run))
    ]
    assert [run.id for run in found] == expected[:limit]


def test_parent_and_kind(context):
    parent = a_run(kind="pipeline")
    child = a_run(kind="task", parent=parent.id)
    context.ledger.write(parent, child)
    assert [run.id for run in runs(context, parent=parent.id)] == [child.id]
    assert [run.id for run in runs(context, kind="pipeline")] == [parent.id]


def test_the_dead_are_found_and_shown(memory):
    alive = a_run("alive", status="running", tags=process_tags("here"))
    dead = replace(a_run("dead", status="running"), tags=process_tags("here") | {BIRTH: "1"})
    memory.ledger.write(alive, dead)
    assert [run.name for run in runs(memory, status="dead")] == ["dead"]
    assert {row["name"]: row["status"] for row in as_table(runs(memory), host="here")} == {
        "alive": "running",
        "dead": "dead",
    }


def test_bad_questions_are_sentences(memory):
    with pytest.raises(Invalid, match=r"'done' is not a status of a run\. There are: running, finished"):
        runs(memory, status="done")
    with pytest.raises(Invalid, match="limit=-1"):
        runs(memory, limit=-1)


LISTED = RunList(
    [
        a_run("deep", parameters={"depth": 8, "seed": 0}, metrics={"auc": 0.75}, tags={"team": "x", "trivet.pid": "1"}),
        a_run("shallow", parameters={"depth": 2, "seed": 0}, metrics={"auc": 0.7, "loss": 1.5}),
        a_run("broken", status="running", parameters={"seed": 0}),
    ]
)


def test_rows_are_flat_and_complete():
    table = as_table(LISTED)
    assert list(table[0]) == [
        "id", "name", "kind", "status", "started", "seconds", "user", "parent",
        "params.depth", "params.seed", "metrics.auc", "metrics.loss", "tags.team",
    ]  # fmt: skip
    assert all(list(row) == list(table[0]) for row in table)
    assert [row["metrics.loss"] for row in table] == [None, 1.5, None]
    assert as_table([]) == []


def test_data_frames():
    pandas, polars = LISTED.to_pandas(), LISTED.to_polars()
    assert list(pandas["metrics.auc"][:2]) == polars["metrics.auc"].to_list()[:2] == [0.75, 0.7]
    assert list(pandas.columns) == polars.columns
    assert RunList([]).to_polars().height == len(RunList([]).to_pandas()) == 0
    mixed = RunList([a_run(parameters={"depth": 3}), a_run(parameters={"depth": "deep"})])
    assert len(mixed.to_polars()) == len(mixed.to_pandas()) == 2


def test_it_is_a_sequence():
    assert LISTED[0].name == "deep"
    assert [run.name for run in LISTED[1:]] == ["shallow", "broken"]
    assert isinstance(LISTED[1:], RunList)


def test_it_reads_well():
    lines = repr(LISTED).splitlines()
    assert [line.split()[1:] for line in lines] == [
        ["name", "status", "started", "took", "auc", "loss", "depth"],
        ["deep", "finished", "2026-11-20", "12:00", "8.25s", "0.75", "-", "8"],
        ["shallow", "finished", "2026-11-20", "12:00", "8.25s", "0.7", "1.5", "2"],
        ["broken", "running", "2026-11-20", "12:00", "-", "-", "-", "-"],
    ]
    assert repr(RunList([])) == "No runs."
    assert repr(RunList([a_run() for _ in range(35)])).endswith("... and 5 more")
    assert "<td>shallow</td>" in LISTED._repr_html_()


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, None), (0.01234, "0.0123s"), (59.94, "59.9s"), (125, "2m 05s"), (12_000, "3h 20m")]
)
def test_lengths_of_time_are_said_as_people_do(seconds, text):
    assert search._took(seconds) == text


def test_a_kind_that_no_run_ever_had_gets_the_nearest(context):
    context.ledger.write(a_run(kind="backfill"))
    assert len(runs(context, kind="backfill")) == 1
    assert len(runs(context, kind="gate")) == 0
    assert len(runs(context, kind="backfill", name="other")) == 0
    with pytest.raises(NotFound, match=r"no kind of runs 'expriment'\. Did you mean 'experiment'"):
        runs(context, kind="expriment")


AUC = [0.1, None, 0.9, 0.5, 0.9]


@pytest.fixture
def scored(context):
    made = [
        a_run(f"n{n}", parameters={"n": n}, metrics={} if auc is None else {"auc": auc}, experiment="01E" * (n % 2))
        for n, auc in enumerate(AUC)
    ]
    context.ledger.write(*made)
    return context


def test_a_query_an_order_and_pages(scored):
    assert [run.name for run in runs(scored, "metrics.auc >= 0.5 and params.n != 2")] == ["n4", "n3"]
    first = runs(scored, order="metrics.auc desc", limit=2)
    assert [run.name for run in first] == ["n4", "n2"]
    second = runs(scored, order="metrics.auc desc", limit=2, after=first.after)
    last = runs(scored, order="metrics.auc desc", limit=2, after=second.after)
    assert [run.name for run in [*second, *last]] == ["n3", "n0", "n1"]
    assert last.after is None
    with pytest.raises(Invalid, match="another order"):
        runs(scored, order="name", after=first.after)


def test_pages_by_a_statistic(context):
    context.ledger.write(*(a_run(f"n{number}") for number in range(3)))
    listed = runs(context)
    for place, run in enumerate(listed):
        points = [Metric(run.id, "loss", step, value, NOW) for step, value in enumerate((5.0 - place, 9.0))]
        context.ledger.write(*points)
    first = runs(context, "metrics.loss.max = 9", order="metrics.loss.min", limit=2)
    rest = runs(context, "metrics.loss.max = 9", order="metrics.loss.min", limit=2, after=first.after)
    assert [run.name for run in [*first, *rest]] == ["n0", "n1", "n2"]


def test_a_function_goes_with_a_query_and_its_pages_go_on(scored, monkeypatch):
    monkeypatch.setattr(search, "_PAGE", 2)

    def odd(run):
        return run.parameters["n"] % 2 == 0

    first = runs(scored, "params.n >= 0", where=odd, limit=1, order="params.n")
    rest = runs(scored, "params.n >= 0", where=odd, limit=None, order="params.n", after=first.after)
    assert [run.name for run in [*first, *rest]] == ["n0", "n2", "n4"]


def test_counting(scored):
    assert search.count_runs(scored) == 5
    assert search.count_runs(scored, "metrics.auc is null") == 1
    assert search.count_runs(scored, "metrics.auc > 0", kind="experiment", status="finished") == 4
    assert search.count_runs(scored, status="dead") == 0


def test_experiments_by_name_and_id(scored):
    held = Artifact.of("experiment", {"id": "01E"}, created=NOW)
    scored.ledger.write(held)
    scored.ledger.point("experiment/late%2Fflights", "holder", held.digest, by="ada")
    for asked in ("late/flights", "01E"):
        assert [run.name for run in runs(scored, experiment=asked)] == ["n3", "n1"]
        assert search.count_runs(scored, f"experiment = '{asked}' and params.n > 1") == 1
    with pytest.raises(NotFound, match=r"no experiment 'late/flihgts'\. Did you mean 'late/flights'"):
        runs(scored, experiment="late/flihgts")


def test_lineage(context):
    made = [Artifact.of("table", {"name": str(number)}, created=NOW) for number in range(3)]
    context.ledger.write(*made)
    load = a_run("load", inputs={"a": made[0].digest}, outputs={"b": made[1].digest})
    fit = a_run("fit", inputs={"b": made[1].digest}, outputs={"c": made[2].digest})
    context.ledger.write(load, fit)

    def names(query):
        return [run.name for run in runs(context, query)]

    assert names(f"uses({made[1].id})") == ["fit"]
    assert names(f"made({made[1].id})") == ["load"]
    assert names(f"made_from({made[0].id})") == ["fit", "load"]
    assert names(f"leads_to({made[2].id}) and not uses({made[1].id})") == ["load"]
    assert names(f"uses(run:{load.id})") == ["fit"]
    with pytest.raises(NotFound, match="no"):
        names("uses(table:0000000)")


def test_a_status_that_does_not_exist_is_named(scored):
    with pytest.raises(Invalid, match="'done' is not a status on record"):
        runs(scored, "not status = 'done'")
    with pytest.raises(Invalid, match="status='dead' beside the query"):
        runs(scored, "status in ('dead')")


def test_chosen_columns(scored):
    listed = runs(scored, order="params.n", limit=2, slim=True)
    assert as_table(listed, columns=["name", "metrics.auc"]) == [
        {"name": "n0", "metrics.auc": 0.1},
        {"name": "n1", "metrics.auc": None},
    ]
    assert listed.to_polars(["params.n"])["params.n"].to_list() == [0, 1]
    assert list(listed.to_pandas(["params.n", "experiment"])["experiment"]) == ["", "01E"]
    with pytest.raises(NotFound, match="column of runs"):
        listed.to_polars(["metric.auc"])
