from trivet.features.engines.local import LocalEngine
from trivet.testing.engines import EngineContract


class TestLocalEngine(EngineContract):
    def open(self):
        return LocalEngine()
