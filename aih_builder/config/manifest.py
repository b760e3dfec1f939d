"""The manifest: YAML in, frozen models out. Every key has a default except schema, name, seed and streams."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from aih_builder.config.scenes import Camera, Hands, LightRanges, Model, Pools
from aih_builder.config.streams import Streams
from aih_builder.errors import ConfigError
from aih_builder.identity import SPLITS, EngineName

# AIH-Render draws no forearm, so it cannot give that mask.
FieldName = Literal["depth", "normal", "background_rgb"]
_FARTHEST_DEPTH_M = 3.0  # of a scene's middle, so that all of both hands stays below 65535 x 0.05 mm


class Manifest(Model):
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
        return sum(count.of(split) for count in self.streams.counts().values() for split in SPLITS)

    def fields_of(self, engine: EngineName) -> tuple[FieldName, ...]:
        """The optional fields that an engine's samples hold: a photograph has no depth, no normals, no empty scene."""
        return self.fields if engine == "render" else ()


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
    textures, backgrounds, bank = manifest.pools.textures, manifest.pools.backgrounds, manifest.pools.bank
    poses = manifest.pools.poses
    pools = manifest.pools.model_copy(
        update={
            "poses": poses.model_copy(update={"path": poses.path and folder / poses.path}),
            "bank": bank.model_copy(update={"path": bank.path and folder / bank.path}),
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
        kinds = [] if field is None else [field.annotation, *get_args(field.annotation)]
        model = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]
