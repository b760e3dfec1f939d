"""The commands, run in this process."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

import aih_builder
from aih_builder.cli.app import app
from aih_builder.imaging import encode_png, read_image
from tests.builders import small_content
from tests.cli_runs import write_manifest
from tests.shards.planting import contents, digests, rewrite


def aih(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error(result: Result) -> str:
    """What a failed command says: one message, no traceback."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    assert result.stderr.startswith("aih: ")
    return result.stderr


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "it.yaml")


def test_the_version_is_that_of_the_package() -> None:
    assert aih("--version").stdout == f"aih-builder {aih_builder.__version__}\n"


def test_help_names_every_command_and_each_has_its_own() -> None:
    names = {"plan", "generate", "index", "status", "validate", "regenerate", "sheet", "info", "hand", "predict"}
    shown = aih("--help")
    assert shown.exit_code == 0
    assert names <= set(re.findall(r"^\W*(\w+)", shown.output, flags=re.MULTILINE))
    for name in names:
        assert aih(name, "--help").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("bake",),
        ("generate",),
        ("generate", "it.yaml"),
        ("generate", "it.yaml", "--out"),
        ("generate", "it.yaml", "--out", "x", "--jobs", "0"),
        ("generate", "it.yaml", "--out", "x", "--jobs", "many"),
        ("generate", "it.yaml", "--out", "x", "--seed", "3"),
        ("status",),
        ("status", "a", "b"),
        ("sheet", "x", "--out", "a.png", "--count", "0"),
        ("regenerate", "x", "--index", "-1"),
        ("--verbos", "status", "x"),
    ],
)
def test_arguments_that_are_wrong_exit_with_2_and_say_how_to_get_help(arguments: tuple[str, ...]) -> None:
    result = aih(*arguments)
    assert result.exit_code == 2
    assert re.search("--help|requires an argument", result.stderr)
    assert "Traceback" not in result.output


def test_generate_then_generate_again(small_dataset: Path, manifest: Path, tmp_path: Path) -> None:
    first = json.loads(aih("generate", manifest, "-o", tmp_path / "new", "--json").stdout)
    again = json.loads(aih("generate", manifest, "-o", tmp_path / "new", "--json").stdout)
    assert {key: first[key] for key in first if key != "seconds"} == {
        "folder": str(tmp_path / "new"), "shards_made": 5, "shards_kept": 0, "samples_made": 9, "finished": True,
    }  # fmt: skip
    assert (again["shards_made"], again["shards_kept"], again["finished"]) == (0, 5, True)
    assert digests(tmp_path / "new") == digests(small_dataset)


