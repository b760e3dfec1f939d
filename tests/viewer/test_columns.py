from pathlib import Path

import numpy as np
import pytest

from aih_builder import open_dataset
from aih_builder.errors import ConfigError
from aih_builder.geometry import rotation_matrix
from aih_builder.hands.anatomy import angles_from_pose
from aih_builder.sample import SPECS
from aih_builder.shards.format import COLUMNS_FILE, PLAIN_FIELDS
from aih_builder.shards.validate import validate
from aih_builder.viewer.columns import Texts, hands_of, open_columns
from tests.builders import copied


@pytest.fixture
def folder(both_dataset: Path, tmp_path: Path) -> Path:
    return copied(both_dataset, tmp_path / "dataset")


def test_columns_hold_what_the_samples_hold_in_their_order(folder: Path) -> None:
    columns, dataset = open_columns(folder), open_dataset(folder)
    assert len(columns) == len(dataset)
    assert columns.readable.all()
    for name in PLAIN_FIELDS:
        column = columns[name]
        values = column.values() if isinstance(column, Texts) else column
        for row, sample in enumerate(dataset):
            assert np.array_equal(values[row], getattr(sample, name)), name


def test_derived_columns_are_those_worked_out_sample_by_sample(folder: Path) -> None:
    columns, hands = open_columns(folder), hands_of(folder)
    compared = 0
    for row, sample in enumerate(open_dataset(folder)):
        for side, hand in enumerate(hands):
            if not (sample.pose_valid[side] and sample.hand_present[side]):
                continue
            angles = np.rad2deg(angles_from_pose(hand.arrays, sample.mano_pose_rad[side, 3:]))[1:]
            assert np.abs(np.asarray(columns["angles_deg"])[row, side] - angles).max() < 0.1
            turn = rotation_matrix(sample.mano_pose_rad[side, :3].astype(np.float64))
            wrist = sample.cam_joints_m[side, 0].astype(np.float64)
            towards = turn.T @ (-wrist / np.linalg.norm(wrist)) * ([-1, 1, 1] if side else [1, 1, 1])
            assert np.abs(np.asarray(columns["view_direction"])[row, side] - towards).max() < 1e-5
            middle = sample.cam_joints_m[side].astype(np.float64).mean(axis=0)
            assert abs(np.asarray(columns["distance_m"])[row, side] - np.linalg.norm(middle)) < 1e-6
            compared += 1
        if sample.target_hand >= 0:
            assert np.asarray(columns["occlusion_target"])[row] == sample.occlusion_rate[sample.target_hand]
    assert compared >= 18


def test_columns_are_kept_beside_the_index_and_the_folder_stays_valid(folder: Path) -> None:
    open_columns(folder)
    kept = (folder / COLUMNS_FILE).stat().st_mtime_ns
    assert isinstance(open_columns(folder)["occlusion_rate"], np.ndarray)
    assert (folder / COLUMNS_FILE).stat().st_mtime_ns == kept
    assert validate(folder).problems == []


@pytest.mark.parametrize("damage", ["cut", "another dataset.json", "noise"])
def test_columns_that_do_not_belong_are_made_again(folder: Path, damage: str) -> None:
    open_columns(folder)
    path = folder / COLUMNS_FILE
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "noise":
        path.write_bytes(bytes(100) + data[100:])
    else:
        listed = folder / "dataset.json"
        listed.write_text(listed.read_text() + "\n")
    columns = open_columns(folder)
    rates = [sample.occlusion_rate for sample in open_dataset(folder)]
    assert np.array_equal(np.asarray(columns["occlusion_rate"]), rates)
    if damage != "another dataset.json":
        assert path.read_bytes() == data


def test_a_shard_that_is_away_leaves_the_others_and_its_samples_keep_their_names(folder: Path) -> None:
    dataset = open_dataset(folder)
    indices = [sample.index for sample in dataset]
    away = dataset.shards[1]
    (folder / away["file"]).unlink()
    columns = open_columns(folder)
    rows = columns.rows_of_file(away["file"])
    assert np.array_equal(np.flatnonzero(~columns.readable), list(rows))
    assert np.asarray(columns["index"]).tolist() == indices
    assert columns.row_of(indices[rows[0]]) == rows[0]
    assert columns.place(rows[0]) == (away, 0)
    assert not (folder / COLUMNS_FILE).exists()  # made again once the shard is back
    assert np.asarray(columns["cam_joints_m"])[list(rows)].max() == 0
    assert SPECS["cam_joints_m"].dims == "2 21 3"


def test_a_name_that_is_no_column_is_refused(folder: Path) -> None:
    columns = open_columns(folder)
    with pytest.raises(ConfigError, match="no column 'image_rgb'"):
        columns["image_rgb"]
    with pytest.raises(ConfigError, match="is no shard"):
        columns.rows_of_file("../secret.h5")
    assert columns.row_of(2**31) is None
