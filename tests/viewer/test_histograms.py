import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder import generate, open_dataset
from aih_builder.hands.anatomy import pose_from_angles
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.identity import SPLITS
from aih_builder.sample import SIDES
from aih_builder.shards.marking import flag_samples
from aih_builder.viewer.columns import Columns, open_columns
from aih_builder.viewer.derived import view_cells
from aih_builder.viewer.filters import Filters, View
from aih_builder.viewer.heatmap import CELLS, OUTSIDE, count_keypoints
from aih_builder.viewer.histograms import Figures, dataset_histograms, splits_of, suitable_edges
from tests.builders import copied, small_manifest, with_counts


@pytest.fixture
def folder(both_dataset: Path, tmp_path: Path) -> Path:
    return copied(both_dataset, tmp_path / "dataset")


def indices(columns: Columns) -> list[int]:
    return np.asarray(columns["index"]).tolist()


def bars(figures: Figures) -> Iterator[tuple[str, int]]:
    """Query and number of each bar."""
    for histogram in figures["histograms"]:
        for part in histogram["parts"].values():
            for k, where in enumerate(part["where"]):
                yield where, sum(counts[k] for counts in part["counts"].values())


def titled(figures: Figures, title: str) -> Figures:
    return next(h for h in figures["histograms"] if h["title"] == title)


@pytest.mark.parametrize("n_flagged", [0, 3])
def test_each_bar_s_query_finds_as_many_samples_as_it_counts(folder: Path, n_flagged: int) -> None:
    columns = open_columns(folder)
    flagged = indices(columns)[::5][:n_flagged]
    figures, view = dataset_histograms(columns, flagged), View(columns, flagged)
    found = list(bars(figures))
    assert sum(count > 0 for _, count in found) > 100
    for where, count in found:
        assert len(view.rows(Filters(where=where))) == count, where
    assert json.loads(json.dumps(figures)) == figures


def test_bars_count_each_sample_that_has_the_number_once(folder: Path) -> None:
    columns, samples = open_columns(folder), list(open_dataset(folder))
    figures = dataset_histograms(columns, [])
    pairs = [s for s in samples if s.hand_present.all()]

    def count(title: str, part: str = "all") -> int:
        return int(sum(map(sum, titled(figures, title)["parts"][part]["counts"].values())))

    assert count("engine and split") == count("family of poses") == count("brightness") == len(samples) == 18
    assert count("hidden share of the target hand") == sum(s.target_hand >= 0 for s in pairs)
    assert count("penetration") == count("contact") == sum(s.interaction_valid for s in samples)
    for hand, side in enumerate(SIDES):
        assert count("hidden share of each hand", side) == len(pairs)
        assert count("skin tone", side) == sum(bool(s.hand_present[hand]) for s in samples)
        assert count("visible joints", side) == sum(bool(s.joint_visible_valid[hand]) for s in samples)
        posed = sum(bool(s.hand_present[hand] and s.pose_valid[hand]) for s in samples)
        assert count("index2 flexion", side) == count("distance from the camera", side) == posed
    assert figures["views"]["directions"] == sum(int(s.hand_present.sum()) for s in samples)


def test_bars_are_those_of_a_count_sample_by_sample(folder: Path) -> None:
    made = titled(dataset_histograms(open_columns(folder), []), "hidden share of each hand")
    edges = [np.float32(edge) for edge in made["edges"]]
    for hand, side in enumerate(SIDES):
        for split in SPLITS:
            expected = [0] * (len(edges) - 1)
            for sample in open_dataset(folder, split):
                if sample.hand_present.all():
                    below = [k for k in range(len(expected)) if edges[k] <= sample.occlusion_rate[hand]]
                    expected[below[-1]] += 1
            assert made["parts"][side]["counts"][split] == expected


