import json
import time
import zlib
from dataclasses import fields, replace
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder import Sample
from aih_builder.errors import ShardError
from aih_builder.identity import SampleName, index_of
from aih_builder.imaging import decode_image
from aih_builder.sample import SPECS
from aih_builder.shards.format import MASK_BITS, PLAIN_FIELDS, decode_parts, encode_parts, parts_for
from aih_builder.shards.plan import make_plan
from aih_builder.shards.reader import ShardReader
from aih_builder.shards.tasks import make_sample
from aih_builder.shards.writer import ShardHead, ShardWriter, library_versions
from tests.builders import small_manifest
from tests.shards.fabricate import fabricate

FIELDS = st.lists(st.sampled_from([name for name, spec in SPECS.items() if spec.optional]), unique=True)
SIDES = st.integers(1, 24)
PICTURES = ("image_rgb", "target_rgb", "background_rgb")


def shard_bytes(samples: list[Sample], stored: tuple[str, ...] = (), *, lossless: bool = True) -> bytes:
    writer = ShardWriter(ShardHead("render", "val", 7, "cafe", stored, lossless))
    for sample in samples:
        writer.add(sample)
    return writer.to_bytes()


def differing(one: Sample, other: Sample) -> set[str]:
    names = (field.name for field in fields(Sample))
    return {
        name
        for name in names
        if type(getattr(one, name)) is not type(getattr(other, name))
        or not np.array_equal(getattr(one, name), getattr(other, name))
    }


