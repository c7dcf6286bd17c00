from __future__ import annotations

import pytest

from trivet.ledger import Ledger
from trivet.ledger.stores.memory import open_store
from trivet.testing.ledger import LedgerContract


class TestMemory(LedgerContract):
    @pytest.fixture
    def store(self, tmp_path) -> Ledger:
        return open_store("memory:", tmp_path)


def test_two_ledgers_share_nothing(tmp_path):
    assert open_store("memory:", tmp_path) is not open_store("memory:", tmp_path)
