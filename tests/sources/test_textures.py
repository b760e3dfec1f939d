import json
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder.errors import AssetError, ConfigError
from aih_builder.files import read_json, write_json
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.imaging import ImageU8, encode_png
from aih_builder.paths import render_assets
from aih_builder.sources.pools import SPLITS, by_split
from aih_builder.sources.skin import Bakery, Person, open_hand_nails
from aih_builder.sources.skin_people import SEED, SHIPPED, SIZE_PX
from aih_builder.sources.texture_set import TextureSet
from aih_builder.sources.textures import (
    INDEX,
    TEXTURE_SOURCES,
    FolderTextures,
    ProceduralTextures,
    TextureEntry,
    all_sets,
    shipped_textures,
    write_sets,
)

SMALL_PX = 32


@cache
def hand() -> HandArrays:
    return open_hand()


def smooth_image(shape: tuple[int, ...], seed: int) -> ImageU8:
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, shape[-2])[:, None]
    return (rng.uniform(60, 120, shape[-1]) + 60 * ramp * np.ones(shape)).astype(np.uint8)


def small_set(number: int) -> TextureSet:
    return TextureSet(
        id=f"person-{number}",
        tone=number,
        licence="CC0-1.0",
        albedo_rgb=smooth_image((2, SMALL_PX, SMALL_PX, 3), number),
        normal_rgb=smooth_image((SMALL_PX, SMALL_PX, 3), 99),
        roughness=np.full((SMALL_PX, SMALL_PX), 140, np.uint8),
        age=20.0 + number,
        creases=smooth_image((SMALL_PX, SMALL_PX), 98),
    )


def creases_of(texture: TextureSet) -> ImageU8:
    assert texture.creases is not None
    return texture.creases


def entry_of(texture: TextureSet) -> TextureEntry:
    return TextureEntry(texture.id, texture.tone, texture.licence, texture.age)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sets = [(entry_of(s), s) for s in map(small_set, (1, 2, 3))]
    write_sets(tmp_path / "sets", sets, hand())
    return tmp_path / "sets"


@pytest.mark.parametrize("set_id", ["monk03-l", "monk10-b"])
def test_the_shipped_sets_equal_a_fresh_bake_but_for_the_codec(set_id: str) -> None:
    bakery = Bakery(hand(), open_hand_nails(), SIZE_PX)
    stored, fresh = shipped_textures(hand()).load(set_id), bakery.bake_person(SHIPPED[set_id], SEED)
    for name in ("normal_rgb", "roughness", "creases"):
        assert np.array_equal(getattr(stored, name), getattr(fresh, name))
    error = np.abs(stored.albedo_rgb.astype(int) - fresh.albedo_rgb)
    assert error.mean() < 1.0
    assert error.max() < 30


def test_twenty_sets_of_512_px_ship_in_at_most_4_mb() -> None:
    source = shipped_textures(hand())
    told = [(e.id, e.tone, e.age) for e in source.entries]
    assert told == [(name, p.tone, p.age) for name, p in SHIPPED.items()]
    assert len(told) == 20
    for entry, texture in all_sets(source):
        assert (texture.id, texture.tone, texture.age) == (entry.id, entry.tone, entry.age)
        assert texture.licence == entry.licence == "CC0-1.0"
        assert texture.albedo_rgb.shape == (2, 512, 512, 3)
        assert texture.normal_rgb.shape == (512, 512, 3)
        assert texture.creases is not None
        assert texture.roughness.shape == texture.creases.shape == (512, 512)
    folder = render_assets() / "textures"
    index = read_json(folder / INDEX)
    named = [*index["maps"].values(), *index["sets"], *(m for s in index["sets"] for m in s.get("maps", {}).values())]
    assert {path.name for path in folder.iterdir()} == {INDEX, *(item["file"] for item in named)}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6


def test_each_shipped_tone_has_a_young_and_an_old_hand_and_hair_varies() -> None:
    for tone in range(1, 11):
        ages = [p.age for p in SHIPPED.values() if p.tone == tone]
        assert max(ages) - min(ages) >= 20
    assert {p.hair for p in SHIPPED.values()} >= {0, 80}


