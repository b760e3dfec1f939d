"""Small datasets and manifests for tests."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from aih_builder.config import Manifest, parse_manifest
from aih_builder.paths import manifests
from aih_builder.shards.format import COLUMNS_FILE, STATS_FILE

SMALL = {"train": 5, "val": 2, "test": 2}


def small_content(**changes: Any) -> dict[str, Any]:
    """The demo manifest with plain shading, shrunk to 96 px and nine samples of AIH-Render in five shards; top-level
    keys replaced.
    """
    content = small_both_content()
    del content["streams"]["sync"]
    content.update(changes)
    return content


def small_both_content(**changes: Any) -> dict[str, Any]:
    """The same with nine samples of each engine in ten shards, with plain shading."""
    content = yaml.safe_load((manifests() / "demo.yaml").read_text(encoding="utf-8"))
    del content["look"]
    content.update(name="small", image_size_px=96, shard_samples=2)
    content["streams"]["render"]["count"] = dict(SMALL)
    content["streams"]["sync"]["count"] = dict(SMALL)
    content["pools"]["bank"]["build"]["per_split"] = {"train": 8, "val": 4, "test": 4}
    content.update(changes)
    return content


def small_manifest(**changes: Any) -> Manifest:
    """The same, parsed."""
    return parse_manifest(small_content(**changes), where="small", folder=Path())


def small_both_manifest(**changes: Any) -> Manifest:
    """small_both_content, parsed."""
    return parse_manifest(small_both_content(**changes), where="both", folder=Path())


def with_counts(**counts: int) -> dict[str, Any]:
    """A change for small_content: other counts for some splits."""
    streams = small_content()["streams"]
    streams["render"]["count"] = SMALL | counts
    return {"streams": streams}


def copied(dataset: Path, to: Path) -> Path:
    """A copy of a dataset that tests share, without what commands may have kept beside it meanwhile."""
    return Path(shutil.copytree(dataset, to, ignore=shutil.ignore_patterns(COLUMNS_FILE, STATS_FILE)))
