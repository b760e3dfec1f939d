import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.errors import ConfigError
from aih_builder.viewer.columns import Texts
from aih_builder.viewer.query import MOST_CHARACTERS, selected

COLUMNS: dict[str, Any] = {
    "occlusion_rate": np.array([[0.1, 0.6], [0.5, 0.5], [0.9, 0.0], [0.0, 0.0]], np.float32),
    "skin_tone": np.array([[1, 2], [8, 8], [0, 3], [10, 10]], np.int8),
    "mean_luma": np.array([20.0, 100.0, 180.0, 240.0], np.float32),
    "pose_family": Texts(np.array([0, 1, 0, 2], np.int32), ["clasp/tight", "clap", "over"]),
    "split": Texts(np.array([0, 0, 1, 2], np.int32), ["train", "val", "test"]),
    "hand_present": np.array([[1, 1], [1, 0], [1, 1], [0, 1]], bool),
    "index": np.array([0, 16, 32, 3], np.uint32),
    "cam_joints_m": np.arange(4 * 2 * 21 * 3, dtype=np.float32).reshape(4, 2, 21, 3),
}


def rows(text: str) -> list[int]:
    return np.flatnonzero(selected(text, COLUMNS.__getitem__, COLUMNS, 4)).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("occlusion_rate[right] > 0.4", [1, 2]),
        ("occlusion_rate[0] > 0.4 and occlusion_rate[left] > 0.4", [1]),
        ("any(occlusion_rate > 0.5)", [0, 2]),
        ("all(occlusion_rate >= 0.5)", [1]),
        ("max(occlusion_rate) == 0", [3]),
        ("not any(occlusion_rate > 0.5)", [1, 3]),
        ("0.4 < occlusion_rate[right] < 0.6", [1]),
        ('pose_family == "clap"', [1]),
        ('"cla" in pose_family', [0, 1, 2]),
        ('"cla" not in pose_family', [3]),
        ('split in ["val", "test"] or mean_luma < 50', [0, 2, 3]),
        ('split != "train"', [2, 3]),
        ("sum(skin_tone) == 20", [3]),
        ("skin_tone[right] - skin_tone[left] < 0", [0, 2]),
        ("abs(skin_tone[0] - skin_tone[1]) == 3", [2]),
        ("index - 16 < 0", [0, 3]),
        ("index % 16 == 0", [0, 1, 2]),
        ("all(hand_present)", [0, 2]),
        ("sum(hand_present) == 1", [1, 3]),
        ("hand_present[left] and not hand_present[right]", [3]),
        ("cam_joints_m[1, 20, 2] == 125", [0]),
        ("True", [0, 1, 2, 3]),
        ("1 > 2", []),
        ("mean_luma / 0 > 5", [0, 1, 2, 3]),
        ("-mean_luma < -200", [3]),
    ],
)
def test_a_question_selects_the_samples_it_holds_for(text: str, expected: list[int]) -> None:
    assert rows(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("occlusion > 0.5", "'occlusion' is no field; did you mean occlusion_rate"),
        ("occlusion_rate > 0.5", "Say which hand"),
        ("occlusion_rate[right]", "expected yes or no"),
        ("occlusion_rate[2] > 0", "outside the field's shape"),
        ("occlusion_rate[-1] > 0", "outside the field's shape"),
        ("occlusion_rate[right] >", "cannot be read"),
        ("", "cannot be read"),
        ("pose_family > 3", "text cannot be compared with a number"),
        ('mean_luma == "clap"', "numbers cannot be compared with text"),
        ("mean_luma and index", "mean_luma is numbers, expected yes or no"),
        ("max(mean_luma) > 1", "takes a field of several numbers"),
        ("2 ** 9999999 > index", "Pow cannot be used"),
        ("index == 99999999999999999999999", "cannot be used"),
        ("__import__('os').system('true')", "there are the functions"),
        ("index.__class__ == 1", "Attribute cannot be used"),
        ("(lambda: 1)() == 1", "there are the functions"),
        ("[x for x in index] == 1", "ListComp cannot be used"),
        ("open('/etc/passwd') == 1", "there are the functions"),
        ('f"{index}" == "1"', "JoinedStr cannot be used"),
        ("(" * 900 + "1" + ")" * 900, "expected yes or no|too deeply nested|cannot be read"),
        ("1 +" * MOST_CHARACTERS, "expected at most"),
        ("~index == 1", "write not"),
        ("index @ index == 1", "cannot be used"),
    ],
)
def test_what_is_no_question_is_refused_with_what_to_write(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        rows(text)


@given(st.text("oclusin_rate[]()<>=.0123 andornt\"'+-*/%,:lefght", max_size=60))
def test_no_text_raises_anything_but_our_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        rows(text)


@given(st.lists(st.text(max_size=3), min_size=1, unique=True), st.data())
def test_texts_answer_and_sort_as_their_values_do(words: list[str], data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.integers(0, len(words) - 1), max_size=12))
    texts = Texts(np.array(codes, np.int32), words)
    assert texts.holds(lambda word: "a" in word).tolist() == ["a" in words[code] for code in codes]
    order = sorted(range(len(codes)), key=lambda row: words[codes[row]])
    assert np.argsort(texts.ranks(), kind="stable").tolist() == order