def test_flagged_samples_are_left_out(folder: Path) -> None:
    columns = open_columns(folder)
    flagged = indices(columns)[:4]
    figures = dataset_histograms(columns, flagged)
    assert sum(sum(c) for c in titled(figures, "brightness")["parts"]["all"]["counts"].values()) == 14
    nothing = dataset_histograms(columns, indices(columns))
    assert (nothing["histograms"], nothing["train_against_test"], nothing["views"]["directions"]) == ([], [], 0)


def test_samples_that_cannot_be_read_are_left_out_and_counted(folder: Path) -> None:
    away = open_dataset(folder).shards[0]
    (folder / away["file"]).unlink()
    columns = open_columns(folder)
    figures, view = dataset_histograms(columns, []), View(columns)
    assert figures["unreadable"] == away["samples"]
    assert sum(count for where, count in bars(figures) if where.startswith("engine ==")) == 18 - away["samples"]
    for where, count in bars(figures):
        assert len(view.rows(Filters(where=where))) == count, where


def with_families(columns: Columns, words: list[str]) -> Columns:
    stored = {**columns._stored, "pose_family": np.arange(len(columns), dtype=np.int32)}
    return Columns(columns.dataset, stored, columns.words | {"pose_family": words})


def test_families_are_counted_by_what_stands_before_the_slash(folder: Path) -> None:
    columns = with_families(open_columns(folder), [f'"é\\{k % 7}/{k}' for k in range(14)] + ["a", "a/1", 'a0"', ""])
    flagged = indices(columns)[:1]
    figures, view = dataset_histograms(columns, flagged), View(columns, flagged)
    made = titled(figures, "family of poses")
    assert set(made["labels"]) == {"a", 'a0"', "none", *(f'"é\\{k}' for k in range(7))}
    assert sum(made["parts"]["all"]["counts"][split][made["labels"].index("a")] for split in SPLITS) == 2
    for where, count in bars({"histograms": [made]}):
        assert len(view.rows(Filters(where=where))) == count, where


def test_families_that_a_query_has_no_room_for_are_counted_as_others(folder: Path) -> None:
    words = [f"{k:02}{'ü' * 20}/{'x' * 5}" for k in range(18)]
    columns = with_families(open_columns(folder), words + [word.partition("/")[0] for word in words])
    made = titled(dataset_histograms(columns, []), "family of poses")
    assert made["labels"][-1] == "others"
    for where, count in bars({"histograms": [made]}):
        assert len(View(columns).rows(Filters(where=where))) == count, where


@given(st.floats(-1e4, 1e4, width=32), st.floats(0, 1e4, width=32))
def test_edges_hold_all_values_in_at_most_25_bars(low: float, span: float) -> None:
    high = float(np.float32(low + span))
    edges = suitable_edges(low, high)
    assert 2 <= len(edges) <= 26
    assert np.float32(edges[0]) <= low
    assert high <= np.float32(edges[-1])
    assert (np.diff(edges) > 0).all()
    assert all(float(f"{edge:.10g}") == edge for edge in edges)


def test_distances_of_train_and_test_are_those_of_known_distributions(folder: Path) -> None:
    columns = open_columns(folder)
    split = np.array([SPLITS.index(word) for word in columns.words["split"]])[columns._stored["split"]]
    apart = np.where(split == 0, 20, 200).astype(np.float32)
    columns = Columns(columns.dataset, {**columns._stored, "mean_luma": apart}, columns.words)
    entries = dataset_histograms(columns, [])["train_against_test"]
    brightness = next(e for e in entries if e["quantity"] == "brightness")
    assert (brightness["distance"], brightness["train"], brightness["test"]) == (1, 10, 4)
    assert brightness["by_chance"] == pytest.approx(1.358 * np.sqrt(1 / 10 + 1 / 4))
    assert all(0 <= entry["distance"] <= 1 for entry in entries)
    same = {**columns._stored, "mean_luma": np.full(18, 7, np.float32)}
    entries = dataset_histograms(Columns(columns.dataset, same, columns.words), [])["train_against_test"]
    assert next(e for e in entries if e["quantity"] == "brightness")["distance"] == 0


