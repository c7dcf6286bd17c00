"""What a run takes of its machine: CPU, memory, disk and GPU, as metrics named ``system/...`` at an interval.

With ``psutil`` installed the figures are its; without it they come from ``/proc``, and where there is none, of the disk
alone. GPUs are asked through NVML (the package ``nvidia-ml-py``) where it is installed and there is one. A figure that
cannot be had is left out, and nothing that fails here is felt by the run.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["EVERY", "Sampler", "usage"]

EVERY = 10.0  # seconds
_MB = 1 << 20


class Times(NamedTuple):
    """Seconds that processors spent: those of the machine busy and altogether, those of this process, and the clock."""

    busy: float
    total: float
    own: float
    clock: float


class Sampler:
    """Tells ``log`` what the machine does, every so many seconds and once more at the end."""

    def __init__(self, log: Callable[[dict[str, float]], None], disk: Path, every: float = EVERY) -> None:
        self._log, self._disk, self._every = log, disk, every
        self._stop = threading.Event()
        self._before = _times()
        self._thread = threading.Thread(target=self._work, name="trivet system", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _work(self) -> None:
        while True:
            over = self._stop.wait(self._every)
            now = _times()
            found = usage(self._before, now, self._disk)
            self._before = now
            if found and not self._told(found):
                return
            if over:
                return

    def _told(self, found: dict[str, float]) -> bool:
        from trivet.errors import TrivetError

        try:
            self._log(found)
        except TrivetError:  # the run ended without us, or the process was forked
            return False
        return True


def usage(before: Times, now: Times, disk: Path) -> dict[str, float]:
    """What was used between two moments, in per cent and megabytes."""
    return dict([*_processor(before, now), *_memory(), *_room(disk), *_gpus()])


def _processor(before: Times, now: Times) -> Iterator[tuple[str, float]]:
    if now.total > before.total:
        yield "system/cpu_percent", 100 * (now.busy - before.busy) / (now.total - before.total)
    if now.clock > before.clock:  # of one core: four busy threads are 400
        yield "system/process_cpu_percent", 100 * (now.own - before.own) / (now.clock - before.clock)


def _times() -> Times:
    own, clock = time.process_time(), time.monotonic()
    if (psutil := _library("psutil")) is not None:
        times = psutil.cpu_times()
        total = sum(times[: 8 if hasattr(times, "steal") else len(times)])  # guests are counted among users
        return Times(total - times.idle - getattr(times, "iowait", 0.0), total, own, clock)
    try:
        first = Path("/proc/stat").read_text("ascii").partition("\n")[0]
    except OSError:
        return Times(0, 0, own, clock)
    spent = [float(one) for one in first.split()[1:9]]  # user nice system idle iowait irq softirq steal (proc_stat(5))
    return Times(sum(spent) - spent[3] - spent[4], sum(spent), own, clock)


def _memory() -> Iterator[tuple[str, float]]:
    if (psutil := _library("psutil")) is not None:
        machine = psutil.virtual_memory()
        yield "system/memory_percent", float(machine.percent)
        yield "system/process_memory_mb", psutil.Process().memory_info().rss / _MB
        return
    try:
        known = dict(line.split(":") for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        total, free = (float(known[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, KeyError, ValueError):
        return
    yield "system/memory_percent", 100 * (total - free) / total
    yield "system/process_memory_mb", pages * os.sysconf("SC_PAGE_SIZE") / _MB


def _room(disk: Path) -> Iterator[tuple[str, float]]:
    try:
        found = shutil.disk_usage(disk)
    except OSError:
        return
    yield "system/disk_percent", 100 * found.used / found.total


def _gpus() -> Iterator[tuple[str, float]]:
    nvml = _library("pynvml")
    if nvml is None:
        return
    try:
        nvml.nvmlInit()
        for number in range(nvml.nvmlDeviceGetCount()):
            card = nvml.nvmlDeviceGetHandleByIndex(number)
            memory = nvml.nvmlDeviceGetMemoryInfo(card)
            yield f"system/gpu_{number}_percent", float(nvml.nvmlDeviceGetUtilizationRates(card).gpu)
            yield f"system/gpu_{number}_memory_percent", 100 * memory.used / memory.total
    except nvml.NVMLError:
        return  # no driver, or a card that does not say


_missing: set[str] = set()


def _library(name: str) -> Any:
    """The module, or None where it is not installed; that is looked up once."""
    if name in _missing:
        return None
    try:
        return import_module(name)
    except ImportError:
        _missing.add(name)
        return None
