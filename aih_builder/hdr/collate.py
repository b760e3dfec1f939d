"""Batches for torch, quick to hand over from a loader's workers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

_ALIGNED = 64  # bytes


def collated(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A DataLoader's `collate_fn` for AihDataset: tensors (B, ...) and lists of texts, as default_collate gives them.

    But a batch lies in one block of memory: a worker then hands over one shared piece, not one for each of a sample's
    29 arrays, which is slow. A tensor keeps its whole batch alive: clone what is kept for long.
    """
    columns = {name: [item[name] for item in items] for name in items[0]}
    arrays = {
        name: [torch.as_tensor(value) for value in values]
        for name, values in columns.items()
        if not isinstance(values[0], str)
    }
    sizes = {name: len(values) * values[0].nbytes for name, values in arrays.items()}
    block = _bytes(sum(size + -size % _ALIGNED for size in sizes.values()))
    batch: dict[str, Any] = dict(columns)
    begin = 0
    for name, values in arrays.items():
        place = block[begin : begin + sizes[name]].view(values[0].dtype).view(len(values), *values[0].shape)
        batch[name] = torch.stack(values, out=place)
        begin += sizes[name] + -sizes[name] % _ALIGNED
    return batch


def _bytes(count: int) -> Tensor:
    """Memory (count,) u8, of undefined content; in a worker, such as its parent can take over without a copy."""
    if get_worker_info() is None:
        return torch.empty(count, dtype=torch.uint8)
    return torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage._new_shared(count))  # as default_collate does
