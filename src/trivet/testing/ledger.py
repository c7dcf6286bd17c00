"""What every store of records must do, as tests: subclass ``LedgerContract`` and supply the fixture ``store``.

    class TestMyStore(LedgerContract):
        @pytest.fixture
        def store(self, tmp_path):
            store = open_store("mine://...", tmp_path)
            yield store
            store.close()

The store must be empty at the start of each test. Everything that ``trivet.ledger.contract.Ledger`` promises is
examined, except what needs several processes: those tests belong to the engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import Any

import msgspec
import pytest

from trivet.clock import new_id
from trivet.errors import Ambiguous, Conflict, Invalid, NotFound
from trivet.ledger import Ledger, Metric, Recipe, RunQuery
from trivet.testing.pointers import PointersContract
from trivet.testing.records import NOW, a_run, an_artifact
from trivet.testing.searches import SearchesContract

__all__ = ["LedgerContract"]

AWKWARD = ["", " ", "🛫 délai", "a'b\"c;--", "tab\tnew\nline", "%_*", "nul\0here", "half \ud83d", "x" * 10_000]
"""Texts that have broken databases."""


class LedgerContract(PointersContract, SearchesContract):
    """Each method examines one promise; its docstring says which."""

    @pytest.fixture
    def store(self) -> Iterator[Ledger]:
        """An empty store."""
        raise NotImplementedError("Supply the fixture `store` in the subclass.")

    # What was written comes back.

    def test_an_artifact_comes_back_as_it_was(self, store: Ledger) -> None:
        """All fields, with microseconds and zone, and nested JSON in ``spec``."""
        spec = {"deep": [{"er": [1, 1.0, True, None, "é", -0.0, 2**70, 1e300]}], "": {}}
        artifact = an_artifact(spec=spec)
        store.write(artifact)
        back = store.artifact(artifact.digest)
        assert back == artifact
        assert repr(back.spec) == repr(spec)  # 1 is not 1.0 and not True
        assert back.created.tzinfo == UTC

    def test_a_run_comes_back_as_it_was(self, store: Ledger) -> None:
        """All fields, the recipe included, and the order of slots and parameters."""
        recipe = Recipe("module:fit", "c" * 64, "e" * 64, 7, 2, {"OMP_NUM_THREADS": "2"}, {"blas": [{"threads": 2}]})
        run = a_run(
            parent=new_id(),
            user="ada",
            host="loom",
            recipe=recipe,
            inputs={"train": "1" * 64, "sources.flights": "2" * 64},
            outputs={"result": "3" * 64},
            parameters={"z": 1, "a": [0.1, None, {"b": False}]},
            metrics={"auc": 0.75},
            tags={"note": "first"},
            key="4" * 64,
            key_parts={"code": "5" * 64},
            error="ValueError: no",
        )
        store.write(run)
        assert store.run(run.id) == run
        assert list(store.run(run.id).inputs) == ["train", "sources.flights"]
        assert list(store.run(run.id).parameters) == ["z", "a"]
        assert list(store.runs()) == [run]

    @pytest.mark.parametrize("text", AWKWARD)
    def test_any_text_in_tags_parameters_and_errors(self, store: Ledger, text: str) -> None:
        """Unicode, quotes, control characters, half surrogates and 10 kB come back unchanged."""
        run = a_run(tags={text: text}, parameters={text: text}, key_parts={text: text}, error=text)
        store.write(run)
        assert store.run(run.id) == run

    @pytest.mark.parametrize("text", [text for text in AWKWARD if text.isprintable() or "\n" in text])
    def test_any_text_in_names(self, store: Ledger, text: str) -> None:
        """Names of runs, slots and metrics are found again, whatever they are."""
        run = a_run(name=text, inputs={text: "a" * 64}, metrics={text: 1.0})
        store.write(run, Metric(run.id, text, 0, 2.0, NOW))
        assert list(store.runs(RunQuery(name=text))) == [msgspec.structs.replace(run, metrics={text: 2.0})]
        assert [one.name for one in store.metrics(run.id, text)] == [text]

    def test_text_that_cannot_be_kept_is_refused(self, store: Ledger) -> None:
        """A name that some engine would change is refused by all, with a sentence."""
        for text in ("nul\0here", "half \ud83d"):
            with pytest.raises(Invalid, match="cannot be stored"):
                store.write(a_run(name=text))
        assert list(store.runs()) == []

    @pytest.mark.parametrize("value", [math.inf, -math.inf, 5e-324, 1.7976931348623157e308])
    def test_extreme_numbers(self, store: Ledger, value: float) -> None:
        """Infinities, the smallest and the greatest number come back as metrics, parameters and spec."""
        run, artifact = a_run(metrics={"m": value}, parameters={"p": value}), an_artifact(spec={"s": value})
        store.write(artifact, run, Metric(run.id, "logged", 0, value, NOW))
        back = store.run(run.id)
        found = [back.metrics["m"], back.metrics["logged"], back.parameters["p"], store.metrics(run.id)[0].value]
        assert {repr(one) for one in [*found, store.artifact(artifact.digest).spec["s"]]} == {repr(value)}

    def test_not_a_number(self, store: Ledger) -> None:
        """NaN is a value: a metric that went wrong is on record as such."""
        run = a_run(metrics={"m": math.nan}, parameters={"missing": math.nan})
        store.write(run, Metric(run.id, "logged", 0, math.nan, NOW))
        back = store.run(run.id)
        assert all(map(math.isnan, [back.metrics["m"], back.metrics["logged"], back.parameters["missing"]]))
        assert math.isnan(store.metrics(run.id)[0].value)

    def test_ten_thousand_parameters(self, store: Ledger) -> None:
        """A long list of settings is no trouble."""
        run = a_run(parameters={f"p{number}": number for number in range(10_000)})
        store.write(run)
        assert store.run(run.id).parameters == run.parameters

    @pytest.mark.parametrize("value", [{1: "a"}, {"t": NOW}, {"b": b"bytes"}, {"s": {1, 2}}])
    def test_what_is_not_json_is_refused(self, store: Ledger, value: dict[Any, Any]) -> None:
        """Nothing is turned into something else without a word."""
        with pytest.raises(Invalid, match="JSON"):
            store.write(a_run(parameters=value))
        assert list(store.runs()) == []

    def test_a_status_that_does_not_exist_is_refused(self, store: Ledger) -> None:
        """A misspelt status would hide a run for good."""
        with pytest.raises(Invalid, match="finished"):
            store.write(a_run(status="done"))

    # Transactions and immutability.

    def test_all_or_nothing(self, store: Ledger) -> None:
        """A record that cannot be written takes all others of the call with it."""
        run, artifact = a_run(), an_artifact()
        with pytest.raises(NotFound, match="no run"):
            store.write(artifact, run, Metric("nowhere", "auc", 0, 1.0, NOW))
        assert list(store.runs()) == []
        assert list(store.artifacts()) == []

    def test_nothing_is_a_fine_thing_to_write(self, store: Ledger) -> None:
        """No records, no error."""
        store.write()

    def test_the_order_within_a_call_does_not_matter(self, store: Ledger) -> None:
        """A metric may stand before its run."""
        run = a_run()
        store.write(Metric(run.id, "auc", 0, 1.0, NOW), run)
        assert store.run(run.id).metrics == {"auc": 1.0}

    def test_the_first_of_an_artifact_is_kept(self, store: Ledger) -> None:
        """Writing an artifact again is no error and changes nothing."""
        first = an_artifact()
        store.write(first)
        store.write(msgspec.structs.replace(first, created=NOW + timedelta(days=1)), first)
        assert store.artifact(first.digest) == first
        assert len(store.artifacts()) == 1

    def test_what_was_returned_never_changes(self, store: Ledger) -> None:
        """Neither by later writes nor by what a caller does to it."""
        run = a_run(status="running", ended=None, tags={"a": "1"}, parameters={"p": [1]})
        store.write(run)
        before = store.run(run.id)
        before.parameters["p"].append(2)
        before.metrics["made up"] = 1.0
        store.write(a_run(run.id, tags={"a": "2"}), Metric(run.id, "auc", 0, 1.0, NOW))
        assert before.status == "running"
        assert before.tags == {"a": "1"}
        assert store.run(run.id).parameters == {}
        assert store.run(run.id).metrics == {"auc": 1.0}

    def test_what_was_given_may_change_afterwards(self, store: Ledger) -> None:
        """The store keeps no hold of a caller's dictionaries."""
        run, artifact = a_run(tags={"a": "1"}), an_artifact(spec={"s": [1]})
        store.write(run, artifact)
        run.tags["a"] = "2"
        artifact.spec["s"].append(2)
        assert store.run(run.id).tags == {"a": "1"}
        assert store.artifact(artifact.digest).spec == {"s": [1]}

    # Runs.

    @pytest.mark.parametrize("status", ["finished", "failed", "killed", "cached"])
    def test_an_ended_run_never_runs_again(self, store: Ledger, status: str) -> None:
        """It stays as it was."""
        run = a_run(status=status)
        store.write(run)
        with pytest.raises(Conflict, match="never runs again"):
            store.write(a_run(run.id, status="running", ended=None))
        assert store.run(run.id) == run

    def test_rewriting_replaces_everything(self, store: Ledger) -> None:
        """Tags, metrics, edges: what the new writing does not say is gone."""
        run = a_run(status="running", ended=None, tags={"a": "1"}, inputs={"x": "1" * 64}, metrics={"old": 1.0})
        store.write(run)
        after = a_run(run.id, outputs={"y": "2" * 64}, metrics={"new": 2.0}, key="k" * 64)
        store.write(after)
        assert store.run(run.id) == after
        assert list(store.runs(RunQuery(input="1" * 64))) == []
        assert list(store.runs(RunQuery(output="2" * 64, key="k" * 64))) == [after]

    def test_an_ended_run_may_be_corrected(self, store: Ledger) -> None:
        """A finished run takes another tag; a killed one is found out to have failed."""
        run = a_run(status="killed")
        store.write(run)
        store.write(a_run(run.id, status="failed", tags={"why": "memory"}))
        assert store.run(run.id).status == "failed"
        assert store.run(run.id).tags == {"why": "memory"}

    def test_queries(self, store: Ledger) -> None:
        """Each condition alone and all together, newest first."""
        match = {"kind": "k", "name": "n", "status": "failed", "parent": "p", "key": "key"}
        wanted = a_run("05", **match, inputs={"i": "in"}, outputs={"o": "out"})
        others = [a_run("0" + str(number)) for number in (1, 2, 3)]
        nearly = a_run("04", **{**match, "name": "m"}, inputs={"i": "out"}, outputs={"o": "in"})
        store.write(wanted, nearly, *others)
        everything: dict[str, Any] = {**match, "input": "in", "output": "out"}
        for field, value in everything.items():
            expected = [wanted] if field in {"name", "input", "output"} else [wanted, nearly]
            assert list(store.runs(RunQuery(**{field: value}))) == expected, field
        assert list(store.runs(RunQuery(**everything))) == [wanted]
        assert [run.id for run in store.runs()] == ["05", "04", "03", "02", "01"]

    def test_pages(self, store: Ledger) -> None:
        """``limit`` and ``before`` go through all runs once."""
        store.write(*(a_run(f"{number:02}") for number in range(10)))
        seen: list[str] = []
        while page := store.runs(RunQuery(limit=3, before=seen[-1] if seen else None)):
            seen += [run.id for run in page]
        assert seen == [f"{number:02}" for number in reversed(range(10))]
        assert list(store.runs(RunQuery(limit=0))) == []
        with pytest.raises(Invalid, match="limit"):
            store.runs(RunQuery(limit=-1))

    def test_an_artifact_in_two_slots_is_one_answer(self, store: Ledger) -> None:
        """A run is answered once, however often it used the artifact."""
        run = a_run(inputs={"a": "d" * 64, "b": "d" * 64})
        store.write(run)
        assert list(store.runs(RunQuery(input="d" * 64))) == [run]

    # Shortened ids.

    def test_shortened_ids(self, store: Ledger) -> None:
        """The only id that starts so; several are ambiguous; none is not found; five characters are too few."""
        artifact, run = an_artifact(), a_run("01JCZ8ABCDEF")
        store.write(artifact, run, a_run("01JCZ8XY"))
        assert store.artifact(artifact.digest[:6]) == artifact
        assert store.run("01JCZ8A") == run
        with pytest.raises(Ambiguous, match="01JCZ8ABCDEF, 01JCZ8XY"):
            store.run("01JCZ8")
        with pytest.raises(NotFound, match="6 characters"):
            store.artifact(artifact.digest[:5])
        with pytest.raises(NotFound, match="no run '01JCZ9'"):
            store.run("01JCZ9")
        with pytest.raises(NotFound, match="no artifact"):
            store.artifact("f" * 64)

    @pytest.mark.parametrize("odd", ["%%%%%%", "______", "'; drop", "ffffff~", "🛫🛫🛫🛫🛫🛫"])
    def test_an_odd_id_is_not_found(self, store: Ledger, odd: str) -> None:
        """No text is a pattern."""
        store.write(an_artifact(), a_run())
        for look in (store.artifact, store.run):
            with pytest.raises(NotFound):
                look(odd)

    def test_an_id_that_begins_another_is_itself(self, store: Ledger) -> None:
        """A whole id is never ambiguous."""
        store.write(a_run("01JCZ8"), a_run("01JCZ8A"))
        assert store.run("01JCZ8").id == "01JCZ8"

    def test_the_newest_artifacts(self, store: Ledger) -> None:
        """Newest first, of one kind or of all, as many as asked for."""
        store.write(*(an_artifact(number, kind="a" if number % 2 else "b") for number in (3, 1, 2, 0)))
        assert [one.size for one in store.artifacts()] == [3, 2, 1, 0]
        assert [one.size for one in store.artifacts(kind="a")] == [3, 1]
        assert [one.size for one in store.artifacts(limit=1)] == [3]
        assert list(store.artifacts(kind="c")) == []

    # Metrics.

    def test_metrics_by_name_then_step(self, store: Ledger) -> None:
        """And then by time: a step that is measured again is a further point."""
        run = a_run()
        store.write(run)
        logged = [Metric(run.id, name, step, float(step), NOW) for name in "ba" for step in (10, -2, 9)]
        store.write(*logged)
        store.write(again := Metric(run.id, "a", 9, 99.0, NOW + timedelta(1)))
        assert list(store.metrics(run.id)) == sorted([*logged, again], key=lambda one: (one.name, one.step, one.at))
        assert [one.step for one in store.metrics(run.id, "b")] == [-2, 9, 10]
        assert list(store.metrics(run.id, "c")) == []
        assert list(store.metrics("nowhere")) == []

    @pytest.mark.parametrize("together", [True, False])
    def test_the_latest_value_is_that_of_the_greatest_step(self, store: Ledger, together: bool) -> None:
        """A metric of an earlier step that comes late does not become the latest; of the same step and time it does."""
        run = a_run()
        store.write(run)
        logged = [Metric(run.id, "loss", step, value, NOW) for step, value in [(1, 0.9), (3, 0.3), (2, 0.5), (3, 0.2)]]
        for batch in [logged] if together else [[one] for one in logged]:
            store.write(*batch)
        assert store.run(run.id).metrics == {"loss": 0.2}
        assert store.runs()[0].metrics == {"loss": 0.2}

    def test_rewriting_a_run_keeps_what_was_recorded(self, store: Ledger) -> None:
        """``metrics`` of a run are replaced, the recorded numbers and their steps are not."""
        run = a_run()
        store.write(run, Metric(run.id, "loss", 5, 0.5, NOW))
        store.write(a_run(run.id, metrics={}))
        store.write(Metric(run.id, "loss", 4, 0.4, NOW))
        assert store.run(run.id).metrics == {}
        assert [one.step for one in store.metrics(run.id)] == [4, 5]
        store.write(Metric(run.id, "loss", 5, 0.6, NOW))
        assert store.run(run.id).metrics == {"loss": 0.6}

    def test_a_metric_needs_its_run(self, store: Ledger) -> None:
        """A number of nothing is refused."""
        with pytest.raises(NotFound, match="no run 'nowhere'"):
            store.write(Metric("nowhere", "auc", 0, 1.0, NOW))

    def test_a_step_is_a_whole_number_of_64_bits(self, store: Ledger) -> None:
        """The greatest is kept, a greater one refused."""
        run = a_run()
        store.write(run, Metric(run.id, "m", 2**63 - 1, 1.0, NOW))
        assert store.metrics(run.id)[0].step == 2**63 - 1
        with pytest.raises(Invalid, match="64 bits"):
            store.write(Metric(run.id, "m", 2**63, 1.0, NOW))

    # Threads.

    def test_threads_lose_nothing(self, store: Ledger) -> None:
        """Eight writers at once: every run and every metric is there."""
        together = a_run(status="running", ended=None)
        store.write(together)

        def work(number: int) -> None:
            for step in range(5):
                store.write(a_run(f"{number}-{step}"), Metric(together.id, f"m{number}", step, step, NOW))
                assert store.run(f"{number}-{step}").id == f"{number}-{step}"

        self._at_once(work, 8)
        assert len(store.runs(RunQuery(name="fit"))) == 41
        assert store.run(together.id).metrics == {f"m{number}": 4.0 for number in range(8)}

    def test_threads_that_log_one_metric(self, store: Ledger) -> None:
        """The latest value is that of the greatest step, whoever came last."""
        run = a_run()
        store.write(run)
        self._at_once(lambda number: store.write(Metric(run.id, "m", number, float(number), NOW)), 12)
        assert store.run(run.id).metrics == {"m": 11.0}

    def test_threads_that_write_the_same(self, store: Ledger) -> None:
        """The same artifact and the same run from everywhere: one of each."""
        artifact, run = an_artifact(), a_run()
        self._at_once(lambda _: store.write(artifact, run), 8)
        assert list(store.artifacts()) == [artifact]
        assert list(store.runs()) == [run]

    def test_closing_twice_is_no_error(self, store: Ledger) -> None:
        """Whoever is unsure may close."""
        store.close()
        store.close()

    @staticmethod
    def _at_once(work: Callable[[int], Any], number: int) -> list[Any]:
        with ThreadPoolExecutor(number) as pool:
            return list(pool.map(work, range(number)))
