from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from aih_builder.config import Manifest, dump_manifest, load_manifest, manifest_schema, parse_manifest
from aih_builder.errors import ConfigError
from aih_builder.paths import manifests
from tests.builders import small_both_content, small_content, small_manifest

LEAST = {"schema": 1, "name": "x", "seed": 0, "streams": {"render": {"count": {"train": 1}}}}


def parse(content: dict[str, Any]) -> Manifest:
    return parse_manifest(content, where="it.yaml", folder=Path("/where"))


def test_the_resolved_manifest_reads_back_as_itself(tmp_path: Path) -> None:
    for name in sorted(path.name for path in manifests().glob("*.yaml")):
        manifest = load_manifest(manifests() / name)
        (tmp_path / name).write_text(dump_manifest(manifest), encoding="utf-8")
        assert load_manifest(tmp_path / name) == manifest


def test_four_keys_suffice_and_zero_is_a_seed() -> None:
    manifest = parse(LEAST)
    assert manifest.seed == 0
    assert manifest.image_size_px == 256
    assert manifest.total() == 1
    for key in LEAST:
        with pytest.raises(ConfigError, match=f"it.yaml: key '{key}' is missing"):
            parse({k: v for k, v in LEAST.items() if k != key})


def test_the_demo_states_the_defaults() -> None:
    """Its comments would mislead otherwise: it differs from the shortest manifest only where it must."""
    both = {engine: {"count": {"train": 1}} for engine in ("render", "sync")}
    demo, least = load_manifest(manifests() / "demo.yaml").to_json(), parse(LEAST | {"streams": both}).to_json()
    assert {key for key in demo if demo[key] != least[key]} == {"name", "seed", "shard_samples", "streams", "look"}
    every_section = {name: {} for name in demo["look"]}
    assert least["look"] == dict.fromkeys(every_section)  # what is not there is off
    assert demo["look"] == parse(LEAST | {"look": every_section}).to_json()["look"]
    for engine in both:
        demo_stream, least_stream = demo["streams"][engine], least["streams"][engine]
        assert demo_stream | {"count": 0} == least_stream | {"count": 0}


