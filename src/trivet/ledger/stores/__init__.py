"""Stores of records: one file per engine, all passing ``trivet.testing.LedgerContract``."""
