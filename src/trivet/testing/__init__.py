"""The contract classes that every engine passes, shipped so that outside engines can pass them too."""

from importlib.util import find_spec

if find_spec("pytest") is not None:  # failing contract tests explain themselves outside our own tests too
    import pytest

    pytest.register_assert_rewrite(
        *(f"trivet.testing.{name}" for name in ("blobs", "engines", "ledger", "online", "pointers"))
    )
