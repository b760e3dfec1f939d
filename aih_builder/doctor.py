"""What this machine has of what AIH Builder needs: a finding for each question, and what to do about it.

`python -m aih_builder.doctor RENDERER OUT.npz` makes one sample with a renderer: a driver that crashes takes that
process with it, not the doctor.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from aih_builder.config import Manifest, load_manifest
from aih_builder.errors import AihError, AssetError
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.mano_file import fixed_left_shapedirs, read_mano
from aih_builder.paths import manifests, render_assets
from aih_builder.shards.plan import make_plan
from aih_builder.shards.tasks import make_sample
from aih_builder.synth.renderers import egl
from aih_builder.synth.renderers.backends import RENDERERS, resolve

State = Literal["ok", "note", "broken"]  # note: what a default does without; broken: what it needs

_PYTHONS = ((3, 11), (3, 13))
_CORE = ("numpy", "numba", "opencv-python-headless", "h5py", "scipy", "pydantic", "pyrender-maintained", "PyOpenGL")
_EXTRAS = {
    "hands": ("torch", "smplx"),
    "train": ("torch", "transformers", "accelerate", "tensorboard"),
    "viewer": ("matplotlib",),
    "cluster": ("distributed", "dask-jobqueue"),
    "export": ("pycocotools",),
}
_RENDER_SECONDS = 300  # the first time, numba compiles
_SAMPLE_KIB = {"render": 24.7, "sync": 22.4}  # at 256 px; README, Figures
_LOSSLESS = 3.1  # times that
_CACHE_MIB, _CACHE_FILES = 200, 200  # of a plan: hand, textures, bank
_AGREE_IOU = 0.99
MANO_FILES = ("MANO_RIGHT.pkl", "MANO_LEFT.pkl")


class Finding(NamedTuple):
    """One answer. `fix` says what to do; '' where there is nothing to do."""

    what: str
    state: State
    found: str
    fix: str = ""


def examine(manifest: Path | None = None, out: Path = Path(), mano: Path | None = None) -> Iterator[Finding]:
    """All findings, the quick ones first. With a manifest, whether its dataset fits where `out` lies.

    mano: a folder with MANO_RIGHT.pkl and MANO_LEFT.pkl; None for render_assets/licensed.
    """
    yield _python()
    yield _core()
    yield from map(_extra, _EXTRAS)
    yield _hand()
    yield from _mano(mano)
    yield from _devices()
    yield from _renders()
    if manifest is not None:
        yield from _room(manifest, out)


def _judged(what: str, good: bool, found: str, fix: str) -> Finding:
    return Finding(what, "ok", found) if good else Finding(what, "broken", found, fix)


def _python() -> Finding:
    low, high = _PYTHONS
    found = f"{sys.version.split()[0]} on {sys.platform}, {os.cpu_count()} CPU cores"
    if low <= sys.version_info[:2] <= high:
        return Finding("Python", "ok", found)
    return Finding("Python", "broken", found, "Use Python 3.11, 3.12 or 3.13: no other is tested.")


def _core() -> Finding:
    versions = {name: _version(name) for name in _CORE}
    found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    if all(versions.values()):
        return Finding("core libraries", "ok", found)
    return Finding("core libraries", "broken", found, "Install the package again: pip install .")


def _extra(name: str) -> Finding:
    versions = {library: _version(library) for library in _EXTRAS[name]}
    found = ", ".join(f"{library} {version or 'missing'}" for library, version in versions.items())
    if all(versions.values()):
        return Finding(f"extra {name}", "ok", found)
    return Finding(f"extra {name}", "note", found, f"Only where you need it: pip install '.[{name}]'")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _hand() -> Finding:
    try:
        hand = open_hand()
    except (AihError, OSError, ValueError) as error:
        return Finding("open hand", "broken", str(error), "Install the package again, or work in a full checkout.")
    return Finding("open hand", "ok", f"{len(hand.v_template)} vertices, {len(hand.faces)} faces, CC0")


def _mano(folder: Path | None) -> Iterator[Finding]:
    """The licensed files, where there are any: can they be read, and has the left one the known fault?"""
    place = folder or render_assets() / "licensed"
    there = [name for name in MANO_FILES if (place / name).is_file()]
    if not there:
        yield Finding(
            "MANO files", "note", f"none in {place}; the open hand is the default",
            "Where you have a licence: download them from mano.is.tue.mpg.de and put them there.",
        )  # fmt: skip
        return
    shapedirs = {}
    for name in there:
        try:
            shapedirs[name] = read_mano(place / name)["shapedirs"]
        except AssetError as error:
            yield Finding(name, "note", str(error), "Get the file again; the open hand needs none.")
        else:
            yield Finding(name, "ok", str(place / name))
    if len(shapedirs) == len(MANO_FILES):
        right, left = (shapedirs[name] for name in MANO_FILES)
        faulty = fixed_left_shapedirs(left, right)[1]
        if faulty:
            yield Finding(
                "left hand's shapes", "note", "x of the shape directions is the right hand's, as published",
                "Nothing here: hands.fix_left turns it. Other programs may need the same.",
            )  # fmt: skip
        else:
            yield Finding("left hand's shapes", "ok", "mirrored, as they should be")


def _devices() -> Iterator[Finding]:
    found = egl.devices()
    if not found:
        yield Finding("EGL", "note", "no library, or none that lists its devices: numba draws", egl.INSTALL)
        return
    for device in found:
        kind = "draws in software" if device.is_software else "a GPU"
        cuda = "" if device.cuda_index is None else f", CUDA device {device.cuda_index}"
        drm = f", {device.drm_file}" if device.drm_file else ""
        yield Finding(f"EGL device {device.index}", "ok", f"{kind}{cuda}{drm}")
    for name in ("CUDA_VISIBLE_DEVICES", "EGL_DEVICE_ID"):
        if name in os.environ:
            yield Finding(name, "ok", f"{os.environ[name]!r}: workers draw on what it allows")


def _renders() -> Iterator[Finding]:
    """One sample of each renderer, and whether they agree. The default's must come out."""
    default, masks = resolve("auto"), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in RENDERERS:
            made, what = Path(folder) / f"{name}.npz", f"renderer {name}" + (" (default)" if name == default else "")
            reason = _failure(name, made)
            if reason:
                state: State = "broken" if name == default else "note"
                fix = egl.INSTALL if name == "pyrender" else "Report this with the message; set renderer: pyrender."
                yield Finding(what, state, reason, fix)
                continue
            with np.load(made) as arrays:
                masks[name] = arrays["amodal_mask"]
                found = f"{arrays['renderer']}: a sample of 256 px in {float(arrays['ms']):.0f} ms"
            yield Finding(what, "ok", found)
    if len(masks) > 1:
        one, other = masks.values()
        iou = float((one & other).sum() / max((one | other).sum(), 1))
        fix = "Update the GPU's driver, or set renderer: numba."
        agreed = _judged("renderers agree", iou >= _AGREE_IOU, f"mask IoU {iou:.4f}", fix)
        yield agreed if agreed.state == "ok" or default == "pyrender" else agreed._replace(state="note")


