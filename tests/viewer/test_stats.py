import json
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from aih_builder import generate, open_dataset
from aih_builder.geometry import random_rotation
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.shards.plan import load_plan
from aih_builder.shards.reader import Dataset
from aih_builder.sources.pose_distance import pair_joints_mm
from aih_builder.sources.pose_library import PoseLibrary, shipped_library
from aih_builder.synth.assets import load_hands
from aih_builder.viewer import stats as statistics
from aih_builder.viewer.stats import (
    Figures,
    dataset_figures,
    effective_rank,
    library_figures,
    pair_parameters,
)
from tests.builders import small_manifest, with_counts

HANDS = hand_pair(open_hand(), "native")
SHIPPED = shipped_library()


def part(rows: slice) -> PoseLibrary:
    columns = [f for f in PoseLibrary.__dataclass_fields__ if isinstance(getattr(SHIPPED, f), np.ndarray)]
    return replace(SHIPPED, **{name: getattr(SHIPPED, name)[rows] for name in columns})


def figures_of(folder: Path) -> Figures:
    plan = load_plan(folder)
    return dataset_figures(open_dataset(folder), plan.manifest, load_hands(plan.manifest, plan.cache)[0])


def test_effective_rank_is_that_of_known_covariances() -> None:
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    for variances, expected in (
        ([1, 1, 1, 1, 0, 0, 0, 0], 4.0),
        ([5, 0, 0, 0, 0, 0, 0, 0], 1.0),
        ([3, 1, 0, 0, 0, 0, 0, 0], np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))),
    ):
        # Rows +-a along each axis: the covariance is exactly diagonal.
        along = np.concatenate([np.diag(np.sqrt(variances)), -np.diag(np.sqrt(variances))])
        assert effective_rank(along @ turn + 7.0) == pytest.approx(expected)
    assert effective_rank(np.ones((5, 8))) == 0.0
    assert effective_rank(np.ones((1, 8))) == 0.0


def test_a_rigid_motion_of_the_pair_leaves_its_parameters_as_they_are() -> None:
    pose_rad, betas, trans_m = (c[:4].astype(np.float64) for c in (SHIPPED.pose_rad, SHIPPED.betas, SHIPPED.trans_m))
    before, turn = pair_parameters(HANDS, pose_rad, betas, trans_m), random_rotation(np.random.default_rng(1))
    for k in range(4):
        for i, hand in enumerate(HANDS):
            pose_rad[k, i], trans_m[k, i] = hand.moved(
                pose_rad[k, i], betas[k, i], trans_m[k, i], turn, np.array([1.0, 2.0, 3.0])
            )
    np.testing.assert_allclose(pair_parameters(HANDS, pose_rad, betas, trans_m), before, atol=1e-6)
    assert before.shape == (4, 2 * 26 + 6 + 3)


def test_a_library_s_figures_are_those_of_its_columns() -> None:
    library = part(slice(0, 2000, 25))
    figures = library_figures(library, HANDS)
    assert json.loads(json.dumps(figures)) == figures
    assert (figures["poses"], figures["pairs"]) == (80, 80)
    assert sum(entry["count"] for entry in figures["families"].values()) == 80
    assert figures["penetration_mm"]["greatest"] == pytest.approx(float(library.penetration_mm.max()))
    assert figures["contact_share"] == pytest.approx(float((library.contact_fraction > 0).mean()))
    joints_mm = pair_joints_mm(HANDS, library.pose_rad, library.betas, library.trans_m).reshape(80, 42, 3)
    away = np.sqrt(((joints_mm[:, None] - joints_mm[None]) ** 2).sum(axis=3).mean(axis=2))
    splits = np.array(library.splits())
    across = away[splits == "test"][:, splits == "train"].min(axis=1)
    np.fill_diagonal(away, np.inf)
    assert figures["nearest_mm"]["to_nearest"]["least"] == pytest.approx(away.min())
    assert figures["nearest_mm"]["to_nearest"]["median"] == pytest.approx(np.median(away.min(axis=1)))
    assert figures["nearest_mm"]["test_to_train"]["least"] == pytest.approx(across.min())
    flexion = next(j for j in figures["joints"] if (j["joint"], j["axis"]) == ("index2", "flexion"))
    assert (flexion["low"], flexion["high"], flexion["outside"]) == pytest.approx((0.0, 105.0, 0))
    assert flexion["low"] - 0.01 <= flexion["least"] <= flexion["median"] <= flexion["most"] <= flexion["high"] + 0.01
    assert len(figures["joints"]) == 26


