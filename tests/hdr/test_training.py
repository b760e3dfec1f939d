import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from aih_builder.errors import ConfigError, TrainingError
from aih_builder.hdr import tasks
from aih_builder.hdr.checkpoint import LAST, load
from aih_builder.hdr.optimisers import rate_at
from aih_builder.hdr.settings import MODULES, Training, load_training
from aih_builder.hdr.train import train
from aih_builder.shards.flags import remove_flags
from aih_builder.shards.marking import flag_samples
from aih_builder.shards.repair import repair
from tests.hdr.training_runs import small_training

ROOT = Path(__file__).resolve().parents[2]


def losses(folder: Path) -> dict[str, list[float]]:
    history = load(folder).history
    return {name: values for name, values in history.items() if name not in ("samples per second", "share waiting")}


@pytest.mark.parametrize("module", MODULES)
def test_a_run_that_was_cut_in_two_equals_one_that_was_not(module: str, both_dataset: Path, tmp_path: Path) -> None:
    """Dropout, drop-path, the discriminator's power iteration and the optimiser's moments all go on."""
    whole = small_training(module, both_dataset, steps=6)
    train(whole, tmp_path / "whole")
    train(whole.model_copy(update={"steps": 3}), tmp_path / "cut")
    assert load(tmp_path / "cut").step == 3
    train(whole, tmp_path / "cut")
    one, other = load(tmp_path / "whole"), load(tmp_path / "cut")
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")
    assert one.networks.keys() == other.networks.keys()
    for name, weights in one.networks.items():
        assert all(torch.equal(value, other.networks[name][key]) for key, value in weights.items())


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_two_hundred_steps_equal_a_hundred_a_kill_and_a_hundred(
    module: str, both_dataset: Path, tmp_path: Path
) -> None:
    whole = small_training(module, both_dataset, steps=200, checkpoint_every=100)
    train(whole, tmp_path / "whole")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(whole.to_json()))
    command = [
        sys.executable,
        "-m",
        "aih_builder.cli.main",
        "train",
        module,
        str(config),
        "--out",
        str(tmp_path / "cut"),
    ]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (tmp_path / "cut" / LAST).exists():
        assert run.poll() is None, "the run ended before its first checkpoint"
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert load(tmp_path / "cut").step == 100
    train(whole, tmp_path / "cut")
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")
    assert losses(tmp_path / "cut")["step"] == list(range(1, 201))


def test_a_loss_that_is_not_finite_ends_the_run_and_the_last_checkpoint_is_kept(
    both_dataset: Path, tmp_path: Path
) -> None:
    good = small_training("shpe", both_dataset, steps=4, checkpoint_every=2)
    train(good.model_copy(update={"steps": 2}), tmp_path)
    before = (tmp_path / LAST).read_bytes()

    class Poisoned(tasks.ShpeTask):
        def step(self, batch: tasks.Batch) -> dict[str, torch.Tensor]:
            return super().step(batch) | {"heat": torch.tensor(float("nan"))}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks.TASKS, "shpe", Poisoned)
        with pytest.raises(TrainingError, match=r"heat is nan at step 3.*checkpoint of step 2 is kept.*learning_rate"):
            train(good, tmp_path)
    assert (tmp_path / LAST).read_bytes() == before


def test_weights_that_are_not_finite_are_never_saved(both_dataset: Path, tmp_path: Path) -> None:
    hot = small_training("shpe", both_dataset, steps=4, optimiser={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match=r"not finite|is (nan|inf) at step"):
        train(hot, tmp_path)
    assert not (tmp_path / LAST).exists()


def test_running_out_of_memory_says_what_to_lower(both_dataset: Path, tmp_path: Path) -> None:
    class Full(tasks.ShpeTask):
        def step(self, batch: tasks.Batch) -> dict[str, torch.Tensor]:
            del batch
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks.TASKS, "shpe", Full)
        with pytest.raises(TrainingError, match=r"batches of 2 at 64 px.*no checkpoint yet.*Lower batch or input_px"):
            train(small_training("shpe", both_dataset), tmp_path)


