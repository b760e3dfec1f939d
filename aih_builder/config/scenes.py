"""The parts of a manifest that say what scenes are made of: hands, pools, camera, lights."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aih_builder.identity import MAX_PER_STREAM, Split

_FARTHEST_M = 30.0  # a step of float32 is 1.9e-6 m there, and `aih validate` holds joints to 2e-6 m


class Model(BaseModel):
    """Base of all: unknown keys are errors, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def ordered(pair: tuple[float, float]) -> tuple[float, float]:
    """The pair, if it does not fall; else ValueError."""
    if pair[0] > pair[1]:
        raise ValueError(f"lowest {pair[0]} exceeds highest {pair[1]}")
    return pair


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Shapes(Model):
    """Pool of hand shapes (betas)."""

    count: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 64
    beta_limit: Annotated[float, Field(gt=0, le=5)] = 2.0


class Hands(Model):
    """Which hand model, and who computes its skinning.

    model: open, the one that comes with the package; or a path: a folder with MANO_RIGHT.pkl and MANO_LEFT.pkl, one of
    these, a .npz that `aih hand convert` made, or a folder that `aih hand prepare` wrote. fix_left: whether x of the
    left file's shape directions is turned, which MANO published with the right hand's; auto looks whether it is.
    """

    model: Literal["open"] | Path = "open"
    fix_left: bool | Literal["auto"] = "auto"
    backend: Literal["native", "smplx", "manopth"] = "native"
    shapes: Shapes = Shapes()

    @model_validator(mode="after")
    def _only_files_are_fixed(self) -> "Hands":
        if self.model == "open" and self.fix_left != "auto":
            raise ValueError("fix_left is for MANO files; model: open needs no fix")
        return self


class Textures(Model):
    """Skin: the shipped sets, sets baked at planning, or a folder of sets."""

    source: Literal["shipped", "procedural", "folder"] = "shipped"
    tones: tuple[Annotated[int, Field(strict=True, ge=1, le=10)], ...] = tuple(range(1, 11))
    per_tone: Annotated[int, Field(strict=True, ge=1, le=1000)] = 3
    size_px: Literal[256, 512, 1024, 2048] = 512
    age: tuple[Annotated[int, Field(strict=True, ge=18, le=80)], Annotated[int, Field(strict=True, ge=18, le=80)]] = (
        18,
        80,
    )
    hair: tuple[Fraction, Fraction] = (0.0, 1.0)  # of the densest that is drawn
    path: Path | None = None

    @model_validator(mode="after")
    def _folder_has_a_path(self) -> "Textures":
        if (self.source == "folder") != (self.path is not None):
            raise ValueError("path is needed with source: folder, and only then")
        return self

    @model_validator(mode="after")
    def _only_baking_has_choices(self) -> "Textures":
        fields = type(self).model_fields
        choices = ("tones", "per_tone", "size_px", "age", "hair")
        given = [name for name in choices if getattr(self, name) != fields[name].default]
        ordered(self.age)
        ordered(self.hair)
        if given and self.source != "procedural":
            raise ValueError(f"{given[0]} is for source: procedural; the sets of source: {self.source} are as they are")
        return self


LicenceId = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[ -~]+$")]


class BackgroundFolder(Model):
    """A folder of images, named by its path alone or with a licence of its own."""

    path: Path
    licence: LicenceId | None = None  # None: that of the pool

    @model_validator(mode="before")
    @classmethod
    def _named_by_path(cls, content: Any) -> Any:
        return {"path": content} if isinstance(content, str | Path) else content


class Backgrounds(Model):
    """Procedural kinds and folders of images; each sample draws one of all these, folders weighing as one kind each.

    A folder's subfolders train, val and test tell the split of what is in them.
    """

    procedural: tuple[Literal["studio", "indoor", "outdoor", "plain", "noise"], ...] = (
        "studio", "indoor", "outdoor", "plain", "noise",
    )  # fmt: skip
    folders: tuple[BackgroundFolder, ...] = ()
    licence: LicenceId = "user"  # of the images of folders that name none

    def licensed(self) -> tuple[tuple[Path, str], ...]:
        """The path and the licence of each folder."""
        return tuple((folder.path, folder.licence or self.licence) for folder in self.folders)

    @model_validator(mode="after")
    def _not_empty(self) -> "Backgrounds":
        if not self.procedural and not self.folders:
            raise ValueError("name at least one procedural kind or one folder")
        return self


