from __future__ import annotations

from collections.abc import Iterator

import pytest

from trivet.ledger import Ledger
from trivet.ledger.stores.sql import open_store
from trivet.testing.ledger import LedgerContract


class TestSqlite(LedgerContract):
    @pytest.fixture
    def store(self, tmp_path) -> Iterator[Ledger]:
        store = open_store("sqlite:///.trivet/ledger.db", tmp_path)
        yield store
        store.close()


class TestPostgresql(LedgerContract):
    @pytest.fixture
    def store(self, postgresql_url, tmp_path) -> Iterator[Ledger]:
        store = open_store(postgresql_url, tmp_path)
        yield store
        store.close()
