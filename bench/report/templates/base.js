"use strict";

/** An element with attributes and children. A child that is a text stays one: nothing here makes markup of texts. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** What an element says, in one line. */
const words = (element) => (element?.textContent ?? "").replace(/\s+/g, " ").trim();

const button = (attributes, ...children) => make("button", { type: "button", ...attributes }, ...children);

/** Facts as they stand on the page: pairs of label and value. */
function factList(pairs) {
  const rows = pairs.map(([label, value]) => make("div", {}, make("dt", {}, label), make("dd", {}, value)));
  return make("dl", { class: "facts" }, ...rows);
}

/** A closed dialog at the end of the page. A press outside of it closes it; Escape does so by itself. */
function dialog(name, heading) {
  const found = make("dialog", { class: name, "aria-labelledby": heading });
  found.addEventListener("click", (event) => event.target === found && found.close());
  document.body.append(found);
  return found;
}

/** Moves the one place of a group where Tab stops, and perhaps the focus. */
function stopAt(elements, chosen, focus = false) {
  for (const element of elements) element.setAttribute("tabindex", element === chosen ? "0" : "-1");
  if (focus) chosen?.focus();
}

let parsed;
/** The data of the page's numbers, read when they are first asked for. */
function data() {
  parsed ??= JSON.parse(document.getElementById("data").textContent);
  return parsed;
}

/** Places of texts, labels and values in turn, as pairs of texts. */
function pairs(places) {
  const { texts } = data();
  return Array.from({ length: places.length / 2 }, (_, i) => [texts[places[2 * i]], texts[places[2 * i + 1]]]);
}
