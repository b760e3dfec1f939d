"""`aih view` as a process of its own."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from aih_builder.cli.app import app
from aih_builder.hdr.read_predictions import dataset_hash
from aih_builder.sample import Sample
from aih_builder.viewer.web import server
from tests.cli_runs import ROOT, environment, start
from tests.hdr.prediction_files import perfect, write

pytest.importorskip("gradio")


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def refused(*arguments: str | Path) -> str:
    """What a command that ends with code 2 says, on one line."""
    result = CliRunner().invoke(app, ["view", *map(str, arguments)])
    assert (result.exit_code, result.stdout) == (2, "")
    return " ".join(result.stderr.replace("│", " ").split())


def asked(port: int, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()


class Running:
    """`aih view` that has said where it is."""

    def __init__(self, *arguments: str | Path, **options: Any) -> None:
        self.port = free_port()
        self.process = start("view", *arguments, "--port", str(self.port), **options)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Signal it; its exit code, and what else it said."""
        os.killpg(self.process.pid, number)
        out, err = self.process.communicate(timeout=15)
        return self.process.returncode, out, err


@pytest.fixture(scope="module")
def folder(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(small_dataset, tmp_path_factory.mktemp("view") / "dataset"))


@pytest.fixture(scope="module")
def predicted(folder: Path, samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("predicted")
    for sample in samples[:2]:
        write(place, sample, perfect(sample), dataset_hash(folder))
    return place


@pytest.fixture
def running(folder: Path, predicted: Path, tmp_path: Path) -> Iterator[Running]:
    report = {"problems": [{"file": "render/val/render-val-00000.h5", "sample": 0, "message": "planted"}]}
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "temporary").mkdir()
    started = Running(
        folder, "--predictions", predicted, "--problems", tmp_path / "report.json",
        env=environment(TMPDIR=str(tmp_path / "temporary")),
    )  # fmt: skip
    yield started
    if started.process.poll() is None:
        os.killpg(started.process.pid, signal.SIGKILL)
        started.process.communicate()


def test_it_says_where_it_is_answers_on_this_machine_alone_and_ends_when_interrupted(
    running: Running, folder: Path, tmp_path: Path
) -> None:
    """With a page of gradio's and an event stream held open, as by a browser."""
    address = f"http://127.0.0.1:{running.port}/"
    assert running.line == f"{folder}: 9 samples at {address}\n"
    assert asked(running.port, "/")[0] == 200
    assert json.loads(asked(running.port, "/data/sample/1")[1])["problems"] == ["planted"]
    assert json.loads(asked(running.port, "/data/sample/0")[1])["predicted"]
    assert asked(running.port, "/predictions")[0] == 200
    processes = [psutil.Process(running.process.pid), *psutil.Process(running.process.pid).children(recursive=True)]
    listening = [c for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert [tuple(c.laddr) for c in listening] == [("127.0.0.1", running.port)]
    with closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)) as held:
        held.request("GET", "/gradio_api/heartbeat/held")
        assert held.getresponse().status == 200
        idle = socket.create_connection(("127.0.0.1", running.port))
        assert held.sock is not None
        code, out, err = running.end()
        idle.close()
    assert (code, out) == (0, "")
    assert "Traceback" not in err, err
    assert "ERROR" not in err, err
    assert list((tmp_path / "temporary").glob("aih-view-*")) == []


def test_a_port_that_is_taken_is_told(folder: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = refused(folder, "--port", str(port))
    assert f"port {port} of 127.0.0.1: [Errno 98] Address already in use. Choose another with --port." in told


def test_without_a_port_the_first_free_one_is_taken() -> None:
    with closing(server._listening(None)) as one, closing(server._listening(None)) as other:
        ports = [found.getsockname()[1] for found in (one, other)]
        assert 7860 <= ports[0] < ports[1] < 7880
        assert {found.getsockname()[0] for found in (one, other)} == {"127.0.0.1"}


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_that_cannot_be_is_refused(folder: Path, port: str) -> None:
    assert "Invalid value for '--port'" in refused(folder, "--port", port)


def test_what_is_no_dataset_is_refused(tmp_path: Path, folder: Path) -> None:
    assert "Expected a dataset folder made by `aih generate`" in refused(tmp_path)
    unfinished = Path(shutil.copytree(folder, tmp_path / "unfinished"))
    (unfinished / "dataset.json").unlink()
    assert "is not finished: run `aih generate` again" in refused(unfinished)
    assert refused(tmp_path / "nothing")
    assert refused(folder / "dataset.json")


def test_predictions_that_are_not_of_this_dataset_are_refused(folder: Path, tmp_path: Path) -> None:
    assert "holds no prediction of a dataset's samples" in refused(folder, "--predictions", folder)
    told = refused(folder, "--predictions", tmp_path / "x")
    assert "Expected a folder that `aih predict DATASET --out` wrote" in told


def test_problems_that_are_no_report_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("render-train-00000 is bad")
    for path in (tmp_path / "list.txt", tmp_path / "x", folder / "dataset.json"):
        assert "Expected what `aih validate DIR --json` prints" in refused(folder, "--problems", path)


def test_damaged_flags_are_told(folder: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
    (damaged / "flags.json").write_text("{")
    result = CliRunner().invoke(app, ["view", str(damaged)])
    assert result.exit_code == 1
    assert "flags.json: damaged" in result.stderr


def test_without_gradio_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: None if name == "gradio" else pytest.fail(name))
    assert "aih view needs gradio: pip install 'aih-builder[viewer]'." in refused(folder)


def test_the_script_beside_is_the_same_command(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "tools/view_shards.py")]
    settings: dict[str, Any] = {"capture_output": True, "text": True, "check": False, "env": environment(COLUMNS="120")}
    told = subprocess.run([*script, "--help"], **settings)
    assert told.returncode == 0
    assert all(option in told.stdout for option in ("--port", "--predictions", "--problems", "--jobs"))
    wrong = subprocess.run([*script, str(tmp_path)], **settings)
    assert wrong.returncode == 2
    assert "Expected a dataset folder" in wrong.stderr
    assert "Traceback" not in wrong.stderr
