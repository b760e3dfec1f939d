"""Pictures, figures and flags at the page's addresses, and what is said where there is none."""

import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from aih_builder.imaging import decode_image
from aih_builder.sample import SIDES, Sample
from aih_builder.shards.flags import read_flags
from aih_builder.viewer.web.pictures import PREDICTED, THUMB_PX, THUMBS, masks_of
from tests.viewer.built_pages import HERE

pytest.importorskip("gradio")
from fastapi.testclient import TestClient


def picture(client: TestClient, index: int, name: str) -> np.ndarray:
    reply = client.get(f"/data/picture/{index}/{quote(name)}")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png"), reply.text
    assert reply.headers["cache-control"] == "no-store"
    return decode_image(reply.content)


# Pictures and figures.


@pytest.mark.parametrize("show", [*THUMBS, *PREDICTED])
def test_thumbnails_are_jpegs_of_the_image_s_size_up_to_a_bound(
    client: TestClient, every: list[Sample], show: str
) -> None:
    for sample in every:
        reply = client.get(f"/data/thumb/{sample.index}/{quote(show)}")
        assert (reply.status_code, reply.headers["content-type"]) == (200, "image/jpeg")
        side = 96 if show == "image" else THUMB_PX
        assert decode_image(reply.content).shape == (side, side, 3)


def test_pictures_are_the_sample_s_to_the_last_bit(client: TestClient, every: list[Sample]) -> None:
    for sample in every:
        assert np.array_equal(picture(client, sample.index, "image"), sample.image_rgb)
        for hand in np.flatnonzero(sample.target_valid):
            alone = picture(client, sample.index, f"{SIDES[hand]} alone")
            assert np.array_equal(alone, sample.target_rgb[hand])
        assert sample.background_rgb is not None
        assert np.array_equal(picture(client, sample.index, "background"), sample.background_rgb)


def test_masks_are_clear_pictures_that_are_opaque_where_the_mask_is_set(
    client: TestClient, every: list[Sample]
) -> None:
    for sample in every:
        masks = masks_of(sample)
        assert len(masks) >= 6
        for name, (mask, colour) in masks.items():
            data = client.get(f"/data/picture/{sample.index}/{quote(name)}").content
            bgra = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            assert bgra is not None
            assert np.array_equal(bgra[..., 3], np.where(mask, 255, 0)), name
            assert (bgra[mask][:, 2::-1] == colour).all()


def test_depth_is_coloured_where_there_is_a_hand_and_normals_are_directions(
    client: TestClient, every: list[Sample]
) -> None:
    for sample in every:
        assert sample.depth is not None
        assert sample.normal is not None
        depth = picture(client, sample.index, "depth")
        assert np.array_equal(depth.any(axis=2), sample.depth > 0)
        distance = np.where(sample.depth > 0, sample.depth.astype(int), 10**6)
        near = np.unravel_index(distance.argmin(), sample.depth.shape)
        far = np.unravel_index(sample.depth.argmax(), sample.depth.shape)
        assert depth[near].sum() > depth[far].sum()  # yellow is brighter than violet
        normals = picture(client, sample.index, "normals").astype(int) - 128
        assert np.array_equal(normals, sample.normal)


def test_what_is_told_of_a_sample_names_pictures_that_can_be_had(client: TestClient, every: list[Sample]) -> None:
    for sample in every:
        reply = client.get(f"/data/sample/{sample.index}", params={"sort": "-mean_luma", "split": "train"})
        told = reply.json()
        assert (reply.status_code, told["index"], told["total"]) == (200, sample.index, 3)
        assert {"right alone", "left alone", "background", "depth", "normals"} >= set(told["pictures"])
        for name in ["image", *told["pictures"]]:
            assert picture(client, sample.index, name).shape == (96, 96, 3)
        assert list(told["masks"]) == list(masks_of(sample))