def at(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Sets one key of a manifest, a path like camera.framing."""

    def change(content: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for key in parents:
            content = content[key]
        content[last] = value

    return change


VIEW = {"azimuth_deg": [-60, 60], "elevation_deg": [-10, 40]}
REFUSED = {
    "unknown key": (at("image_size", 256), "unknown key 'image_size'; did you mean 'image_size_px'"),
    "unknown key below": (at("camera.distance", [1, 2]), "unknown key 'camera.distance'; did you mean 'distance_m'"),
    "unknown key in a list": (
        at("pools.backgrounds.folders", [{"path": "a", "licens": "b"}]),
        "unknown key 'pools.backgrounds.folders.0.licens'; did you mean 'licence'",
    ),
    "nothing near": (at("zzz", 1), "unknown key 'zzz'; known here: schema, name"),
    "another schema": (at("schema", 2), "key 'schema': .* got 2"),
    "seed too large": (at("seed", 2**32), "key 'seed': .* less than 4294967296"),
    "negative count": (at("streams.render.count.val", -1), "key 'streams.render.count.val': "),
    "tiny image": (at("image_size_px", 8), "key 'image_size_px': .* got 8"),
    "not a number": (at("lights.key", [float("nan"), 1]), "key 'lights.key.0': "),
    "falling range": (at("lights.key", [3, 1]), "key 'lights': lowest 3.0 exceeds highest 1.0"),
    "too near": (at("camera.distance_m", [0.1, 0.9]), "distance_m must be at least 0.25"),
    "too far": (at("camera.distance_m", [0.4, 31]), "distance_m must be at most 30"),
    "tones of shipped sets": (at("pools.textures.tones", [1]), "tones is for source: procedural"),
    "ages of shipped sets": (at("pools.textures.age", [20, 40]), "age is for source: procedural"),
    "a child's skin": (at("pools.textures", {"source": "procedural", "age": [8, 40]}), "age.0': .* greater than or eq"),
    "falling hair": (
        at("pools.textures", {"source": "procedural", "hair": [1, 0.5]}),
        "lowest 1.0 exceeds highest 0.5",
    ),
    "framing": (at("camera.framing", {"target": 0.7, "both": 0.7}), "expected 1"),
    "bins": (at("streams.render.occlusion.bins", [0, 1]), "2 bins need 1 shares, got 4"),
    "falling bins": (at("streams.render.occlusion.bins", [0, 0.2, 0.1, 0.4, 0.8]), "bins must rise"),
    "shares": (at("streams.render.occlusion.share", [0.2] * 4), "shares sum to 0.8"),
    "no background": (at("pools.backgrounds.procedural", []), "name at least one procedural kind or one folder"),
    "a folder without a path": (at("pools.textures.source", "folder"), "path is needed"),
    "a path without a folder": (at("pools.textures.path", "skin"), "path is needed"),
    "no engine": (at("streams", {}), "key 'streams': name at least one of render, sync"),
    "an engine that is not there": (at("streams.snyc", {}), "unknown key 'streams.snyc'; did you mean 'sync'"),
    "unknown key of an engine": (
        at("streams.sync", {"count": {}, "mods": 1}),
        "'streams.sync.mods'; did you mean 'mod",
    ),
    "modes": (
        at("streams.sync", {"count": {}, "modes": {"photo": 1, "canvas": 1}}),
        r"photo \+ canvas is 2.0, expected",
    ),
    "a range that falls": (at("streams.sync", {"count": {}, "occlusion": {"range": [0.5, 0.1]}}), "lowest 0.5 exceeds"),
    "two banks": (at("pools.bank", {"path": "b.h5", "build": {}}), "build and path exclude each other"),
    "a view that falls": (at("camera.view", VIEW | {"azimuth_deg": [30, -30]}), "lowest 30.0 exceeds highest -30.0"),
    "a view from over the zenith": (at("camera.view", VIEW | {"elevation_deg": [0, 91]}), "elevation_deg.1"),
    "half a view": (at("camera.view", {"azimuth_deg": [0, 30]}), "key 'camera.view.elevation_deg' is missing"),
    "no scale": (at("scale", 0), "key 'scale': .* greater than 0"),
    "a scale beyond all indices": (at("scale", 1e8), "key 'scale': "),
    "a licence too long to record": (at("pools.backgrounds.licence", "x" * 33), "key 'pools.backgrounds.licence'"),
    "no bank": (at("pools.bank", {"build": None}), "name build or path"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_manifest_is_refused_naming_file_and_key(what: str) -> None:
    change, message = REFUSED[what]
    content = small_content()
    change(content)
    with pytest.raises(ConfigError, match=f"^it.yaml: .*{message}"):
        parse(content)


@pytest.mark.parametrize("source", ["anatomical", "interhand", "parameters"])
def test_a_view_counts_from_a_body_which_only_poses_of_the_library_have(source: str) -> None:
    content = small_content()
    content["camera"]["view"] = VIEW
    found = parse(content).camera.view
    assert found is not None
    assert (found.azimuth_deg, found.elevation_deg, found.roll_deg) == ((-60, 60), (-10, 40), 15)
    content["pools"]["poses"] = {"source": source} | ({} if source == "anatomical" else {"path": "poses"})
    with pytest.raises(ConfigError, match=rf"^it\.yaml: .*camera\.view .* source: {source} "):
        parse(content)
    content["camera"]["view"] = None
    assert parse(content).camera.view is None


def test_scale_multiplies_the_counts_and_is_then_one() -> None:
    content = small_both_content(scale=0.0001)
    content["streams"]["render"]["count"] = {"train": 26_000, "val": 4, "test": 0}
    manifest = parse(content)
    assert manifest.scale == 1
    assert manifest.streams.counts()["render"].model_dump() == {"train": 3, "val": 1, "test": 0}
    assert parse(manifest.to_json()) == manifest
    assert parse(content | {"scale": 3}).streams.counts()["render"].train == 78_000
    content["streams"]["render"]["count"]["train"] = 2**28 - 1
    with pytest.raises(ConfigError, match=r"^it\.yaml: scale 2 makes 536870910 samples of a stream"):
        parse(content | {"scale": 2})


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({**LEAST, "seed": -1, "image_size_px": 1, "lossles": True})
    assert len(str(caught.value).splitlines()) == 3


def test_depth_is_refused_where_its_16_bits_end() -> None:
    content = small_content(fields=["depth"])
    content["camera"]["distance_m"] = [0.4, 3.5]
    with pytest.raises(ConfigError, match=r"distance_m reaches 3\.5"):
        parse(content)
    content["fields"] = []
    assert parse(content).camera.distance_m == (0.4, 3.5)


def test_paths_count_from_the_manifests_own_folder(tmp_path: Path) -> None:
    content = small_content()
    content["pools"]["backgrounds"]["folders"] = ["photos", {"path": str(tmp_path / "else"), "licence": "CC-BY-4.0"}]
    content["pools"]["textures"] = {"source": "folder", "path": "skin"}
    (tmp_path / "it.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    pools = load_manifest(tmp_path / "it.yaml").pools
    assert pools.backgrounds.licensed() == ((tmp_path / "photos", "user"), (tmp_path / "else", "CC-BY-4.0"))
    assert pools.textures.path == tmp_path / "skin"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: [1", "not valid YAML"),
        (b"- 1", "expected a mapping"),
        (b"", "NoneType"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "it.yaml").write_bytes(data)
    with pytest.raises(ConfigError, match=f"it.yaml: .*{message}"):
        load_manifest(tmp_path / "it.yaml")
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_manifest(tmp_path / "none.yaml")


def test_the_schema_for_editors_knows_every_key() -> None:
    schema = manifest_schema()
    assert set(schema["properties"]) == set(parse(LEAST).to_json())
    assert set(schema["required"]) == set(LEAST)
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("seed", [True, "5", 1.0])
def test_a_number_must_be_written_as_one(seed: object) -> None:
    with pytest.raises(ConfigError, match="key 'seed'"):
        small_manifest(seed=seed)


def test_a_key_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("schema: 1\nseed: 1\nname: a\nseed: 2\n")
    with pytest.raises(ConfigError, match=r"twice\.yaml: not valid YAML: line 1: key 'seed' stands twice"):
        load_manifest(path)