@settings(max_examples=60)
@given(seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=3), height=SIDES, width=SIDES, stored=FIELDS)
def test_a_lossless_shard_gives_back_every_field_of_every_sample(
    tmp_path_factory, seeds, height, width, stored
) -> None:
    path = tmp_path_factory.mktemp("shard") / "it.h5"
    samples = [fabricate(seed, height, width, stored) for seed in seeds]
    path.write_bytes(shard_bytes(samples, tuple(stored)))
    reader = ShardReader(path)
    assert len(reader) == len(samples)
    for i, sample in enumerate(samples):
        assert differing(reader.sample(i), sample) == set()


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), height=SIDES, width=SIDES, stored=FIELDS)
def test_jpeg_alters_pictures_alone_and_keeps_targets_equal_to_the_image_outside_changed_mask(
    seed, height, width, stored
) -> None:
    sample = fabricate(seed, height, width, stored)
    parts = encode_parts(sample, parts_for(stored), lossless=False)
    plain = {name: getattr(sample, name) for name in PLAIN_FIELDS}
    found = decode_parts(dict(zip(parts_for(stored), map(memoryview, parts), strict=True)), plain, stored)
    assert differing(found, sample) <= set(PICTURES)
    for hand in np.flatnonzero(sample.target_valid):
        outside = ~sample.changed_mask[hand]
        assert np.array_equal(found.target_rgb[hand][outside], found.image_rgb[outside])


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Rendered samples with every optional field that the renderer gives."""
    manifest = small_manifest(fields=["depth", "normal", "background_rgb"], image_size_px=64)
    plan = make_plan(manifest, tmp_path_factory.mktemp("rich") / "dataset")
    return [make_sample(plan, index_of(SampleName("render", "train", number))) for number in range(4)]


@pytest.mark.parametrize("lossless", [True, False])
def test_rendered_samples_come_back(rich: list[Sample], tmp_path, lossless: bool) -> None:
    stored = ("depth", "normal", "background_rgb")
    (tmp_path / "it.h5").write_bytes(shard_bytes(rich, stored, lossless=lossless))
    reader = ShardReader(tmp_path / "it.h5")
    for i, sample in enumerate(rich):
        found = reader.sample(i)
        assert differing(found, sample) == (set() if lossless else set(PICTURES))
        for name in PICTURES:
            error = np.abs(getattr(found, name).astype(int) - getattr(sample, name))
            assert error.mean() < 2.5
            assert np.quantile(error, 0.999) <= 24
        assert found.background_rgb is not None
        assert found.depth is not None
        assert found.depth.any()


def test_a_sample_keeps_no_view_of_the_file(rich: list[Sample], tmp_path) -> None:
    """What a training loop does to a sample must not reach the next read."""
    (tmp_path / "it.h5").write_bytes(shard_bytes(rich))
    reader = ShardReader(tmp_path / "it.h5")
    spoilt = reader.sample(0)
    for field in fields(Sample):
        value = getattr(spoilt, field.name)
        if isinstance(value, np.ndarray):
            value[...] = 1
    assert differing(reader.sample(0), replace(rich[0], depth=None, normal=None, background_rgb=None)) == set()


def test_the_layout_is_the_documented_one(rich: list[Sample], tmp_path) -> None:
    """Read with h5py alone: attributes, contiguous blob, offsets, one plain dataset per field."""
    path, stored = tmp_path / "it.h5", ("depth", "normal", "background_rgb")
    path.write_bytes(shard_bytes(rich, stored, lossless=False))
    with h5py.File(path) as opened:
        file: Any = opened
        head = {k: v.decode() if isinstance(v, bytes) else v.item() for k, v in file.attrs.items()}
        assert json.loads(head.pop("versions")) == library_versions()
        assert json.loads(head.pop("fields")) == list(stored)
        assert head == {
            "format": "aih-shard", "schema": 2, "engine": "render", "split": "val", "number": 7, "plan_hash": "cafe",
            "lossless": False,
        }  # fmt: skip
        assert set(file) == {"blob", "offsets", *PLAIN_FIELDS}
        assert all(file[name].chunks is None for name in file)
        offsets, blob = file["offsets"][:], file["blob"][:]
        assert offsets.shape == (len(rich), 8)
        assert offsets[0, 0] == 0
        assert offsets[-1, -1] == len(blob)
        assert np.array_equal(offsets[1:, 0], offsets[:-1, -1])
        assert (np.diff(offsets) >= 0).all()
        for name in PLAIN_FIELDS:
            stored_values = file[name].asstr()[:] if file[name].dtype.kind == "S" else file[name][:]
            assert np.array_equal(stored_values, np.array([getattr(sample, name) for sample in rich]))
        for i, sample in enumerate(rich):
            image, *targets, masks, depth, normal, background = (
                blob[a:b].tobytes() for a, b in zip(offsets[i, :-1], offsets[i, 1:], strict=True)
            )
            assert image[:3] == background[:3] == b"\xff\xd8\xff"
            for hand, part in enumerate(targets):
                ys, xs = np.nonzero(sample.changed_mask[hand])
                if len(ys) == 0:
                    assert part == b""
                    continue
                box = (ys.min(), ys.max() + 1, xs.min(), xs.max() + 1)
                assert tuple(np.frombuffer(part[:8], "<u2")) == box
                assert decode_image(part[8:]).shape == (box[1] - box[0], box[3] - box[2], 3)
            bits = np.frombuffer(zlib.decompress(masks), np.uint8).reshape(64, 64)
            assert MASK_BITS == {
                "amodal_mask": (1, 2), "visible_mask": (4, 8), "changed_mask": (16, 32), "forearm_mask": (64, 128),
            }  # fmt: skip
            for name, pair in list(MASK_BITS.items())[:3]:
                assert np.array_equal(np.stack([bits & bit for bit in pair]) > 0, getattr(sample, name))
            assert sample.depth is not None
            read: list[Any] = [
                cv2.imdecode(np.frombuffer(part, np.uint8), cv2.IMREAD_UNCHANGED) for part in (depth, normal)
            ]
            assert np.array_equal(read[0], sample.depth)
            assert sample.normal is not None
            assert np.array_equal(read[1][..., ::-1].astype(int) - 128, sample.normal)


def test_the_same_samples_give_the_same_bytes_at_another_time(rich: list[Sample]) -> None:
    data = shard_bytes(rich)
    time.sleep(1.1)  # HDF5 counts seconds
    assert shard_bytes(rich) == data


def damaged(sample: Sample, **parts: bytes) -> None:
    """Decode a sample with some of its parts replaced."""
    names = parts_for(())
    encoded = dict(zip(names, encode_parts(sample, names, lossless=True), strict=True)) | parts
    plain = {name: getattr(sample, name) for name in PLAIN_FIELDS}
    decode_parts({name: memoryview(data) for name, data in encoded.items()}, plain, ())


def test_a_lost_swapped_or_misplaced_target_patch_is_refused(rich: list[Sample]) -> None:
    """Left alone, each would give a target that looks right."""
    pair = next(s for s in rich if s.changed_mask.any(axis=(1, 2)).all())
    single = next((s for s in rich if not s.hand_present.all()), None)
    names = parts_for(())
    right, left = encode_parts(pair, names, lossless=True)[1:3]
    box = np.frombuffer(right[:8], "<u2")
    for parts in (
        {"target_right": b""},
        {"target_right": left},
        {"target_right": (box - 1).astype("<u2").tobytes() + right[8:]},
        {"target_right": right[:8] + left[8:]},
    ):
        with pytest.raises(ShardError, match=r"target patch|patch of a target"):
            damaged(pair, **parts)
    if single is not None:
        with pytest.raises(ShardError, match=r"marked unknown|nothing changes"):
            damaged(single, target_right=right, target_left=right)
