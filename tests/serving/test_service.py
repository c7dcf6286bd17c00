import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from trivet.errors import Conflict, Invalid, Refused
from trivet.serving.service import run

_SERVICE = """
import gc, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.serving.conftest import deployed, read, score
from trivet.serving.app import App
from trivet.serving.predictor import Predictor
from trivet.serving.records import PredictionLog
from trivet.serving.service import run
table = Path(sys.argv[2])
def append(name, arrow):
    with table.open("a") as file: file.writelines(row + "\\n" for row in arrow["id"].to_pylist())
    return 1
def slowly(rows):
    time.sleep(0.3)
    return score(rows)
log = PredictionLog(table.with_name("spool"), append, recorded=lambda ids: set(), flush_every=3600.0)
app = App([Predictor(deployed(), read, slowly, log.add)], on_close=log.close)
run(app, port=0, on_ready=lambda host, port: print(port, gc.get_freeze_count() > 1000, flush=True))
print("returned", log.backlog, flush=True)
"""
_ROOT = Path(__file__).parents[2]


@contextmanager
def serving(folder):
    arguments = [sys.executable, "-c", _SERVICE, str(_ROOT), str(folder / "table")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            port, frozen = process.stdout.readline().split()
            assert frozen == "True"
            yield process, int(port)
        finally:
            process.kill()


@contextmanager
def asked(port, path="/predict", body=None):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
        yield connection


def healthy(port):
    with asked(port, "/health") as connection:
        return json.loads(connection.getresponse().read())["status"] == "ok"


REQUEST = {"entities": {"origin": "JFK"}, "values": {"distance": 1, "carrier": None, "night": False}, "id": "in-flight"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_finish_and_flushes_the_log(tmp_path, number):
    with serving(tmp_path) as (process, port):
        assert healthy(port)
        with asked(port, body=REQUEST) as connection:
            time.sleep(0.1)
            process.send_signal(number)
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["id"]) == (200, "in-flight")
        assert process.stdout.read() == "returned 0\n"
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
    assert (tmp_path / "table").read_text() == "in-flight\n"


def test_broken_http_breaks_nothing(tmp_path):
    with serving(tmp_path) as (_, port):
        for data in (b"\x00\x01\x02\r\n\r\n", b"POST /predict HTTP/1.1\r\ncontent-length: -5\r\n\r\n", b"GET /"):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
                raw.sendall(data)
        assert healthy(port)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "example.com", ""])
def test_an_address_that_others_reach_is_refused(host):
    with pytest.raises(Refused, match="asks nobody who they are"):
        run(None, host)


def test_a_port_that_is_taken_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(Conflict, match=str(other.getsockname()[1])):
            run(None, port=other.getsockname()[1])


def test_a_port_that_cannot_be():
    with pytest.raises(Invalid, match="no port"):
        run(None, port=70_000)
