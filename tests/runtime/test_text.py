from roformermil.runtime.text import first_lines, join_some, markdown_table, plural


def test_long_lists_and_texts_end_with_the_number_of_what_is_left_out():
    assert join_some(["a", "b"], limit=2) == "a, b"
    assert join_some(["a", "b", "c", "d"], limit=2) == "a, b and 2 more"
    assert first_lines(["a", "b"], 2) == "a\nb"
    assert first_lines(["a", "b", "c"], 2) == "a\nb\nand 1 more"
    kinds = [
        "row 1: no file at /a/1",
        "row 2: no file at /b",
        "row 3: no file at /c",
        "row 4: no patient",
        "row 5: label 'x'",
    ]
    assert first_lines(kinds, 4).splitlines() == [*kinds[:2], *kinds[3:], "and 1 more"], "of each kind the first"


def test_one_is_singular():
    assert [plural(count, "patient") for count in (0, 1, 2)] == ["0 patients", "1 patient", "2 patients"]


def test_markdown_tables_escape_what_would_end_a_cell():
    table = markdown_table(["name", "value"], [("a|b", 1), ("c", 0.5)])
    assert table == "| name | value |\n| --- | --- |\n| a\\|b | 1 |\n| c | 0.5 |"
