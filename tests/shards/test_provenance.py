"""dataset.json says what a dataset is made of: seed, and of each pool what it is and under which licences."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder import generate, validate
from aih_builder.config import Manifest, parse_manifest
from aih_builder.config.scenes import Pools
from aih_builder.errors import ConfigError
from aih_builder.files import read_json
from aih_builder.hands.arrays import open_hand
from aih_builder.imaging import encode_png
from aih_builder.paths import render_assets
from aih_builder.shards.plan import load_plan, make_plan
from aih_builder.sources.bank import Bank
from aih_builder.sources.pose_library import shipped_library
from tests.bank_pictures import CORE, disc_bank
from tests.builders import small_both_content, small_content

CC0 = ["CC0-1.0"]


def planned(folder: Path, **pools: Any) -> Manifest:
    content = small_content()
    content["pools"] |= pools
    return parse_manifest(content, where="it", folder=folder)


def test_a_dataset_states_its_seed_and_the_licence_of_every_source(both_dataset: Path) -> None:
    listed, plan = read_json(both_dataset / "dataset.json"), load_plan(both_dataset)
    assert listed["seed"] == plan.manifest.seed
    bank = Bank(both_dataset / "cache/bank.h5").digest
    poses = shipped_library().digest()
    assert listed["sources"] == {
        "hand": {"model": "open", "digest": open_hand().digest(), "licences": CC0},
        "poses": {"source": "library", "digest": poses, "entries": 2000, "licences": CC0},
        "textures": {"source": "shipped", "sets": 20, "licences": CC0},
        "backgrounds": {"procedural": list(Pools().backgrounds.procedural), "folders": [], "licences": CC0},
        "bank": {"source": "rendered", "digest": bank, "pictures": 16, "licences": CC0},
    }
    assert listed["licences"] == CC0


def test_the_open_hand_has_the_licence_that_its_own_provenance_names(small_dataset: Path) -> None:
    named = read_json(render_assets() / "open_hand" / "provenance.json")["licence"]
    assert load_plan(small_dataset).sources["hand"]["licences"] == [named]


def test_each_source_keeps_its_own_licence_and_the_dataset_has_them_all(tmp_path: Path) -> None:
    skin = Path(shutil.copytree(render_assets() / "textures", tmp_path / "skin"))
    index = read_json(skin / "textures.json")
    index["sets"][0]["licence"] = "CC-BY-4.0"
    (skin / "textures.json").write_text(json.dumps(index))
    (tmp_path / "rooms").mkdir()
    for k in range(3):
        picture = np.full((9, 9, 3), 80 * k, np.uint8)
        (tmp_path / f"rooms/{k}.png").write_bytes(encode_png(picture))
    replace(shipped_library(), licence="CC-BY-NC-4.0 AND MIT").save(tmp_path / "mine.npz")
    plan = make_plan(
        planned(
            tmp_path,
            textures={"source": "folder", "path": "skin"},
            backgrounds={"procedural": ["noise"], "folders": ["rooms"]},
            poses={"source": "library", "path": "mine.npz"},
        ),
        tmp_path / "out",
    )
    assert "bank" not in plan.sources  # no stream draws from one
    assert {name: source["licences"] for name, source in plan.sources.items()} == {
        "hand": CC0,
        "poses": ["CC-BY-NC-4.0", "MIT"],
        "textures": ["CC-BY-4.0", *CC0],
        "backgrounds": [*CC0, "user"],
    }
    rooms = {"path": str(tmp_path / "rooms"), "images": 3, "left_out": 0, "licence": "user"}
    assert plan.sources["backgrounds"]["folders"] == [rooms]
    assert plan.licences == ["CC-BY-4.0", "CC-BY-NC-4.0", "CC0-1.0", "MIT", "user"]


def test_poses_that_are_drawn_as_they_are_needed_have_no_digest_and_are_free(tmp_path: Path) -> None:
    plan = make_plan(planned(tmp_path, poses={"source": "anatomical"}), tmp_path / "out")
    assert plan.sources["poses"] == {"source": "anatomical", "digest": None, "licences": CC0}


def test_a_bank_file_is_named_where_it_lies_now_and_a_move_changes_nothing_else(tmp_path: Path) -> None:
    disc_bank(tmp_path / "a.h5", 12)
    content = small_both_content(image_size_px=CORE, pools={"bank": {"path": "a.h5"}})
    generate(parse_manifest(content, where="it", folder=tmp_path), tmp_path / "out")
    before = read_json(tmp_path / "out/dataset.json")
    assert before["sources"]["bank"]["path"] == str(tmp_path / "a.h5")
    assert before["sources"]["bank"]["licences"] == [Bank(tmp_path / "a.h5").head.licence]
    (tmp_path / "a.h5").rename(tmp_path / "b.h5")
    content["pools"]["bank"]["path"] = "b.h5"
    assert generate(parse_manifest(content, where="it", folder=tmp_path), tmp_path / "out").made == 0
    after = read_json(tmp_path / "out/dataset.json")
    assert after["sources"]["bank"].pop("path") == str(tmp_path / "b.h5")
    del before["sources"]["bank"]["path"]
    assert after == before
    assert validate(tmp_path / "out").problems == []


LIES = {
    "another licence of the poses": lambda s: s["poses"].update(licences=["CC-BY-4.0"]),
    "no licence of the hand": lambda s: s["hand"].clear(),
    "more skins": lambda s: s["textures"].update(sets=99),
    "a bank": lambda s: s.update(bank={"pictures": 1, "licences": CC0}),
}


@pytest.mark.parametrize("what", LIES)
def test_a_plan_whose_sources_were_changed_by_hand_is_refused(small_dataset: Path, tmp_path: Path, what: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(small_dataset, folder)
    content = read_json(folder / "plan.json")
    LIES[what](content["sources"])
    (folder / "plan.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"plan\.json was changed by hand"):
        load_plan(folder)


def test_a_plan_of_before_sources_were_recorded_is_refused_with_what_to_do(small_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(small_dataset, folder)
    content = read_json(folder / "plan.json")
    del content["sources"]
    (folder / "plan.json").write_text(json.dumps(content | {"licences": CC0}))
    with pytest.raises(ConfigError, match=r"lacks 'sources', or of an older state of this version\. Generate"):
        load_plan(folder)


def test_a_dataset_json_that_lies_about_its_sources_is_found(small_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(small_dataset, folder)
    content = read_json(folder / "dataset.json")
    content["sources"]["textures"]["licences"] = ["CC-BY-4.0"]
    (folder / "dataset.json").write_text(json.dumps(content | {"seed": 1}))
    found = [problem.message for problem in validate(folder).problems]
    assert [message.split(" is not")[0] for message in found] == ["'seed'", "'sources'"]
