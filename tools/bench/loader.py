#!/usr/bin/env python
"""Measure a DataLoader over our shards against webdataset: python tools/bench/loader.py DATASET [--out FILE.json].

DATASET is a folder that `aih generate` made, of JPEG and without optional images. Its samples are written as .tar
shards of webdataset's into a temporary folder: the image's very bytes, each known target as a whole JPEG (95, 4:4:4),
the masks as the same compressed bit field, all else as one pickle, which is read faster than JSON or .npz. Both sides
decode with the same functions and give the same dicts of arrays, which is checked first: equal, but for the targets'
own JPEG noise. Ours come in a random order, webdataset's as they lie in the files, which spares it jumps and a buffer.
`ours` puts batches together with `collated`, the others with torch's default_collate. Epochs take turns; workers stay
from one to the next.
"""

import argparse
import pickle
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aih_builder.errors import ConfigError
from aih_builder.hdr.collate import collated
from aih_builder.hdr.data import AihDataset
from aih_builder.hdr.sampler import AihSampler
from aih_builder.imaging import decode_image, encode_jpeg
from aih_builder.sample import SIDES, SPECS, Array
from aih_builder.shards.format import decode_masks, encode_masks
from aih_builder.shards.reader import ShardReader, open_dataset
from tools.bench.timing import commit, interleaved, machine, report

LEAST_RATIO = {0: 1.6, 2: 1.3}  # what we ask of ours, by number of workers
MOST_NOISE = 3.0  # levels, mean over a target: two JPEGs of one picture


