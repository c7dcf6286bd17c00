"""The dictionary is the oracle of the database: after any sequence of verbs both answer the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.clock import FixedClock
from trivet.errors import TrivetError
from trivet.ledger import Metric, RunQuery
from trivet.ledger.stores.memory import MemoryStore
from trivet.ledger.stores.sql import SqlStore, open_store
from trivet.testing.records import NOW, a_run, an_artifact

ARTIFACTS = [an_artifact(number, kind="model" if number else "table") for number in range(3)]
DIGESTS = [artifact.digest for artifact in ARTIFACTS]
few = st.sampled_from(["a", "b"])

runs = st.builds(
    a_run,
    st.sampled_from(["run-01", "run-02", "run-03"]),
    name=few,
    kind=few,
    status=st.sampled_from(["running", "finished", "failed", "cached"]),
    parent=st.none() | few,
    key=st.none() | few,
    inputs=st.dictionaries(few, st.sampled_from(DIGESTS)),
    outputs=st.dictionaries(few, st.sampled_from(DIGESTS)),
    metrics=st.dictionaries(few, st.floats(allow_nan=False)),
    tags=st.dictionaries(few, st.text(max_size=3)),
)
metrics = st.builds(
    Metric,
    st.sampled_from(["run-01", "run-02", "nowhere"]),
    few,
    st.integers(-1, 2),
    st.sampled_from([0.5, 1.0, float("inf")]),
    st.just(NOW),
)
writes = st.tuples(st.just("write"), st.lists(st.sampled_from(ARTIFACTS) | runs | metrics, min_size=1, max_size=4))
points = st.tuples(
    st.just("point"),
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["model/a", "model/b", "table/a", "wrong"]),
            "label": st.sampled_from([None, "1", "2", "10", "champion", "no label"]),
            "digest": st.sampled_from([*DIGESTS, None]),
            "by": few,
            "expect": st.none() | st.sampled_from(DIGESTS),
        }
    ),
)

QUESTIONS = [
    RunQuery(),
    RunQuery(limit=1),
    RunQuery(before="run-03"),
    *(RunQuery(**{field: "a"}) for field in ("kind", "name", "parent", "key")),
    *(RunQuery(status=status) for status in ("running", "finished")),
    *(RunQuery(**{field: digest}) for field in ("input", "output") for digest in DIGESTS),
]


def outcome(work):
    try:
        return work()
    except TrivetError as error:
        return type(error), str(error)


def apply(store, verb, arguments):
    return outcome(lambda: store.write(*arguments) if verb == "write" else store.point(**arguments))


def everything(store):
    return {
        "runs": [list(store.runs(question)) for question in QUESTIONS],
        "run": [outcome(lambda one=one: store.run(one)) for one in ("run-01", "run-0", "run-04")],
        "artifacts": [list(store.artifacts(kind=kind)) for kind in (None, "model", "table")],
        "metrics": [list(store.metrics(run, name)) for run in ("run-01", "run-02") for name in (None, "a")],
        "pointers": [
            list(store.pointers(name=name, digest=digest, history=history))
            for name in (None, "model/*", "model/a")
            for digest in (None, DIGESTS[0])
            for history in (False, True)
        ],
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(writes | points, max_size=10))
def test_memory_and_sqlite_agree(verbs):
    with tempfile.TemporaryDirectory() as folder:
        memory = MemoryStore(FixedClock(NOW))
        opened = open_store("sqlite:///ledger.db?synchronous=normal", Path(folder))
        sqlite = SqlStore(opened._engine, FixedClock(NOW))
        for artifact in ARTIFACTS[:2]:  # the third may or may not be recorded by a verb
            memory.write(artifact)
            sqlite.write(msgspec.structs.replace(artifact))
        for verb, arguments in verbs:
            assert apply(memory, verb, arguments) == apply(sqlite, verb, arguments)
        assert everything(memory) == everything(sqlite)
        opened.close()