def test_an_archive_can_be_downloaded(client: TestClient, every: list[Sample]) -> None:
    reply = client.get(f"/data/archive/{every[1].index}.npz")
    assert reply.headers["content-disposition"] == f'attachment; filename="sample-{every[1].index}.npz"'
    with np.load(io.BytesIO(reply.content)) as archive:
        assert np.array_equal(archive["image_rgb"], every[1].image_rgb)
        assert np.array_equal(archive["depth"], every[1].depth)  # pyright: ignore[reportArgumentType]


def test_hands_in_space_are_a_page_that_loads_nothing(client: TestClient) -> None:
    reply = client.get("/data/hands/0")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", reply.text)
    assert "<script" in reply.text
    assert "GLTFLoader" in reply.text


@pytest.mark.parametrize("page", ["/", "/sample?index=0", "/check", "/?where=mean_luma+%3E+3&at=2"])
def test_pages_open_and_load_nothing_from_elsewhere(client: TestClient, page: str) -> None:
    reply = client.get(page)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["']((?:https?:)?//[^"']+)""", reply.text)
    assert [address for address in loaded if "preconnect" not in address and not address.startswith(HERE)] == []


def test_nothing_is_told_to_anybody(client: TestClient) -> None:
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    told = client.get("/config").json()
    assert told["analytics_enabled"] is False
    assert not told.get("is_space")
    assert not told.get("mcp_server")


# Requests that cannot be answered.


@pytest.mark.parametrize("index", ["-1", "3", "15", str(2**31), str(10**30)])
def test_an_index_that_is_not_there_is_told(client: TestClient, index: str) -> None:
    for address in ("sample/{}", "picture/{}/image", "archive/{}.npz"):
        reply = client.get("/data/" + address.format(index))
        assert (reply.status_code, list(reply.json())) == (404, ["error"])
        assert "holds none of that index" in reply.json()["error"]
    thumb = client.get(f"/data/thumb/{index}/image")
    assert (thumb.status_code, thumb.headers["content-type"]) == (404, "image/svg+xml")
    hands = client.get(f"/data/hands/{index}")
    assert (hands.status_code, hands.headers["content-type"]) == (404, "text/html; charset=utf-8")
    for reply in (client.put(f"/data/flag/{index}", json={"reason": "dark"}),):
        assert reply.status_code == 404
        assert reply.json()["error"]
    assert client.delete(f"/data/flag/{index}").json() == {"flag": None}


@pytest.mark.parametrize("index", ["x", "1.5", "0x1", "", "%00", "1e3", "9" * 5000, "\u00b2"])
def test_what_is_no_index_is_refused(client: TestClient, index: str) -> None:
    for kind, rest in (("sample", ""), ("picture", "/image"), ("thumb", "/image"), ("hands", ""), ("archive", ".npz")):
        assert client.get(f"/data/{kind}/{index}{rest}").status_code in (404, 422)
    for reply in (client.delete(f"/data/flag/{index}"), client.put(f"/data/flag/{index}", json={"reason": "dark"})):
        assert reply.status_code in (404, 405, 422)


@pytest.mark.parametrize("name", ["nothing", "IMAGE", "right", "predicted right amodal", "__class__", "a" * 5000])
def test_a_picture_that_is_not_there_is_told_with_those_that_are(client: TestClient, name: str) -> None:
    reply = client.get(f"/data/picture/0/{name}")
    assert reply.status_code == 404
    assert "there are image, " in reply.json()["error"]
    if not name.startswith("predicted"):
        assert client.get(f"/data/thumb/0/{name}").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "where=beauty+%3E+3", "where=" + "(" * 1900, "where=" + "-" * 1900 + "1", "where=" + "a" * 3000, "where=%00",
        "sort=-", "sort=" + "(" * 500, "sort=occlusion_rate", "sort=random&seed=-1", "seed=x", "tone=dark",
        "validity=fine", "penetration=1:2:3", "contact=inf:", "occlusion_right=nan:", "where=1/0+%3E+2+and+2**99999",
        "where=__import__('os')", "where=index+==+9223372036854775807+%2B+1", "seed=" + "9" * 5000,
    ],
)  # fmt: skip
def test_a_question_without_an_answer_is_told(client: TestClient, query: str) -> None:
    reply = client.get(f"/data/sample/0?{query}")
    assert reply.status_code in (200, 404)
    if reply.status_code == 404:
        assert reply.json()["error"]


