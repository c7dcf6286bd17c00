import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from trivet.errors import Invalid
from trivet.tracking import system
from trivet.tracking.runs import start
from trivet.tracking.system import _times, usage


@pytest.fixture
def libraries(monkeypatch):
    """Which libraries are installed, as far as `system` sees: none until a test says so."""
    found = {}
    monkeypatch.setattr(system, "_library", found.get)
    return found


def burned():
    before = _times()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    return before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_machine_is_measured_without_any_library(tmp_path, libraries):
    before = burned()
    found = usage(before, _times(), tmp_path)
    assert set(found) == {
        *("system/cpu_percent", "system/process_cpu_percent", "system/memory_percent", "system/process_memory_mb"),
        "system/disk_percent",
    }
    assert all(0 <= found[f"system/{name}_percent"] <= 100 for name in ("cpu", "memory", "disk"))
    assert found["system/process_cpu_percent"] > 0
    assert 5 < found["system/process_memory_mb"] < 100_000


def test_a_graphics_card_is_asked_where_there_is_one(tmp_path, libraries):
    nvml = ModuleType("pynvml")
    nvml.NVMLError = type("NVMLError", (Exception,), {})
    nvml.nvmlInit = lambda: None
    nvml.nvmlDeviceGetCount = lambda: 2
    nvml.nvmlDeviceGetHandleByIndex = lambda number: number
    nvml.nvmlDeviceGetUtilizationRates = lambda number: SimpleNamespace(gpu=40 + number)
    nvml.nvmlDeviceGetMemoryInfo = lambda number: SimpleNamespace(used=1, total=4)
    libraries["pynvml"] = nvml
    found = usage(_times(), _times(), tmp_path)
    assert (found["system/gpu_0_percent"], found["system/gpu_1_percent"]) == (40, 41)
    assert found["system/gpu_1_memory_percent"] == 25

    def refuses():
        raise nvml.NVMLError("Driver Not Loaded")

    nvml.nvmlInit = refuses
    assert not any("gpu" in name for name in usage(_times(), _times(), tmp_path))


def test_a_run_records_its_machine_on_request(context):
    with start(context, "x", system=0.05) as run:
        time.sleep(0.2)
        run.log(loss=1)
    points = context.ledger.metrics(run.id, "system/disk_percent")
    assert len(points) >= 2
    assert [one.step for one in points] == list(range(len(points)))
    with start(context, "y") as run:
        pass
    assert context.ledger.run(run.id).metrics == {}


@pytest.mark.parametrize("every", [0.0, -1, float("nan")])
def test_an_interval_that_is_none_is_refused(context, every):
    with pytest.raises(Invalid, match="is no interval"):
        start(context, "x", system=every)
