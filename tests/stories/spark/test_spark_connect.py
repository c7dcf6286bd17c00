"""A real server of Spark Connect on the loopback, which PySpark brings along.

Only the sending differs from Spark's own sessions, so the contract of engines is examined there and not once more here.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pyspark
import pytest

from tests.servers import free_port
from tests.stories.spark.same import PLANE, PLANES, asked, check_filled, check_same, flights, served, views
from trivet import plugins
from trivet.errors import ConfigError, Invalid
from trivet.features import FeatureView, Source, select_all
from trivet.features.engines import spark

HOME = Path(pyspark.__file__).parent
SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
LOCAL = {"spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}


@pytest.fixture(scope="module")
def url():
    """The address of a server, which is stopped after the tests of this file."""
    port = free_port()
    grpc = {"spark.connect.grpc.binding.address": "127.0.0.1", "spark.connect.grpc.binding.port": str(port)}
    options = [word for name, value in {**LOCAL, **grpc}.items() for word in ("--conf", f"{name}={value}")]
    # what sbin/start-connect-server.sh starts, but as a process that can be stopped
    command = [HOME / "bin" / "spark-submit", "--class", SERVER, "--master", "local[2]", *options]
    variables = os.environ | {"SPARK_HOME": str(HOME), "PYSPARK_PYTHON": sys.executable}
    server = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        yield f"sc://127.0.0.1:{port}"
    finally:
        for session in spark._sessions.values():
            session.stop()  # PySpark goes on trying to reach a server that is gone when the process ends
        server.terminate()
        server.wait()


def wait_for(port, server, seconds=180):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert server.poll() is None, "the server of Spark Connect ended by itself"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"the server of Spark Connect does not answer after {seconds} s")


def opened(url):
    return plugins.open_url("engine", url, Path())


def test_training_sets_and_online_stores_are_the_same(url, tmp_path):
    check_same(opened(url), views(flights(), PLANES), asked())
    check_filled(opened(url), served(flights(), PLANES), tmp_path)


def test_a_folder_that_the_server_sees_takes_what_is_large(url, tmp_path, monkeypatch):
    monkeypatch.setattr(spark, "_DIRECT", 1_000)
    check_same(opened(f"{url}?folder={tmp_path}"), views(flights(), PLANES)[:2], asked())


def test_a_session_that_the_server_forgot_is_opened_again(url):
    engine = opened(url)
    engine.session().client.release_session()
    check_same(engine, views(flights(), PLANES)[2:3], asked())


def test_errors_are_those_of_the_engine(url):
    rows = pl.DataFrame({"tail": ["A"], "dep": ["2013-01-01T00:00"], "delay": [1.0]})
    view = FeatureView("v", entity=PLANE, source=Source("flights", event_time="dep"), features=["delay"])
    with pytest.raises(Invalid, match="Column 'dep' of source 'flights' has times without a zone"):
        opened(url).point_in_time(asked(), select_all([view]), {"flights": rows}, time="t")


def test_a_server_that_is_not_there_is_named_at_once():
    port = free_port()
    with pytest.raises(ConfigError, match=rf"No server of Spark Connect answers at 127.0.0.1:{port}: .*refused"):
        opened(f"sc://127.0.0.1:{port}").session()
