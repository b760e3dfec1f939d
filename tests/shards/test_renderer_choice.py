"""A dataset drawn by OpenGL is a dataset like any other."""

from pathlib import Path

import numpy as np
import pytest

from aih_builder import Sample, generate, open_dataset, validate
from aih_builder.errors import ConfigError
from aih_builder.shards import tasks
from aih_builder.shards.plan import load_plan, make_plan
from aih_builder.shards.tasks import engine_for
from aih_builder.synth.renderers import egl, gl_context
from tests.builders import small_both_manifest, small_manifest
from tests.shards.planting import digests


@pytest.mark.gl
def test_opengl_makes_valid_datasets_with_the_same_bytes_for_one_and_two_processes(
    tmp_path: Path, samples: list[Sample]
) -> None:
    """On one device, the bank included. Next to numba's, scenes are the same, masks and colours nearly so."""
    manifest = small_both_manifest(renderer="pyrender")
    for jobs in (1, 2):
        assert generate(manifest, tmp_path / str(jobs), jobs=jobs).finished
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    report = validate(tmp_path / "1")
    assert not report.problems
    assert load_plan(tmp_path / "1").renderer == "pyrender"
    for drawn, expected in zip(open_dataset(tmp_path / "1", engine="render"), samples, strict=True):
        assert np.array_equal(drawn.cam_joints_m, expected.cam_joints_m)
        assert (drawn.amodal_mask != expected.amodal_mask).mean() < 1e-3
        assert np.abs(drawn.image_rgb.astype(int) - expected.image_rgb).mean() < 0.5


def test_a_plan_for_opengl_says_what_is_missing_where_there_is_none(tmp_path: Path, monkeypatch) -> None:
    plan = make_plan(small_manifest(renderer="pyrender"), tmp_path / "dataset")
    monkeypatch.setattr(egl, "devices", tuple)
    monkeypatch.setattr(gl_context, "_context", None)
    monkeypatch.setattr(tasks, "_renderers", {})
    monkeypatch.setattr(tasks, "_engines", {})
    with pytest.raises(ConfigError, match=r"EGL is not installed here.*apt-get install"):
        engine_for(plan, "render")
