"""Clients that no one here wrote, unmodified, in an environment of their own, against a running service."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving.test_service import serving

pytestmark = pytest.mark.slow

_TRITON = """
import sys
import numpy as np
import tritonclient.http as triton
client = triton.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}")
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("delay") and client.is_model_ready("delay", "3")
assert not client.is_model_ready("dealy") and not client.is_model_ready("delay", "9")
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
metadata = client.get_model_metadata("delay")
assert [column["name"] for column in metadata["inputs"]] == ["origin", "distance", "carrier", "night"]

def column(name, datatype, values, binary):
    tensor = triton.InferInput(name, [len(values), 1], datatype)
    tensor.set_data_from_numpy(values.reshape(-1, 1), binary_data=binary)
    return tensor

for binary_in in (True, False):
    for binary_out in (True, False):
        inputs = [
            column("origin", "BYTES", np.array(["JFK", "LGA", "nowhere"], dtype=np.object_), binary_in),
            column("distance", "FP64", np.array([100.0, 900.0, 300.0]), binary_in),
            column("carrier", "BYTES", np.array(["AA", "UA", "new"], dtype=np.object_), binary_in),
            column("night", "BOOL", np.array([True, False, False]), binary_in),
        ]
        outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("prediction", "probability")]
        answer = client.infer("delay", inputs, model_version="3", outputs=outputs, request_id="42")
        assert answer.get_response()["id"] == "42"
        found = [text.decode() if isinstance(text, bytes) else text for text in answer.as_numpy("prediction")]
        assert found == ["no", "yes", "no"], found
        assert np.allclose(answer.as_numpy("probability"), [[0.8, 0.2], [0.1, 0.9], [0.7, 0.3]])
        if binary_in:
            assert client.infer("delay", inputs).as_numpy("probability").shape == (3, 2)  # the client's defaults

for wrong in (inputs[:2], [*inputs, inputs[0]], [*inputs[:3], column("nihgt", "BOOL", np.array([True] * 3), True)]):
    try:
        client.infer("delay", wrong)
    except triton.InferenceServerException as exc:
        assert exc.status() == "400" and exc.message(), (exc.status(), exc.message())
    else:
        raise AssertionError(wrong)
print("all good")
"""

_KSERVE = """
import asyncio, sys
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    base = f"http://127.0.0.1:{sys.argv[1]}"
    assert await client.is_server_live(base) and await client.is_server_ready(base)
    assert await client.is_model_ready(base, "delay")
    assert not await client.is_model_ready(base, "dealy")
    inputs = [
        InferInput("origin", [2], "BYTES", ["JFK", "LGA"]),
        InferInput("distance", [2], "FP64", [100.0, 900.0]),
        InferInput("carrier", [2], "BYTES", ["AA", "UA"]),
        InferInput("night", [2], "BOOL", [True, False]),
    ]
    answer = await client.infer(base, InferRequest("delay", inputs, request_id="7"), model_name="delay")
    assert answer.id == "7" and answer.outputs[0].data == ["no", "yes"], answer
    await client.close()

asyncio.run(main())
print("all good")
"""


@pytest.mark.parametrize(("package", "program"), [("tritonclient[http]", _TRITON), ("kserve", _KSERVE)])
@pytest.mark.timeout(600)
def test_the_client_works_unmodified(tmp_path: Path, package, program):
    uv = shutil.which("uv")
    assert uv, "uv is needed to install the client into an environment of its own"
    subprocess.run([uv, "venv", "-q", "--python", "3.11", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv/bin/python")
    subprocess.run([uv, "pip", "install", "-q", "--python", python, package], check=True)
    with serving(tmp_path) as (_, port):
        done = subprocess.run([python, "-c", program, str(port)], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("all good\n"), done.stdout + done.stderr
