import pytest

from changen2.jobs.detection.alignment import doubt, in_words
from changen2.raster.registration import Shift


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


@pytest.mark.parametrize(
    ("samples", "looked_at", "words"),
    [(3, 4, None), (0, 4, "No reliable shift between the dates was found"), (0, 0, "no place was found where both")],
)
def test_why_nothing_was_moved(samples, looked_at, words):
    told = doubt(Shift(columns=0, rows=0, metres=None, samples=samples, looked_at=looked_at))
    assert told is None if words is None else words in told
    assert doubt(None) is None