def test_plan_parts_status_and_index(small_dataset: Path, manifest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    planned = json.loads(aih("plan", manifest, "--out", folder, "--json").stdout)
    assert {key: planned[key] for key in ("renderer", "shards", "samples")} == {
        "renderer": "numba", "shards": 5, "samples": 9,
    }  # fmt: skip
    assert 0.01 < planned["acceptance"] <= 1
    assert aih("generate", manifest, "--out", folder, "--shards", "1:3").exit_code == 0
    (folder / "render/train/render-train-00002.json").unlink()
    state = json.loads(aih("status", folder, "--json").stdout)
    assert state["shards"] == {"done": 1, "torn": 1, "missing": 3}
    assert state["samples"] == {"done": 2, "torn": 1, "missing": 6}
    assert list(state["torn"]) == ["render/train/render-train-00002.h5"]
    assert state["indexed"] == "no"
    refused = aih("index", folder)
    assert refused.exit_code == 2
    assert "4 shards are not done" in error(refused)
    for part in (":1", "2:"):
        assert aih("generate", manifest, "--out", folder, "--shards", part).exit_code == 0
    (folder / "dataset.json").unlink()
    assert aih("index", folder).stdout == f"{folder / 'dataset.json'}\n"
    assert digests(folder) == digests(small_dataset)


@pytest.mark.parametrize("part", ["1", "a:b", "1:2:3", "-1:2", "3:1", "0:6", "", "3/3", "1/0", "-1/4", "/", "1/2/3"])
def test_a_part_that_is_none_is_refused(manifest: Path, copy: Path, part: str) -> None:
    result = aih("generate", manifest, "--out", copy, f"--shards={part}")
    assert result.exit_code == 2
    assert "shards" in error(result)


def test_parts_of_an_array_make_the_whole(small_dataset: Path, manifest: Path, tmp_path: Path) -> None:
    """More of them than shards: some have nothing to do."""
    folder = tmp_path / "parts"
    made = [
        json.loads(aih("generate", manifest, "--out", folder, "--shards", f"{i}/7", "--json").stdout) for i in range(7)
    ]
    assert [part["shards_made"] for part in made] == [1, 1, 1, 1, 1, 0, 0]
    assert [part["finished"] for part in made] == [False] * 4 + [True] * 3
    assert digests(folder) == digests(small_dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scheduler", "tcp://127.0.0.1:9"), "--scheduler needs --engine dask"),
        (("--cluster", "x.yaml"), "--cluster needs --engine dask"),
        (("--engine", "dask"), "needs --scheduler ADDRESS or --cluster FILE.yaml, one of both"),
        (("--engine", "dask", "--scheduler", "tcp://x:1", "--cluster", "x.yaml"), "one of both"),
        (("--engine", "dask", "--scheduler", "tcp://x:1", "--jobs", "2"), "--jobs is for --engine local"),
        (("--engine", "dask", "--cluster", "x.yaml"), r"x\.yaml: cannot be read .* tools/slurm/cluster\.yaml"),
    ],
)
def test_options_for_workers_that_contradict_one_another_are_refused(
    manifest: Path, copy: Path, options: tuple[str, ...], message: str
) -> None:
    for command in (("generate", manifest, "--out", copy), ("validate", copy), ("repair", copy)):
        result = aih(*command, *options)
        assert result.exit_code == 2
        assert re.search(message, error(result))


def test_repair_mends_what_validate_finds(small_dataset: Path, copy: Path) -> None:
    damaged = "render/train/render-train-00001.h5"
    data = bytearray((copy / damaged).read_bytes())
    data[-100] ^= 1
    (copy / damaged).write_bytes(data)
    assert aih("validate", copy).exit_code == 1
    told = json.loads(aih("repair", copy, "--json").stdout)
    assert list(told["shards_remade"]) == [damaged]
    assert "sha256 is" in told["shards_remade"][damaged]
    assert (told["shards_checked"], told["left"], told["finished"]) == (5, [], True)
    assert aih("validate", copy).exit_code == 0
    assert digests(copy) == digests(small_dataset)
    (copy / "render/train/mine.h5").write_bytes(b"")
    assert aih("repair", copy).exit_code == 1


def test_validate_prints_problems_and_exits_with_1(copy: Path) -> None:
    good = aih("validate", copy)
    assert (good.exit_code, good.stdout) == (0, f"{copy}: 5 shards, 9 samples read, all good\n")
    shard = rewrite(copy, lambda samples: samples[::-1])
    bad = aih("validate", copy)
    assert bad.exit_code == 1
    assert bad.stdout.splitlines() == [
        f"BAD {shard.file}: sample indices are not those of the plan",
        f"{copy}: 5 shards, 9 samples read, 1 problems",
    ]
    listed = aih("validate", copy, "--json")
    assert listed.exit_code == 1
    assert json.loads(listed.stdout) == {
        "shards": 5,
        "samples": 9,
        "problems": [{"file": shard.file, "sample": None, "message": "sample indices are not those of the plan"}],
    }


def test_many_problems_are_cut_short(copy: Path) -> None:
    for number in range(25):
        (copy / f"render/stray-{number}.h5").write_bytes(b"")
    lines = aih("validate", copy).stdout.splitlines()
    assert len(lines) == 22
    assert lines[20] == "... and 5 more (--json lists all)"
    assert lines[21].endswith("25 problems")


