"""A stored sample against the same one made again: to the byte, or within bounds, since another CPU type may round
otherwise.
"""

from collections.abc import Iterator

import numpy as np

from aih_builder.errors import AihError, ConfigError, Rejected, ShardError
from aih_builder.pixels import departure
from aih_builder.sample import SIDES, SPECS, Sample
from aih_builder.shards.format import PLAIN_FIELDS, decode_parts, encode_parts
from aih_builder.shards.plan import Plan, Shard
from aih_builder.shards.reader import ShardReader
from aih_builder.shards.tasks import make_sample
from aih_builder.synth.engine import Engine
from aih_builder.tables import DAMAGE

_MAX_DRIFT = 2.0  # levels, on average over a region, once both pictures went through the same codec
_MAX_MASK_SHARE = 0.02  # of a mask's pixels that may differ, or
_MAX_MASK_PIXELS = 8
_MAX_JOINTS = 2  # that may be visible in one and not in the other: they lie on a border
_FLOATS = {"occlusion_rate": 0.01, "mean_luma": 0.5, "joints_px": 1e-2, "K_px": 1e-2}  # absolute; others _CLOSE
_CLOSE = 1e-5


def differences(plan: Plan, shard: Shard, index: int) -> list[str]:
    """Names of the encoded parts and small arrays in which a stored sample is not, to the byte, what its index gives.

    Raises ShardError where its shard is missing or damaged, or does not hold what the plan says.
    """
    path = plan.folder / shard.file
    if not path.is_file():
        raise ShardError(f"{path}: is not there, so there is nothing to compare with. Run `aih generate` to make it.")
    stored, position = ShardReader(path), shard.indices.index(index)
    told = len(stored), sorted(stored.fields)
    planned = shard.last - shard.first, sorted(plan.manifest.fields_of(shard.engine))
    if told != planned:
        raise ShardError(
            f"{path}: holds {told[0]} samples with the optional fields {told[1]}, planned are {planned[0]} with "
            f"{planned[1]}. Run `aih repair` on its dataset to make it again."
        )
    try:
        parts, plain = stored.encoded(position), stored.plain_values(position)
    except (AihError, *DAMAGE) as error:
        raise ShardError(
            f"{path}: sample {index} cannot be read ({error}). Run `aih validate` on the dataset."
        ) from error
    made = make_sample(plan, index)
    encoded = encode_parts(made, stored.parts, lossless=plan.manifest.lossless)
    return [
        *(name for name, found, wanted in zip(stored.parts, parts, encoded, strict=True) if found != wanted),
        *(name for name, found in plain.items() if not np.array_equal(found, getattr(made, name))),
    ]


def departures(stored: Sample, reader: ShardReader, engine: Engine) -> Iterator[str]:
    """What of a stored sample is not what its index and attempt give."""
    try:
        drawn = engine.draw_again(stored.index, stored.attempt)
    except (Rejected, ConfigError) as refusal:
        yield f"attempt {stored.attempt} is refused when it is drawn again ({refusal})"
        return
    encoded = encode_parts(drawn, reader.parts, lossless=bool(reader.attributes["lossless"]))
    parts = dict(zip(reader.parts, map(memoryview, encoded), strict=True))
    again = decode_parts(parts, {name: getattr(drawn, name) for name in PLAIN_FIELDS}, reader.fields)
    for name in PLAIN_FIELDS:
        if not _equal(name, getattr(stored, name), getattr(again, name)):
            yield f"{name} is {_short(getattr(stored, name))}, drawn again {_short(getattr(again, name))}"
    if stored.image_rgb.shape != again.image_rgb.shape:
        return  # reported as another size
    for name in ("amodal_mask", "visible_mask", "changed_mask"):
        for hand, (found, wanted) in enumerate(zip(getattr(stored, name), getattr(again, name), strict=True)):
            if np.count_nonzero(found ^ wanted) > max(_MAX_MASK_PIXELS, _MAX_MASK_SHARE * np.count_nonzero(wanted)):
                yield f"{SIDES[hand]} hand: {name} is not that drawn again"
    everywhere = np.ones(stored.image_rgb.shape[:2], bool)
    hands = np.logical_or(*again.amodal_mask)
    for what, region in (("", everywhere), (" on the hands", hands)):
        if (drift := departure(stored.image_rgb, again.image_rgb, region).mean) > _MAX_DRIFT:
            yield f"the image departs{what} by {drift:.1f} levels from the one drawn again"
    for hand in np.flatnonzero(again.target_valid & stored.target_valid).tolist():
        drift = departure(stored.target_rgb[hand], again.target_rgb[hand], again.changed_mask[hand]).mean
        if drift > _MAX_DRIFT:
            yield f"{SIDES[hand]} target: departs by {drift:.1f} levels from the one drawn again"


def _equal(name: str, found: object, wanted: object) -> bool:
    if name == "joint_visible":
        return np.count_nonzero(np.not_equal(found, wanted)) <= _MAX_JOINTS  # pyright: ignore
    if SPECS[name].dtype == "float32":
        return bool(np.allclose(found, wanted, rtol=_CLOSE, atol=_FLOATS.get(name, _CLOSE)))  # pyright: ignore
    return np.array_equal(found, wanted)  # pyright: ignore[reportArgumentType]


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
