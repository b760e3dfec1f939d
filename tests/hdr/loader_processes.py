"""What each process of a group does in the tests of the loader."""

import json
import os
from pathlib import Path

import torch.distributed as dist
from torch.utils.data import DataLoader

from aih_builder import AihDataset, AihSampler


def take_part(rank: int, ranks: int, dataset: Path, out: Path) -> None:
    """Two epochs of a dataset's training samples at a rank, and again from step 1: out/RANK.json tells the indices."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{out / 'meeting'}", rank=rank, world_size=ranks)
    try:
        data = AihDataset(dataset, "sample", split="train")
        sampler = AihSampler.for_epochs(2, len(data), 2, seed=1, rank=dist.get_rank(), ranks=dist.get_world_size())
        batches = _indices(data, sampler)
        steps: list[int] = [0] * ranks
        dist.all_gather_object(steps, len(batches))
        states = [sampler.state_dict(1)]
        dist.broadcast_object_list(states)  # as a checkpoint that the first process wrote
        sampler.load_state_dict(states[0])
        told = {"steps_of_all": steps, "batches": batches, "rest": _indices(data, sampler)}
        (out / f"{rank}.json").write_text(json.dumps(told))
    finally:
        dist.destroy_process_group()


def _indices(data: AihDataset, sampler: AihSampler) -> list[list[int]]:
    loader = DataLoader(data, batch_sampler=sampler)  # pyright: ignore[reportArgumentType]  # a sequence will do
    return [batch["index"].tolist() for batch in loader]