def test_regenerate_compares_with_what_is_stored(copy: Path) -> None:
    index = 16 * 3 + 0  # train, number 3: the second sample of the second shard
    good = aih("regenerate", copy, "--index", str(index))
    assert good.exit_code == 0
    assert "sample 48 (render/train/render-train-00001.h5): equal to what is stored, byte for byte" in good.stdout
    rewrite(copy, lambda samples: samples[::-1])
    bad = aih("regenerate", copy, "--index", "16")
    assert bad.exit_code == 1
    assert "DIFFERS from what is stored, in image, " in bad.stdout
    assert "cam_joints_m" in bad.stdout
    for unknown, message in (("80", "holds no sample with index 80"), ("15", "index 15 belongs to no engine")):
        result = aih("regenerate", copy, "--index", unknown)
        assert result.exit_code == 2
        assert message in error(result)


def test_a_sheet_is_a_picture(small_dataset: Path, tmp_path: Path) -> None:
    result = aih("sheet", small_dataset, "--out", tmp_path / "sheet.png", "--count", "4")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'sheet.png'}: 4 of 9 samples\n")
    assert min(read_image(tmp_path / "sheet.png").shape[:2]) > 200


def test_info_adds_up(small_dataset: Path) -> None:
    told = json.loads(aih("info", small_dataset, "--json").stdout)
    shards = list(small_dataset.glob("*/*/*.h5"))
    assert told["samples"] == 9
    assert told["shards"] == len(shards) == 5
    assert told["counts"] == {"render": {"train": 5, "val": 2, "test": 2}}
    assert told["kib_per_sample"] == round(sum(path.stat().st_size for path in shards) / 1024 / 9, 1)
    assert told["licences"] == ["CC0-1.0"]
    assert told["seed"] == 20220701
    assert told["sources"] == json.loads((small_dataset / "dataset.json").read_text())["sources"]
    assert sum(told["render_occlusion"]["target_0_0.05_0.2_0.4_0.8_1"]) == pytest.approx(1, abs=0.01)
    assert told["render_ms_per_sample"].keys() >= {"render", "compose"}
    shown = aih("info", small_dataset).stdout
    assert "kib per sample" in shown
    assert re.search(r"^  textures +source shipped, sets 20, licences \['CC0-1.0'\]$", shown, flags=re.MULTILINE)


# Bad input.