def test_the_heat_map_is_that_of_a_count_joint_by_joint(folder: Path) -> None:
    heat, expected = open_columns(folder).heat, np.zeros((3, 2, CELLS * CELLS + 1), int)
    for sample in open_dataset(folder):
        for hand in (0, 1):
            for (x, y), known in zip(sample.joints_px[hand], sample.joint2d_valid[hand], strict=True):
                if known and sample.hand_present[hand]:
                    column, row = (int(np.floor((value + 0.5) * CELLS / 96)) for value in (x, y))
                    inside = 0 <= column < CELLS and 0 <= row < CELLS
                    expected[SPLITS.index(sample.split), hand, row * CELLS + column if inside else OUTSIDE] += 1
    assert (heat == expected).all()
    assert heat.sum() > 700
    figures = dataset_histograms(open_columns(folder), [])["keypoints"]
    assert np.array(figures["counts"]["val"]["left"]).shape == (CELLS, CELLS)
    assert figures["counts"]["val"]["left"][16][15] == heat[1, 1, 16 * CELLS + 15]
    assert figures["outside"]["test"]["right"] == heat[2, 0, OUTSIDE]


def test_the_image_ends_half_a_pixel_beyond_its_outermost_centres() -> None:
    plain = {
        "joints_px": np.full((1, 2, 21, 2), 40, np.float32),
        "joint2d_valid": np.zeros((1, 2, 21), bool),
        "hand_present": np.array([[True, False]]),
    }
    plain["joint2d_valid"][0, :, :4] = True
    plain["joints_px"][0, 0, :4] = [[-0.5, -0.4], [63.4, 63.4], [63.5, 3], [-0.6, 3]]
    found = count_keypoints(plain, 64)
    assert {int(at): int(found[0, at]) for at in np.flatnonzero(found[0])} == {0: 1, OUTSIDE - 1: 1, OUTSIDE: 2}
    assert found[1].sum() == 0


