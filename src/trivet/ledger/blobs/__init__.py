"""Stores of bytes: one file per engine, all passing ``trivet.testing.BlobsContract``."""
