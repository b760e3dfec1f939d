from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest

from aih_builder.errors import AssetError, ConfigError, SampleError, ShardError
from aih_builder.sources.bank import RAW_LIMIT_BYTES, Bank, BankEntry, Storage, storage_for, write_bank
from tests.bank_pictures import disc_bank, entry, head


@pytest.fixture(params=["raw", "jpeg"])
def storage(request: pytest.FixtureRequest) -> Storage:
    return request.param


def test_what_is_written_reads_back(tmp_path: Path, storage: Storage) -> None:
    """Exactly, but for the colours of a JPEG."""
    made = [entry(n) for n in range(5)]
    assert write_bank(tmp_path / "b.h5", head(), made, storage) == 5
    bank = Bank(tmp_path / "b.h5")
    assert (bank.head, bank.storage, len(bank)) == (head(), storage, 5)
    for i, wanted in enumerate(made):
        found = bank.entry(i)
        for field in fields(BankEntry):
            if field.name != "rgba":
                assert np.array_equal(getattr(found, field.name), getattr(wanted, field.name)), field.name
        assert np.array_equal(found.rgba[..., 3], wanted.rgba[..., 3])
        difference = np.abs(found.rgba[..., :3].astype(int) - wanted.rgba[..., :3])
        assert difference.max() == 0 if storage == "raw" else difference.mean() < 2


def test_the_digest_is_that_of_the_content_wherever_it_lies(tmp_path: Path, storage: Storage) -> None:
    one, again = (Bank(disc_bank(tmp_path / name, storage=storage)) for name in ("a.h5", "else/b.h5"))
    assert one.digest == again.digest
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "else/b.h5").read_bytes()
    assert one.digest != Bank(disc_bank(tmp_path / "c.h5", storage=storage, skin_tone=9)).digest
    one.check()


def test_every_kind_of_damage_is_found(tmp_path: Path, storage: Storage) -> None:
    """A changed byte of a picture or of a number, cut files, files of another kind."""
    path = disc_bank(tmp_path / "b.h5", storage=storage)
    with h5py.File(path) as file:
        places = [file[name].id.get_offset() + 40 for name in ("rgba" if storage == "raw" else "blob", "joints_px")]
    whole = path.read_bytes()
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(AssetError, match="changed or damaged"):
            Bank(path).check()
    for damaged in (b"", whole[: len(whole) // 2], b"not HDF5"):
        path.write_bytes(damaged)
        with pytest.raises(AssetError, match="not a readable bank"):
            Bank(path)
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "else"
    with pytest.raises(AssetError, match="not a bank of version 2"):
        Bank(path)
    with pytest.raises(AssetError, match="is not a file"):
        Bank(tmp_path / "missing.h5")


def test_a_bank_that_cannot_be_finished_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    with pytest.raises(AssetError, match="no entry to write"):
        write_bank(path, head(), [], "raw")
    with pytest.raises(AssetError, match="'disc-1' stands twice"):
        write_bank(path, head(), [entry(0), entry(1), entry(1)], "raw")
    with pytest.raises(AssetError, match="is 96 px, not 64"):
        write_bank(path, head(size_px=64), [entry(0)], "raw")
    (tmp_path / "file").touch()
    with pytest.raises(ShardError, match="cannot be written"):
        write_bank(tmp_path / "file/b.h5", head(), [entry(0)], "raw")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_entry_is_checked_against_its_declared_fields() -> None:
    with pytest.raises(SampleError, match="entry_id: expected text of at most 23 bytes"):
        entry(0, entry_id="x" * 24)
    with pytest.raises(SampleError, match=r"K_px: expected float32 \(3, 3\)"):
        entry(0, K_px=np.eye(4, dtype=np.float32))


def test_pools_hold_the_entries_of_a_split_side_and_tone(tmp_path: Path) -> None:
    bank = Bank(disc_bank(tmp_path / "b.h5", 12))
    assert bank.pool("train", 0) == [0, 6]
    assert bank.pool("val", 1) == [3, 9]
    assert bank.pool("train", 0, tone=3) == [6]  # tones are number % 4 + 1
    assert bank.pool("train", 0, tone=4) == []
    bank.require(["train", "val", "test"])
    lopsided = Bank(disc_bank(tmp_path / "c.h5", 3))
    with pytest.raises(ConfigError, match=r"no left hand in split 'val' \(entries: train 2, val 1, test 0\)"):
        lopsided.require(["val"])


def test_pictures_are_kept_raw_while_they_are_small() -> None:
    fits = RAW_LIMIT_BYTES // (384 * 384 * 4)
    assert storage_for(fits, 384) == "raw"
    assert storage_for(fits + 1, 384) == "jpeg"