def test_shipped_tones_are_spread_over_the_splits() -> None:
    tones = {entry.id: entry.tone for entry in shipped_textures(hand()).entries}
    pools = {split: sorted(tones[i] for i in ids) for split, ids in by_split(list(tones)).items()}
    assert set(tones.values()) == set(range(1, 11))
    assert all(len(pools[split]) >= 2 for split in SPLITS)
    for split in ("val", "test"):
        assert pools[split][0] <= 5 < pools[split][-1]
        ages = [SHIPPED[i].age for i in by_split(list(tones))[split]]
        assert min(ages) <= 30 < 45 <= max(ages)
    assert {1, 10} <= set(pools["train"])
    assert set(pools["train"]) == set(range(1, 11))


def test_sets_read_back_as_written(folder: Path) -> None:
    source = FolderTextures(folder, hand())
    assert [entry.id for entry in source.entries] == ["person-1", "person-2", "person-3"]
    for number, (_, read) in enumerate(all_sets(source), start=1):
        written = small_set(number)
        assert (read.id, read.tone, read.age) == (written.id, written.tone, written.age)
        assert np.array_equal(creases_of(read), creases_of(written))
        assert np.array_equal(read.normal_rgb, written.normal_rgb)
        assert np.array_equal(read.roughness, written.roughness)
        assert np.abs(read.albedo_rgb.astype(int) - written.albedo_rgb).max() <= 6


def test_a_users_png_without_digests_drops_in(folder: Path) -> None:
    albedo = np.random.default_rng(0).integers(0, 256, (2, SMALL_PX, SMALL_PX, 3), np.uint8)
    (folder / "mine.png").write_bytes(encode_png(albedo.reshape(-1, SMALL_PX, 3)))
    index = read_json(folder / INDEX)
    index["sets"].append({"id": "mine", "tone": 7, "licence": "CC-BY-4.0", "file": "mine.png"})
    write_json(folder / INDEX, index)
    source = FolderTextures(folder, hand())
    assert source.entries[-1] == TextureEntry("mine", 7, "CC-BY-4.0")
    assert np.array_equal(source.load("mine").albedo_rgb, albedo)
    assert source.load("mine").licence == "CC-BY-4.0"
    assert source.load("mine").age == 0


def test_a_folder_without_creases_has_none(folder: Path) -> None:
    index = read_json(folder / INDEX)
    del index["maps"]["creases"]
    write_json(folder / INDEX, index)
    assert FolderTextures(folder, hand()).load("person-1").creases is None


def _cut(folder: Path) -> None:
    path = folder / "person-1.jpg"
    path.write_bytes(path.read_bytes()[:200])


def _cut_without_digest(folder: Path) -> None:
    _cut(folder)
    _edit(lambda index: index["sets"][0].pop("sha256"))(folder)


def _flip(folder: Path) -> None:
    data = bytearray((folder / "normal.png").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "normal.png").write_bytes(data)


