from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trivet.clock import new_id
from trivet.interop.mlflow.identity import (
    experiment_here,
    experiment_there,
    model_here,
    model_there,
    run_here,
    run_there,
)


@given(st.integers(0, 2**128 - 1))
def test_every_id_of_a_client_has_one_here(number: int) -> None:
    there = f"{number:032x}"
    here = run_here(there)
    assert here is not None
    assert (len(here), run_there(here)) == (26, there)


def test_ids_of_the_ledger_come_back() -> None:
    for _ in range(100):
        id_ = new_id()
        assert run_here(run_there(id_)) == model_here(model_there(id_)) == experiment_here(experiment_there(id_)) == id_


def test_what_is_no_id() -> None:
    for text in ("", "x", "0" * 31, "g" * 32, "A" * 32, "0" * 33):
        assert run_here(text) is None
    for text in ("", "-1", "00", "x", str(2**128), "9" * 50):
        assert experiment_here(text) is None
    assert model_here("0" * 32) is None
