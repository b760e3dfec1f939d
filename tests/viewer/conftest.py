"""The viewer's pages over a small dataset, for all tests that ask them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aih_builder import Sample, generate, open_dataset
from tests.builders import small_content, small_manifest, with_counts
from tests.viewer.built_pages import HERE, SECRET, built


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samples with everything that can be stored, and files beside them that nobody may see."""
    counts = with_counts(train=3, val=0, test=0)
    content = small_content(**counts, fields=["depth", "normal", "background_rgb"])
    place = tmp_path_factory.mktemp("page")
    generate(small_manifest(**content), place / "dataset")
    (place / "secret.txt").write_text(SECRET)
    (place / "dataset" / "secret.txt").write_text(SECRET)
    return place / "dataset"


@pytest.fixture(scope="session")
def every(folder: Path) -> list[Sample]:
    """Its samples."""
    return list(open_dataset(folder))


@pytest.fixture(scope="session")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page may keep what it must."""
    return tmp_path_factory.mktemp("private")


@pytest.fixture(scope="session")
def client(folder: Path, private: Path) -> Iterator[Any]:
    """A client of the page; an exception of ours would be status 500."""
    pytest.importorskip("gradio")
    from fastapi.testclient import TestClient

    from aih_builder.viewer.web.desk import Desk

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(private))
        app = built(Desk(folder))
    with TestClient(app, base_url=HERE, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client
