from __future__ import annotations

import pytest

from trivet.ledger.blobs.memory import open_blobs
from trivet.testing.blobs import BlobsContract


class TestMemory(BlobsContract):
    most_memory = 1 << 30  # here memory is the store

    @pytest.fixture
    def blobs(self, tmp_path):
        return open_blobs("memory:", tmp_path)

    @pytest.fixture
    def damage(self, blobs):
        return blobs._contents.__setitem__
