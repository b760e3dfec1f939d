from pathlib import Path
from typing import Any

import pytest

from aih_builder.errors import ConfigError
from aih_builder.hdr.settings import Training, load_training, parse_training

LEAST: dict[str, Any] = {
    "schema": 1,
    "module": "shpe",
    "data": {"path": "data"},
    "steps": 10,
    "optimiser": {"learning_rate": 0.001},
}


def parse(**changes: Any) -> Training:
    return parse_training(LEAST | changes, where="it.yaml", folder=Path("/where"))


def test_five_keys_suffice_and_the_defaults_are_hdrs() -> None:
    training = parse()
    losses, weights = training.hdrm_losses, training.shpe_losses
    assert (losses.valid, losses.hole, losses.tv, losses.perceptual, losses.style, losses.adversarial) == (
        1, 6, 0.1, 0.1, 250, 0.1,
    )  # fmt: skip
    assert (weights.heat, weights.delta, weights.location) == (1, 1, 5)
    assert training.input_px == 256
    assert training.optimiser.discriminator_gain == 0.1
    for key in LEAST:
        with pytest.raises(ConfigError, match=f"it.yaml: key '{key}' is missing"):
            parse_training({k: v for k, v in LEAST.items() if k != key}, where="it.yaml", folder=Path("/where"))


def test_the_resolved_configuration_reads_back_as_itself() -> None:
    training = parse(hasm={"weights": "w"}, hdrm_losses={"vgg16": "v.pth"}, augment={"jpeg_quality": [5, 5]})
    assert parse_training(training.to_json(), where="again", folder=Path("/else")) == training


def test_paths_count_from_the_configurations_own_folder(tmp_path: Path) -> None:
    (tmp_path / "it.yaml").write_text(
        "schema: 1\nmodule: hdrm\nsteps: 5\ndata: {path: ../d}\nhasm: {weights: w}\n"
        f"hdrm_losses: {{vgg16: {tmp_path / 'v.pth'}}}\noptimiser: {{learning_rate: 0.1}}\n",
        encoding="utf-8",
    )
    training = load_training(tmp_path / "it.yaml")
    assert training.data.path == tmp_path / "../d"
    assert training.hasm.weights == tmp_path / "w"
    assert training.hdrm_losses.vgg16 == tmp_path / "v.pth"


@pytest.mark.parametrize("word", ["auto", "hub", "none"])
def test_words_for_weights_are_no_paths(word: str) -> None:
    assert parse(hasm={"weights": word}).hasm.weights == word


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"step": 3}, "unknown key 'step'; did you mean 'steps'"),
    "another module": ({"module": "hdr"}, "key 'module'"),
    "no steps": ({"steps": 0}, "key 'steps'"),
    "a batch of one": ({"batch": 1}, "key 'batch'"),
    "a crop that no encoder halves": ({"input_px": 100}, "key 'input_px'"),
    "half floats without a GPU": ({"precision": "float16", "device": "cpu"}, "float16 needs a GPU"),
    "no weights of that size": ({"hasm": {"encoder": "tiny", "weights": "hub"}}, "nobody published any"),
    "qualities that fall": ({"augment": {"jpeg_quality": [90, 40]}}, "lowest exceeds highest"),
    "a rate of nothing": ({"optimiser": {"learning_rate": 0}}, "learning_rate"),
    "no engine": ({"data": {"path": "d", "engines": []}}, "engines"),
    "a crop that HDRM cannot halve so often": (
        {"module": "hdrm", "input_px": 128},
        "HDRM of size paper takes multiples of 256, got 128",
    ),
    "the same of the tiny one": (
        {"module": "hdrm", "input_px": 96, "hdrm": {"size": "tiny"}},
        "HDRM of size tiny takes multiples of 64, got 96",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_configuration_is_refused_naming_file_and_key(what: str) -> None:
    changes, message = REFUSED[what]
    with pytest.raises(ConfigError, match=f"^it.yaml: .*{message}"):
        parse(**changes)


def test_hdrm_takes_the_crops_that_its_levels_halve() -> None:
    assert parse(module="hdrm", input_px=512).input_px == 512
    assert parse(module="hdrm", input_px=192, hdrm={"size": "tiny"}).input_px == 192
    assert parse(input_px=96).input_px == 96
