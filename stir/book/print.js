// What paper needs of the book on one page, beside what any page on paper needs (book/_static/book.js); run by
// stir/book/pdf.py before it prints.
([title, authors, note]) => {
  const make = (name, text) => Object.assign(document.createElement(name), { textContent: text });

  // The theme's sheet of contents has the first page's title in place of the book's; that stands on the page itself.
  const front = document.getElementById("jb-print-docs-body");
  front.style.breakAfter = "page";
  front.querySelector("h1").replaceWith(make("h1", title), make("p", authors), make("p", note));
  document.querySelector("article h1").style.setProperty("display", "block", "important");

  // Links to pages lead to their place in this file; names that several pages have are told apart where citations need it.
  for (const entry of document.querySelectorAll("[role=doc-biblioentry][id], div.citation[id]")) entry.id = `cited-${entry.id}`;
  for (const link of document.querySelectorAll(".bibtex-citation a")) link.setAttribute("href", link.hash.replace("#", "#cited-"));
  let page = "index";
  for (const each of document.querySelectorAll("span[id^='document-'], article a[href]")) {
    if (each.tagName === "SPAN") { page = each.id.slice("document-".length); continue; }
    const target = each.getAttribute("href");
    if (/^(\w+:|#)/.test(target)) continue;
    const [path, place] = target.split("#");
    const name = new URL(path, `file:///${page}`).pathname.slice(1).replace(/\.html$/, "");
    const id = path === "index.html" && place ? place : `document-${name}`;
    if (document.getElementById(id)) each.setAttribute("href", `#${id}`);
    else each.removeAttribute("href");
  }

  for (const each of document.querySelectorAll(".explorer")) {
    each.replaceWith(make("p", "On a screen networks, a layer and a step are chosen here; on paper there is the picture below."));
  }

  // Tables as wide as a sheet.
  for (const table of document.querySelectorAll("article table")) {
    const room = table.parentElement.closest("div").clientWidth;
    if (table.offsetWidth > room) table.style.zoom = room / table.offsetWidth;
  }
}
