"""What `aih doctor` finds on machines that have what is needed, and on ones that lack it."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aih_builder import doctor
from aih_builder.cli.app import app
from aih_builder.doctor import Finding, dataset_size, examine
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.mano_file import export_hand
from aih_builder.synth.renderers import egl
from tests.builders import small_both_manifest, small_manifest
from tests.cli_runs import write_manifest


def found(findings: list[Finding], what: str) -> Finding:
    (one,) = [finding for finding in findings if finding.what.startswith(what)]
    return one


@pytest.fixture
def no_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_renders", lambda: iter(()))


def test_here_what_the_defaults_need_is_there() -> None:
    findings = list(examine())
    assert [finding for finding in findings if finding.state == "broken"] == []
    assert "ms" in found(findings, "renderer numba").found
    assert "778 vertices" in found(findings, "open hand").found
    assert all(finding.fix for finding in findings if finding.state != "ok")


@pytest.mark.usefixtures("no_renders")
def test_a_readable_pair_of_mano_files_is_told_from_the_published_fault(tmp_path: Path) -> None:
    right, left = export_hand(tmp_path, open_hand())
    assert found(list(examine(mano=tmp_path)), "left hand's shapes").state == "ok"
    contents = [pickle.loads(path.read_bytes()) for path in (right, left)]
    contents[1]["shapedirs"] = np.array(contents[1]["shapedirs"])
    contents[1]["shapedirs"][:, 0] = np.array(contents[0]["shapedirs"])[:, 0]
    left.write_bytes(pickle.dumps(contents[1]))
    faulty = found(list(examine(mano=tmp_path)), "left hand's shapes")
    assert (faulty.state, "as published" in faulty.found) == ("note", True)
    right.write_bytes(b"no pickle")
    damaged = list(examine(mano=tmp_path))
    assert found(damaged, "MANO_RIGHT.pkl").state == "note"
    assert not [finding for finding in damaged if finding.what.startswith("left hand's")]


@pytest.mark.usefixtures("no_renders")
def test_devices_are_listed_with_their_cuda_index_and_none_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    two = (egl.Device(0, False, "/dev/dri/card0", 3), egl.Device(1, True, None, None))
    monkeypatch.setattr(egl, "devices", lambda: two)
    findings = list(examine())
    assert found(findings, "EGL device 0").found == "a GPU, CUDA device 3, /dev/dri/card0"
    assert found(findings, "EGL device 1").found == "draws in software"
    monkeypatch.setattr(egl, "devices", lambda: ())
    assert found(list(examine()), "EGL").state == "note"


def test_a_renderer_that_fails_is_broken_where_it_is_the_default_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "RENDERERS", {"numba": None, "pyrender": None})
    monkeypatch.setattr(doctor, "_failure", lambda name, _: f"{name} crashed")
    for default, states in (("numba", ["broken", "note"]), ("pyrender", ["note", "broken"])):
        monkeypatch.setattr(doctor, "resolve", lambda _, default=default: default)
        findings = list(doctor._renders())
        assert [finding.state for finding in findings] == states
        assert findings[0].found == "numba crashed"


def test_a_crash_of_a_renderer_is_told_and_survived(tmp_path: Path) -> None:
    told = doctor._failure("nothing", tmp_path / "out.npz")
    assert "'auto', 'numba' or 'pyrender', got 'nothing'" in told
    assert told.endswith("(exit code 1)")


def test_a_dataset_that_does_not_fit_is_told_before_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_renders", lambda: iter(()))
    manifest = write_manifest(tmp_path / "it.yaml")
    findings = list(examine(manifest, tmp_path / "not" / "yet"))
    assert found(findings, "space for").state == "ok"
    monkeypatch.setattr(doctor, "dataset_size", lambda _: (2**60, 2**60))
    findings = list(examine(manifest, tmp_path / "not" / "yet"))
    assert found(findings, "space for").state == "broken"
    assert "Free space" in found(findings, "space for").fix
    run = CliRunner().invoke(app, ["doctor", str(manifest), "--out", str(tmp_path), "--json"])
    assert run.exit_code == 1
    assert {entry["state"] for entry in json.loads(run.stdout)} >= {"ok", "broken"}


def test_sizes_grow_with_counts_pixels_and_losslessness() -> None:
    one, both = dataset_size(small_manifest()), dataset_size(small_both_manifest())
    assert both[0] > one[0]
    assert both[1] - one[1] == 2 * 5  # five more shards of two files each
    lossless = dataset_size(small_manifest(lossless=True))
    larger = dataset_size(small_manifest(image_size_px=192))
    assert lossless[0] > one[0]
    assert larger[0] > one[0]


@pytest.mark.usefixtures("no_renders")
def test_findings_are_printed_with_their_fixes() -> None:
    run = CliRunner().invoke(app, ["doctor"])
    assert run.exit_code == 0, run.output
    assert "ok     open hand: 778 vertices" in run.stdout


def test_renderers_that_disagree_are_broken_where_the_default_is_the_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def drawn(name: str, made: Path) -> str:
        mask = np.zeros((2, 8, 8), bool)
        mask[:, : 4 if name == "numba" else 6] = True
        np.savez(made, amodal_mask=mask, renderer=name, ms=1.0)
        return ""

    monkeypatch.setattr(doctor, "_failure", drawn)
    for default, state in (("numba", "note"), ("pyrender", "broken")):
        monkeypatch.setattr(doctor, "resolve", lambda _, default=default: default)
        finding = found(list(doctor._renders()), "renderers agree")
        assert (finding.state, finding.found) == (state, "mask IoU 0.6667")
        assert "numba" in finding.fix
