"""Compositing one AIH-Sync sample, and what a bank costs in its two storages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.identity import SampleName, index_of
from aih_builder.imaging import ImageU8
from aih_builder.invariants import SYNC_REACH_PX
from aih_builder.rng import Purpose, sample_rng
from aih_builder.shards.plan import make_plan
from aih_builder.sources.bank import Bank, write_bank
from aih_builder.synth.assets import load_assets
from aih_builder.synth.compose import compose
from aih_builder.synth.cutouts import NO_GAIN, canvas, gain_table, hidden_share, paste
from aih_builder.synth.renderers.base import Layer
from aih_builder.synth.sync import draw_affines
from tools.bench.naive_sync import naive
from tools.bench.scenes import demo_manifest
from tools.bench.timing import against, interleaved


def measure(size_px: int, n_pairs: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Compositing against the naive version, both modes; reading a picture, raw and as JPEG."""
    streams = {"sync": {"count": {"train": 1}}}
    plan = make_plan(demo_manifest(size_px, streams=streams), folder)
    assets = load_assets(plan.manifest, plan.cache, plan.backgrounds, plan.bank_file)
    bank, sync = assets.bank, plan.manifest.streams.sync
    assert bank is not None
    assert sync is not None
    pairs: list[tuple[ImageU8, ImageU8]] = []
    affines, backgrounds = [], []
    for number in range(n_pairs):
        index = index_of(SampleName("sync", "train", number))
        rng = sample_rng(plan.manifest.seed, index, 1, Purpose.ENTRY)
        right, left = (bank.pool("train", side)[int(rng.integers(len(bank.pool("train", side))))] for side in (0, 1))
        pairs.append((np.array(bank.entry(right).rgba), np.array(bank.entry(left).rgba)))
        affines.append(draw_affines(rng, sync.affine, bank, size_px, 0))
        backgrounds.append(assets.backgrounds.draw(rng, "train", size_px).rgb)
    gain = gain_table(np.array([0.9, 1.0, 1.1]))
    rivals: dict[str, Callable[[int], object]] = {
        "naive floats": naive(pairs, affines, backgrounds, size_px),
        "canvas": lambda i: _canvas_mode(pairs[i], affines[i], backgrounds[i], size_px, gain),
        "photo": lambda i: _photo_mode(pairs[i], affines[i], size_px, gain),
    }
    stages: dict[str, Callable[[int], object]] = {
        "paste one hand": lambda i: paste(pairs[i][0], affines[i][0], size_px, gain),
        "move one canvas": lambda i: canvas(pairs[i][0], affines[i][0], size_px, NO_GAIN, "reflect"),
    }
    return {
        "pairs": n_pairs,
        "composite": against("naive floats", interleaved(rivals, n_pairs, rounds)),
        "stages_ms": interleaved(stages, n_pairs, rounds),
        "bank": _storages(bank, folder, rounds),
    }


def _layered(rgba: tuple[ImageU8, ImageU8], behind: ImageU8, size_px: int) -> object:
    nothing = np.zeros((size_px, size_px), np.float32)
    layers = Layer(rgba[0], nothing), Layer(rgba[1], nothing)
    return compose(layers, np.ones((size_px, size_px), bool), behind, SYNC_REACH_PX)


def _canvas_mode(pair, affines, background: ImageU8, size_px: int, gain: ImageU8) -> object:
    above, below = (paste(rgba, affine, size_px, gain) for rgba, affine in zip(pair, affines, strict=True))
    hidden_share(below, above)
    return _layered((above, below), background, size_px)


def _photo_mode(pair, affines, size_px: int, gain: ImageU8) -> object:
    photo = canvas(pair[1], affines[1], size_px, gain, "reflect")
    above = paste(pair[0], affines[0], size_px, gain)
    hidden_share(photo.rgba, above)
    return _layered((above, photo.rgba), photo.rgb, size_px)


def _storages(bank: Bank, folder: Path, rounds: int) -> dict[str, Any]:
    """KiB and milliseconds per picture, warm cache."""
    rivals: dict[str, Callable[[int], object]] = {}
    kib = {}
    for storage in ("raw", "jpeg"):
        path = folder / f"{storage}.h5"
        write_bank(path, bank.head, (bank.entry(i) for i in range(len(bank))), storage)
        opened = Bank(path)
        kib[storage] = round(path.stat().st_size / 1024 / len(bank), 1)
        rivals[storage] = lambda i, opened=opened: np.array(opened.entry(i).rgba)
    taken = interleaved(rivals, min(32, len(bank)), rounds)
    return {name: {"kib_per_picture": kib[name], "read_ms": taken[name]} for name in rivals}
