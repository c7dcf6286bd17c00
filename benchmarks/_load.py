"""Load for servers that run beside this process, and what it cost them.

From ``wrk`` where it is installed, else from threads of this process, which take processor time from the servers.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


def source() -> str:
    """Where load comes from, for the head of a table."""
    return "wrk" if shutil.which("wrk") else "threads of this script (no wrk)"


@dataclass(frozen=True)
class Server:
    """One that answers on a port; ``pid`` is the first of its processes."""

    name: str
    port: int
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU time that all its processes have taken so far (Linux; elsewhere 0)."""
        return sum(map(_cpu, _family(self.pid)))


def wait_for(port: int, *, http_too: bool = True) -> None:
    """Until something listens on a port and, with ``http_too``, answers HTTP."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as ping:
            ping.connect()
            if http_too:
                ping.request("GET", "/ping")
                ping.getresponse()
            return
        time.sleep(0.2)
    raise TimeoutError(f"nothing answers on port {port}")


def burst(
    port: int, path: str, body: str, connections: int, seconds: float, folder: Path, *, keys: int = 0
) -> dict[str, float]:
    """One run of ``wrk``, or of what stands in for it; each ``#`` in the body becomes a number below ``keys``."""
    if shutil.which("wrk") is None:
        return threads(port, path, body, connections, seconds, keys=keys)
    script = folder / "load.lua"
    numbered = (
        "function() return wrk.format(nil,nil,nil,(wrk.body:gsub('#',function() return math.random(0,%d) end))) end"
    )
    script.write_text(
        f'wrk.method="POST"; wrk.headers["Content-Type"]="application/json"; wrk.body=[==[{body}]==]\n'
        + (f"request={numbered % (keys - 1)}\n" if keys else "")
        + 'done=function(s,l,r) io.write(string.format("RESULT %d %d %d %d %d\\n", s.requests, s.duration, '
        "l:percentile(50), l:percentile(99), s.errors.status+s.errors.connect+s.errors.read+s.errors.timeout)) end\n"
    )
    address = f"http://127.0.0.1:{port}{path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script), address]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count, micros, p50, p99, errors = map(int, re.search(r"RESULT (.*)", output).group(1).split())  # type: ignore[union-attr]
    if errors:
        raise RuntimeError(f"{errors} of {count} requests failed")
    return {"rps": count / micros * 1e6, "p50": p50, "p99": p99}


def threads(port: int, path: str, body: str, connections: int, seconds: float, *, keys: int = 0) -> dict[str, float]:
    taken: list[float] = []
    end = time.perf_counter() + seconds

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while (start := time.perf_counter()) < end:
            filled = "".join(str(random.randrange(keys)) if keys and each == "#" else each for each in parts)
            connection.request("POST", path, filled, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}")
            taken.append((time.perf_counter() - start) * 1e6)
        connection.close()

    parts = re.split("(#)", body) if keys else [body]
    workers = [threading.Thread(target=ask) for _ in range(connections)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    cuts = statistics.quantiles(taken, n=100)
    return {"rps": len(taken) / seconds, "p50": cuts[49], "p99": cuts[98]}


def _family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in listed.read_text().split():
            yield from _family(int(child))


def _cpu(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
