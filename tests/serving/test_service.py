import http.client
import json
import resource
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
def append(name, arrow, day_of):
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


def answered(port, path, body):
    with asked(port, path, body) as connection:
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


V2 = {
    "inputs": [
        {"name": "origin", "datatype": "BYTES", "shape": [2], "data": ["JFK", "LGA"]},
        {"name": "distance", "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]},
        {"name": "carrier", "datatype": "BYTES", "shape": [2], "data": ["AA", None]},
        {"name": "night", "datatype": "BOOL", "shape": [2], "data": [True, False]},
    ]
}
ROUTES = [
    ("/predict", REQUEST, 1),
    ("/predict", [{**REQUEST, "id": "one"}, {**REQUEST, "id": "two"}], 2),
    ("/v2/models/delay/infer", V2, 2),
    ("/v2/models/delay/versions/3/infer", V2, 2),
]


def test_nothing_is_answered_that_cannot_be_recorded_and_space_alone_ends_that(tmp_path):
    """The limit on the size of files refuses every write of the service, as a full disk does, while it runs."""
    with serving(tmp_path) as (process, port):
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, hard))
        for path, body, _ in ROUTES:
            status, answer = answered(port, path, body)
            assert (status, list(answer)) == (503, ["error"])
            assert "Free space" in answer["error"]
            assert '[serving] unrecorded = "answer"' in answer["error"]
        assert healthy(port)
        with asked(port, "/metrics") as connection:
            assert f'outcome="refused",role="champion",version="3"}} {sum(rows for *_, rows in ROUTES)}.0' in (
                connection.getresponse().read().decode()
            )
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        for path, body, _ in ROUTES:  # under the very ids that were refused
            assert answered(port, path, body)[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read().count("REFUSED") == 1
    assert len((tmp_path / "table").read_text().splitlines()) == sum(rows for *_, rows in ROUTES)


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
