// What all pages need beyond their style sheet: heat maps by keyboard, and paper.
document.addEventListener("DOMContentLoaded", () => {
  "use strict";

  // Heat maps (stir/study/heatmaps.py) are grids, as in ARIA's practices: one stop of the Tab key for each, whose cells the
  // arrows, Home and End reach. The style sheet shows the details of the cell in focus; Escape hides them, Enter brings them
  // back. Without JavaScript each cell is a stop.
  const filled = (part) => [...part.querySelectorAll("td[tabindex]")];
  const reached = (cell, key, fromEnds) => {
    const body = cell.closest("tbody");
    const row = filled(cell.parentElement);
    const column = filled(body).filter((each) => each.cellIndex === cell.cellIndex);
    const ends = fromEnds ? filled(body) : row;
    return {
      ArrowLeft: row[row.indexOf(cell) - 1],
      ArrowRight: row[row.indexOf(cell) + 1],
      ArrowUp: column[column.indexOf(cell) - 1],
      ArrowDown: column[column.indexOf(cell) + 1],
      Home: ends[0],
      End: ends.at(-1),
    }[key];
  };
  for (const map of document.querySelectorAll(".heatmaps table")) {
    const cells = filled(map);
    const stopAt = (cell) => cells.forEach((each) => (each.tabIndex = each === cell ? 0 : -1));
    map.setAttribute("role", "grid");
    stopAt(cells[0]);
    map.addEventListener("focusin", ({ target }) => {
      target.classList.remove("dismissed");
      stopAt(target);
    });
    map.addEventListener("keydown", (event) => {
      if (event.altKey || event.metaKey) return; // the browser's own
      if (["Enter", "Escape"].includes(event.key)) event.target.classList.toggle("dismissed", event.key === "Escape");
      if (!/^(Arrow.*|Home|End)$/.test(event.key)) return;
      event.preventDefault(); // scrolling
      reached(event.target, event.key, event.ctrlKey)?.focus();
    });
  }

  // On paper reasons, proofs and choices are open, and the theme is the light one; what else is folded stays out (book.css).
  const page = document.documentElement;
  let opened = [];
  let theme;
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:is(.reasons, .sd-dropdown, .choice):not([open])")];
    opened.forEach((each) => (each.open = true));
    theme = page.dataset.theme;
    page.dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    opened.forEach((each) => (each.open = false));
    page.dataset.theme = theme;
  });
});
