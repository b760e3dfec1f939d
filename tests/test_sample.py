from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder import Sample, SampleError
from aih_builder.sample import SPECS, hdr_masks, mean_luma, occlusion_rates


def test_every_field_declares_what_it_is() -> None:
    assert [field.name for field in fields(Sample)] == list(SPECS)
    assert all(spec.about for spec in SPECS.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amodal_mask": np.zeros((2, 96, 90), bool)}, r"amodal_mask: expected bool \(2, H=96, W=96\), got bool"),
        ({"amodal_mask": np.zeros((2, 96, 96), np.uint8)}, "amodal_mask: .*got uint8"),
        ({"cam_joints_m": np.full((2, 21, 3), np.nan, np.float32)}, "cam_joints_m: holds NaN"),
        ({"image_rgb": None}, "image_rgb: .*got NoneType"),
        ({"index": -1}, "index: -1 does not fit uint32"),
        ({"index": 1.0}, "index: expected a finite uint32"),
        ({"penetration_mm": float("inf")}, "penetration_mm: expected a finite float32"),
        ({"interaction_valid": 1}, "interaction_valid: expected a finite bool"),
        ({"pose_family": "x" * 49}, "pose_family: expected text of at most 48 bytes"),
        ({"depth": np.zeros((96, 96), np.float32)}, "depth: expected uint16"),
    ],
)
def test_a_wrong_field_is_named(samples: list[Sample], change: dict, message: str) -> None:
    with pytest.raises(SampleError, match=message):
        replace(samples[0], **change)


@given(st.integers(0, 2**32 - 1))
def test_the_four_masks_partition_the_image(seed: int) -> None:
    """For any consistent masks M_D, M_R, M_rv and M_bv cover each pixel exactly once, for both targets."""
    rng = np.random.default_rng(seed)
    amodal = rng.random((2, 8, 8)) < 0.5
    right_first = rng.random((8, 8)) < 0.5
    visible = amodal & ~(amodal[::-1] & np.stack([~right_first, right_first]))
    sample = fake(amodal, visible)
    for target in (0, 1):
        masks = hdr_masks(sample, target)
        assert (np.sum(masks, axis=0) == 1).all()
        assert np.array_equal(masks.M_D | masks.M_R, visible[1 - target])
        assert np.array_equal(masks.M_D, amodal[target] & ~visible[target])


def fake(amodal: np.ndarray, visible: np.ndarray) -> Sample:
    size = amodal.shape[1]
    values = {}
    for name, spec in SPECS.items():
        if spec.optional:
            continue
        if spec.max_bytes:
            values[name] = ""
        elif spec.dims == "":
            values[name] = {"f": 0.0, "b": False}.get(np.dtype(spec.dtype).kind, 0)
        else:
            shape = [int(d) if d.isdigit() else size for d in spec.dims.split()]
            values[name] = np.zeros(shape, spec.dtype)
    return Sample(**{**values, "amodal_mask": amodal, "visible_mask": visible})


def test_occlusion_rate_is_hidden_over_whole() -> None:
    amodal, visible = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    amodal[0, :2], visible[0, 0] = True, True
    assert occlusion_rates(amodal, visible).tolist() == [0.5, 0.0]


def test_mean_luma_by_hand() -> None:
    image = np.zeros((1, 4, 3), np.uint8)
    image[0, 0], image[0, 1, 1] = 255, 100
    assert mean_luma(image) == pytest.approx((255 + 58.7) / 4)
