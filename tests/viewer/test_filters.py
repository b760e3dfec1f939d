import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder import open_dataset
from aih_builder.errors import ConfigError
from aih_builder.viewer import columns
from aih_builder.viewer.columns import open_columns
from aih_builder.viewer.filters import SORTS, VALIDITY, Filters, Range, View

RANGES = st.builds(Range, *[st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 2)
FILTERS = st.builds(
    Filters,
    engine=st.lists(st.sampled_from(["render", "sync"]), unique=True).map(tuple),
    split=st.lists(st.sampled_from(["train", "val", "test"]), unique=True).map(tuple),
    family=st.lists(st.sampled_from(["clasp", "over"]), unique=True).map(tuple),
    tone=st.lists(st.integers(1, 10), unique=True).map(tuple),
    occlusion_right=RANGES,
    occlusion_left=RANGES,
    penetration=RANGES,
    contact=RANGES,
    source=st.sampled_from(["", "room", 'a"b']),
    validity=st.sampled_from(["", *VALIDITY]),
    where=st.sampled_from(["", "mean_luma > 50", "any(occlusion_rate > 0.1) or index == 3"]),
    sort=st.sampled_from(["", "-mean_luma", "random", "pose_family"]),
    seed=st.integers(0, 9),
)


@pytest.fixture(scope="module")
def view(both_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> View:
    return View(open_columns(Path(shutil.copytree(both_dataset, tmp_path_factory.mktemp("view") / "dataset"))))


@given(FILTERS)
def test_filters_come_back_from_an_address(filters: Filters) -> None:
    assert Filters.from_params(filters.to_params()) == filters


@given(filters=FILTERS)
def test_the_expression_alone_asks_for_the_same_samples(view: View, filters: Filters) -> None:
    alone = Filters(where=filters.expression(), sort=filters.sort, seed=filters.seed)
    assert view.rows(alone).tolist() == view.rows(filters).tolist()


def test_filters_keep_what_a_look_at_each_sample_keeps(view: View) -> None:
    asked = Filters(engine=("render",), split=("train", "test"), occlusion_right=Range(0.05, 0.9), sort="-mean_luma")
    samples = list(open_dataset(view.columns.dataset.folder))
    kept = [
        row
        for row, s in enumerate(samples)
        if s.engine == "render" and s.split in ("train", "test") and 0.05 <= s.occlusion_rate[0] <= 0.9
    ]
    assert kept
    assert view.rows(asked).tolist() == sorted(kept, key=lambda row: -samples[row].mean_luma)


def test_every_named_order_and_validity_can_be_asked_for(view: View) -> None:
    for sort in SORTS.values():
        assert sorted(view.rows(Filters(sort=sort)).tolist()) == list(range(len(view.columns)))
    for validity in VALIDITY:
        view.rows(Filters(validity=validity))


def test_a_random_order_depends_on_its_seed_alone(view: View) -> None:
    orders = [view.rows(Filters(sort="random", seed=seed)).tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_problems_of_a_check_can_be_sorted_by(view: View) -> None:
    index = int(np.asarray(view.columns["index"])[7])
    with_one = View(view.columns, problems={index: ["amodal mask", "joints"]})
    assert with_one.rows(Filters(validity="problems found")).tolist() == [7]
    assert with_one.rows(Filters(sort="-problems"))[0] == 7


def test_flagged_samples_are_among_all_and_can_be_asked_for(view: View) -> None:
    index = int(np.asarray(view.columns["index"])[4])
    flagged = View(view.columns, [index])
    assert flagged.rows(Filters(validity="flagged")).tolist() == [4]
    assert len(flagged.rows(Filters(where="not flagged"))) == len(view.columns) - 1


def test_a_sample_that_cannot_be_read_answers_only_to_that(view: View, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(view.columns.dataset.folder, tmp_path / "dataset"))
    (folder / view.columns.dataset.shards[0]["file"]).unlink()
    (folder / "columns.h5").unlink()
    broken = View(open_columns(folder))
    bad = list(broken.columns.rows_of_file(view.columns.dataset.shards[0]["file"]))
    assert broken.rows(Filters(validity="cannot be read")).tolist() == bad
    assert not set(bad) & set(broken.rows(Filters(where="mean_luma < 1000")).tolist())
    assert len(broken.rows(Filters())) == len(broken.columns)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"occlusion_right": "much"}, "range 'much'"),
        ({"tone": "dark"}, "address"),
        ({"seed": "x"}, "address"),
        ({"seed": "-1"}, "seed is -1, expected 0 or more"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused(params: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Filters.from_params(params)


def test_wrong_choices_are_refused(view: View) -> None:
    with pytest.raises(ConfigError, match="validity 'fine'"):
        view.rows(Filters(validity="fine"))
    with pytest.raises(ConfigError, match="expected one value for each sample"):
        view.rows(Filters(sort="occlusion_rate"))
    with pytest.raises(ConfigError, match="is no field"):
        view.rows(Filters(sort="-beauty"))


QUESTIONS = [
    Filters(where="min(cam_joints_m[right, 0]) < 0.1 or mano_pose_rad[left, 3] > 0", sort="-cam_joints_m[right, 0, 2]"),
    Filters(where="any(occlusion_rate > 0.1) and not flagged", sort="pose_id"),
    Filters(where="problems > 0 or flagged", sort="-problems"),
    Filters(source="monk", sort="-pose_family"),
]


@pytest.mark.parametrize("asked", QUESTIONS, ids=str)
def test_answers_are_the_same_shard_by_shard(view: View, asked: Filters, monkeypatch: pytest.MonkeyPatch) -> None:
    indices = np.asarray(view.columns["index"]).tolist()
    here = View(view.columns, indices[1:4], {indices[-1]: ["bad"], indices[2]: ["bad", "worse"], 999_999: ["away"]})
    whole = here.rows(asked).tolist()
    monkeypatch.setattr(columns, "_BLOCK_ROWS", 1)
    assert len(list(view.columns.blocks())) == len(view.columns.dataset.shards) > 1
    assert here.rows(asked).tolist() == whole
    assert whole


def test_problems_are_counted_where_they_are(view: View) -> None:
    indices = np.asarray(view.columns["index"]).tolist()
    here = View(view.columns, [], {indices[-1]: ["bad"], indices[2]: ["bad", "worse"]})
    expected = [0] * len(indices)
    expected[2], expected[-1] = 2, 1
    assert here.column("problems").tolist() == expected
