import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.tracking.project import open_context, process_environment
from trivet.pipelines import values
from trivet.tracking import console as consoles
from trivet.tracking.console import Console, collect, live
from trivet.tracking.runs import start


def kept(context, run):
    artifact = context.ledger.artifact(context.ledger.run(run.id).outputs["console.txt"])
    (file,) = artifact.files.values()
    return context.blobs.read(file.digest).decode()


def test_what_is_printed_is_shown_and_kept(context, capsys):
    before = sys.stdout, sys.stderr
    with start(context, "x", console=True) as run:
        print("epoch 1 ✈️")
        print("careful", file=sys.stderr)
        assert live(context.root, run.id) == "epoch 1 ✈️\ncareful\n"
    assert (sys.stdout, sys.stderr) == before
    print("after")
    assert kept(context, run) == "epoch 1 ✈️\ncareful\n"
    assert live(context.root, run.id) is None
    assert capsys.readouterr() == ("epoch 1 ✈️\nafter\n", "careful\n")


def test_a_run_inside_another_is_in_both(context):
    with start(context, "outer", console=True) as outer:
        print("a")
        with start(context, "inner", console=True) as inner:
            print("b")
        print("c")
    assert kept(context, inner) == "b\n"
    assert kept(context, outer) == "a\nb\nc\n"


def test_a_lot_is_bounded_with_its_beginning_and_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(consoles, "HEAD", 1000)
    monkeypatch.setattr(consoles, "TAIL", 500)
    console = Console(tmp_path, "01RUN")
    lines = [f"line {number:05}\n" for number in range(2000)]
    for line in lines:
        console.take(line)
    found = console.stop().decode()
    everything = "".join(lines)
    head, _, tail = found.partition("\n[... ")
    assert head == everything[:1000]
    left, _, tail = tail.partition(" bytes left out ...]\n")
    assert everything.endswith(tail)
    assert 500 <= len(tail) <= 1100
    assert int(left.replace(",", "")) == len(everything) - 1000 - len(tail)
    console.forget()
    assert not (tmp_path / ".trivet" / "console" / "01RUN").exists()


def test_threads_and_a_full_disk_do_not_stop_printing(tmp_path, monkeypatch, capsys):
    console = Console(tmp_path, "01RUN")
    threads = [threading.Thread(target=lambda n=n: [print(f"{n}") for _ in range(200)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(consoles.os, "write", full)
    print("still shown")
    monkeypatch.undo()
    assert len(console.stop()) == 4 * 200 * 2
    assert capsys.readouterr().out.endswith("still shown\n")


PRINTING = """
import sys, time
from pathlib import Path
from tests.tracking.project import open_context
from trivet.tracking.runs import start
run = start(open_context(Path(sys.argv[1])), "victim", console=True)
print("the last words", flush=True)
print(run.id, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("times", [1, 2])
def test_what_a_killed_process_printed_becomes_an_output(tmp_path, times):
    context = open_context(tmp_path)
    command = [sys.executable, "-c", PRINTING, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=process_environment())
    assert process.stdout.readline() == "the last words\n"
    run = process.stdout.readline().strip()
    assert collect(context) == []  # it lives
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.01)
    for expected in [[run], [], []][: times + 1]:
        assert collect(context) == expected
    output = context.ledger.artifact(context.ledger.run(run).outputs["console.txt"])
    assert values.load(output, context.blobs).read_text() == f"the last words\n{run}\n"
    context.ledger.close()
