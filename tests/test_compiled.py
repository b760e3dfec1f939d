import logging
from pathlib import Path

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from aih_builder import compiled
from aih_builder.geometry import rotation_matrix


def test_code_that_cannot_be_kept_is_compiled_all_the_same_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """numba keeps nothing of a function without a file, as of one in a folder that takes none."""
    compiled._warn_once.cache_clear()
    named: dict = {}
    exec("def twice(x): return 2 * x\ndef thrice(x): return 3 * x", named)
    with caplog.at_level(logging.WARNING):
        twice, thrice = compiled.compiled(named["twice"]), compiled.compiled(named["thrice"])
    assert (twice(4), thrice(4)) == (8, 12)
    assert isinstance(twice, Dispatcher)
    (record,) = caplog.records
    assert "NUMBA_CACHE_DIR" in record.message


def test_code_of_the_package_is_kept_under_the_digest_of_all_its_sources() -> None:
    """A function is compiled with those that it calls: a change in their files must not find the old code."""
    assert isinstance(rotation_matrix, Dispatcher)
    assert rotation_matrix.stats.cache_path
    rotation_matrix(np.zeros(3))
    kept = [path.name for path in Path(rotation_matrix.stats.cache_path).glob("geometry.rotation_matrix*.nbi")]
    assert any(compiled._sources_digest() in name for name in kept)
