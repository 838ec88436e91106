"""Tables on a phone: without room for its columns, a row becomes a list of names and values."""

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
    """Return the HTML of a page whose wide tables have in each cell the name of its column.

    A cell has its column's heads as `data-head`, and the class `prose` where it needs a line of its own. A row begins
    with what it is of: its first cell, unless that is a number, has the class `row-head`; what heads of rows above span
    it as `data-before`; and the words of the cells after it, as far as these name rows too, as `data-after`, with the
    class `in-head`.
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
    names = _names(rows) if rows else 0
    for cells, spanning in zip(rows, _spanning(heads, rows), strict=True):
        # Heads that span rows are missing in the later ones of these: cells are counted from the last.
        for cell, head in zip(reversed(cells), reversed(heads), strict=False):
            if cell.name == "td":
                cell["data-head"] = head
            if _is_prose(cell):
                _add_class(cell, "prose")
        if cells:
            _name_row(heads, cells, spanning, len(cells) - len(heads) + names)
    return str(soup)


def _name_row(heads: list[str], cells: list[Tag], spanning: list[str], names: int) -> None:
    first, *others = cells
    if first.name == "td" and NUMBER.match(_text(first)):
        return
    _add_class(first, "row-head")
    if spanning:
        name = _named(heads, len(cells), first).removesuffix(_text(first))
        first["data-before"] = "".join(f"{text}, " for text in spanning) + name
    words = []
    for place, cell in enumerate(others[: max(names - 1, 0)], 1):
        words += [_named(heads, len(cells) - place, cell)] if _text(cell) else []
        _add_class(cell, "in-head")
    if words:
        first["data-after"] = "".join(f", {text}" for text in words)


def _names(rows: Sequence[Sequence[Tag]]) -> int:
    """Number of columns that name the rows: the heads, or else the first and those after it with a few words each."""
    first = max(rows, key=len)
    if first[0].name == "th":
        return sum(cell.name == "th" for cell in first)
    named = 1
    while all(named < len(cells) and _is_plain(cells[named]) for cells in rows):
        named += 1
    return named


def _spanning(heads: list[str], rows: Sequence[Sequence[Tag]]) -> list[list[str]]:
    """The heads from above that each row has beside its own, which span it, outermost first."""
    spanning: list[list[str]] = []
    open_: list[tuple[str, int]] = []  # head, and how many more rows it spans
    for cells in rows:
        open_ = [(text, left - 1) for text, left in open_ if left]
        spanning.append([text for text, _ in open_])
        for place, cell in enumerate(cells):
            if cell.name == "th":
                text = _named(heads, len(cells) - place, cell)
                open_.append((text, int(str(cell.get("rowspan", "1"))) - 1))
    return spanning


def _named(heads: list[str], from_last: int, cell: Tag) -> str:
    """Content of a cell with the name of its column, which the first column does not need."""
    name = heads[-from_last] if from_last < len(heads) else ""
    return f"{name} {_text(cell)}".strip()


def _is_plain(cell: Tag) -> bool:
    """True if a cell holds a few words, and no number, sentence, link, formula or verdict."""
    return cell.find(["a", "span", "code"]) is None and not _is_prose(cell) and not NUMBER.match(_text(cell))


def _text(cell: Tag) -> str:
    return " ".join(cell.get_text().split())


def _add_class(element: Tag, name: str) -> None:
    element["class"] = " ".join([*(element.get("class") or []), name])


def _is_prose(cell: Tag) -> bool:
    return cell.name == "td" and len(_text(cell)) > SHORT


def _width(heads: list[str], rows: Sequence[Sequence[Tag]]) -> int:
    """Letters of the widest line of a table, with a gap of two for each column; names of rows and prose go on below."""
    widths = [max(map(len, head.split()), default=0) for head in heads]
    for cells in rows:
        for place, cell in zip(range(1, len(heads) + 1), reversed(cells), strict=False):
            text = _text(cell)
            width = max(map(len, text.split())) if _is_prose(cell) else min(len(text), SHORT)
            widths[-place] = max(widths[-place], width)
    return sum(widths) + 2 * len(widths)


def _heads(thead: Tag) -> list[str]:
    """Headings of each column, from top to bottom; names of the index head its own columns alone."""
    columns: list[list[str]] = []
    for row in thead.find_all("tr"):
        place = 0
        for cell in row.find_all(["th", "td"], recursive=False):
            text = _text(cell)
            for _ in range(int(str(cell.get("colspan", "1")))):
                columns += [[]] if place == len(columns) else []
                columns[place] += [text] if text else []
                place += 1
    return [", ".join(parts) for parts in columns]