def test_an_unknown_key_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "it.yaml", image_size=64)
    result = aih("generate", path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert error(result) == f"aih: {path}: unknown key 'image_size'; did you mean 'image_size_px'?\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [", "not valid YAML"),
        ("- seed", "expected a mapping"),
        ("", "expected a mapping"),
        ("just text", "expected a mapping"),
        ("a: 2001-99-99", "not valid YAML"),
        ("? {a: 1}\n: 2", "not valid YAML"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
        ("[" * 3000, "not valid YAML"),
        ("a: *x", "not valid YAML"),
        ("a: !!bool maybe", "not valid YAML"),
        ("a: !!map [1]", "not valid YAML"),
        ("a: !!timestamp soon", "not valid YAML"),
        ("a: !!int ''", "not valid YAML"),
        ("1: 2", "key '1'|unknown key"),
        ("null: 2", "."),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "it.yaml").write_text(text)
    result = aih("generate", tmp_path / "it.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert re.search(f"it.yaml: .*({message})", error(result))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["nowhere", "folder", "binary"])
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "it.yaml"
    if what == "folder":
        path.mkdir()
    elif what == "binary":
        path.write_bytes(bytes(range(128, 256)))
    result = aih("plan", path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "it.yaml: cannot be read" in error(result)


@pytest.mark.parametrize("what", ["unreadable", "empty", "missing", "a file"])
def test_a_folder_of_backgrounds_that_is_wrong_is_refused(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "photos"
    if what == "a file":
        folder.write_bytes(b"")
    elif what != "missing":
        folder.mkdir()
        (folder / "notes.txt").write_text("no image")
    if what == "unreadable":
        (folder / "good.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
        (folder / "broken.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8))[:40])
    content = small_content()
    content["pools"]["backgrounds"] = {"procedural": [], "folders": ["photos"]}
    (tmp_path / "it.yaml").write_text(yaml.safe_dump(content))
    result = aih("generate", tmp_path / "it.yaml", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert str(folder / "broken.png" if what == "unreadable" else folder) in error(result)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused_and_untouched(manifest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("x")
    before = contents(folder)
    for command in ("generate", "plan"):
        result = aih(command, manifest, "--out", folder)
        assert result.exit_code == 2
        assert "is not empty and holds no plan of this manifest (found chapter.tex)" in error(result)
    assert contents(folder) == before


def test_an_output_that_is_a_file_is_refused_and_untouched(manifest: Path, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("mine")
    result = aih("generate", manifest, "--out", path)
    assert result.exit_code == 2
    assert "out: is a file. Expected a folder" in error(result)
    result = aih("generate", manifest, "--out", path / "below")
    assert result.exit_code == 1
    assert "cannot be written (Not a directory)" in error(result)
    assert path.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_that_nobody_can_write_to_is_refused(manifest: Path) -> None:
    result = aih("generate", manifest, "--out", "/proc/aih")
    assert result.exit_code == 1
    assert "/proc/aih/manifest.yaml: cannot be written" in error(result)


@pytest.mark.parametrize("command", ["status", "validate", "info", "index", "sheet", "regenerate"])
@pytest.mark.parametrize("what", ["missing", "empty", "a shard"])
def test_a_path_that_is_no_dataset_is_refused(small_dataset: Path, tmp_path: Path, command: str, what: str) -> None:
    path = next(small_dataset.glob("*/*/*.h5")) if what == "a shard" else tmp_path / "it"
    if what == "empty":
        path.mkdir()
    more = {"sheet": ["--out", tmp_path / "x.png"], "regenerate": ["--index", "0"]}.get(command, [])
    result = aih(command, path, *more)
    assert result.exit_code == 2
    assert re.search(r"holds no (plan|dataset)\.json", error(result))


def test_a_damaged_shard_is_an_error_of_every_command_that_reads_it(copy: Path, tmp_path: Path) -> None:
    shard = copy / "render/train/render-train-00000.h5"
    shard.write_bytes(b"\x89HDF\r\n\x1a\n" + shard.read_bytes()[8:900])
    for arguments in (("sheet", copy, "--out", tmp_path / "x.png", "--count", "9"), ("regenerate", copy, "-i", "0")):
        result = aih(*arguments)
        assert result.exit_code == 1
        assert "render-train-00000.h5: not a readable shard" in error(result)
    assert aih("validate", copy).exit_code == 1
    assert "1 shards are not done" in error(aih("info", copy))
    assert not (tmp_path / "x.png").exists()


def test_a_full_disk_met_outside_our_own_writing_is_told_all_the_same(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device", "/some/cache")

    monkeypatch.setattr("aih_builder.cli.datasets.load_plan", full)
    result = aih("info", copy)
    assert result.exit_code == 1
    assert error(result) == (
        "aih: /some/cache: No space left on device. Free space or fix permissions, then run again.\n"
    )


def test_hands_are_exported(tmp_path: Path) -> None:
    result = aih("hand", "export", tmp_path / "mano")
    assert result.exit_code == 0
    assert {path.name for path in (tmp_path / "mano").iterdir()} >= {"MANO_RIGHT.pkl", "MANO_LEFT.pkl"}
    (tmp_path / "file").write_text("")
    result = aih("hand", "export", tmp_path / "file")
    assert result.exit_code in (1, 2)
    assert error(result)
