"""The manifest: YAML in, frozen models out. Every key has a default except schema, name, seed and streams."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aih_builder.errors import ConfigError
from aih_builder.identity import MAX_PER_STREAM, SPLITS, Split

# AIH-Render draws no forearm, so it cannot give that mask.
FieldName = Literal["depth", "normal", "background_rgb"]
_FARTHEST_M = 30.0  # a step of float32 is 1.9e-6 m there, and `aih validate` holds joints to 2e-6 m
_FARTHEST_DEPTH_M = 3.0  # of a scene's middle, so that all of both hands stays below 65535 x 0.05 mm


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _ordered(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"lowest {pair[0]} exceeds highest {pair[1]}")
    return pair


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Shapes(_Model):
    """Pool of hand shapes (betas)."""

    count: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 64
    beta_limit: Annotated[float, Field(gt=0, le=5)] = 2.0


class Hands(_Model):
    """Which hand model, and who computes its skinning."""

    model: Literal["open"] = "open"
    backend: Literal["native", "smplx"] = "native"
    shapes: Shapes = Shapes()


class Textures(_Model):
    """Skin: the shipped sets, sets baked at planning, or a folder of sets."""

    source: Literal["shipped", "procedural", "folder"] = "shipped"
    tones: tuple[Annotated[int, Field(strict=True, ge=1, le=10)], ...] = tuple(range(1, 11))
    per_tone: Annotated[int, Field(strict=True, ge=1, le=1000)] = 3
    size_px: Literal[256, 512, 1024, 2048] = 512
    path: Path | None = None

    @model_validator(mode="after")
    def _folder_has_a_path(self) -> "Textures":
        if (self.source == "folder") != (self.path is not None):
            raise ValueError("path is needed with source: folder, and only then")
        return self

    @model_validator(mode="after")
    def _only_baking_has_choices(self) -> "Textures":
        fields = type(self).model_fields
        given = [name for name in ("tones", "per_tone", "size_px") if getattr(self, name) != fields[name].default]
        if given and self.source != "procedural":
            raise ValueError(f"{given[0]} is for source: procedural; the sets of source: {self.source} are as they are")
        return self


class Backgrounds(_Model):
    """Procedural kinds and folders of images; each sample draws one of all these, folders weighing as one kind each."""

    procedural: tuple[Literal["studio", "indoor", "noise"], ...] = ("studio", "indoor", "noise")
    folders: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _not_empty(self) -> "Backgrounds":
        if not self.procedural and not self.folders:
            raise ValueError("name at least one procedural kind or one folder")
        return self


class Poses(_Model):
    """Where poses come from."""

    source: Literal["anatomical"] = "anatomical"


class Pools(_Model):
    """What a scene is put together from."""

    textures: Textures = Textures()
    backgrounds: Backgrounds = Backgrounds()
    poses: Poses = Poses()


class Framing(_Model):
    """Share of samples cropped around the target hand, and around both."""

    target: Fraction = 0.7
    both: Fraction = 0.3

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Framing":
        if abs(self.target + self.both - 1) > 1e-6:
            raise ValueError(f"target + both is {self.target + self.both}, expected 1")
        return self


class Camera(_Model):
    """Pinhole camera. The focal length follows from the distance and the crop."""

    distance_m: tuple[Positive, Positive] = (0.35, 0.9)
    off_axis_deg: Annotated[float, Field(ge=0, le=40)] = 12.0
    forearm_clearance_deg: Annotated[float, Field(ge=0, le=80)] = 40.0
    framing: Framing = Framing()
    framing_factor: Annotated[float, Field(ge=1, le=8)] = 2.0
    framing_jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.1

    @model_validator(mode="after")
    def _reachable(self) -> "Camera":
        _ordered(self.distance_m)
        if self.distance_m[0] < 0.25:
            raise ValueError("distance_m must be at least 0.25: nearer, a hand reaches behind the camera")
        if self.distance_m[1] > _FARTHEST_M:
            raise ValueError(f"distance_m must be at most {_FARTHEST_M}: farther, 32 bits blur a hand's micrometres")
        return self


class LightRanges(_Model):
    """Lowest and highest strength of each light, before exposure."""

    key: tuple[Positive, Positive] = (0.6, 3.0)
    fill: tuple[Positive, Positive] = (0.1, 0.8)
    ambient: tuple[Positive, Positive] = (0.15, 0.5)

    @model_validator(mode="after")
    def _each_ordered(self) -> "LightRanges":
        for pair in (self.key, self.fill, self.ambient):
            _ordered(pair)
        return self


class Counts(_Model):
    """Samples per split."""

    train: Annotated[int, Field(strict=True, ge=0, lt=MAX_PER_STREAM)] = 0
    val: Annotated[int, Field(strict=True, ge=0, lt=MAX_PER_STREAM)] = 0
    test: Annotated[int, Field(strict=True, ge=0, lt=MAX_PER_STREAM)] = 0

    def of(self, split: Split) -> int:
        """Samples of one split."""
        return getattr(self, split)


class OcclusionBins(_Model):
    """Histogram wanted of the target hand's occlusion rate: n + 1 edges, n shares."""

    bins: tuple[Fraction, ...] = (0.0, 0.05, 0.2, 0.4, 0.8)
    share: tuple[Fraction, ...] = (0.2, 0.3, 0.3, 0.2)

    @model_validator(mode="after")
    def _consistent(self) -> "OcclusionBins":
        if len(self.bins) != len(self.share) + 1 or len(self.share) < 1:
            raise ValueError(f"{len(self.bins)} bins need {len(self.bins) - 1} shares, got {len(self.share)}")
        if any(a >= b for a, b in zip(self.bins, self.bins[1:], strict=False)):
            raise ValueError("bins must rise")
        if abs(sum(self.share) - 1) > 1e-6:
            raise ValueError(f"shares sum to {sum(self.share)}, expected 1")
        return self


