"""What the readers of annotations make of files that are damaged at random: an answer or an AihError, in little memory.

Each test tells how many inputs it tried (`pytest -rP` shows it).
"""

import copy
import json
import resource
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aih_builder.errors import AihError, AssetError
from aih_builder.hands.arrays import open_hand
from aih_builder.imaging import encode_jpeg, encode_png
from aih_builder.sources.freihand import read_freihand
from aih_builder.sources.interhand import read_capture
from aih_builder.sources.interhand_backgrounds import extract_backgrounds
from aih_builder.sources.photos import PhotoFolder
from aih_builder.synth.interhand_bank import InterhandImages, find_candidates
from tests.freihand_tree import write_freihand
from tests.sources.test_photos import add

MOST_BYTES = 64 * 2**20  # of Python's own memory, for files of some KiB
PARTS = ("data", "camera", "joint_3d", "MANO_NeuralAnnot")
CAMERAS = ("400262", "410001")
FREIHAND = ("K", "xyz", "mano")
COUNTS = pytest.mark.parametrize("count", [80, pytest.param(2000, marks=pytest.mark.slow)])
HAND = open_hand()
tried: dict[str, int] = {}


def inputs(count: int) -> settings:
    """So many inputs, always the same ones."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# Values that stand in a damaged file where others should.
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just(10**400), st.just([]),
    st.just({}), st.just([[]]), st.just([[1], [1, 2]]), st.just("../../../etc"), st.just(-1), st.just(1e308),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.lists(st.floats(), max_size=4),
)  # fmt: skip


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a JSON document lies; of long lists the first few."""
    inner = (
        content.items() if isinstance(content, dict) else enumerate(content[:3]) if isinstance(content, list) else ()
    )
    return [path] + [place for key, value in inner for place in places(value, (*path, key))]


def damaged(draw: Callable[..., Any], content: Any) -> bytes:
    """The document with one to three values replaced, left out or renamed; or its bytes cut off or changed."""
    how = draw(st.sampled_from(["values", "values", "values", "cut", "bytes", "noise"]))
    if how == "noise":
        return draw(st.binary(max_size=200))
    if how == "values":
        content = copy.deepcopy(content)
        for _ in range(draw(st.integers(1, 3))):
            *above, last = draw(st.sampled_from([place for place in places(content) if place] or [(None,)]))
            if last is None:
                break
            parent = content
            for key in above:
                parent = parent[key]
            what = draw(st.sampled_from(["replace", "replace", "remove", "scale"]))
            if what == "remove":
                del parent[last]
            elif what == "scale" and isinstance(parent[last], int | float) and abs(parent[last]) < 1e300:
                parent[last] *= draw(st.sampled_from([1000, 0.001, -1, float("nan"), float("inf")]))
            else:
                parent[last] = copy.deepcopy(draw(ODD))
        return json.dumps(content).encode()
    data = bytearray(json.dumps(content).encode())
    at = draw(st.integers(0, len(data) - 1))
    if how == "cut":
        return bytes(data[:at])
    data[at] = draw(st.integers(0, 255))
    return bytes(data)


def survives(name: str, read: Callable[[], Any]) -> None:
    """Reading ends well or in one AihError with a sentence, and takes little memory."""
    tried[name] = tried.get(name, 0) + 1
    tracemalloc.start()
    try:
        with np.errstate(all="ignore"):
            read()
    except AihError as error:
        assert len(str(error)) > 20  # noqa: PT017
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_BYTES


