"""Real servers for tests, each in a folder of its own on a free port of the loopback, stopped afterwards.

A server that is not installed skips the tests that need it, except where ``TRIVET_CI=1`` says that all must run.
"""

from __future__ import annotations

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