def test_another_configuration_or_dataset_does_not_go_on_from_a_checkpoint(
    both_dataset: Path, small_dataset: Path, tmp_path: Path
) -> None:
    first = small_training("shpe", both_dataset, steps=1)
    train(first, tmp_path)
    with pytest.raises(ConfigError, match="seed"):
        train(first.model_copy(update={"seed": 5, "steps": 2}), tmp_path)
    with pytest.raises(ConfigError, match=r"data|dataset"):
        train(small_training("shpe", small_dataset, steps=2), tmp_path)
    falling = {"learning_rate": 1e-3, "schedule": "cosine"}
    train(small_training("shpe", both_dataset, steps=1, optimiser=falling), tmp_path / "falling")
    with pytest.raises(ConfigError, match="steps, on which the learning rate hangs"):
        train(small_training("shpe", both_dataset, steps=2, optimiser=falling), tmp_path / "falling")


def test_a_run_writes_its_configuration_pictures_and_scalars(both_dataset: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    training = small_training(
        "hdrm", both_dataset, steps=2, pictures_every=1, data={"path": str(both_dataset), "validation": "val"}
    )
    train(training, tmp_path)
    assert load_training(tmp_path / "training.yaml") == training
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = events.Tags()
    assert "items" in tags["images"]
    assert {"train/hole", "train/adversarial", "train/discriminator", "train/share waiting", "val/L1 in M_D"} <= set(
        tags["scalars"]
    )


def test_without_vgg_the_run_says_that_its_terms_are_off(
    both_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = train(small_training("hdrm", both_dataset, steps=1), tmp_path)
    assert any("perceptual and the style term are off" in note for note in checkpoint.notes)
    assert "perceptual and the style term are off" in caplog.text
    assert {"perceptual", "style"}.isdisjoint(checkpoint.history)


def test_workers_change_nothing(both_dataset: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        train(small_training("hasm", both_dataset, steps=3, workers=workers), tmp_path / str(workers))
    assert losses(tmp_path / "0") == losses(tmp_path / "2")


def test_learning_rates_follow_their_schedules(both_dataset: Path) -> None:
    def rates(**optimiser: object) -> list[float]:
        training: Training = small_training(
            "shpe", both_dataset, steps=10, optimiser={"learning_rate": 1.0, **optimiser}
        )
        return [round(rate_at(step, training), 6) for step in range(10)]

    assert rates() == [1.0] * 10
    assert rates(warmup_steps=4)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates(schedule="poly") == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert rates(schedule="steps", drops=(0.5, 0.8)) == [1.0] * 5 + [0.1] * 3 + [0.01] * 2
    cosine = rates(schedule="cosine")
    assert cosine[0] == 1.0
    assert cosine[5] == 0.5
    assert cosine == sorted(cosine, reverse=True)


def test_float16_without_a_gpu_is_refused_rather_than_trained_in_another_precision(
    both_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")  # as on a machine without one
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        train(small_training("shpe", both_dataset, precision="float16", device="auto"), tmp_path)


@pytest.mark.slow
def test_two_processes_train_one_network_and_go_on_as_two_only(both_dataset: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(small_training("hdrm", both_dataset, steps=4, checkpoint_every=2).to_json()))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "aih_builder.cli.main", "train", "hdrm", str(config), "--out", str(tmp_path / "out")]
    run = subprocess.run([*launch, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    found = load(tmp_path / "out")
    assert (found.step, len(found.random), found.data["processes"]) == (4, 2, 2)
    longer = small_training("hdrm", both_dataset, steps=6, checkpoint_every=2)
    with pytest.raises(ConfigError, match="its number of processes differed"):
        train(longer, tmp_path / "out")
    config.write_text(yaml.safe_dump(longer.to_json()))
    run = subprocess.run([*launch, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert load(tmp_path / "out").history["step"] == [1, 2, 3, 4, 5, 6]


def test_a_run_leaves_flagged_samples_out_says_so_and_goes_on_only_with_the_same_samples(
    both_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, out = Path(shutil.copytree(both_dataset, tmp_path / "copy")), tmp_path / "out"
    training = small_training("hasm", folder, steps=2)
    flag_samples(folder, {48: "dark"})
    with caplog.at_level("INFO"):
        train(training, out)
    assert f"{folder}: 1 flagged samples are left out" in caplog.messages
    assert (load(out).data["items"], load(out).data["left_out"]) == (9, [48])
    train(training, out)
    flag_samples(folder, {3: "dark"})
    remove_flags(folder, [48])
    with pytest.raises(ConfigError, match="its flagged samples differed"):
        train(training, out)
    flag_samples(folder, {48: "dark"})
    remove_flags(folder, [3])
    train(training, out)
    repair(folder, flagged=True)
    with pytest.raises(ConfigError, match="its dataset, number of items, flagged samples differed"):
        train(training, out)
