"""How far whole samples are from the floor: what no engine can do without.

The floor of one sample is a copy of all arrays of its record, the bare JPEG encoding of image and target patches, and
zlib over its masks; drawing, checking and keeping books come on top.
"""

import resource
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.identity import EngineName
from aih_builder.imaging import ImageU8, box_of, encode_jpeg
from aih_builder.sample import SPECS, Sample, packed_masks
from aih_builder.shards.plan import make_plan
from aih_builder.shards.tasks import engine_for
from aih_builder.shards.writer import ShardHead, ShardWriter
from aih_builder.synth.engine import Tally
from tools.bench.scenes import demo_manifest
from tools.bench.timing import interleaved


class Least(NamedTuple):
    """What must be copied and encoded of one sample."""

    arrays: list[np.ndarray]
    pictures: list[ImageU8]  # the image, and the target patches
    masks: bytes


def measure(engine: EngineName, renderer: str, size_px: int, count: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Whole samples and their floor, median milliseconds, in turns; each stage's share of the whole; page faults."""
    manifest = demo_manifest(size_px, renderer=renderer, streams={engine: {"count": {"train": count}}})
    plan = make_plan(manifest, folder)
    maker = engine_for(plan, engine)
    indices = [index for shard in plan.shards() for index in shard.indices]
    head = ShardHead(engine, "train", 0, plan.plan_hash, manifest.fields_of(engine), manifest.lossless)
    least = [_least(maker.make(index, Tally())) for index in indices]
    tally, faults = Tally(), []

    def whole(i: int) -> None:
        writer, before = ShardWriter(head), _page_faults()
        sample = maker.make(indices[i], tally)
        with tally.stage("encode"):
            writer.add(sample)
        faults.append(_page_faults() - before)

    rivals: dict[str, Callable[[int], object]] = {
        "whole": whole,
        "floor": lambda i: (_copied(least[i]), _jpegs(least[i]), _deflated(least[i])),
        "copy": lambda i: _copied(least[i]),
        "jpeg": lambda i: _jpegs(least[i]),
        "zlib": lambda i: _deflated(least[i]),
    }
    taken = interleaved(rivals, count, rounds)
    spent = sum(tally.seconds.values())
    return {
        "ms": taken,
        "whole_over_floor": round(taken["whole"] / taken["floor"], 2),
        "share_of_stages": {stage: round(s / spent, 3) for stage, s in sorted(tally.seconds.items(), key=_longest)},
        "page_faults_per_sample": round(float(np.mean(faults[count:])), 1),  # the first of each warms up
    }


def _least(sample: Sample) -> Least:
    values = [getattr(sample, name) for name in SPECS]
    pictures = [sample.image_rgb]
    for target_rgb, changed in zip(sample.target_rgb, sample.changed_mask, strict=True):
        top, bottom, left, right = box_of(changed.view(np.uint8))
        if bottom > top:
            pictures.append(np.ascontiguousarray(target_rgb[top:bottom, left:right]))
    return Least([v for v in values if isinstance(v, np.ndarray)], pictures, packed_masks(sample).tobytes())


def _copied(least: Least) -> list[np.ndarray]:
    return [array.copy() for array in least.arrays]


def _jpegs(least: Least) -> list[bytes]:
    return [encode_jpeg(picture) for picture in least.pictures]


def _deflated(least: Least) -> bytes:
    return zlib.compress(least.masks, 6)


def _page_faults() -> int:
    """Minor ones of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _longest(stage: tuple[str, float]) -> float:
    return -stage[1]
