import os
import pickle
import pickletools
import struct
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smplx
from scipy import sparse

from aih_builder.errors import AssetError, ShardError
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.mano_file import export_hand, fixed_left_shapedirs, read_mano, write_mano

RIGHT = open_hand()
HANDS = {"right": RIGHT, "left": RIGHT.mirrored()}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    paths = export_hand(tmp_path_factory.mktemp("export") / "made" / "mano", RIGHT)
    return dict(zip(("right", "left"), paths, strict=True))


@pytest.fixture
def content(exported: dict[str, Path]) -> dict[str, Any]:
    """What the right hand's file holds, to be spoilt."""
    with exported["right"].open("rb") as file:
        return pickle.load(file, encoding="latin1")


def stored(path: Path, content: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def test_the_export_writes_both_hands_and_nothing_else(exported: dict[str, Path]) -> None:
    assert [path.name for path in exported.values()] == ["MANO_RIGHT.pkl", "MANO_LEFT.pkl"]
    assert sorted(exported["right"].parent.iterdir()) == sorted(exported.values())


@pytest.mark.parametrize("side", sorted(HANDS))
def test_an_exported_file_reads_back_equal(exported: dict[str, Path], side: str) -> None:
    arrays, found = HANDS[side], read_mano(exported[side])
    for name in (
        "v_template", "weights", "shapedirs", "posedirs", "J_regressor", "hands_mean", "hands_components",
        "uv", "uv_faces", "tip_vertices", "dof_axes", "dof_limits_rad",
    ):  # fmt: skip
        assert found[name].dtype == getattr(arrays, name).dtype
        assert (found[name] == getattr(arrays, name)).all(), name
    assert (found["f"] == arrays.faces).all()
    assert np.abs(found["J"] - arrays.J_regressor @ arrays.v_template).max() < 1e-12


@pytest.mark.parametrize("side", sorted(HANDS))
def test_smplx_create_loads_the_folder_and_the_file_unmodified(exported: dict[str, Path], side: str) -> None:
    folder = exported[side].parent.parent
    for place in (folder, exported[side]):
        layer = smplx.create(str(place), model_type="mano", is_rhand=side == "right", use_pca=True, num_pca_comps=12)
        assert layer.is_rhand == (side == "right")
        assert (np.asarray(layer.faces, np.int64) == HANDS[side].faces).all()
        assert layer().vertices.shape == (1, 778, 3)


def test_the_pickle_names_only_modules_that_old_and_new_libraries_know(exported: dict[str, Path]) -> None:
    data = exported["left"].read_bytes()
    opcodes = list(pickletools.genops(data))
    assert max(opcode.proto for opcode, _, _ in opcodes) <= 2
    assert {argument for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"} == {
        "_codecs encode",
        "numpy dtype",
        "numpy ndarray",
        "numpy.core.multiarray _reconstruct",
        "scipy.sparse csc_matrix",
    }


def test_plain_unpickling_gives_what_manopth_expects(content: dict[str, Any]) -> None:
    assert sparse.issparse(content["J_regressor"])
    assert content["kintree_table"].shape == (2, 16)
    assert content["kintree_table"][0, 0] == 2**32 - 1
    assert content["hands_coeffs"].shape[1] == 45
    assert (content["bs_style"], content["bs_type"]) == ("lbs", "lrotmin")
    assert content["f"].dtype == np.uint32


def test_writing_twice_gives_the_same_bytes(exported: dict[str, Path], tmp_path: Path) -> None:
    write_mano(RIGHT, tmp_path / "again.pkl")
    assert (tmp_path / "again.pkl").read_bytes() == exported["right"].read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ShardError, match="No space left"):
        write_mano(RIGHT, path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("MANO_RIGHT.pkl", b"old")]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("matrix", [sparse.csc_matrix, sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix])
def test_files_of_any_pickle_protocol_are_read(
    tmp_path: Path, content: dict[str, Any], protocol: int, matrix: Callable
) -> None:
    content["J_regressor"] = matrix(content["J_regressor"])
    found = read_mano(stored(tmp_path / "hand.pkl", content, protocol))
    assert (found["J_regressor"] == RIGHT.J_regressor).all()
    assert (found["posedirs"] == RIGHT.posedirs).all()


PythonPickler: Any = pickle._Pickler  # the one whose way with a type can be changed


class Python2Pickler(PythonPickler):
    """Spells bytes as Python 2 spelt its strings."""

    def save_string(self, data: bytes) -> None:
        written = f"S{repr(data)[1:]}\n".encode() if self.proto == 0 else b"T" + struct.pack("<I", len(data)) + data
        self.write(written)
        self.memoize(data)

    dispatch = {**PythonPickler.dispatch, bytes: save_string}  # noqa: RUF012 - as the class that it extends


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_files_of_python_2_are_read(tmp_path: Path, content: dict[str, Any], protocol: int) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    with path.open("wb") as file:
        Python2Pickler(file, protocol).dump(content)
    assert b"_codecs" not in path.read_bytes()
    found = read_mano(path)
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor"):
        assert (found[name] == getattr(RIGHT, name)).all(), name


