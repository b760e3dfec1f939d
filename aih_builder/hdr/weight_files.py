"""Reading what torch.save wrote."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

# What torch.load raises on files that are damaged, cut off, or none of its own.
UNREADABLE = (
    OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, EOFError, pickle.UnpicklingError,
    zipfile.BadZipFile,
)  # fmt: skip


def read_weights(path: Path) -> Any:
    """A file's content, tensors and plain values alone, on the CPU. Raises one of UNREADABLE."""
    return torch.load(path, map_location="cpu", weights_only=True)