def _failure(name: str, made: Path) -> str:
    """Have a renderer make its sample; why it could not, '' where it could."""
    package_from = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (package_from, os.environ.get("PYTHONPATH"))))
    try:
        run = subprocess.run(
            [sys.executable, "-m", "aih_builder.doctor", name, str(made)], env=os.environ | {"PYTHONPATH": path},
            capture_output=True, text=True, timeout=_RENDER_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no sample after {_RENDER_SECONDS} s"
    if run.returncode == 0 and made.is_file():
        return ""
    said = [line for line in run.stderr.splitlines() if line.strip()]
    ended = f"ended by signal {-run.returncode}" if run.returncode < 0 else f"exit code {run.returncode}"
    return f"{said[-1] if said else 'no message'} ({ended})"


def _room(path: Path, out: Path) -> Iterator[Finding]:
    """Bytes and files of a manifest's dataset against what is free where it is to lie."""
    manifest = load_manifest(path)
    size_bytes, files = dataset_size(manifest)
    place = out.resolve()
    while not place.exists():
        place = place.parent
    free, nodes = shutil.disk_usage(place).free, os.statvfs(place)
    found = f"{size_bytes / 2**30:.1f} GiB of {free / 2**30:.1f} GiB free at {place}"
    fix = "Free space, name another --out, or lower streams.*.count, image_size_px or lossless."
    yield _judged(f"space for {manifest.name}", size_bytes < free, found, fix)
    if nodes.f_files:  # some filesystems have no such bound
        found = f"{files:,} files of {nodes.f_favail:,} that can be made"
        fix = "Raise shard_samples: a shard is two files."
        yield _judged(f"files for {manifest.name}", files < nodes.f_favail, found, fix)


def dataset_size(manifest: Manifest) -> tuple[int, int]:
    """About how many bytes and files a manifest's dataset takes, its plan's cache included."""
    scale = (manifest.image_size_px / 256) ** 2 * (_LOSSLESS if manifest.lossless else 1.0)
    kib, files = 0.0, _CACHE_FILES
    for engine, counts in manifest.streams.counts().items():
        for count in (counts.train, counts.val, counts.test):
            kib += count * _SAMPLE_KIB[engine] * scale
            files += 2 * -(-count // manifest.shard_samples)
    return int(1024 * kib) + _CACHE_MIB * 2**20, files


def _make_one(renderer: str, out: Path) -> None:
    """One sample of the demo with a renderer, into a file: its masks, what drew it, milliseconds of a second time."""
    manifest = load_manifest(manifests() / "demo.yaml")
    streams = manifest.streams
    assert streams.render is not None, "the demo has AIH-Render"
    counts = streams.render.count.model_copy(update={"train": 1, "val": 0, "test": 0})
    alone = streams.model_copy(
        update={
            "sync": None,
            "render": streams.render.model_copy(update={"count": counts, "single_hand_fraction": 0.0}),
        }
    )
    manifest = manifest.model_copy(update={"streams": alone, "renderer": renderer})
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(manifest, Path(folder) / "plan")
        index = plan.shards()[0].indices[0]
        make_sample(plan, index)  # compiles, loads textures
        started = time.perf_counter()
        sample = make_sample(plan, index)
        ms = 1000 * (time.perf_counter() - started)
    np.savez(out, amodal_mask=sample.amodal_mask, renderer=RENDERERS[renderer](0).description(), ms=ms)


if __name__ == "__main__":
    _make_one(sys.argv[1], Path(sys.argv[2]))