def _wrong_size(folder: Path) -> None:
    (folder / "person-1.jpg").write_bytes(encode_png(np.zeros((SMALL_PX, SMALL_PX, 3), np.uint8)))
    _edit(lambda index: index["sets"][0].pop("sha256"))(folder)


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        index = read_json(folder / INDEX)
        change(index)
        write_json(folder / INDEX, index)

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing image": (lambda f: (f / "person-1.jpg").unlink(), "cannot be read"),
    "missing map": (lambda f: (f / "roughness.png").unlink(), "cannot be read"),
    "cut image": (_cut, "sha256"),
    "cut image, no digest": (_cut_without_digest, "damaged JPEG"),
    "flipped bit": (_flip, "sha256"),
    "wrong size": (_wrong_size, r"expected uint8 \(64, 32, 3\)"),
    "missing index": (lambda f: (f / INDEX).unlink(), "needs this index"),
    "index is not JSON": (lambda f: (f / INDEX).write_text("{"), "JSON"),
    "other format": (_edit(lambda i: i.update(format=9)), "format 9, expected 1"),
    "other hand": (_edit(lambda i: i.update(uv_sha256="0" * 64)), "Bake the sets again for this model"),
    "no size": (_edit(lambda i: i.pop("size_px")), "size_px is None"),
    "odd size": (_edit(lambda i: i.update(size_px=48)), "size_px is 48, expected a power of two"),
    "tiny": (_edit(lambda i: i.update(size_px=4)), "expected a power of two from 8"),
    "no map": (_edit(lambda i: i["maps"].pop("normal")), "lacks 'normal'"),
    "no sets": (_edit(lambda i: i.update(sets=[])), "lists no set"),
    "set is no object": (_edit(lambda i: i.update(sets=["a"])), "expected id, tone"),
    "no licence": (_edit(lambda i: i["sets"][0].pop("licence")), "licence is None"),
    "long id": (_edit(lambda i: i["sets"][0].update(id="x" * 49)), "expected 1 to 48 bytes"),
    "long licence": (_edit(lambda i: i["sets"][0].update(licence="x" * 33)), "expected 1 to 32 bytes"),
    "tone 11": (_edit(lambda i: i["sets"][0].update(tone=11)), "expected 1 to 10"),
    "same id twice": (_edit(lambda i: i["sets"].append(i["sets"][0])), "two sets are called"),
    "old as the hills": (_edit(lambda i: i["sets"][0].update(age=900)), "age is 900, expected years from 0"),
    "own maps are a list": (_edit(lambda i: i["sets"][0].update(maps=[])), r"maps is \[\], expected the set's own"),
    "a map without a file": (_edit(lambda i: i["maps"].update(creases="c.png")), "creases is 'c.png', expected an"),
    "misspelt map": (_edit(lambda i: i["maps"].update(rougness=None)), r"unknown map 'rougness'.*mean 'roughness'"),
    "misspelt own map": (
        _edit(lambda i: i["sets"][0].update(maps={"nromal": i["maps"]["normal"]})),
        r"set 'person-1': maps: unknown map 'nromal', .* Did you mean 'normal'",
    ),
    "a map is null": (_edit(lambda i: i["maps"].update(normal=None)), "lacks 'normal'"),
    "map elsewhere": (_edit(lambda i: i["maps"].update(creases={"file": "../c.png"})), "plain name"),
    "file elsewhere": (_edit(lambda i: i["sets"][0].update(file="../x.jpg")), "plain name"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_folder_is_an_asset_error(folder: Path, kind: str) -> None:
    damage, message = DAMAGES[kind]
    damage(folder)
    with pytest.raises(AssetError, match=message):
        FolderTextures(folder, hand()).load("person-1")


def test_an_unknown_id_is_refused_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(ConfigError, match="'person-9'; there are: person-1, person-2"):
        FolderTextures(folder, hand()).load("person-9")


def test_a_set_keeps_the_maps_in_which_it_differs_and_shares_the_others(tmp_path: Path) -> None:
    one, other = small_set(1), small_set(2)
    other = replace(other, roughness=other.roughness + np.uint8(1))
    third = replace(small_set(3), roughness=other.roughness)
    write_sets(tmp_path / "sets", [(entry_of(s), s) for s in (one, other, third)], hand())
    names = sorted(path.name for path in (tmp_path / "sets").glob("*.png"))
    assert len(names) == 4
    FolderTextures(tmp_path / "sets", hand()).write_to(tmp_path / "copy", hand())
    for folder in ("sets", "copy"):
        source = FolderTextures(tmp_path / folder, hand())
        for written in (one, other, third):
            read = source.load(written.id)
            assert np.array_equal(read.roughness, written.roughness)
            assert np.array_equal(read.normal_rgb, written.normal_rgb)


def test_a_map_that_is_null_is_absent(folder: Path, tmp_path: Path) -> None:
    _edit(lambda i: i["maps"].update(creases=None))(folder)
    _edit(lambda i: i["sets"][0].update(maps={"roughness": None}))(folder)
    _edit(lambda i: i["sets"][1].update(maps=None))(folder)
    source = FolderTextures(folder, hand())
    source.check()
    source.write_to(tmp_path / "copy", hand())
    assert source.load("person-1").creases is None
    assert source.load("person-1").roughness is source.load("person-2").roughness
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {
        path.name for path in folder.iterdir() if path.name != "creases.png"
    }


@pytest.mark.parametrize("own", [False, True])
def test_nothing_outside_the_folder_is_copied_and_nothing_is_written_there(
    folder: Path, tmp_path: Path, own: bool
) -> None:
    """Even of a map that no set uses, as each has its own."""
    (tmp_path / "secret.png").write_bytes((folder / "normal.png").read_bytes())

    def point_elsewhere(index: dict[str, Any]) -> None:
        for item in index["sets"]:
            item["maps"] = {"normal": index["maps"]["normal"]}
        (index["sets"][2]["maps"] if own else index["maps"])["normal"] = {"file": "../secret.png"}

    _edit(point_elsewhere)(folder)
    source, copy = FolderTextures(folder, hand()), tmp_path / "away/copy"
    for use in (source.check, lambda: source.write_to(copy, hand())):
        with pytest.raises(AssetError, match=r"file '\.\./secret.png', expected a plain name"):
            use()
    assert not (tmp_path / "away/secret.png").exists()
    assert not copy.exists()


def test_baking_tells_how_far_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aih_builder.sources.textures._LOG_EVERY_S", 0.0)
    persons = {"a": Person(2, 1, 20, 0), "b": Person(9, 1, 50, 0)}
    told: list[tuple[int, int]] = []
    with caplog.at_level(logging.INFO):
        ProceduralTextures(Bakery(hand(), open_hand_nails(), 64), persons, 4).write_to(
            tmp_path, hand(), lambda done, total: told.append((done, total))
        )
    assert told == [(1, 2), (2, 2)]
    assert "2 of 2 sets of skin baked" in caplog.text


def test_maps_that_a_set_in_use_holds_are_not_read_again(folder: Path) -> None:
    source = FolderTextures(folder, hand())
    one, other = source.load("person-1"), source.load("person-2")
    assert one.normal_rgb is other.normal_rgb
    assert one.creases is other.creases


def test_sets_that_cannot_be_written_together_are_refused(tmp_path: Path) -> None:
    one, other = small_set(1), replace(small_set(2), creases=None)
    with pytest.raises(AssetError, match="Give all of them creases, or none"):
        write_sets(tmp_path, [(entry_of(s), s) for s in (one, other)], hand())
    assert not (tmp_path / INDEX).exists()
    with pytest.raises(AssetError, match="no texture sets"):
        write_sets(tmp_path, [], hand())


def test_procedural_sets_go_through_a_folder_unchanged_but_for_the_codec(tmp_path: Path) -> None:
    persons = {"a": Person(2, 1, 20, 0), "b": Person(2, 2, 75, 9), "c": Person(9, 1, 50, 90), "d": Person(9, 2, 33, 5)}
    baked = ProceduralTextures(Bakery(hand(), open_hand_nails(), 64), persons, seed=4)
    write_sets(tmp_path, all_sets(baked), hand())
    stored = FolderTextures(tmp_path, hand())
    assert stored.entries == baked.entries
    assert [(entry.tone, entry.age) for entry in stored.entries] == [(2, 20), (2, 75), (9, 50), (9, 33)]
    for entry in baked.entries:
        a, b = baked.load(entry.id), stored.load(entry.id)
        assert np.array_equal(a.normal_rgb, b.normal_rgb)
        assert np.array_equal(creases_of(a), creases_of(b))
        assert np.abs(a.albedo_rgb.astype(int) - b.albedo_rgb).mean() < 2.5
    with pytest.raises(ConfigError, match="no texture set"):
        baked.load("skin")


def test_writing_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    sets = [(entry_of(s), s) for s in map(small_set, (1, 2, 3))]
    write_sets(tmp_path / "again", sets, hand())
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    assert json.loads((folder / INDEX).read_text())["size_px"] == SMALL_PX


def test_sources_are_those_that_a_manifest_names() -> None:
    assert set(TEXTURE_SOURCES) == {"shipped", "procedural", "folder"}