@pytest.mark.parametrize("seed", ["0", str(2**63), str(10**40)])
def test_a_random_order_takes_any_seed(client: TestClient, seed: str) -> None:
    assert client.get(f"/data/sample/0?sort=random&seed={seed}").json()["total"] == 3


# Flags.


@pytest.fixture
def flagging(client: TestClient, folder: Path) -> Iterator[TestClient]:
    yield client
    shutil.rmtree(folder / "flags.json", ignore_errors=True)
    (folder / "flags.json").unlink(missing_ok=True)


def test_a_flag_is_set_changed_and_taken_away_by_the_page(flagging: TestClient, folder: Path) -> None:
    for reason in ("too dark", "  F\u00e4uste <b>\u2026</b> "):
        reply = flagging.put("/data/flag/16", json={"reason": reason}, headers={"origin": HERE})
        assert (reply.status_code, reply.json()) == (200, {"flag": reason.strip()})
        assert flagging.get("/data/sample/16").json()["flag"] == reason.strip()
    assert [flag.reason for flag in read_flags(folder).values()] == ["F\u00e4uste <b>\u2026</b>"]
    assert flagging.delete("/data/flag/16").json() == {"flag": None}
    assert flagging.get("/data/sample/16").json()["flag"] is None
    assert not (folder / "flags.json").exists()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"json": {"reason": " "}}, 404), ({"json": {"reason": "x" * 501}}, 404), ({"json": {"reason": 3}}, 422),
        ({"json": {}}, 422), ({"json": []}, 422),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422),
        ({}, 422), ({"content": b'{"reason": "dark"}', "headers": {"content-type": "text/plain"}}, 422),
        ({"data": {"reason": "dark"}}, 422),
    ],
)  # fmt: skip
def test_a_flag_without_a_good_reason_is_refused(
    flagging: TestClient, folder: Path, request_: dict[str, Any], status: int
) -> None:
    reply = flagging.put("/data/flag/16", **request_)
    assert reply.status_code == status
    assert reply.json()["error" if status == 404 else "detail"]
    assert read_flags(folder) == {}


def test_a_flag_that_cannot_be_kept_says_why(flagging: TestClient, folder: Path) -> None:
    (folder / "flags.json").mkdir()
    for reply in (flagging.put("/data/flag/16", json={"reason": "dark"}), flagging.delete("/data/flag/16")):
        assert reply.status_code == 404
        assert "flags.json" in reply.json()["error"]
    assert flagging.get("/data/picture/16/image").status_code == 200


def test_a_shard_that_goes_bad_is_told_by_every_address(client: TestClient, folder: Path) -> None:
    file = next(folder.rglob("*00000.h5"))
    kept = file.rename(file.with_suffix(".kept"))
    for address in ("picture/0/image", "archive/0.npz"):
        reply = client.get(f"/data/{address}")
        assert (reply.status_code, list(reply.json())) == (404, ["error"])
        assert f"aih repair {folder}" in reply.json()["error"]
    assert client.get("/data/thumb/0/image").headers["content-type"] == "image/svg+xml"
    assert "aih repair" in client.get("/data/hands/0").text
    told = client.get("/data/sample/0")
    assert told.status_code == 200
    assert "aih repair" in told.json()["error"]
    kept.rename(file)
    assert client.get("/data/picture/0/image").status_code == 200
    assert json.loads(client.get("/data/sample/0").text)["total"] == 3
