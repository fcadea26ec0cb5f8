import pytest

from roformermil.files import atomic_path, content_id, fingerprint, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_replaces_a_folder(tmp_path):
    target = tmp_path / "store.zarr"
    for name in ("one", "two"):
        with atomic_path(target) as scratch:
            scratch.mkdir()
            (scratch / name).touch()
    assert [p.name for p in target.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [target]


def test_fingerprints_depend_on_values_not_on_order():
    assert fingerprint(a=1, b="x") == fingerprint(b="x", a=1)
    assert fingerprint(a=1, b="x") != fingerprint(a=2, b="x")


def test_content_id_follows_content(tmp_path):
    file, copy = tmp_path / "a", tmp_path / "b"
    data = bytearray(range(256)) * 10000
    file.write_bytes(data)
    copy.write_bytes(data)
    assert content_id(file) == content_id(copy)
    data[0] ^= 1
    copy.write_bytes(data)
    assert content_id(file) != content_id(copy)
    copy.write_bytes(data[:-1])
    assert content_id(file) != content_id(copy)
