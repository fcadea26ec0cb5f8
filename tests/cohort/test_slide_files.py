from roformermil.cohort.slide_files import content_id


def test_the_content_id_depends_on_content_not_on_the_name(tmp_path):
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


def test_the_content_id_of_a_folder_depends_on_its_files(tmp_path):
    folder = tmp_path / "slide.zarr"
    (folder / "0").mkdir(parents=True)
    for k in range(40):
        (folder / f"0/{k}").write_bytes(bytes([k]) * 100)
    first = content_id(folder)
    assert content_id(folder) == first
    (folder / "0/0").write_bytes(b"x" * 100)
    assert content_id(folder) != first
    (folder / "0/0").write_bytes(bytes(100))
    (folder / "0/7").rename(folder / "0/70")
    assert content_id(folder) != first
