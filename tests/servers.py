"""Real servers for tests, each in a folder of its own on a free port of the loopback, stopped afterwards.

A server that is not installed skips the tests that need it, except where ``TRIVET_CI=1`` says that all must run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    """A port of the loopback that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str, *folders: Path) -> str:
    """The path of a program in ``folders`` or on the search path; without it the test is skipped."""
    searched = os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])
    found = shutil.which(name, path=searched)
    if found is None:
        missing = f"{name} is not installed"
        if os.environ.get("TRIVET_CI") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty PostgreSQL, for example ``postgresql://postgres@127.0.0.1:41234/postgres``."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    initdb, pg_ctl = program("initdb", *folders), program("pg_ctl", *folders)
    folder = Path(tempfile.mkdtemp(prefix="trivet-pg-"))
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    port, data = free_port(), str(folder / "data")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    make = [initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
    try:
        subprocess.run([*as_user, *make], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        start = [pg_ctl, "-D", data, "-w", "-t", "30", "-l", str(folder / "log"), "-o", options, "start"]
        subprocess.run([*as_user, *start], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            stop = [pg_ctl, "-D", data, "-m", "immediate", "stop"]
            subprocess.run([*as_user, *stop], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    finally:
        shutil.rmtree(folder)


@contextmanager
def s3() -> Iterator[str]:
    """The endpoint of an empty S3 server, for example ``http://127.0.0.1:41235``; any credentials will do."""
    server, port = program("moto_server", Path(sys.executable).parent), free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([server, "-H", "127.0.0.1", "-p", str(port)], **quiet)
    try:
        _wait_for(f"http://127.0.0.1:{port}/moto-api/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


class Redis:
    """A Redis server that can be stopped and started again on the same port; it keeps nothing on disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._program, self._folder, self._options = program("redis-server"), folder, options
        self.port, self.socket = free_port(), str(folder / "redis.sock")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty."""
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket]
        kept = ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        command = [self._program, *where, *kept, *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(64):
                    return
            time.sleep(0.02)
        pytest.fail("redis-server did not start.")

    def signal(self, number: int) -> None:
        """Send its process a signal: SIGSTOP makes it hang, SIGCONT goes on."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Stop it at once; what it had is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def redis_server(*options: str) -> Iterator[Redis]:
    """An empty Redis with these options."""
    with tempfile.TemporaryDirectory(prefix="trivet-redis-") as folder:
        server = Redis(Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _wait_for(url: str, process: subprocess.Popen[bytes], *, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"The server of {url} did not start.")
