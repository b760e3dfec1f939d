"""The manifest: YAML in, frozen models out. Every key has a default except schema, name, seed and streams."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from aih_builder.config.look import Look
from aih_builder.config.reading import read_mapping, validated
from aih_builder.config.scenes import Camera, Counts, Hands, LightRanges, Model, Pools
from aih_builder.config.streams import Streams
from aih_builder.errors import ConfigError
from aih_builder.identity import MAX_PER_STREAM, SPLITS, EngineName

# forearm_mask is not asked for: it is there where look.forearms is.
FieldName = Literal["depth", "normal", "background_rgb"]
_FARTHEST_DEPTH_M = 3.0  # of a scene's middle, so that all of both hands stays below 65535 x 0.05 mm


class Manifest(Model):
    """What a dataset is made of. A manifest and an index make a sample."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)]
    image_size_px: Annotated[int, Field(strict=True, ge=32, le=2048)] = 256
    shard_samples: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 1000
    scale: Annotated[float, Field(gt=0, le=1000)] = 1.0  # multiplies the streams' counts; read, it is 1 again
    renderer: Literal["auto", "numba", "pyrender"] = "auto"
    lossless: bool = False
    fields: tuple[FieldName, ...] = ()
    hands: Hands = Hands()
    pools: Pools = Pools()
    camera: Camera = Camera()
    lights: LightRanges = LightRanges()
    look: Look = Look()
    streams: Streams

    @model_validator(mode="after")
    def _depth_fits(self) -> "Manifest":
        if "depth" in self.fields and self.camera.distance_m[1] > _FARTHEST_DEPTH_M:
            raise ValueError(
                f"camera.distance_m reaches {self.camera.distance_m[1]}: with the field depth, 16 bits of 0.05 mm, "
                f"expected at most {_FARTHEST_DEPTH_M}"
            )
        return self

    @model_validator(mode="after")
    def _view_has_a_body(self) -> "Manifest":
        if self.camera.view is not None and self.pools.poses.source != "library":
            raise ValueError(
                f"camera.view counts from the body's axes, which poses of source: {self.pools.poses.source} do not "
                "have; leave it out, or use source: library"
            )
        return self

    def to_json(self) -> dict[str, Any]:
        """The resolved manifest: every key, defaults included, plain JSON types."""
        return self.model_dump(mode="json", by_alias=True)

    def total(self) -> int:
        """Samples in all."""
        return sum(count.of(split) for count in self.streams.counts().values() for split in SPLITS)

    def fields_of(self, engine: EngineName) -> tuple[str, ...]:
        """The optional fields that an engine's samples hold: a photograph has no depth, no normals, no empty scene."""
        if engine != "render":
            return ()
        return self.fields if self.look.forearms is None else (*self.fields, "forearm_mask")


def load_manifest(path: Path) -> Manifest:
    """Read a manifest; relative paths in it count from its own folder. Raises ConfigError naming file and key."""
    return parse_manifest(read_mapping(path), where=str(path), folder=path.resolve().parent)


def parse_manifest(content: dict[str, Any], *, where: str, folder: Path) -> Manifest:
    """Check a manifest's content. `where` names it in errors; `folder` is where relative paths start."""
    manifest = _scaled(validated(Manifest, content, where), where)
    folder = folder.resolve()  # the manifest is written again elsewhere, beside the shards
    textures, backgrounds, bank = manifest.pools.textures, manifest.pools.backgrounds, manifest.pools.bank
    poses = manifest.pools.poses
    pictures = tuple(each.model_copy(update={"path": folder / each.path}) for each in backgrounds.folders)
    pools = manifest.pools.model_copy(
        update={
            "poses": poses.model_copy(update={"path": poses.path and folder / poses.path}),
            "bank": bank.model_copy(update={"path": bank.path and folder / bank.path}),
            "textures": textures.model_copy(update={"path": textures.path and folder / textures.path}),
            "backgrounds": backgrounds.model_copy(update={"folders": pictures}),
        }
    )
    hands = manifest.hands
    if isinstance(hands.model, Path):
        hands = hands.model_copy(update={"model": folder / hands.model})
    return manifest.model_copy(update={"pools": pools, "hands": hands})


def _scaled(manifest: Manifest, where: str) -> Manifest:
    """The manifest at scale 1: counts that are not 0 are multiplied and rounded, to at least 1. Raises ConfigError."""
    if manifest.scale == 1.0:
        return manifest
    scaled: dict[str, Any] = {}
    for engine, counts in manifest.streams.counts().items():
        numbers = {split: max(1, round(n * manifest.scale)) for split in SPLITS if (n := counts.of(split))}
        if (most := max(numbers.values(), default=0)) >= MAX_PER_STREAM:
            raise ConfigError(f"{where}: scale {manifest.scale:g} makes {most} samples of a stream, too many.")
        stream = getattr(manifest.streams, engine)
        scaled[engine] = stream.model_copy(update={"count": Counts(**numbers)})
    return manifest.model_copy(update={"scale": 1.0, "streams": manifest.streams.model_copy(update=scaled)})


def dump_manifest(manifest: Manifest) -> str:
    """The resolved manifest as YAML, keys in the order of the models."""
    return yaml.safe_dump(manifest.to_json(), sort_keys=False, allow_unicode=True)


def manifest_schema() -> dict[str, Any]:
    """JSON schema of a manifest, for editors."""
    return Manifest.model_json_schema(by_alias=True)
