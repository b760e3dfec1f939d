"""What planning probes: a request that draws cannot meet is refused before anything is made."""

from pathlib import Path

import pytest

from aih_builder import open_dataset
from aih_builder.config import parse_manifest
from aih_builder.errors import ConfigError, GenerationError
from aih_builder.shards import build, tasks
from aih_builder.shards.plan import load_plan
from aih_builder.synth.engine import Engine
from aih_builder.synth.render import RenderEngine
from tests.builders import small_content, small_manifest, with_counts
from tests.shards.planting import digests


def test_a_manifest_that_is_all_but_never_accepted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **named: int):
        tally = _[2]
        assert isinstance(tally, tasks.Tally)
        tally.rejections["too far"] += named["max_attempts"]
        raise GenerationError("none")

    monkeypatch.setattr(Engine, "make", never)
    expected = r"0 of 400 draws for it were accepted \(0\.00%\), expected at least 1% \(too far: 400\)"
    with pytest.raises(ConfigError, match=r"render / train asks for a .*; " + expected):
        build.generate(small_manifest(), tmp_path / "never")
    assert digests(tmp_path / "never") == {}


def test_a_bin_that_cannot_be_filled_is_refused_with_what_was_probed(tmp_path: Path) -> None:
    """The others are fine; no hand hides 99 % of another."""
    content = small_content(**with_counts(train=40))
    content["streams"]["render"]["occlusion"] = {"bins": [0, 0.5, 0.99, 1], "share": [0.6, 0.3, 0.1]}
    manifest = parse_manifest(content, where="it", folder=tmp_path)
    with pytest.raises(
        ConfigError, match=r"a target hand occluded by 0\.99 to 1; [0-3] of \d+ draws .*no fitting view"
    ):
        build.generate(manifest, tmp_path / "full")
    content["streams"]["render"]["occlusion"]["share"] = [0.7, 0.3, 0]
    manifest = parse_manifest(content, where="it", folder=tmp_path)
    assert build.generate(manifest, tmp_path / "none").finished  # what nobody asks for is not probed


def test_every_sample_has_the_occlusion_that_was_drawn_for_its_index(small_dataset: Path) -> None:
    plan = load_plan(small_dataset)
    engine = tasks.engine_for(plan, "render")
    assert isinstance(engine, RenderEngine)
    pairs = [s for s in open_dataset(small_dataset) if s.hand_present.all()]
    assert len(pairs) > 5
    for sample in pairs:
        low, high = engine.design(sample.index).occlusion
        assert low <= sample.occlusion_rate[sample.target_hand] < high