def test_cells_of_views_are_equally_likely_and_begin_before_the_palm() -> None:
    directions = np.random.default_rng(0).normal(size=(128_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    counts = np.bincount(view_cells(directions), minlength=129)
    assert counts[0] == 0
    assert abs(counts[1:] - 1000).max() < 5 * np.sqrt(1000)
    palm, back, unknown = view_cells(np.array([[0.0, -1, 0], [0, 1, 0], [0, 0, 0]])).tolist()
    assert (palm <= 16, back > 112, unknown) == (True, True, 0)
    fingers, thumb = view_cells(np.array([[-1.0, -0.1, 0.01], [0.01, -0.1, 1]])).tolist()
    assert (fingers - 1) % 16 == 8
    assert (thumb - 1) % 16 == 12
    for hand in hand_pair(open_hand(), "native"):  # a fist's fingertips move to the palm's side
        angles = np.zeros((2, 16, 3))
        angles[1, [1, 4, 7, 10], 0] = 0.5
        poses = [np.concatenate([np.zeros(3), pose_from_angles(hand.arrays, a).reshape(-1)[-45:]]) for a in angles]
        flat, bent = (hand.pose(pose, np.zeros(10), np.zeros(3)).joints_m for pose in poses)
        assert ((bent - flat)[[8, 12, 16, 20], 1] < -0.02).all()
        assert (flat[12] - flat[0])[0] * (-1 if hand.side == "right" else 1) > 0.1
        assert (flat[4] - flat[0])[2] > 0.05


def test_columns_of_the_first_version_are_made_again(folder: Path) -> None:
    import h5py

    open_columns(folder)
    with h5py.File(folder / "columns.h5", "r+") as file:
        file.attrs["version"] = 1
        del file["heat"]
    assert open_columns(folder).heat.sum() > 700


def test_a_dataset_of_one_sample_has_histograms(tmp_path: Path) -> None:
    generate(small_manifest(streams=with_counts(train=1, val=0, test=0)["streams"]), tmp_path / "one")
    columns = open_columns(tmp_path / "one")
    figures, view = dataset_histograms(columns, []), View(columns)
    assert figures["train_against_test"] == []
    assert figures["views"]["directions"] == np.asarray(columns["hand_present"]).sum()
    for where, count in bars(figures):
        assert len(view.rows(Filters(where=where))) == count, where


def test_flags_of_the_folder_reach_the_queries(folder: Path) -> None:
    columns = open_columns(folder)
    flag_samples(folder, {indices(columns)[2]: "blurred"})
    figures = dataset_histograms(columns, open_dataset(folder).left_out)
    assert all(where.endswith(" and not flagged") for where, _ in bars(figures))


def test_a_large_dataset_is_counted_as_numpy_counts_it(folder: Path) -> None:
    few, count = open_columns(folder), 20_000
    rng = np.random.default_rng(1)
    rows = rng.integers(0, len(few), count)
    stored = {name: values if name == "heat" else np.asarray(values)[rows] for name, values in few._stored.items()}
    stored["mean_luma"] = rng.uniform(0, 255, count).astype(np.float32)
    stored["index"] = np.arange(count, dtype=np.uint32)
    made = titled(dataset_histograms(Columns(few.dataset, stored, few.words), []), "brightness")
    expected, _ = np.histogram(stored["mean_luma"], made["edges"])
    assert np.sum([*made["parts"]["all"]["counts"].values()], axis=0).tolist() == expected.tolist()


def test_effects_have_histograms_where_a_sample_has_them_and_none_where_they_are_off(folder: Path) -> None:
    few, rng = open_columns(folder), np.random.default_rng(2)
    titles = ("defocus", "motion blur", "noise", "skin age")
    off = {**few._stored, "skin_age": np.zeros((18, 2), np.float32)}
    made = {h["title"] for h in dataset_histograms(Columns(few.dataset, off, few.words), [])["histograms"]}
    assert made.isdisjoint(titles)
    names = ("defocus_px", "motion_px", "noise_level")
    drawn = {name: rng.uniform(0, 3, 18).astype(np.float32) for name in names}
    aged = np.stack([np.full(18, 25), np.full(18, 80)], axis=1).astype(np.float32)
    columns = Columns(few.dataset, {**few._stored, **drawn, "skin_age": aged}, few.words)
    figures = dataset_histograms(columns, [])
    for title in titles[:3]:
        assert sum(map(sum, titled(figures, title)["parts"]["all"]["counts"].values())) == 18
    ages = titled(figures, "skin age")
    for side, age in zip(SIDES, (25, 80), strict=True):
        counts = np.sum([*ages["parts"][side]["counts"].values()], axis=0)
        assert np.flatnonzero(counts).tolist() == [ages["edges"].index(age)]
    for where, count in bars({"histograms": [titled(figures, title) for title in titles]}):
        assert len(View(columns).rows(Filters(where=where))) == count, where


def test_pictures_are_told_by_quantiles_of_each_split(folder: Path) -> None:
    columns, samples = open_columns(folder), list(open_dataset(folder))
    rows = {(row["quantity"], row["part"]): row["splits"] for row in dataset_histograms(columns, [])["pictures"]}
    for split in SPLITS:
        mine = [s for s in samples if s.split == split]
        told = rows["brightness", "all"][split]
        assert told["count"] == len(mine)
        found = [told[key] for key in ("q05", "median", "q95")]
        assert found == pytest.approx(np.quantile([s.mean_luma for s in mine], (0.05, 0.5, 0.95)).tolist())
        assert told["mean"] == pytest.approx(np.mean([s.mean_luma for s in mine]))
        tones = [int(s.skin_tone[1]) for s in mine if s.hand_present[1]]
        assert rows["skin tone", "left"][split]["median"] == np.median(tones)
    assert ("defocus", "all") not in rows
    assert dataset_histograms(columns, indices(columns))["pictures"] == []


def test_a_split_that_any_quantity_has_is_told_even_where_the_first_has_none() -> None:
    rows = [{"splits": {"test": {}}}, {"splits": {"train": {}, "test": {}}}]
    assert splits_of(rows) == ["train", "test"]
    assert splits_of([]) == []
