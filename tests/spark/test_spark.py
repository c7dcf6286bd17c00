from __future__ import annotations

from pathlib import Path

from trivet import plugins
from trivet.testing.engines import EngineContract

URL = "spark:local[2]"


class TestSpark(EngineContract):
    examples = 12

    def open(self):
        return plugins.open_url("engine", URL, Path())
