"""The official reader of AIH as its behaviour is documented, in few words: what a tree must serve. Without colour
augmentation, of which the official one draws another for each look.
"""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

SIZE = 256
MEAN, STD = (np.array(v, np.float32)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


class Item(NamedTuple):
    """The reader's 8-tuple (float32; images (3, 256, 256), masks (1, 256, 256)), and what it was made of."""

    image: np.ndarray
    deoccluded_input: np.ndarray  # image, M_D erased
    removed_input: np.ndarray  # image, M_R erased
    not_M_D: np.ndarray
    not_M_R: np.ndarray
    M_rv: np.ndarray
    M_bv: np.ndarray
    target: np.ndarray
    source: tuple[str, int | str, bool]  # kind and annotation, file, whether it was mirrored
    image_u8: np.ndarray
    target_u8: np.ndarray


class OfficialReader:
    """Index order in train: M syn, H syn, H render right, left, M render right, left; else M syn alone."""

    def __init__(self, root: Path, phase: str) -> None:
        self.root, self.phase = root, phase
        self.lists: dict[tuple[str, str], np.ndarray] = {}
        self.records: list[tuple[str, dict[str, Any]]] = []
        for annot in ("machine", "human") if phase == "train" else ("machine",):
            lists = root / "AIH_syn" / "filtered_list"
            for side in ("right", "left"):
                found = np.loadtxt(lists / f"{annot}_annot_{phase}_sh_{side}_filtered.txt").astype(np.int32)
                self.lists[annot, side] = found[:]  # a list of one line is 0-d here
            cfgs = root / "AIH_syn" / "syn_cfgs" / f"all_{annot}_annot_{phase}_syn_cfgs.npy"
            self.records += [(annot, cfg) for cfg in np.load(cfgs, allow_pickle=True).tolist()]
        self.renders: list[tuple[str, str, str]] = []
        if phase == "train":
            for annot in ("human", "machine"):
                for letter in "rl":
                    names = sorted(p.name for p in self._render(annot, f"images/{letter}_images/IH").iterdir())
                    self.renders += [(annot, letter, name) for name in names]

    def __len__(self) -> int:
        return len(self.records) + len(self.renders)

    def __getitem__(self, index: int) -> Item:
        if index < len(self.records):
            return self._syn(*self.records[index])
        return self._rendered(*self.renders[index - len(self.records)])

    def _render(self, annot: str, rest: str) -> Path:
        return self.root / "AIH_render" / f"{annot}_annot" / self.phase / rest

    def _single(self, annot: str, side: str, place: int) -> tuple[np.ndarray, np.ndarray]:
        folder, letter = self.root / "AIH_syn" / f"{annot}_annot" / self.phase, side[0]
        name = self.lists[annot, side][place]
        image = picture(folder / "images" / f"{letter}_images" / f"{name}.jpg")
        mask = labels(folder / "labels" / f"in_{letter}_images" / f"{letter}_amodal" / f"{name}.png")
        assert mask.any(), "an empty mask makes the reader take another sample"
        return image, mask

    def _syn(self, annot: str, cfg: dict[str, Any]) -> Item:
        side = cfg["loop_side"]
        other = "left" if side == "right" else "right"
        assert cfg["another_side_idx"] != -1000
        assert isinstance(cfg["occlusion_rate"], float)
        below, above = (
            self._single(annot, side, cfg["loop_side_idx"]),
            self._single(annot, other, cfg["another_side_idx"]),
        )
        mirrored = side == "left"
        moved = []
        for hand, key in ((below, "r_aug_list"), (above, "l_aug_list")):
            shift, scale, degrees, _ = cfg[key]
            cfg[key][-1] = np.ones(3)  # as the official one does: the list must take it
            affine = reader_affine(shift, scale, degrees)
            for array in hand:
                seen = np.ascontiguousarray(array[:, ::-1]) if mirrored else array
                moved.append(cv2.warpAffine(seen, affine, (SIZE, SIZE), flags=cv2.INTER_LINEAR))
        R, M_ra, L, M_la = moved
        assert {*np.unique(M_ra), *np.unique(M_la)} == {0, 1}
        image = L * M_la[..., None] + R * (1 - M_la[..., None])
        M_D, M_R = M_ra * M_la, (1 - M_ra) * M_la
        number = int(self.lists[annot, side][cfg["loop_side_idx"]])
        source = (f"syn {annot}", number, mirrored)
        return item(image, R, M_D, M_R, M_ra * (1 - M_D), (1 - M_ra) * (1 - M_R), source)

    def _rendered(self, annot: str, letter: str, name: str) -> Item:
        png = name.replace(".jpg", ".png")
        image, target = (
            picture(self._render(annot, f"images/{letter}_images/{kind}/{name}")) for kind in ("IH", "DR_gt")
        )
        amodal = labels(self._render(annot, f"labels/in_{letter}_images/{letter}_amodal/{png}"))
        visible = labels(self._render(annot, f"labels/in_{letter}_images/rl_visible/{png}"), 2)
        if letter == "l":
            image, target, amodal, visible = (a[:, ::-1] for a in (image, target, amodal, visible))
            visible = np.array([0, 2, 1], np.uint8)[visible]
        M_rv, M_lv = (visible == 1).astype(np.uint8), (visible == 2).astype(np.uint8)
        masks = amodal * (1 - M_rv), (1 - amodal) * M_lv, M_rv, (1 - M_lv) * (1 - M_rv)
        return item(image, target, *masks, (f"render {annot}", name, letter == "l"))


def reader_affine(shift: Any, scale: float, degrees: float) -> np.ndarray:
    """Source to destination, (2, 3) float32, from p_src = c + 255 s / 256 R (p_dst - 128), by three points."""
    sine, cosine = np.sin(np.pi * degrees / 180), np.cos(np.pi * degrees / 180)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    dst = np.array([[128, 128], [128, 256], [256, 128]], np.float32)
    centre = np.array([255 * shift[0] + 127.5, 255 * shift[1] + 127.5], np.float32)
    steps = ((255 * scale / 256 * turn) @ (dst - 128).T).T.astype(np.float32)
    return cv2.getAffineTransform(centre + steps, dst).astype(np.float32)


def picture(path: Path) -> np.ndarray:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert bgr is not None, path
    assert bgr.shape == (SIZE, SIZE, 3)
    return bgr[..., ::-1].copy()


def labels(path: Path, most: int = 1) -> np.ndarray:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None, path
    assert (found.shape, found.dtype) == ((SIZE, SIZE), np.uint8)
    assert found.max() <= most
    return found


def tensor(image: np.ndarray) -> np.ndarray:
    return (image.transpose(2, 0, 1).astype(np.float32) / 255 - MEAN) / STD


def item(image: np.ndarray, target: np.ndarray, M_D: Any, M_R: Any, M_rv: Any, M_bv: Any, source: Any) -> Item:
    M_D, M_R, M_rv, M_bv = (mask[None].astype(np.float32) for mask in (M_D, M_R, M_rv, M_bv))
    image_t = tensor(image)
    return Item(
        image_t, image_t * (1 - M_D), image_t * (1 - M_R), 1 - M_D, 1 - M_R, M_rv, M_bv, tensor(target),
        source, np.ascontiguousarray(image), np.ascontiguousarray(target),
    )  # fmt: skip


def saved_by_numpy(path: Path, records: list[dict[str, Any]]) -> None:
    """A file of records as numpy itself saves it: the authors' way."""
    np.save(path, np.array(records, dtype=object), allow_pickle=True)


def hostile(content: object) -> bytes:
    """The same file with a pickle of anything in it."""
    return np_header(1) + pickle.dumps(content, protocol=2)


def np_header(count: int) -> bytes:
    text = f"{{'descr': '|O', 'fortran_order': False, 'shape': ({count},), }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