@pytest.fixture(scope="module")
def capture(singles_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Annotations of three frames of a split, and their content."""
    root = tmp_path_factory.mktemp("capture")
    (root / "annotations/val").mkdir(parents=True)
    parts = {}
    for name in PARTS:
        file = f"annotations/val/InterHand2.6M_val_{name}.json"
        content = json.loads((singles_root / file).read_text())
        if name == "data":
            kept = [
                item
                for item in content["images"]
                if item["frame_idx"] in (100, 108) and item["camera"] in ("400262", "410001")
            ]
            ids = {item["id"] for item in kept}
            content = {"images": kept, "annotations": [a for a in content["annotations"] if a["image_id"] in ids]}
        elif name != "camera":
            content = {"1": {frame: content["1"][frame] for frame in ("100", "108")}}
        parts[name] = content
        (root / file).write_text(json.dumps(content))
    return root, parts


@COUNTS
def test_interhands_readers_survive_any_annotations(
    capture: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory, count: int
) -> None:
    root, parts = capture

    @inputs(count)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(PARTS))
        path = root / f"annotations/val/InterHand2.6M_val_{name}.json"
        path.write_bytes(damaged(data.draw, parts[name]))
        survives("interhand", lambda: read_capture(root, "val"))
        survives("interhand", lambda: find_candidates(InterhandImages(root), HAND, Counter()))
        if name != "MANO_NeuralAnnot":
            out = tmp_path_factory.mktemp("crops")
            survives("interhand", lambda: extract_backgrounds(root, out, skip_bad=True))
        path.write_text(json.dumps(parts[name]))

    check()


@pytest.fixture(scope="module")
def freihand(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("freihand")
    write_freihand(root)
    return root, {name: json.loads((root / f"training_{name}.json").read_text()) for name in FREIHAND}


@COUNTS
def test_freihands_reader_survives_any_annotations(freihand: tuple[Path, dict[str, Any]], count: int) -> None:
    root, parts = freihand

    @inputs(count)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(FREIHAND))
        path = root / f"training_{name}.json"
        path.write_bytes(damaged(data.draw, parts[name]))
        survives("freihand", lambda: read_freihand(root, fits=True))
        path.write_text(json.dumps(parts[name]))

    check()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    joints = {
        "side": "left", "joints_px": [[100.0 + k, 120.0 + k] for k in range(21)], "visible": [1] * 21, "skin_tone": 3,
        "K_px": [[500, 0, 200], [0, 500, 150], [0, 0, 1]], "annotation": "human",
        "cam_joints_m": [[(k - 100) / 1000, (k - 30) / 1000, 0.5] for k in range(21)],
    }  # fmt: skip
    del joints["joints_px"]
    root = tmp_path_factory.mktemp("photo größe")
    add(root, "right/a", joints)
    return root, joints


@COUNTS
def test_a_photographs_reader_survives_any_joints(photo: tuple[Path, Any], count: int) -> None:
    root, joints = photo
    path = root / "joints/right/a.json"

    @inputs(count)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        path.write_bytes(damaged(data.draw, joints))
        survives("joints", lambda: list(PhotoFolder(root, 64, 2.0).entries(Counter())))

    check()
    path.unlink()


@COUNTS
def test_a_photographs_reader_survives_any_picture_and_mask(photo: tuple[Path, Any], count: int) -> None:
    root, _ = photo

    @inputs(count)
    @given(st.sampled_from(["images", "masks"]), st.binary(max_size=300), st.integers(0, 2000))
    def check(folder: str, noise: bytes, at: int) -> None:
        path = root / folder / "right/a.png"
        whole = path.read_bytes()
        path.write_bytes(whole[:at] + noise + whole[at + len(noise) :])
        survives("pictures", lambda: list(PhotoFolder(root, 64, 2.0).entries(Counter())))
        path.write_bytes(whole)

    check()


def test_a_bomb_is_refused_before_memory_is_taken_for_it(photo: tuple[Path, Any]) -> None:
    """A file of some bytes that states 3.6 billion pixels, as PNG and as JPEG, as picture and as mask."""
    root, _ = photo
    png = encode_png(np.zeros((8, 8), np.uint8))
    jpeg = encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    frame = jpeg.index(b"\xff\xc0") + 5
    bombs = {
        "png": png[:16] + (60000).to_bytes(4, "big") * 2 + png[24:],
        "jpeg": jpeg[:frame] + (60000).to_bytes(2, "big") * 2 + jpeg[frame + 4 :],
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for bomb in bombs.values():
        for folder in ("images", "masks"):
            path = root / folder / "right/a.png"
            whole = path.read_bytes()
            path.write_bytes(bomb)
            with pytest.raises(AssetError, match=r"a\.png: 60000 x 60000 pixels, expected at most 100,000,000"):
                list(PhotoFolder(root, 64, 2.0).entries(Counter()))
            path.write_bytes(whole)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


def test_a_deep_document_is_refused(capture: tuple[Path, dict[str, Any]]) -> None:
    root, parts = capture
    path = root / "annotations/val/InterHand2.6M_val_camera.json"
    path.write_text("[" * 100_000)
    with pytest.raises(AssetError, match="is not JSON"):
        read_capture(root, "val")
    path.write_text(json.dumps(parts["camera"]))


def test_the_number_of_inputs_tried_is_told() -> None:
    """Last in this file: under xdist a process may have tried none."""
    print(f"inputs tried: {tried}")  # noqa: T201
    assert all(count >= 80 for count in tried.values())