def main() -> None:
    """Write webdataset's shards, compare, time, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shard-samples", type=int, default=64, help="of webdataset's shards")
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # as in a loader's workers
    wds = _webdataset()
    content: dict[str, Any] = {"commit": commit(), "machine": machine(), "torch": torch.__version__}
    content["webdataset"] = version("webdataset")
    content["options"] = {k: v for k, v in vars(chosen).items() if k not in ("dataset", "out")}
    with tempfile.TemporaryDirectory() as folder:
        _write_tars(wds, chosen.dataset, Path(folder), chosen.shard_samples)
        tars = sorted(Path(folder).iterdir())
        ours = AihDataset(chosen.dataset, "sample", split=None)
        # One shard per worker at least, else some of webdataset's would idle.
        if len(tars) < max(chosen.workers):
            raise ConfigError(f"{len(tars)} .tar shards for {max(chosen.workers)} workers. Lower --shard-samples.")
        content["samples"] = len(ours)
        content["kib_per_sample"] = _sizes(chosen.dataset, ours, tars)
        content["target_noise"] = _compared(ours, _webdataset_of(wds, tars))
        content["loading"] = {
            f"{workers} workers": _measured(wds, ours, tars, workers, chosen) for workers in chosen.workers
        }
    report(chosen.out, content)


def _webdataset() -> Any:
    try:
        import webdataset
    except ModuleNotFoundError as error:
        raise ConfigError("webdataset is not installed. Run: pip install webdataset (extra `dev` has it).") from error
    return webdataset


def _write_tars(wds: Any, dataset: Path, folder: Path, shard_samples: int) -> None:
    """The samples of a dataset, in its order, as .tar shards."""
    with wds.ShardWriter(str(folder / "%06d.tar"), maxcount=shard_samples, encoder=False, verbose=0) as writer:
        for entry in open_dataset(dataset).shards:
            reader = ShardReader(dataset / entry["file"])
            if reader.attributes["lossless"] or reader.fields:
                what = "is lossless" if reader.attributes["lossless"] else f"holds {', '.join(reader.fields)}"
                raise ConfigError(f"{reader.path}: {what}, expected JPEG and no optional images. Name another dataset.")
            for i in range(len(reader)):
                writer.write(_encoded(reader, i))


def _encoded(reader: ShardReader, i: int) -> dict[str, Any]:
    sample = reader.sample(i)
    plain = {name: getattr(sample, name) for name, spec in SPECS.items() if not spec.is_image}
    small = {n: v if isinstance(v, np.ndarray | str) else np.array(v, SPECS[n].dtype) for n, v in plain.items()}
    targets = {
        f"{side}.jpg": encode_jpeg(sample.target_rgb[hand])
        for hand, side in enumerate(SIDES)
        if sample.target_valid[hand]
    }
    image = reader.encoded(i)[reader.parts.index("image")]
    rest = {"masks.zlib": encode_masks(sample), "small.pickle": pickle.dumps(small, protocol=5)}
    return {"__key__": f"{sample.index:010d}", "image.jpg": image, **targets, **rest}


def _decoded(files: Mapping[str, Any]) -> dict[str, Any]:
    image = decode_image(files["image.jpg"])
    target = np.zeros((2, *image.shape), np.uint8)
    for hand, side in enumerate(SIDES):
        if f"{side}.jpg" in files:
            target[hand] = decode_image(files[f"{side}.jpg"])
    masks = decode_masks(files["masks.zlib"], image.shape[:2], ())
    return {"image_rgb": image, "target_rgb": target, **masks, **pickle.loads(files["small.pickle"])}


def _webdataset_of(wds: Any, tars: list[Path]) -> Any:
    return wds.WebDataset([str(tar) for tar in tars], shardshuffle=False).map(_decoded)


def _sizes(dataset: Path, ours: AihDataset, tars: list[Path]) -> dict[str, float]:
    files = {"ours": [dataset / shard["file"] for shard in ours.samples.shards], "webdataset": tars}
    return {
        name: round(sum(path.stat().st_size for path in paths) / 1024 / len(ours), 1) for name, paths in files.items()
    }


def _compared(ours: AihDataset, theirs: Any) -> dict[str, float]:
    """Mean and greatest difference of targets, in levels, over all samples. Raises ConfigError if all else differs."""
    means, most, count = [], 0, 0
    for i, found in enumerate(theirs):
        expected, count = ours[i], i + 1
        del found["__key__"]  # webdataset's own
        unequal = [n for n in expected.keys() | found.keys() if n != "target_rgb" and not _same(n, expected, found)]
        noise = np.abs(expected["target_rgb"].astype(np.int16) - found["target_rgb"])
        if unequal or noise.mean() > MOST_NOISE:
            what = ", ".join(sorted(unequal)) or f"the targets, by {noise.mean():.1f} levels on average,"
            raise ConfigError(
                f"sample {i}: {what} differ between the two sides. Mend the bench before timing anything."
            )
        means.append(noise.mean())
        most = max(most, int(noise.max()))
    if count != len(ours):
        raise ConfigError(f"webdataset gives {count} samples of {len(ours)}. Mend the bench before timing anything.")
    return {"mean": round(float(np.mean(means)), 3), "most": most}


def _same(name: str, one: dict[str, Array], other: dict[str, Array]) -> bool:
    if name not in one or name not in other:
        return False
    same_type = isinstance(one[name], str) or one[name].dtype == other[name].dtype
    return same_type and np.array_equal(one[name], other[name])


def _measured(
    wds: Any, ours: AihDataset, tars: list[Path], workers: int, chosen: argparse.Namespace
) -> dict[str, float]:
    """Samples per second of both, over whole epochs in turns; medians."""
    options: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    sampler = AihSampler.for_epochs(1, len(ours), chosen.batch, seed=0)
    data: Any = ours  # a sequence will do
    loaders = {
        "ours": (DataLoader(data, batch_sampler=sampler, collate_fn=collated, **options), len(sampler) * chosen.batch),
        "ours_default_collate": (DataLoader(data, batch_sampler=sampler, **options), len(sampler) * chosen.batch),
        "webdataset": (DataLoader(_webdataset_of(wds, tars), batch_size=chosen.batch, **options), len(ours)),
    }
    taken = interleaved({name: _epoch(*loader) for name, loader in loaders.items()}, 1, chosen.rounds)
    rates = {name: 1000 * loaders[name][1] / ms for name, ms in taken.items()}
    found = {name: round(rate, 1) for name, rate in rates.items()}
    found["ratio"] = round(rates["ours"] / rates["webdataset"], 2)
    return found | ({"least_ratio": LEAST_RATIO[workers]} if workers in LEAST_RATIO else {})


def _epoch(loader: DataLoader[Any], count: int) -> Callable[[int], None]:
    """Runs through a loader once."""

    def run(_: int) -> None:
        found = sum(len(batch["index"]) for batch in loader)
        if found != count:
            raise ConfigError(f"an epoch gave {found} samples, expected {count}. Mend the bench.")

    return run


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.exit(f"loader.py: {error}")
