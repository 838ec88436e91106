"""Tables that are read on a phone: where there is no room for its columns, a row becomes a list of what they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bs4 import BeautifulSoup
from bs4.element import Tag

# Of Markdown and of pandas; grids, heat maps and parameters have ways of their own.
TABLE = re.compile(
    r'<table (?=[^>]*(?:\bid="T_|class="(?:[^"]* )?(?:dataframe|table)[" ]))(?:(?!</table>).)*</table>', re.DOTALL
)
NUMBER = re.compile(r"\s*[-+\u2212]?\d")
ROOM = 44  # letters side by side that a phone has room for
SHORT = 20  # letters that stand in one line where they can
STACKED = "stacked"  # the class that the style sheet knows such tables by


def stacked(page: str) -> str:
    """Return the HTML of a page whose wide tables tell, in each cell, what stands above it.

    A cell has its column's heads as `data-head`, and the class `prose` where it needs a line of its own; the first cell
    of a row, unless it is a head itself or a number, has the class `row-head`.
    """
    return TABLE.sub(lambda table: _stacked(table[0]), page)


def _stacked(table: str) -> str:
    soup = BeautifulSoup(table, "html.parser")
    whole = soup.table
    if whole is None or whole.thead is None or whole.tbody is None:
        return table
    heads = _heads(whole.thead)
    rows = [row.find_all(["th", "td"], recursive=False) for row in whole.tbody.find_all("tr")]
    if _width(heads, rows) <= ROOM and not whole.find(class_="verdict"):
        return table
    _add_class(whole, STACKED)
    for cells in rows:
        # Heads that span rows are missing in the later ones of these: cells are counted from the last.
        for cell, head in zip(reversed(cells), reversed(heads), strict=False):
            if cell.name == "td":
                cell["data-head"] = head
            if _is_prose(cell):
                _add_class(cell, "prose")
        if cells and cells[0].name == "td" and not NUMBER.match(cells[0].get_text()):
            _add_class(cells[0], "row-head")
    return str(soup)


def _add_class(element: Tag, name: str) -> None:
    element["class"] = " ".join([*(element.get("class") or []), name])


def _is_prose(cell: Tag) -> bool:
    return cell.name == "td" and len(" ".join(cell.get_text().split())) > SHORT


def _width(heads: list[str], rows: Sequence[Sequence[Tag]]) -> int:
    """Letters of the widest line of a table, with a gap of two for each column; names of rows and prose go on below."""
    widths = [max(map(len, head.split()), default=0) for head in heads]
    for cells in rows:
        for place, cell in zip(range(1, len(heads) + 1), reversed(cells), strict=False):
            text = " ".join(cell.get_text().split())
            width = max(map(len, text.split())) if _is_prose(cell) else min(len(text), SHORT)
            widths[-place] = max(widths[-place], width)
    return sum(widths) + 2 * len(widths)


def _heads(thead: Tag) -> list[str]:
    """What stands above each column, from top to bottom; names of the index stand above its own columns alone."""
    columns: list[list[str]] = []
    for row in thead.find_all("tr"):
        place = 0
        for cell in row.find_all(["th", "td"], recursive=False):
            text = " ".join(cell.get_text().split())
            for _ in range(int(str(cell.get("colspan", "1")))):
                columns += [[]] if place == len(columns) else []
                columns[place] += [text] if text else []
                place += 1
    return [", ".join(parts) for parts in columns]
