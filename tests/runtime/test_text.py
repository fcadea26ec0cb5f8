from roformermil.runtime.text import (
    aligned_table,
    duration,
    file_size,
    first_lines,
    join_some,
    markdown_table,
    plural,
    two_digits,
)


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


def test_columns_of_a_table_for_the_terminal_are_aligned():
    table = aligned_table(["name", "tiles", ""], [("a", "1,234", "x"), ("long name", "5", "")], {"tiles"})
    assert table.splitlines() == ["name       tiles", "a          1,234  x", "long name      5"]


def test_amounts_have_two_digits_and_the_unit_that_a_person_would_use():
    seconds = [0.25, 8.31, 99, 100, 5900, 6000, 47 * 3600, 48 * 3600, 10**7]
    assert [duration(s) for s in seconds] == [
        "0.25 s",
        "8.3 s",
        "99 s",
        "1.7 min",
        "98 min",
        "1.7 h",
        "47 h",
        "2.0 days",
        "116 days",
    ]
    assert [file_size(n) for n in (640, 1.2e3, 24e6, 1.24e9, 2.4e15)] == [
        "640 bytes",
        "1.2 kB",
        "24 MB",
        "1.2 GB",
        "2,400 TB",
    ]
    assert [two_digits(value) for value in (0, 0.0314, 5, 1234.5)] == ["0", "0.031", "5.0", "1,234"]
