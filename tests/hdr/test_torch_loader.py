"""Torch's own DataLoader and process groups, on what we give them."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.spawn import spawn
from torch.utils.data import DataLoader, default_collate

from aih_builder import AihDataset, AihSampler
from aih_builder.hdr.collate import collated
from aih_builder.hdr.sampler import Key
from aih_builder.hdr.settings import Augment
from aih_builder.sample import SPECS
from tests.hdr.loader_processes import take_part

# Python warns of any fork of a process with threads; torch's loader forks by default.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

SIZE = 64


def items(path: Path, module: Any = "hdrm") -> AihDataset:
    return AihDataset(path, module, split=None, input_px=SIZE, augment=Augment())


def loader(data: Any, sampler: AihSampler, workers: int, **options: Any) -> DataLoader:
    return DataLoader(data, batch_sampler=sampler, num_workers=workers, generator=torch.Generator(), **options)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return list(one) == list(other) and all(
        torch.equal(value, other[name]) and value.dtype == other[name].dtype
        if isinstance(value, torch.Tensor)
        else value == other[name]
        for name, value in one.items()
    )


def all_same(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> bool:
    return all(same(a, b) for a, b in zip(one, other, strict=True))


def test_torchs_loader_takes_dataset_and_sampler_as_they_are(both_dataset: Path) -> None:
    data = items(both_dataset)
    sampler = AihSampler(len(data), 3, seed=1, start=2, stop=4)
    batches = list(loader(data, sampler, 0))
    assert len(batches) == 2
    for batch, keys in zip(batches, sampler, strict=True):
        assert batch["image"].shape == (3, SIZE, SIZE, 3)
        assert batch["masks"].dtype == torch.bool
        assert all(np.array_equal(value[1].numpy(), data[keys[1]][name]) for name, value in batch.items())


@pytest.mark.parametrize("module", ["hdrm", "sample"])
def test_the_batches_are_the_same_with_and_without_workers_and_by_either_collation(
    both_dataset: Path, module: str
) -> None:
    data = items(both_dataset, module)
    sampler = AihSampler.for_epochs(2, len(data), 4, seed=3)
    expected = list(loader(data, sampler, 0))
    for workers in (0, 2):
        for collate in (collated, default_collate):
            assert all_same(list(loader(data, sampler, workers, collate_fn=collate)), expected)


def test_a_batch_is_one_block_of_memory_with_room_for_every_type(both_dataset: Path) -> None:
    data = items(both_dataset, "sample")
    batch = collated([data[i] for i in range(3)])
    tensors = {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}
    assert {value.untyped_storage().data_ptr() for value in tensors.values()} == {
        tensors["image_rgb"].untyped_storage().data_ptr()
    }
    assert {name for name in batch if name not in tensors} == {n for n in data.fields if SPECS[n].max_bytes}
    assert batch["pose_id"] == [data[i]["pose_id"] for i in range(3)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_stops_amid_an_epoch_goes_on_with_exactly_what_was_left(both_dataset: Path, workers: int) -> None:
    """Workers are far ahead when it stops: eight batches are asked for when three are taken."""
    data = items(both_dataset)
    options = {"prefetch_factor": 4} if workers else {}
    expected = list(loader(data, AihSampler.for_epochs(3, len(data), 2, seed=5), 0))
    assert len(data) > 6  # the stop below lies within the first epoch
    asked = []

    class Watched(AihSampler):
        def __iter__(self):
            for keys in super().__iter__():
                asked.append(keys)
                yield keys

    sampler = Watched.for_epochs(3, len(data), 2, seed=5)
    state = {}
    for taken, batch in enumerate(loader(data, sampler, workers, **options), 1):
        assert same(batch, expected[taken - 1])
        if taken == 3:
            state = sampler.state_dict(taken)
            break
    assert len(asked) >= (3 + 8 if workers else 3)
    again = AihSampler.for_epochs(3, len(data), 2, seed=5)
    again.load_state_dict(state)
    assert all_same(list(loader(data, again, workers, **options)), expected[3:])


class Marked(AihDataset):
    """Tells with each item which process read it, and whether through a file that another process had opened."""

    def __getitem__(self, key: int | Key) -> dict[str, Any]:
        item = super().__getitem__(key)
        readers = self.samples._readers.values()
        return item | {"pid": os.getpid(), "opened_elsewhere": any(hasattr(reader, "mark") for reader in readers)}

    def mark(self) -> None:
        for reader in self.samples._readers.values():
            reader.mark = True  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_open_their_own_files_though_their_parent_has_read_before(both_dataset: Path, method: str) -> None:
    data = Marked(both_dataset, "hdrm", split=None, input_px=SIZE)
    first = data[0]
    data.mark()
    assert data[0]["opened_elsewhere"]
    sampler = AihSampler.for_epochs(1, len(data), 2, seed=0)
    batches = list(loader(data, sampler, 2, multiprocessing_context=method))
    pids = {int(pid) for batch in batches for pid in batch["pid"]}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert not any(flag for batch in batches for flag in batch["opened_elsewhere"])
    found = [image for batch in batches for image in batch["image"].numpy()]
    keys = [key.item for keys in sampler for key in keys]
    assert np.array_equal(found[keys.index(0)], first["image"])
    assert np.array_equal(data[0]["image"], first["image"])  # the parent's file is still open


def test_three_processes_take_equally_many_batches_and_together_each_sample_once(
    both_dataset: Path, tmp_path: Path
) -> None:
    """Over gloo, three batches of two a step, which do not divide the samples."""
    spawn(take_part, (3, both_dataset, tmp_path), nprocs=3)
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)]
    data = AihDataset(both_dataset, "sample", split="train")
    steps = -(-2 * len(data) // (3 * 2))
    assert len(data) % 3
    assert [one["steps_of_all"] for one in told] == [[steps] * 3] * 3
    row = [index for step in range(steps) for one in told for index in one["batches"][step]]
    everything = sorted(sample.index for sample in data.samples)
    assert sorted(row[: len(data)]) == sorted(row[len(data) : 2 * len(data)]) == everything
    # Started again after the first step, all go on with what was left.
    assert [one["rest"] for one in told] == [one["batches"][1:] for one in told]
