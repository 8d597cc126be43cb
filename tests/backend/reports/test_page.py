import json

import numpy as np

from changen2.gpcm.classes import ClassTable
from changen2.reports.page import Section, coloured, save_section, shaded, sheet, write_page

PICTURE = np.zeros((10, 20, 3), np.uint8)


def test_the_page_needs_no_other_file(tmp_path):
    section = Section("one", "A <title>", ["Text & more"], {"ratio": {"value": 1.5}}, [("A picture", PICTURE)])
    save_section(tmp_path, section, {"model": "tiny"})
    page = write_page(tmp_path, "Report", ["other", "one"]).read_text(encoding="utf-8")
    assert "A &lt;title&gt;" in page and "Text &amp; more" in page and "<td>1.5</td>" in page
    assert page.count("data:image/png;base64,") == 1 and 'src="http' not in page
    figures = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert figures == {"one": {"about": {"model": "tiny"}, "ratio": {"value": 1.5}}}


def test_a_section_made_again_leaves_no_old_pictures(tmp_path):
    save_section(tmp_path, Section("one", "", [], {}, [("a", PICTURE), ("b", PICTURE)]), {})
    save_section(tmp_path, Section("one", "", [], {}, [("a", PICTURE)]), {})
    assert [path.name for path in (tmp_path / "one").glob("*.png")] == ["01.png"]


def test_a_sheet_holds_every_picture():
    first, second = np.full((3, 8, 12), 10, np.uint8), np.full((3, 8, 12), 200, np.uint8)
    found = sheet(["a", "b"], [[first, second], [second, first]])
    assert (found == 10).all(-1).sum() == (found == 200).all(-1).sum() == 2 * 8 * 12


def test_labels_have_their_classes_colours():
    found = coloured(np.array([[0, 1]], np.uint8), ClassTable({0: "a", 1: "b"}, {0: (1, 2, 3), 1: (4, 5, 6)}))
    assert found[:, 0].T.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert shaded(np.array([[True, False]]))[0].tolist() == [[255, 60]]
