import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder.errors import ShardError
from aih_builder.files import read_json, remove, remove_stale, sha256_of, write_json, write_whole
from tests.cli_runs import ROOT, environment, wait_until

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)


def test_a_file_appears_whole_with_its_folders_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    for data in (b"first", b"", b"x" * 100_000):
        write_whole(path, data)
        assert path.read_bytes() == data
        assert [p.name for p in path.parent.iterdir()] == ["c.bin"]
        assert sha256_of(path) == hashlib.sha256(data).hexdigest()


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON))
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, content: dict) -> None:
    path = tmp_path_factory.getbasetemp() / "it.json"
    write_json(path, content)
    assert read_json(path) == content
    assert path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_write_that_fails_leaves_the_old_file_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, number: int
) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(failing, fail)
    with pytest.raises(ShardError, match=rf"{path}: cannot be written \({os.strerror(number)}\)\. Free space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["it"]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "it", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/below", "folder", "x" * 300])
def test_a_place_that_cannot_hold_a_file_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ShardError, match="cannot be written"):
        write_whole(tmp_path / place, b"x")
    assert (tmp_path / "file").read_bytes() == b"kept"
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder"}


def test_the_largest_file_that_a_process_may_write_is_respected(tmp_path: Path) -> None:
    """What a full disk does, by a limit that any user can set."""
    script = (
        "import resource, sys; from pathlib import Path; from aih_builder.files import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_whole(Path(sys.argv[1]) / 'small', b'x' * 1000)\n"
        "write_whole(Path(sys.argv[1]) / 'large', b'x' * 1001)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "ShardError: " in run.stderr
    assert "large: cannot be written (File too large)" in run.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["small"]


@pytest.mark.parametrize("data", [b"", b"{", b"nonsense", b"\xff\xfe", b"[1]", b"3", b'"x"', b"null", b"[" * 100_000])
def test_what_is_no_json_object_is_a_shard_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "it.json").write_bytes(data)
    with pytest.raises(ShardError, match=r"it\.json: (not a readable JSON|expected a JSON object)"):
        read_json(tmp_path / "it.json")


def test_a_missing_file_is_a_shard_error(tmp_path: Path) -> None:
    for read in (read_json, sha256_of):
        with pytest.raises(ShardError, match="none"):
            read(tmp_path / "none")


def test_removing_is_quiet_about_what_is_gone_and_loud_about_what_stays(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"")
    for _ in range(2):
        remove(tmp_path / "it")
        assert not (tmp_path / "it").exists()
    with pytest.raises(ShardError, match=r"cannot be deleted \(Is a directory\)"):
        remove(tmp_path)


HOLD = """
import os, sys, time
from pathlib import Path
from aih_builder import files

files.os.fsync = lambda _: (print("written", flush=True), time.sleep(600))
files.write_whole(Path(sys.argv[1]) / "it.bin", b"half")
"""


def test_the_temporary_file_of_a_writer_goes_only_when_the_writer_is_dead(tmp_path: Path) -> None:
    """Also where its parent has not yet asked for it: in a container that may never happen."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        (temporary,) = tmp_path.iterdir()
        assert remove_stale(tmp_path) == []
        assert temporary.exists()
        process.kill()
        wait_until(lambda: remove_stale(tmp_path) == [temporary], 10)
        assert process.returncode is None
    assert list(tmp_path.iterdir()) == []


def test_two_processes_that_write_one_file_leave_one_of_both_contents(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from aih_builder.files import write_whole\n"
        "for _ in range(30): write_whole(Path(sys.argv[1]) / 'it', sys.argv[2].encode() * 100_000)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path, letter], env=environment(), cwd=ROOT)
        for letter in "ab"
    ]
    path = tmp_path / "it"
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert path.read_bytes() in (b"a" * 100_000, b"b" * 100_000)
        time.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["it"]


def test_records_are_readable_by_anybody_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_json(tmp_path / "it.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "it.json").stat().st_mode & 0o777 == 0o644
    assert json.loads((tmp_path / "it.json").read_text()) == {}
