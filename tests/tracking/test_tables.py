from datetime import UTC, datetime

from msgspec import UNSET

from trivet.tracking.tables import cell_text, html_table, text_table


def test_cells_are_short():
    assert [cell_text(value) for value in (None, UNSET, 1 / 3, 7, "a\nb", float("nan"))] == [
        "-", "-", "0.333333", "7", "a b", "nan",
    ]  # fmt: skip
    assert cell_text(datetime(2026, 11, 20, 22, 5, tzinfo=UTC)) == "2026-11-20 22:05"
    assert len(cell_text("x" * 1000)) == 40


def test_columns_that_do_not_fit_are_counted():
    table = text_table(["a" * 30, "b" * 30, "c" * 30], [[1, 2, 3]], widest=65)
    assert all(len(line) <= 65 for line in table.splitlines()[:2])
    assert table.endswith(f"(1 more column: {'c' * 30})")


def test_html_is_escaped():
    assert "<script>" not in html_table(["<b>"], [["<script>alert(1)</script>"]])
    assert "&lt;b&gt;" in html_table(["<b>"], [])
