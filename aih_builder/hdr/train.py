"""Training one module: a loop that reads from top to bottom."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from torch.utils.data import DataLoader

from aih_builder.errors import ConfigError, TrainingError
from aih_builder.files import write_whole
from aih_builder.hdr.checkpoint import LAST, Checkpoint, load, random_states, restore_random, save
from aih_builder.hdr.data import AihDataset, pose_statistics
from aih_builder.hdr.optimisers import rate_at, set_rate
from aih_builder.hdr.sampler import AihSampler
from aih_builder.hdr.settings import Training
from aih_builder.hdr.tasks import TASKS, Batch, Task
from aih_builder.hdr.watch import Watch
from aih_builder.sample import SCHEMA_VERSION
from aih_builder.shards.plan import identity_of

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # steps done, of how many


def _silent(done: int, total: int) -> None:
    """No progress bar."""


def train(training: Training, out: Path, *, progress: Progress = _silent) -> Checkpoint:
    """Train until `training.steps`; goes on from out/last.pt where there is one. Returns the last checkpoint.

    out gets training.yaml, last.pt and TensorBoard's events. Raises TrainingError where a loss is not finite, memory is
    out, or last.pt is of another configuration; last.pt stays as it was then.
    """
    # Accelerate keeps one device and precision for a process; a study's runs, one after another, differ in them.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        cpu=training.device == "cpu",
        mixed_precision={"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[training.precision],
    )
    if training.precision == "float16" and accelerator.device.type == "cpu":
        raise ConfigError(f"precision: float16 needs a GPU, and there is none here. Set {training.module} to float32.")
    if training.threads:
        torch.set_num_threads(training.threads)
    torch.manual_seed(training.seed)  # all processes start from the same weights
    task = TASKS[training.module](training, accelerator)
    data = AihDataset(
        training.data.path, training.module, split=training.data.split, engines=training.data.engines,
        input_px=training.input_px, crop_factor=training.crop_factor, augment=training.augment, seed=training.seed,
        two_hand_share=training.two_hand_share,
    )  # fmt: skip
    validation = _validation(training)
    torch.manual_seed(training.seed + accelerator.process_index)  # but drop different paths
    about = {
        "plan_hash": identity_of(training.data.path), "schema": SCHEMA_VERSION, "items": len(data),
        "processes": accelerator.num_processes,
    }  # fmt: skip
    if left_out := data.samples.left_out:
        log.info("%s: %d flagged samples are left out", training.data.path, len(left_out))
        about["left_out"] = left_out
    about |= pose_statistics(data) if training.module == "shpe" else {}
    checkpoint = _resume(task, training, out, about)
    task.prepare()
    if accelerator.is_main_process:
        write_whole(out / "training.yaml", yaml.safe_dump(training.to_json(), sort_keys=False).encode())
    log.info(
        "%s: %s parameters, %d items, on %s, %s, from step %d to %d",
        training.module, _parameters(task), len(data), accelerator.device, training.precision, checkpoint.step,
        training.steps,
    )  # fmt: skip

    watch = Watch(out, checkpoint, accelerator)
    batches = iter(_loader(data, training, checkpoint.step, accelerator))
    task.train_mode(True)
    try:
        for step in range(checkpoint.step, training.steps):
            batch = watch.waited(lambda: _to(next(batches), accelerator))
            rate = rate_at(step, training)
            for optimiser in task.optimisers.values():
                set_rate(optimiser, rate)
            terms = task.step(batch)
            done = step + 1
            last, saves = done == training.steps, done % training.checkpoint_every == 0
            if last or saves or done % training.log_every == 0:
                watch.note(done, {name: float(term.detach()) for name, term in terms.items()}, rate, training)
            if last or done % training.validate_every == 0:
                watch.figures(done, _measured(task, validation, accelerator))
            if last or done % training.pictures_every == 0:
                watch.picture(done, _pictured(task, batch))
            if last or saves:
                checkpoint = _checkpoint(task, done, about, checkpoint)
                if accelerator.is_main_process:
                    save(checkpoint, out / LAST)
                watch.kept = done
            progress(done, training.steps)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        raise TrainingError(
            f"{out}: out of memory after step {watch.step} with batches of {training.batch} at {training.input_px} px "
            f"({str(error).splitlines()[0]}). {watch.what_is_kept()} Lower batch or input_px in the configuration."
        ) from error
    finally:
        watch.close()
    return checkpoint


def _resume(task: Task, training: Training, out: Path, about: dict[str, Any]) -> Checkpoint:
    """The checkpoint in `out`, loaded into the task; a fresh one where there is none."""
    if not (out / LAST).exists():
        names = ("networks", "optimisers")
        return Checkpoint(training, 0, *({} for _ in names), random=[], data=about, notes=task.notes)
    found = load(out / LAST, training.module)
    if changed := _changed(found, training, about):
        what = f"its {', '.join(changed)} differed"
        raise ConfigError(
            f"{out / LAST}: a run that cannot be gone on with: {what}. Name another --out, or delete the folder."
        )
    for name, network in task.networks.items():
        network.load_state_dict(found.networks[name])
        task.optimisers[name].load_state_dict(found.optimisers[name])
    if task.accelerator.process_index < len(found.random):
        restore_random(found.random[task.accelerator.process_index])
    if task.accelerator.scaler is not None and "scaler" in found.random[0]:
        task.accelerator.scaler.load_state_dict(found.random[0]["scaler"])
    log.info("%s: going on from step %d", out / LAST, found.step)
    return found


# What may differ between a run and its continuation: how long, where, and what is written meanwhile.
_FREE = {"steps", "device", "threads", "workers", "log_every", "pictures_every", "checkpoint_every", "validate_every"}


# What a run was trained on, and what that is called.
_ABOUT = {
    "plan_hash": "dataset", "schema": "dataset's schema", "items": "number of items",
    "processes": "number of processes", "left_out": "flagged samples",
}  # fmt: skip


def _changed(found: Checkpoint, now: Training, about: dict[str, Any]) -> list[str]:
    """What makes a run another one than a checkpoint's, in words."""
    before = found.training
    one, other = before.to_json(), now.to_json()
    changed = [key for key in other if key not in _FREE and one.get(key) != other[key]]
    if before.steps != now.steps and now.optimiser.schedule != "constant":
        changed.append("steps, on which the learning rate hangs,")
    return changed + [name for key, name in _ABOUT.items() if found.data.get(key, 1) != about.get(key, 1)]