def test_a_dataset_s_figures_are_those_of_its_samples(small_dataset: Path) -> None:
    figures, samples = figures_of(small_dataset), list(open_dataset(small_dataset))
    pairs = [s for s in samples if s.hand_present.all()]
    assert (figures["samples"], figures["two_hand_samples"]) == (len(samples), len(pairs))
    assert figures["splits"] == {"render train": 5, "render val": 2, "render test": 2}
    found = figures["occlusion"]["render"]
    rates = np.array([s.occlusion_rate[s.target_hand] for s in pairs])
    bins = load_plan(small_dataset).manifest.streams.render.occlusion.bins  # pyright: ignore[reportOptionalMemberAccess]
    expected = [((rates >= a) & (rates < b)).mean() for a, b in pairwise(bins)]
    assert found["target"] == pytest.approx(expected)
    assert found["asked"] == [0.2, 0.3, 0.3, 0.2]
    assert figures["penetration_mm"]["greatest"] == pytest.approx(max(s.penetration_mm for s in pairs))


def test_of_a_large_dataset_every_so_manieth_sample_is_read(
    small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "MOST_ROWS", 5)
    figures = figures_of(small_dataset)
    assert (figures["samples"], figures["read"]) == (9, 5)  # one of each shard's two


def test_both_engines_and_unknown_poses_are_counted(both_dataset: Path) -> None:
    figures = figures_of(both_dataset)
    assert set(figures["occlusion"]) == {"render", "sync"}
    assert "asked" not in figures["occlusion"]["sync"]
    assert figures["poses_unknown"] == 0
    assert figures["nearest_mm"]["distinct_poses"] <= 9


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.pictures = 0
        self.links: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        self.pictures += tag == "svg"
        self.links += [value or "" for name, value in attrs if name in ("src", "href") and (value or "")[:1] != "#"]

    def handle_data(self, data: str) -> None:
        if self._within == "h2":
            self.headings.append(data)
            self._within = ""


def outline(page: str) -> _Outline:
    found = _Outline()
    found.feed(page)
    return found


def test_the_page_holds_every_plot_and_no_link(both_dataset: Path) -> None:
    pytest.importorskip("matplotlib")
    from aih_builder.viewer.stats_page import stats_page

    figures = figures_of(both_dataset)
    page = stats_page("a <b> & c", figures)
    found = outline(page)
    assert found.headings == [
        "Families",
        "Joint ranges used",
        "Nearest neighbours",
        "Penetration and contact",
        "Occlusion rate, AIH-Render",
        "Occlusion rate, AIH-Sync",
    ]
    assert found.pictures == 9
    assert found.links == []
    assert "<title>a &lt;b&gt; &amp; c: statistics</title>" in page
    stored = page.partition('id="figures">')[2].partition("</script>")[0]
    assert json.loads(stored) == json.loads(json.dumps(figures))
    library = outline(stats_page("shipped", library_figures(part(slice(0, 2000, 40)), HANDS)))
    assert library.headings == ["Families", "Joint ranges used", "Nearest neighbours", "Penetration and contact"]


def test_an_empty_dataset_has_figures_and_odd_names_are_drawn(tmp_path: Path, small_dataset: Path) -> None:
    pytest.importorskip("matplotlib")
    from aih_builder.viewer.stats_page import stats_page

    manifest = load_plan(small_dataset).manifest
    nothing = dataset_figures(Dataset(tmp_path, []), manifest, HANDS)
    assert nothing["samples"] == 0
    assert "0 samples" in stats_page("empty", nothing)
    odd = replace(part(slice(0, 2000, 100)), family=np.array([f"$x_$\\frac {k}" for k in range(20)]))
    assert "$x_$" in stats_page("odd", library_figures(odd, HANDS))


def test_datasets_of_one_sample_and_of_single_hands_have_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from aih_builder.viewer.stats_page import stats_page

    streams = with_counts(train=2, val=0, test=0)["streams"]
    streams["render"]["single_hand_fraction"] = 1.0
    generate(small_manifest(streams=streams), tmp_path / "singles")
    figures = figures_of(tmp_path / "singles")
    assert (figures["samples"], figures["two_hand_samples"]) == (2, 0)
    assert figures["penetration_mm"] == {"count": 0}
    assert outline(stats_page("singles", figures)).headings == ["Families", "Joint ranges used"]
