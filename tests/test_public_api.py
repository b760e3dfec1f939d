import subprocess
import sys
from pathlib import Path

import pytest

import aih_builder

ROOT = Path(__file__).resolve().parent.parent

PUBLIC = {
    # data
    "Sample",
    "open_dataset",
    # making it
    "Manifest",
    "generate",
    "validate",
    "repair",
    "DaskPool",
    # parts to replace
    "HandModel",
    "PoseSource",
    "Renderer",
    # HDR
    "AihDataset",
    "AihSampler",
    "HdrPipeline",
    # errors
    "AihError",
    "AssetError",
    "ConfigError",
    "GenerationError",
    "Rejected",
    "SampleError",
    "ShardError",
    "TrainingError",
    "__version__",
}


def modules_after(code: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter holds after running the code."""
    script = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_all_is_exactly_the_documented_list() -> None:
    assert set(aih_builder.__all__) == PUBLIC
    assert len(aih_builder.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_resolves_to_what_it_names(name: str) -> None:
    value = getattr(aih_builder, name)
    if name != "__version__":
        assert value.__name__ == name
        assert value.__module__.startswith("aih_builder.")
        assert value.__doc__
    assert name in dir(aih_builder)


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "smaple"
    with pytest.raises(AttributeError, match=f"'aih_builder' has no attribute '{name}'"):
        getattr(aih_builder, name)


def test_every_error_is_an_aih_error() -> None:
    errors = {name for name in PUBLIC if name.endswith("Error") or name == "Rejected"}
    assert all(issubclass(getattr(aih_builder, name), aih_builder.AihError) for name in errors)


def test_importing_the_package_imports_no_library() -> None:
    libraries = {
        "cv2",
        "h5py",
        "joblib",
        "matplotlib",
        "numba",
        "numpy",
        "pydantic",
        "scipy",
        "torch",
    }
    assert modules_after("import aih_builder") & libraries == set()


def test_all_public_names_load_without_an_extra() -> None:
    extras = {
        "gradio",
        "manopth",
        "matplotlib",
        "pyrender",
        "smplx",
        "torch",
        "transformers",
        "trimesh",
    }
    assert modules_after("from aih_builder import *") & extras == set()
