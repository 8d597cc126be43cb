"""What the pages name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NAMED = re.compile(r"`((?:backend|changen2_qgis|docs|resources|tests)/[\w./-]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page):
    named = NAMED.findall(page.read_text(encoding="utf8"))
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


def test_some_pages_name_files():
    assert any(NAMED.search(page.read_text(encoding="utf8")) for page in PAGES)