class Poses(Model):
    """Where poses come from.

    library: solved or imported poses in a file; without a path, those that come with the package. interhand: the MANO
    fits of InterHand2.6M, whose root is the path. parameters: a `.npz` of MANO parameters. anatomical: hand shapes
    within joint limits, placed against one another as they are drawn.
    """

    source: Literal["library", "interhand", "parameters", "anatomical"] = "library"
    path: Path | None = None
    jitter_deg: Annotated[float, Field(ge=0, le=15)] = 0.0  # deviation of each finger angle, checked again
    other_hand: Literal["refuse", "mark"] = "refuse"  # poses of another hand model than the one in use
    fits_of: Literal["mano", "open", "hand"] = "mano"  # imported parameters were fitted with; hand: hands.model
    left_shapedirs: Literal["fixed", "as-published"] = "fixed"  # of the left hand that they were fitted with
    every: Annotated[int, Field(strict=True, ge=1)] = 1  # take each n-th frame

    @model_validator(mode="after")
    def _fits_its_source(self) -> "Poses":
        imported = self.source in ("interhand", "parameters")
        if imported and self.path is None:
            raise ValueError(f"source: {self.source} needs a path")
        unused = [] if imported else ["fits_of", "left_shapedirs", "every"]
        unused += ["path", "jitter_deg", "other_hand"] if self.source == "anatomical" else []
        for name in unused:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is not for source: {self.source}")
        return self


class Counts(Model):
    """Samples per split."""

    train: Annotated[int, Field(strict=True, ge=0, lt=MAX_PER_STREAM)] = 0
    val: Annotated[int, Field(strict=True, ge=0, lt=MAX_PER_STREAM)] = 0
    test: Annotated[int, Field(strict=True, ge=0, lt=MAX_PER_STREAM)] = 0

    def of(self, split: Split) -> int:
        """Samples of one split."""
        return getattr(self, split)


class BankBuild(Model):
    """A bank of cut-outs that planning renders from the manifest's own hands, skins, lights and backgrounds."""

    per_split: Counts = Counts(train=96, val=24, test=24)


class BankSource(Model):
    """Where AIH-Sync's single hands come from: built at planning, or a file that `aih bank build` made."""

    build: BankBuild | None = BankBuild()
    path: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_of_two(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("path") is not None:
            if content.get("build") is not None:
                raise ValueError("build and path exclude each other: name one")
            return content | {"build": None}
        return content

    @model_validator(mode="after")
    def _not_empty(self) -> "BankSource":
        if self.build is None and self.path is None:
            raise ValueError("name build or path")
        return self


class Pools(Model):
    """What a scene is put together from."""

    textures: Textures = Textures()
    backgrounds: Backgrounds = Backgrounds()
    poses: Poses = Poses()
    bank: BankSource = BankSource()


class Framing(Model):
    """Share of samples cropped around the target hand, and around both."""

    target: Fraction = 0.7
    both: Fraction = 0.3

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Framing":
        if abs(self.target + self.both - 1) > 1e-6:
            raise ValueError(f"target + both is {self.target + self.both}, expected 1")
        return self


class ViewRanges(Model):
    """From where the camera looks, in the body's axes: azimuth 0 is before the person, 90 at its left, 180 behind it;
    elevation 90 is above; roll is about the optical axis, 0 with the body's up axis upright.
    """

    azimuth_deg: tuple[Annotated[float, Field(ge=-360, le=360)], Annotated[float, Field(ge=-360, le=360)]]
    elevation_deg: tuple[Annotated[float, Field(ge=-90, le=90)], Annotated[float, Field(ge=-90, le=90)]]
    roll_deg: Annotated[float, Field(ge=0, le=180)] = 15.0  # each way

    @model_validator(mode="after")
    def _ranges_rise(self) -> "ViewRanges":
        ordered(self.azimuth_deg)
        ordered(self.elevation_deg)
        return self


class Camera(Model):
    """Pinhole camera. The focal length follows from the distance and the crop."""

    distance_m: tuple[Positive, Positive] = (0.35, 0.9)
    off_axis_deg: Annotated[float, Field(ge=0, le=40)] = 12.0
    forearm_clearance_deg: Annotated[float, Field(ge=0, le=80)] = 40.0
    view: ViewRanges | None = None  # None: from anywhere, however rolled
    framing: Framing = Framing()
    framing_factor: Annotated[float, Field(ge=1, le=8)] = 2.0
    framing_jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.1

    @model_validator(mode="after")
    def _reachable(self) -> "Camera":
        ordered(self.distance_m)
        if self.distance_m[0] < 0.25:
            raise ValueError("distance_m must be at least 0.25: nearer, a hand reaches behind the camera")
        if self.distance_m[1] > _FARTHEST_M:
            raise ValueError(f"distance_m must be at most {_FARTHEST_M}: farther, 32 bits blur a hand's micrometres")
        return self


class LightRanges(Model):
    """Lowest and highest strength of each light, before exposure."""

    key: tuple[Positive, Positive] = (0.6, 3.0)
    fill: tuple[Positive, Positive] = (0.1, 0.8)
    ambient: tuple[Positive, Positive] = (0.15, 0.5)

    @model_validator(mode="after")
    def _each_ordered(self) -> "LightRanges":
        for pair in (self.key, self.fill, self.ambient):
            ordered(pair)
        return self
