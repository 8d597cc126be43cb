import pytest

from changen2.jobs.detection.alignment import in_words


@pytest.mark.parametrize(
    ("columns", "rows", "metres", "words"),
    [
        (6.0, -3.04, 1.138, "lay 6.0 columns and −3.0 rows off, 1.14 m; undone."),
        (-0.02, 0.0, 0.0, "lay 0.0 columns and 0.0 rows off, 0.00 m; undone."),
        (1.25, 19.98, None, "lay 1.2 columns and 20.0 rows off; undone."),
    ],
)
def test_a_shift_in_words(columns, rows, metres, words):
    assert in_words({"columns": columns, "rows": rows, "metres": metres}) == f"The second image {words}"
