"""The manifest: YAML in, frozen models out."""

from aih_builder.config.manifest import (
    Manifest,
    dump_manifest,
    load_manifest,
    manifest_schema,
    parse_manifest,
)
from aih_builder.config.scenes import BankSource, Camera, LightRanges, Poses, Textures
from aih_builder.config.streams import Affine, RenderStream, SyncStream

__all__ = [
    "Affine",
    "BankSource",
    "Camera",
    "LightRanges",
    "Manifest",
    "Poses",
    "RenderStream",
    "SyncStream",
    "Textures",
    "dump_manifest",
    "load_manifest",
    "manifest_schema",
    "parse_manifest",
]