def _checkpoint(task: Task, done: int, about: dict[str, Any], before: Checkpoint) -> Checkpoint:
    networks = {name: task.bare(name).state_dict() for name in task.networks}
    for name, weights in networks.items():
        if not all(bool(torch.isfinite(w).all()) for w in weights.values()):
            raise TrainingError(f"the weights of {name} are not finite after step {done}. Lower the learning rate.")
    states = random_states()
    if task.accelerator.scaler is not None:
        states["scaler"] = task.accelerator.scaler.state_dict()
    return Checkpoint(
        task.training, done, networks, {name: o.state_dict() for name, o in task.optimisers.items()},
        gather_object([states]), about, before.history, task.notes,
    )  # fmt: skip


def _loader(data: AihDataset, training: Training, start: int, accelerator: Accelerator) -> DataLoader:
    sampler = AihSampler(
        len(data), training.batch, seed=training.seed, start=start, stop=training.steps,
        rank=accelerator.process_index, ranks=accelerator.num_processes,
    )  # fmt: skip
    return DataLoader(
        data,  # pyright: ignore[reportArgumentType]  # a sequence will do
        batch_sampler=sampler, num_workers=training.workers, persistent_workers=training.workers > 0,
        pin_memory=accelerator.device.type == "cuda", generator=torch.Generator(),  # torch's own stays untouched
    )  # fmt: skip


def _validation(training: Training) -> DataLoader | None:
    """Evenly spaced items of the validation split, as they are."""
    if training.data.validation is None:
        return None
    data = AihDataset(
        training.data.path, training.module, split=training.data.validation, engines=training.data.engines,
        input_px=training.input_px, crop_factor=training.crop_factor,
    )  # fmt: skip
    count = min(len(data), training.data.validation_items)
    chosen = [i * len(data) // count for i in range(count)]
    return DataLoader(data, batch_size=training.batch, sampler=chosen, generator=torch.Generator())  # pyright: ignore[reportArgumentType]


def _measured(task: Task, validation: DataLoader | None, accelerator: Accelerator) -> dict[str, float]:
    """Every process measures all, so that none waits at a step that others have not."""
    if validation is None:
        return {}
    task.train_mode(False)
    found = task.measure(_to(batch, accelerator) for batch in validation)
    task.train_mode(True)
    return found


def _pictured(task: Task, batch: Batch) -> np.ndarray:
    task.train_mode(False)
    picture = task.picture(batch)
    task.train_mode(True)
    return picture


def _to(batch: Batch, accelerator: Accelerator) -> Batch:
    return {name: values.to(accelerator.device, non_blocking=True) for name, values in batch.items()}


def _parameters(task: Task) -> str:
    return ", ".join(f"{name} {sum(p.numel() for p in n.parameters()):,}" for name, n in task.networks.items())


def _out_of_memory(error: RuntimeError) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text or "out of memory" in text
