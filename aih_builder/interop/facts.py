"""What a card says of a dataset, from dataset.json and the files beside it; nothing is measured or made up."""

from pathlib import Path
from typing import Any, NamedTuple

from aih_builder.errors import ShardError
from aih_builder.files import read_json, sha256_of
from aih_builder.identity import ENGINE_NAMES, SPLITS
from aih_builder.interop.licence_terms import all_licences, terms_of
from aih_builder.sample import SPECS
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.reader import open_dataset

CITATION = (
    "@inproceedings{meng2022hdr, title={3D Interacting Hand Pose Estimation by Hand De-occlusion and Removal}, "
    "author={Meng, Hao and Jin, Sheng and Liu, Wentao and Qian, Chen and Lin, Mengxiang and Ouyang, Wanli and "
    "Luo, Ping}, booktitle={European Conference on Computer Vision (ECCV)}, year={2022}}"
)
LIMITS = (
    "The pictures are synthetic: how well what is learnt carries over to photographs has to be measured there.",
    "Rendered hands end at the wrist but where a forearm is drawn (forearm_mask); but for sleeves nothing is worn or "
    "held.",
    "AIH-Sync lays one hand over the other as a whole: they do not touch, and their sizes and light need not agree.",
    "AIH-Sync from one photograph knows one target; what lies behind the other hand is unknown there (target_valid).",
    "Poses are those of the sources named: which gestures and views occur, and how often, is not that of real use.",
    "Skin tones are those of the sets of the pool, not those of any population; shapes are one model's coefficients.",
    "Pictures are JPEG at quality 95 unless the dataset is lossless: inside changed_mask image and target carry noise "
    "of their own, outside it they are equal.",
)
_ENGINES = {
    "render": "AIH-Render draws textured meshes of two hands before a background",
    "sync": "AIH-Sync lays pictures of single hands over one another",
}
_FILES = {
    "dataset.json": ("application/json", "The list of shards, counts, versions, refused draws, sources, licences."),
    "manifest.yaml": ("application/yaml", "What was asked for, every key resolved."),
    "plan.json": (
        "application/json",
        "What was fixed before a sample was made: digests of all that samples depend on.",
    ),
    "overrides.json": ("application/json", "Samples that were drawn anew, from a later attempt."),
}
_HDF5 = "application/x-hdf5"
_NEEDED = {"name": str, "samples": int, "bytes": int, "image_size_px": int, "shards": list}


class File(NamedTuple):
    """A file of the dataset."""

    path: str  # below its folder
    kind: str
    about: str
    size: int  # bytes
    sha256: str


class Facts(NamedTuple):
    """A dataset, as its card tells it."""

    listed: dict[str, Any]  # dataset.json
    files: list[File]
    published: dict[str, Any]  # url, creator, datePublished: what only a person knows

    @property
    def name(self) -> str:
        """The manifest's."""
        return self.listed["name"]

    @property
    def samples(self) -> int:
        """In all."""
        return self.listed["samples"]

    @property
    def size_px(self) -> int:
        """Side of an image."""
        return self.listed["image_size_px"]

    @property
    def versions(self) -> dict[str, str]:
        """Libraries that made the shards; of the first installation, where there were several."""
        return next(iter(self.listed.get("versions") or []), {})

    @property
    def version(self) -> str:
        """MAJOR.MINOR.PATCH of the package, and which dataset it is."""
        return f"{self.versions.get('aih-builder', '0.0.0')}+{self.listed.get('plan_hash', '')[:12] or 'unknown'}"

    @property
    def sources(self) -> dict[str, Any]:
        """Each pool: what it is, its digest, its licences."""
        return self.listed.get("sources", {})

    @property
    def licences(self) -> list[str]:
        """Licence ids that bind the dataset."""
        return all_licences(self.listed.get("licences", []), self.sources)

    @property
    def fields(self) -> list[str]:
        """Fields of the record that its samples have."""
        return [name for name, spec in SPECS.items() if not spec.optional or name in self.listed.get("fields", [])]

    @property
    def engines(self) -> list[str]:
        """Those that made samples."""
        return [name for name in ENGINE_NAMES if any(shard["engine"] == name for shard in self.listed["shards"])]

    def held(self, engine: str, split: str) -> int:
        """Samples of an engine and split."""
        of = [s["samples"] for s in self.listed["shards"] if (s["engine"], s["split"]) == (engine, split)]
        return sum(of)

    def of_split(self, split: str) -> int:
        """Samples of a split."""
        return sum(self.held(engine, split) for engine in self.engines)

    @property
    def summary(self) -> str:
        """What it is, in a few sentences."""
        splits = ", ".join(f"{self.of_split(split):,} {split}" for split in SPLITS if self.of_split(split))
        terms = " Non-commercial use alone." if any(terms_of(name).non_commercial for name in self.licences) else ""
        return (
            f"{self.samples:,} images ({splits}) of {self.size_px} x {self.size_px} px of one or two hands: amodal and "
            "visible masks, each hand alone (de-occluded, the other hand removed), 21 joints in 3D and 2D with "
            "visibility, MANO parameters, cameras. Synthetic, made by aih-builder in the manner of AIH (HDR, ECCV "
            f"2022).{terms}"
        )

    @property
    def making(self) -> str:
        """How its samples came to be."""
        engines = "; ".join(_ENGINES[name] for name in self.engines)
        renderer = f", renderer {self.listed['renderer']}" if self.listed.get("renderer") else ""
        brought = "; those of photographs came with them" if self.sources.get("bank", {}).get("path") else ""
        return f"Generated, not collected: {engines}{renderer}. Labels come from the geometry{brought}."

    @property
    def command(self) -> str:
        """What makes it again."""
        again = ", overrides.json copied into NEW after `aih plan`" if self.listed.get("overrides") else ""
        version = self.versions.get("aih-builder", "unknown")
        return f"Made again by `aih generate manifest.yaml --out NEW` of aih-builder {version}{again}."

    @property
    def people(self) -> str:
        """Whether it shows real ones."""
        brought = self.sources.get("backgrounds", {}).get("folders"), self.sources.get("bank", {}).get("path")
        if any(brought):
            return "Photographs were brought along (backgrounds or a bank of hands): they may show real people."
        return "None: no photograph of a person went into it; hands, skins and backgrounds are computed."


def gather(folder: Path, published: dict[str, Any]) -> Facts:
    """The facts of a dataset folder. Raises ConfigError where it is no finished dataset, ShardError where dataset.json
    is damaged.
    """
    open_dataset(folder)  # says what is wrong
    listed = read_json(folder / LISTING_FILE)
    bad = [key for key, kind in _NEEDED.items() if not isinstance(listed.get(key), kind)]
    shards, sources = listed.get("shards", []), listed.get("sources", {})
    bad += ["shards" for s in shards if not isinstance(s.get("sha256"), str) or type(s.get("bytes")) is not int]
    if not isinstance(sources, dict) or not all(isinstance(source, dict) for source in sources.values()):
        bad.append("sources")
    if bad:
        raise ShardError(f"{folder / LISTING_FILE}: damaged, its {bad[0]} cannot be read. Run `aih index`.")
    files = [
        File(name, kind, about, (folder / name).stat().st_size, sha256_of(folder / name))
        for name, (kind, about) in _FILES.items()
        if (folder / name).is_file()
    ]
    files += [
        File(s["file"], _HDF5, f"{s['samples']} samples of {s['engine']} / {s['split']}.", s["bytes"], s["sha256"])
        for s in shards
    ]
    return Facts(listed, files, published)
