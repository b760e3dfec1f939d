import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aih_builder.errors import ConfigError, ShardError
from aih_builder.files import whole_folder


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "deep" / "out") as made:
        (made / "a").write_text("x")
        assert not (tmp_path / "deep" / "out").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    assert (tmp_path / "deep" / "out" / "a").read_text() == "x"


def fill(path: Path, then: Callable[[], object]) -> None:
    with whole_folder(path) as made:
        (made / "a").write_text("mine")
        then()


def fail(error: type[BaseException]) -> None:
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_or_not_at_all(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "out").mkdir()  # an empty one is welcome, and stays
    with pytest.raises(error):
        fill(tmp_path / "out", lambda: fail(error))
    assert list(tmp_path.rglob("*")) == [tmp_path / "out"]


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for path in (tmp_path, tmp_path / "a"):
        with pytest.raises(ConfigError, match="not an empty folder"), whole_folder(path):
            pytest.fail("it was let in")


def test_one_that_another_fills_meanwhile_is_left_to_that_one(tmp_path: Path) -> None:
    def fill_it() -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a").write_text("theirs")

    with pytest.raises(ShardError, match="cannot be written"):
        fill(tmp_path / "out", fill_it)
    assert (tmp_path / "out" / "a").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_dead_process_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from aih_builder.files import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as made:\n    (made / 'half').write_text('x'); os._exit(9)"
    )
    root = Path(__file__).resolve().parent.parent
    environment = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], check=False, env=environment)
    (left,) = tmp_path.iterdir()
    (tmp_path / "out.tmp-elsewhere-1-00000000").mkdir()
    with whole_folder(tmp_path / "out"):
        assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.tmp-elsewhere-1-00000000"}