class RenderStream(_Model):
    """What AIH-Render makes."""

    count: Counts
    single_hand_fraction: Fraction = 0.1
    occlusion: OcclusionBins = OcclusionBins()


class Streams(_Model):
    """One entry per engine."""

    render: RenderStream


class Manifest(_Model):
    """What a dataset is made of. A manifest and an index make a sample."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)]
    image_size_px: Annotated[int, Field(strict=True, ge=32, le=2048)] = 256
    shard_samples: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 1000
    renderer: Literal["auto", "numba", "pyrender"] = "auto"
    lossless: bool = False
    fields: tuple[FieldName, ...] = ()
    hands: Hands = Hands()
    pools: Pools = Pools()
    camera: Camera = Camera()
    lights: LightRanges = LightRanges()
    streams: Streams

    @model_validator(mode="after")
    def _depth_fits(self) -> "Manifest":
        if "depth" in self.fields and self.camera.distance_m[1] > _FARTHEST_DEPTH_M:
            raise ValueError(
                f"camera.distance_m reaches {self.camera.distance_m[1]}: with the field depth, 16 bits of 0.05 mm, "
                f"expected at most {_FARTHEST_DEPTH_M}"
            )
        return self

    def to_json(self) -> dict[str, Any]:
        """The resolved manifest: every key, defaults included, plain JSON types."""
        return self.model_dump(mode="json", by_alias=True)

    def total(self) -> int:
        """Samples in all."""
        return sum(self.streams.render.count.of(split) for split in SPLITS)


# What PyYAML lets through of an impossible date, a tag that does not fit its value, or deep nesting.
_MISREAD = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class _UniqueKeys(yaml.SafeLoader):
    """YAML, where a key that stands twice in one mapping is an error: the last would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: key '{key}' stands twice")
        return super().construct_mapping(node, deep)


def load_manifest(path: Path) -> Manifest:
    """Read a manifest; relative paths in it count from its own folder. Raises ConfigError naming file and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}). Name a manifest, for instance manifests/demo.yaml."
        ) from error
    try:
        content = yaml.load(text, Loader=_UniqueKeys)
    except (yaml.YAMLError, *_MISREAD) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, got {type(content).__name__}.")
    return parse_manifest(content, where=str(path), folder=path.resolve().parent)


def parse_manifest(content: dict[str, Any], *, where: str, folder: Path) -> Manifest:
    """Check a manifest's content. `where` names it in errors; `folder` is where relative paths start."""
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {line}" for line in _explain(error))) from error
    folder = folder.resolve()  # the manifest is written again elsewhere, beside the shards
    textures, backgrounds = manifest.pools.textures, manifest.pools.backgrounds
    pools = manifest.pools.model_copy(
        update={
            "textures": textures.model_copy(update={"path": textures.path and folder / textures.path}),
            "backgrounds": backgrounds.model_copy(update={"folders": tuple(folder / f for f in backgrounds.folders)}),
        }
    )
    return manifest.model_copy(update={"pools": pools})


def dump_manifest(manifest: Manifest) -> str:
    """The resolved manifest as YAML, keys in the order of the models."""
    return yaml.safe_dump(manifest.to_json(), sort_keys=False, allow_unicode=True)


def manifest_schema() -> dict[str, Any]:
    """JSON schema of a manifest, for editors."""
    return Manifest.model_json_schema(by_alias=True)


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = _keys_at(item["loc"][:-1])
            near = difflib.get_close_matches(str(item["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}."
            lines.append(f"unknown key '{key}'; {hint}")
        elif item["type"] == "missing":
            lines.append(f"key '{key}' is missing.")
        else:
            message = item["msg"].removeprefix("Value error, ")
            value = item.get("input")
            shown = f", got {value!r}" if not isinstance(value, dict) else ""
            lines.append(f"key '{key}': {message}{shown}." if key else f"{message}.")
    return lines


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    model: Any = Manifest
    for part in location:
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return [field.alias or name for name, field in model.model_fields.items()]
