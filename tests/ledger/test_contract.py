from __future__ import annotations

import subprocess
import sys

HEAVY = {"sqlalchemy", "alembic", "pyarrow", "deltalake", "obstore", "psycopg", "numpy", "pytest"}


def test_the_ledger_is_imported_without_its_engines():
    code = (
        "import sys, trivet.ledger, trivet.ledger.lineage, trivet.ledger.references, trivet.ledger.stores.memory\n"
        "import trivet.ledger.blobs.local; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not HEAVY & set(done.stdout.split())
