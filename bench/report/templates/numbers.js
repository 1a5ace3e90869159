let numberDialog;

/** Opens what is known of the n-th number of the page. shown: how the page writes it. where: what it is of. */
function showNumber(n, shown, where) {
  const { numbers, texts, cells, runs } = data();
  const run = runs[numbers.section[n]];
  const command = texts[numbers.command[n]];
  const warnings = numbers.warnings[n].map((place) => texts[place]);
  numberDialog ??= dialog("about", "about-name");
  const close = button({ class: "tool" }, "Close");
  close.addEventListener("click", () => numberDialog.close());
  const origin = make("a", { href: `#${run.origin}` }, "Everything about this run");
  origin.addEventListener("click", () => numberDialog.close());
  const body = make(
    "div",
    { class: "body" },
    factList([["Quantity", `${texts[numbers.name[n]]}: ${texts[numbers.meaning[n]]}`], ...pairs(numbers.facts[n])]),
  );
  if (warnings.length) {
    body.append(make("h3", {}, "Warnings"), make("ul", { class: "notice" }, ...warnings.map((each) => make("li", {}, each))));
  }
  if (numbers.cells[n].length) {
    body.append(make("h3", {}, numbers.cells[n].length > 1 ? "Cells" : "Cell"));
    body.append(...numbers.cells[n].map((place, index) => cellDetails(cells[place], index, numbers.cells[n].length)));
    body.append(make("h3", {}, "Measured by"), factList(pairs(run.facts)), make("p", { class: "small" }, origin));
    if (command) body.append(make("h3", {}, "To measure exactly this again"), commandBox(command));
  }
  numberDialog.replaceChildren(
    make(
      "div",
      { class: "head" },
      make("div", {}, make("h2", { id: "about-name" }, shown), make("p", {}, where)),
      close,
    ),
    body,
  );
  numberDialog.showModal();
  numberDialog.scrollTop = 0;
}

/** One cell, folded; the first is open where it is alone. */
function cellDetails([name, factors, facts], index, count) {
  const { texts } = data();
  const role = count > 1 ? [make("b", {}, index ? "Reference" : "Measured"), " "] : [];
  const found = make("details", {}, make("summary", {}, ...role, texts[name]), factList([...pairs(factors), ...pairs(facts)]));
  found.open = count === 1;
  return found;
}

function commandBox(command) {
  const code = make("code", {}, command);
  const said = make("p", { role: "status" });
  const copy = button({ class: "tool" }, "Copy");
  copy.addEventListener("click", async () => {
    said.textContent = (await copied(command, code)) ? "Copied" : "Selected; copy it with the keyboard";
  });
  return make("div", {}, make("div", { class: "command" }, make("pre", { tabindex: "0" }, code), copy), said);
}

/** Whether the text is in the clipboard; where a browser refuses that to a file, the text is at least selected. */
async function copied(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

/** Makes a button of every number outside of drawings. In a table Tab stops once, and arrows lead from there. */
function openNumbers() {
  for (const element of all(".value[data-n]")) {
    const found = button({ class: "open", "aria-haspopup": "dialog" }, ...element.childNodes);
    found.addEventListener("click", () => showNumber(Number(element.dataset.n), shownText(element), whereText(element)));
    element.append(found);
  }
  for (const table of all("table")) {
    stopAt(all(".open", table), table.querySelector(".open"));
    table.addEventListener("keydown", (event) => moveInTable(table, event));
    table.addEventListener("focusin", (event) => event.target.matches(".open") && stopAt(all(".open", table), event.target));
  }
}

function shownText(element) {
  const interval = element.parentElement.querySelector(".interval");
  return [element, interval].map(words).join(" ").trim();
}

/** The headings of a number's row and column, and what it belongs to. */
function whereText(element) {
  const cell = element.closest("td");
  if (!cell) return words(element.closest(".claim").querySelector("p"));
  const [table, line] = [cell.closest("table"), cell.parentElement];
  const group = line.parentElement.querySelector(".group");
  const heads = [...(group ? [group] : []), ...all("th", line)].map(words);
  const column = words(table.tHead.rows[0].cells[cell.cellIndex]);
  return [words(table.closest("section").querySelector(".number")), ...heads, column].join(", ");
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function moveInTable(table, event) {
  const cell = event.target.closest("td");
  if (!event.target.matches(".open") || event.altKey || event.ctrlKey || event.metaKey) return;
  const line = cell.parentElement;
  let next;
  if (STEPS[event.key]) {
    const [down, right] = STEPS[event.key];
    const lines = [...table.tBodies].filter((body) => !body.hidden).flatMap((body) => [...body.rows]);
    const found = right
      ? [...line.cells].slice(...(right > 0 ? [cell.cellIndex + 1] : [0, cell.cellIndex]))
      : lines.slice(...(down > 0 ? [lines.indexOf(line) + 1] : [0, lines.indexOf(line)])).map((each) => each.cells[cell.cellIndex]);
    const buttons = found.map((each) => each?.querySelector(".open")).filter(Boolean);
    next = down + right > 0 ? buttons[0] : buttons.at(-1);
  } else if (event.key === "Home" || event.key === "End") {
    next = all(".open", line).at(event.key === "Home" ? 0 : -1);
  } else {
    return;
  }
  event.preventDefault();
  next?.focus();
}
