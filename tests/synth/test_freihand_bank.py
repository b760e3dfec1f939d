import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from aih_builder.errors import AssetError, ConfigError
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.imaging import encode_jpeg, read_image
from aih_builder.sources.bank import Bank
from aih_builder.sources.freihand import VERSIONS, mask_path, read_freihand
from aih_builder.sources.pools import split_of
from aih_builder.synth.freihand_bank import FreihandImages, build_freihand_bank
from aih_builder.synth.picture_tasks import LeftOut
from tests.freihand_tree import COUNT, Truth, write_freihand

EDITS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "fewer cameras": ("K", lambda c: c[:-1], f"holds {COUNT - 1} samples, training_xyz.json {COUNT}"),
    "no list": ("xyz", lambda _: {"0": 1}, "expected a list with an entry for each sample, got dict"),
    "nothing": ("xyz", lambda _: [], "expected a list with an entry for each sample"),
    "a joint less": ("xyz", lambda c: [c[0][:20], *c[1:]], r"sample 0 has shape \(20, 3\), expected 21 x 3"),
    "a ragged sample": ("xyz", lambda c: [*c[:1], [[1, 2], 3], *c[2:]], "sample 1 is not 21 x 3 numbers"),
    "a NaN": ("K", lambda c: [[[float("nan"), 0, 0], [0, 1, 0], [0, 0, 1]], *c[1:]], "sample 0 .* finite numbers"),
    "millimetres": ("xyz", lambda c: (1000 * np.array(c)).tolist(), "metres in FreiHAND's annotations"),
    "behind": ("xyz", lambda c: [(np.array(c[0]) * [1, 1, -1]).tolist(), *c[1:]], "of sample 0 lies behind the camera"),
    "no camera": ("K", lambda c: [np.zeros((3, 3)).tolist(), *c[1:]], "sample 0 is no camera"),
    "45 angles": ("mano", lambda c: [[c[0][0][:45]], *c[1:]], r"sample 0 has shape \(1, 45\), expected 1 x 61"),
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Truth]]:
    root = tmp_path_factory.mktemp("Frei HÄND")
    return root, write_freihand(root)


@pytest.fixture
def copy(tree: tuple[Path, list[Truth]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree[0], tmp_path / "copy"))


def build(root: Path, out: Path, hand: HandArrays | None = None, **options: Any) -> tuple[Bank, LeftOut]:
    left_out = build_freihand_bank(out, FreihandImages(root, **options), hand)
    return Bank(out), left_out


@pytest.mark.parametrize("by_fit", [True, False])
def test_the_mask_is_the_hand_without_its_arm(tree: tuple[Path, list[Truth]], tmp_path: Path, by_fit: bool) -> None:
    bank, left_out = build(tree[0], tmp_path / "b.h5", open_hand() if by_fit else None)
    assert left_out.total() == 0
    assert len(bank) == COUNT * len(VERSIONS)
    for i in range(len(bank)):
        entry = bank.entry(i)
        truth = tree[1][int(entry.source.partition("/")[2])]
        K = np.array(json.loads((tree[0] / "training_K.json").read_text())[int(entry.source[-8:])])
        scale = entry.K_px[[0, 1], [0, 1]] / K[[0, 1], [0, 1]]
        shift = entry.K_px[:2, 2] - K[:2, 2] * scale
        assert np.abs(truth.joints_px * scale + shift - entry.joints_px).max() < 0.01
        to_entry = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
        hand = cv2.warpAffine(truth.hand.astype(np.uint8) * 255, to_entry, entry.rgba.shape[1::-1]) >= 128
        mask = entry.rgba[..., 3] >= 128
        iou = (mask & hand).sum() / (mask | hand).sum()
        assert iou > (0.93 if by_fit else 0.92)
        assert (entry.side, entry.pose_valid) == (0, by_fit)
        assert entry.joint3d_valid.all()
        inside = entry.rgba[mask][:, :3].astype(int)
        assert np.abs(np.median(inside, axis=0) - [200, 150, 120]).max() <= 3


