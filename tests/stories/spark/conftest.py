"""Tests that run in an environment with PySpark: ``make spark`` makes one and runs them there."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("pyspark") else ["test_*.py"]
