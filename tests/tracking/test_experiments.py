import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.tracking.project import open_context, process_environment
from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger import RunQuery
from trivet.tracking.experiments import Experiments
from trivet.tracking.runs import start

CURIOUS = [
    "a/b",
    "delay@champion",
    "model:3",
    "*",
    " ends ",
    'it\'s "quoted"',
    "✈️ flights",
    "50 %",
    "%2F",
    "\n",
    "ä" * 500,
]


@pytest.fixture
def experiments(context):
    return Experiments(context)


@pytest.mark.parametrize("name", CURIOUS)
def test_any_text_is_a_name_and_one_text_is_one_experiment(experiments, name):
    made = experiments.get_or_make(name)
    assert made.name == name
    assert experiments.get_or_make(name) == experiments.get(name) == experiments.get(made.id) == made
    assert experiments.list() == [made]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), min_size=2, unique=True))
def test_different_names_are_different_experiments(names):
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        experiments = Experiments(open_context(Path(folder), "memory:"))
        made = [experiments.get_or_make(name) for name in names]
        assert len({one.id for one in made}) == len(names)
        assert [one.name for one in reversed(experiments.list())] == names


@pytest.mark.parametrize("name", ["", "x" * 501, "x" * 10_000, None, 3])
def test_what_is_no_name_is_refused_in_a_sentence(experiments, name):
    with pytest.raises(Invalid, match=r"1 to 500|needs some text"):
        experiments.get_or_make(name)
    assert experiments.list("both") == []


def test_an_unknown_experiment_is_answered_with_the_nearest(experiments):
    experiments.get_or_make("flights")
    with pytest.raises(NotFound, match=r"There is no experiment 'fligths'. Did you mean 'flights'\?"):
        experiments.get("fligths")


def test_a_renamed_experiment_keeps_its_runs_and_frees_its_name(context, experiments):
    with start(context, "one", experiment="old") as run:
        pass
    made = experiments.rename("old", "new/name")
    assert made.name == "new/name"
    assert context.ledger.run(run.id).experiment == made.id
    assert experiments.get_or_make("old").id != made.id
    with pytest.raises(Conflict, match="The name 'old' is that of the experiment"):
        experiments.rename(made, "old")
    assert experiments.rename(made, "new/name") == made


def test_descriptions_and_tags_are_kept(experiments):
    made = experiments.get_or_make("flights")
    experiments.describe("flights", "Late flights from New York.")
    experiments.tag(made, team="lab", stage=1)
    changed = experiments.set_tags(made, {"stage": None, "mlflow.note": "x"})
    assert (changed.description, changed.tags) == ("Late flights from New York.", {"team": "lab", "mlflow.note": "x"})
    assert experiments.get("flights") == changed
    assert changed.to_json()["tags"] == changed.tags


def test_the_bin_frees_the_name_and_gives_back_what_went_in(context, experiments):
    with start(context, "one", experiment="flights") as run:
        pass
    with start(context, "two", experiment="flights") as before:
        pass
    alone = datetime(2020, 1, 1, tzinfo=UTC)
    context.ledger.write(replace(before.record, deleted=alone))  # binned by itself, before the experiment was
    binned = experiments.delete("flights")
    assert binned.deleted
    assert context.ledger.runs(RunQuery(experiment=binned.id)) == []
    assert experiments.list() == []
    assert experiments.list("only") == [binned] == experiments.list("both")
    with pytest.raises(NotFound):
        experiments.get("flights")
    assert experiments.delete(binned) == binned
    with pytest.raises(Conflict, match="lies in the bin"):
        experiments.rename(binned, "other")
    other = experiments.get_or_make("flights")
    with pytest.raises(Conflict, match="Choose another"):
        experiments.restore(binned)
    back = experiments.restore(binned, name="flights before")
    assert (back.name, back.deleted, back.id) == ("flights before", None, binned.id)
    assert [one.id for one in context.ledger.runs(RunQuery(experiment=back.id))] == [run.id]
    assert context.ledger.run(before.id).deleted == alone
    assert experiments.restore(back) == back
    assert {one.id for one in experiments.list()} == {other.id, back.id}


def test_a_deleted_experiment_comes_back_by_its_name(experiments):
    made = experiments.get_or_make("flights")
    experiments.delete("flights")
    assert experiments.restore("flights") == made


class Killed(BaseException):
    """What an interruption looks like from within."""


def mortal(ledger, left):
    """``ledger.point``, which is killed after ``left`` calls."""
    original = ledger.point

    def point(*args, **named):
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return original(*args, **named)

    return point


@pytest.mark.parametrize("verb", ["make", "rename", "delete", "restore"])
def test_a_verb_interrupted_anywhere_is_completed_by_calling_it_again(memory, monkeypatch, verb):
    experiments = Experiments(memory)
    calls = {
        "make": lambda: experiments.get_or_make("new"),
        "rename": lambda: experiments.rename(made.id, "new"),
        "delete": lambda: experiments.delete(made.id),
        "restore": lambda: experiments.restore(made.id),
    }
    for moment in range(8):
        made = experiments.get_or_make(f"old {moment}")
        if verb == "restore":
            experiments.delete(made)
        monkeypatch.setattr(memory.ledger, "point", mortal(memory.ledger, moment))
        try:
            calls[verb]()
        except Killed:
            monkeypatch.undo()
            done = calls[verb]()
        else:
            monkeypatch.undo()
            done = calls[verb]()
        assert experiments.get(done.id) == done
        expected = {"make": "new", "rename": "new", "delete": f"old {moment}", "restore": f"old {moment}"}[verb]
        assert done.name == expected
        assert (done.deleted is not None) == (verb == "delete")
        names = [one.name for one in experiments.list()]
        assert len(names) == len(set(names))
        experiments.delete(done)


def test_a_run_is_in_the_experiment_of_its_parent(context):
    with start(context, "search", experiment="flights") as search, start(context, "fold") as fold:
        pass
    assert fold.record.experiment == search.record.experiment == Experiments(context).get("flights").id
    with start(context, "alone") as alone:
        pass
    assert alone.record.experiment == ""


RACE = """
import sys
from pathlib import Path
from tests.tracking.project import open_context
from trivet.tracking.experiments import Experiments
experiments = Experiments(open_context(Path(sys.argv[1]), sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
print(*(experiments.get_or_make(f"flights/{number}").id for number in range(5)), flush=True)
"""


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_eight_processes_that_make_one_name_at_once_get_one(request, tmp_path, engine):
    url = request.getfixturevalue("postgresql_url") if engine == "postgresql" else "sqlite:///.trivet/ledger.db"
    open_context(tmp_path, url).ledger.close()
    command = [sys.executable, "-c", RACE, str(tmp_path), url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": process_environment()}
    processes = [subprocess.Popen(command, **pipes) for _ in range(8)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=120)[0] for process in processes}
    assert all(process.returncode == 0 for process in processes)
    assert len(answers) == 1, answers
    context = open_context(tmp_path, url)
    assert len(Experiments(context).list("both")) == 5
    context.ledger.close()