def test_versions_of_a_sample_share_split_source_and_mask(tree: tuple[Path, list[Truth]], tmp_path: Path) -> None:
    bank, _ = build(tree[0], tmp_path / "b.h5")
    of_sample: dict[str, list[int]] = {}
    for i in range(len(bank)):
        of_sample.setdefault(bank.entry(i).source, []).append(i)
    assert len(of_sample) == COUNT
    for source, rows in of_sample.items():
        entries = [bank.entry(i) for i in rows]
        assert [e.entry_id.rpartition("-")[2] for e in entries] == list(VERSIONS)
        assert {e.split for e in entries} == {split_of(f"freihand-{source[-8:]}")}
        assert all(np.array_equal(e.rgba[..., 3], entries[0].rgba[..., 3]) for e in entries)
        assert len({e.rgba.tobytes() for e in entries}) == len(VERSIONS)


def test_an_object_before_the_hand_and_a_bad_fit_are_left_out(copy: Path, tmp_path: Path) -> None:
    mask = read_image(mask_path(copy, 0)).copy()
    middle = tuple(int(v) for v in np.argwhere(mask[..., 0] > 128).mean(axis=0))
    cv2.circle(mask, middle[::-1], 30, (0, 0, 0), -1)
    mask_path(copy, 0).write_bytes(encode_jpeg(mask))
    path = copy / "training_mano.json"
    mano = json.loads(path.read_text())
    mano[1][0][:48] = (np.array(mano[1][0][:48]) * np.tile([1, -1, -1], 16)).tolist()  # a left hand's pose
    path.write_text(json.dumps(mano))
    _, left_out = build(copy, tmp_path / "b.h5", open_hand(), versions=("gs", "auto"))
    assert left_out.reasons == {
        "a mask that leaves out over a tenth of the fit's silhouette": 2,
        "a fit more than 10 mm from the joints": 2,
    }


def test_a_hand_at_the_border_is_left_out(copy: Path, tmp_path: Path) -> None:
    path = copy / "training_K.json"
    K = json.loads(path.read_text())
    K[2][0][2] += 90
    path.write_text(json.dumps(K))
    for hand in (None, open_hand()):
        mask = read_image(mask_path(copy, 2))
        moved = np.roll(mask, 90, axis=1)
        moved[:, :90] = 0
        mask_path(copy, 2).write_bytes(encode_jpeg(moved if hand is None else mask))
        _, left_out = build(copy, tmp_path / "b.h5", hand, versions=("gs",))
        assert left_out.reasons["a hand cut by the picture's border"] == 1


@pytest.mark.parametrize("what", EDITS)
def test_bad_annotations_are_named(copy: Path, what: str) -> None:
    name, edit, message = EDITS[what]
    path = copy / f"training_{name}.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(AssetError, match=f"training_.*{message}"):
        read_freihand(copy, fits=True)


def test_missing_cut_off_and_looping_files_are_named(copy: Path, tmp_path: Path) -> None:
    path = copy / "training_xyz.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AssetError, match=r"training_xyz.json: is not JSON"):
        read_freihand(copy, fits=False)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(AssetError, match=r"training_xyz.json: cannot be read \(Too many levels of symbolic links"):
        read_freihand(copy, fits=False)
    path.unlink()
    with pytest.raises(AssetError, match=r"training_xyz.json: cannot be read"):
        read_freihand(copy, fits=False)
    path.write_bytes(whole)
    (copy / "training_mano.json").unlink()
    assert len(read_freihand(copy, fits=False)) == COUNT
    with pytest.raises(ConfigError, match="is not a folder"):
        read_freihand(tmp_path / "none", fits=False)
    with pytest.raises(ConfigError, match="versions: blue: expected some of gs, hom, sample, auto"):
        FreihandImages(copy, versions=("blue",))
    mask_path(copy, 3).write_bytes(encode_jpeg(np.zeros((20, 20, 3), np.uint8)))
    with pytest.raises(AssetError, match=r"00000003.jpg: \(20, 20\), expected the size of its image"):
        build(copy, tmp_path / "b.h5")
    (copy / "training/rgb/00000001.jpg").unlink()
    _, left_out = build(copy, tmp_path / "b.h5", skip_bad=True, versions=("gs",))
    assert left_out.reasons["a file that is missing or damaged"] == 2
    assert len(left_out.bad_files) == 2
