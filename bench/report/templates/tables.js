const collator = new Intl.Collator(undefined, { numeric: true });

/** Makes a table's columns sortable and its rows filterable. A row is a tbody: it may have several lines. */
function workTable(section) {
  const table = section.querySelector("table");
  const rows = [...table.tBodies];
  if (rows.length < 2) return;
  const name = words(section.querySelector(".number"));
  const field = make("input", { type: "search", placeholder: "Filter rows", "aria-label": `Filter the rows of ${name}` });
  const count = make("p", { role: "status", "aria-live": "polite" });
  const hint = make("p", { class: "hint" }, "Press a number to see where it comes from");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  let order = "";

  const tell = () => {
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = `${shown === rows.length ? "" : `${shown} of `}${rows.length} rows${order}`;
    repeatHeads(table);
    const stop = table.querySelector('.open[tabindex="0"]');
    if (stop?.closest("tbody").hidden) stopAt(all(".open", table), table.querySelector("tbody:not([hidden]) .open"));
  };
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    rows.forEach((row, i) => (row.hidden = !words.every((word) => texts[i].includes(word))));
    tell();
  });
  for (const head of table.tHead.rows[0].cells) {
    const title = head.querySelector(".title");
    const press = button({ class: "sort" }, ...title.childNodes);
    title.append(press);
    press.addEventListener("click", () => {
      const direction = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
      sortTable(table, rows, head, direction === undefined ? "ascending" : direction);
      order = direction === null ? "" : `, sorted by ${words(press)}, ${direction ?? "ascending"}`;
      tell();
    });
  }
  section.querySelector(".scroll").before(make("div", { class: "bar" }, field, count, hint));
  tell();
}

/** direction: ascending, descending, or null for the order in which the suite has the rows. What is missing comes last. */
function sortTable(table, rows, head, direction) {
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  if (direction) head.setAttribute("aria-sort", direction);
  const sign = direction === "descending" ? -1 : 1;
  const keys = new Map(rows.map((row) => [row, direction ? keyOf(row, head.cellIndex) : null]));
  const compare = (one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" ? a - b : collator.compare(a, b));
  };
  table.append(...[...rows].sort(compare));
}

/** By what a row is sorted: a number in its base unit, or the text of a heading; null where there is nothing. */
function keyOf(row, column) {
  const group = row.querySelector(".group");
  const line = row.querySelector(".ours") ?? [...row.rows].at(-1);
  const cell = group && column === 0 ? group.cells[0] : line.cells[column];
  if (cell.tagName === "TH") return words(cell);
  const n = cell.querySelector("[data-n]")?.dataset.n;
  return n === undefined ? null : data().numbers.value[n];
}

/** Pales the headings that only repeat those of the row above. */
function repeatHeads(table) {
  if (table.matches(".stacked")) return;
  let before = [];
  for (const body of table.tBodies) {
    if (body.hidden) continue;
    const heads = all("th", body.rows[0]);
    let same = true;
    heads.forEach((head, i) => {
      same &&= before[i]?.textContent === head.textContent;
      head.classList.toggle("again", same);
    });
    before = heads;
  }
}
