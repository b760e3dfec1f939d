"""Where things lie in the AIH tree that HDR's authors published, and what its reader demands of them.

    AIH_syn/filtered_list/{annot}_{split}_sh_{right|left}_filtered.txt      file ids, one a line
    AIH_syn/syn_cfgs/all_{annot}_{split}_syn_cfgs.npy                       one record a sample, see official_cfgs
    AIH_syn/{annot}/{split}/images/{r|l}_images/{id}.jpg                    a single hand
    AIH_syn/{annot}/{split}/labels/in_{r|l}_images/{r|l}_amodal/{id}.png    its mask, 0 or 1
    AIH_render/{annot}/{split}/images/{r|l}_images/{IH|DR_gt}/{name}.jpg    both hands; the target hand alone
    AIH_render/{annot}/{split}/labels/in_{r|l}_images/{r|l}_amodal/{name}.png    the target's mask, 0 or 1
    AIH_render/{annot}/{split}/labels/in_{r|l}_images/rl_visible/{name}.png      0 nothing, 1 right, 2 left hand seen

annot is human_annot or machine_annot. The folder's side is the target hand's. All pictures have 256 x 256 pixels.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal, NamedTuple

from aih_builder.errors import ConfigError
from aih_builder.files import read_json, sha256_of
from aih_builder.identity import SPLITS, Split
from aih_builder.sample import SIDES
from aih_builder.shards.format import LISTING_FILE

SIZE_PX = 256
Annotation = Literal["human", "machine"]
PictureKind = Literal["IH", "DR_gt"]
MaskKind = Literal["amodal", "rl_visible"]
ANNOTATIONS: tuple[Annotation, ...] = ("human", "machine")
RIGHT_LABEL, LEFT_LABEL = 1, 2  # in rl_visible
EXPORT_FILE = "aih_export.json"  # ours, where the reader does not look


class Group(NamedTuple):
    """The samples of one kind of annotation and one split."""

    annotation: Annotation
    split: Split

    def __str__(self) -> str:
        return f"{self.folder}/{self.split}"

    @property
    def folder(self) -> str:
        """The kind of annotation as the tree spells it."""
        return f"{self.annotation}_annot"

    def list_file(self, root: Path, side: int) -> Path:
        """The file ids of one side's single hands."""
        return root / "AIH_syn" / "filtered_list" / f"{self.folder}_{self.split}_sh_{SIDES[side]}_filtered.txt"

    def cfg_file(self, root: Path) -> Path:
        """The records of its synthesized samples."""
        return root / "AIH_syn" / "syn_cfgs" / f"all_{self.folder}_{self.split}_syn_cfgs.npy"

    def syn_image(self, root: Path, side: int) -> Path:
        """The folder of pictures of one side's single hands."""
        return root / "AIH_syn" / self.folder / self.split / "images" / f"{SIDES[side][0]}_images"

    def syn_mask(self, root: Path, side: int) -> Path:
        """The folder of their masks."""
        letter = SIDES[side][0]
        return root / "AIH_syn" / self.folder / self.split / "labels" / f"in_{letter}_images" / f"{letter}_amodal"

    def render_image(self, root: Path, side: int, kind: PictureKind) -> Path:
        """The folder of pictures of both hands, or of the target alone, that are centred on one side's hand."""
        return root / "AIH_render" / self.folder / self.split / "images" / f"{SIDES[side][0]}_images" / kind

    def render_mask(self, root: Path, side: int, kind: MaskKind) -> Path:
        """The folder of their masks."""
        letter = SIDES[side][0]
        name = f"{letter}_amodal" if kind == "amodal" else kind
        return root / "AIH_render" / self.folder / self.split / "labels" / f"in_{letter}_images" / name


def all_groups() -> list[Group]:
    """Every group that a tree may hold."""
    return [Group(annotation, split) for annotation in ANNOTATIONS for split in SPLITS]


def annotation_of(told: str, split: Split, index: int, human_share: float) -> Annotation:
    """Where a sample belongs: as its record says; else, in train, human for a share of samples by a hash of their
    index, and machine in val and test, of which the official reader opens no other.
    """
    if told in ANNOTATIONS:
        return told
    if split != "train":
        return "machine"
    drawn = int.from_bytes(hashlib.sha256(f"annotation {index}".encode()).digest()[:8], "big") / 2**64
    return "human" if drawn < human_share else "machine"


def require_share(human_share: float) -> None:
    """Raises ConfigError for a share that is none."""
    if not 0.0 <= human_share <= 1.0:
        raise ConfigError(f"human share is {human_share}, expected 0 to 1.")


class Exported(NamedTuple):
    """What an export wrote."""

    folder: Path
    written: dict[str, int]  # samples by listing
    left_out: dict[str, int]  # samples by reason


def source_of(path: Path) -> dict[str, Any]:
    """Which dataset a tree was made from, as its export file says."""
    held = read_json(path / LISTING_FILE)
    told = {key: held[key] for key in ("name", "plan_hash", "overrides", "seed", "schema") if key in held}
    return {
        "source": told | {"dataset_sha256": sha256_of(path / LISTING_FILE)},
        "licences": held.get("licences", []),
        "files": "named by a sample's number in its engine and split: index = 16 number + 3 engine + split (render 0, "
        "sync 1; train 0, val 1, test 2)",
    }