@pytest.fixture
def chumpy() -> Iterator[Callable[..., Any]]:
    """A maker of objects that pickle as chumpy's do; the classes are gone when the file is read."""
    modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    sys.modules.update(modules)

    def make(module: str, name: str, **state: object) -> Any:
        cls = getattr(modules[module], name, None)
        if cls is None:
            cls = type(name, (), {"__module__": module})
            setattr(modules[module], name, cls)
        made = cls()
        vars(made).update(state)
        return made

    yield make
    for name in modules:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_arrays_inside_chumpy_objects_are_read_without_chumpy(
    tmp_path: Path, content: dict[str, Any], chumpy: Callable[..., Any], protocol: int
) -> None:
    wide = np.concatenate([RIGHT.shapedirs, np.ones((778, 3, 5))], axis=2)
    kept = np.arange(wide.size).reshape(wide.shape)[:, :, :10]
    constant = chumpy("chumpy.ch", "Ch", x=wide, _dirty_vars={"x"}, _itr=np.int64(3), _depends_on_deps={})
    content |= {
        "v_template": chumpy("chumpy.ch", "Ch", x=RIGHT.v_template),
        "shapedirs": chumpy("chumpy.reordering", "Select", a=constant, idxs=kept.ravel(), preferred_shape=(778, 3, 10)),
        "posedirs": chumpy("chumpy.reordering", "transpose", a=RIGHT.posedirs.transpose(2, 0, 1), axes=(1, 2, 0)),
        "weights": chumpy("chumpy.ch", "Ch", x=chumpy("chumpy.ch", "Ch", x=RIGHT.weights)),
    }
    path = stored(tmp_path / "MANO_RIGHT.pkl", content, protocol)
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        del sys.modules[name]
    found = read_mano(path)
    for name in ("v_template", "shapedirs", "posedirs", "weights"):
        assert (found[name] == getattr(RIGHT, name)).all(), name


class Foreign:
    """Runs a command when a careless reader unpickles it."""

    def __reduce__(self) -> tuple:
        return os.system, ("exit 1",)


def without(key: str) -> Callable[[dict], dict]:
    return lambda content: {name: value for name, value in content.items() if name != key}


def with_value(key: str, change: Callable[[Any], Any]) -> Callable[[dict], dict]:
    return lambda content: content | {key: change(content[key])}


def with_nan(array: np.ndarray) -> np.ndarray:
    spoilt = array.copy()
    spoilt[7, 1] = np.nan
    return spoilt


def with_big_index(faces: np.ndarray) -> np.ndarray:
    spoilt = faces.copy()
    spoilt[0, 0] = 778
    return spoilt


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("posedirs"), "lacks posedirs"),
        (with_value("shapedirs", lambda a: a[:, :, :9]), r"shapedirs has shape \(778, 3, 9\), expected"),
        (with_value("v_template", with_nan), "v_template holds NaN"),
        (with_value("v_template", lambda a: 1000 * a), "long, expected 0.08 to 0.5 m"),
        (with_value("v_template", lambda a: a / 1000), "long, expected 0.08 to 0.5 m"),
        (with_value("f", with_big_index), "f names vertex 778"),
        (with_value("f", lambda a: a + 0.5), "f holds fractions"),
        (with_value("weights", lambda a: 2 * a), "rows of weights miss the sum 1"),
        (with_value("kintree_table", lambda a: a[:, ::-1].copy()), "kintree_table is not MANO's"),
        (with_value("weights", lambda a: a.astype(str)), "weights: it holds .*expected numbers"),
        (with_value("weights", lambda a: a.tolist()[:1]), r"weights has shape \(1, 16\)"),
        (lambda content: {**content, "extra": Foreign()}, "names posix.system|names nt.system"),
        (lambda content: {**content, "extra": np.random.default_rng(0)}, "names numpy"),
        (lambda content: list(content.values()), "holds a list"),
    ],
)
def test_a_wrong_file_is_one_clear_asset_error(
    tmp_path: Path, content: dict[str, Any], spoil: Callable[[dict], object], message: str
) -> None:
    path = stored(tmp_path / "MANO_RIGHT.pkl", spoil(content))
    with pytest.raises(AssetError, match=message) as caught:
        read_mano(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda _: b"",
        lambda _: b"<html>Please log in</html>",
        lambda data: data[:100] + data[200:],
    ],
)
def test_a_damaged_pickle_is_refused(exported: dict[str, Path], tmp_path: Path, spoil: Callable) -> None:
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(spoil(exported["right"].read_bytes()))
    with pytest.raises(AssetError, match="not a readable pickle"):
        read_mano(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"MANO_RIGHT\.pkl: cannot be read \(No such file"):
        read_mano(tmp_path / "MANO_RIGHT.pkl")


def published_left(right: HandArrays) -> np.ndarray:
    """The fault of MANO's left file: shape directions that repeat the right hand's x."""
    return right.shapedirs.copy()


def test_the_published_fault_of_left_shape_directions_is_mended() -> None:
    mended, was_faulty = fixed_left_shapedirs(published_left(RIGHT), RIGHT.shapedirs)
    assert was_faulty
    assert (mended == HANDS["left"].shapedirs).all()


def test_a_true_left_hand_is_not_touched() -> None:
    left = HANDS["left"].shapedirs
    same, was_faulty = fixed_left_shapedirs(left, RIGHT.shapedirs)
    assert not was_faulty
    assert (same == left).all()
