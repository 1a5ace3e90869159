/** Screen pixels from which a mark is found. */
const NEAR = 28;
const tip = make("div", { class: "tip", hidden: "" });

/** Makes the marks of a drawing say what they stand for, under the pointer and under the keyboard's focus. */
function workDrawing(svg) {
  const marks = all(".mark", svg);
  if (!marks.length) return;
  svg.setAttribute("role", "group");
  for (const mark of marks) {
    const title = mark.querySelector("title");
    mark.dataset.says = title.textContent;
    title.remove();
    mark.setAttribute("role", mark.dataset.n === undefined ? "img" : "button");
    mark.setAttribute("aria-label", mark.dataset.says);
  }
  stopAt(marks, marks[0]);
  svg.addEventListener("pointermove", (event) => point(svg, nearest(marks, event)));
  svg.addEventListener("pointerdown", (event) => point(svg, nearest(marks, event)));
  svg.addEventListener("pointerleave", () => point(svg, svg.contains(document.activeElement) ? document.activeElement : null));
  svg.addEventListener("click", (event) => openMark(nearest(marks, event)));
  svg.addEventListener("focusin", (event) => {
    stopAt(marks, event.target);
    point(svg, event.target);
  });
  svg.addEventListener("focusout", () => point(svg, null));
  svg.addEventListener("keydown", (event) => {
    const place = marks.indexOf(event.target);
    const next = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1, Home: 0, End: marks.length - 1 }[event.key];
    if (event.key === "Escape") point(svg, null);
    else if (event.key === "Enter" || event.key === " ") openMark(event.target);
    else if (next === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    else marks[Math.min(Math.max(next, 0), marks.length - 1)].focus();
    event.preventDefault();
  });
}

function openMark(mark) {
  if (mark?.dataset.n === undefined) return;
  const [where, shown] = parts(mark.dataset.says);
  showNumber(Number(mark.dataset.n), shown, [words(mark.closest("figure").querySelector(".number")), where].join(", "));
}

/** `zero, c = 2: 47.5 %` as what it is of and what it is. */
function parts(text) {
  const at = text.lastIndexOf(": ");
  return at < 0 ? ["", text] : [text.slice(0, at), text.slice(at + 2)];
}

/** The mark under the pointer or close to it; of several the smallest, because a line may lie across a bar. */
function nearest(marks, event) {
  let [found, best] = [null, [NEAR, Infinity]];
  for (const mark of marks) {
    const box = mark.getBoundingClientRect();
    const x = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
    const y = Math.max(box.top - event.clientY, 0, event.clientY - box.bottom);
    const key = [Math.max(Math.hypot(x, y) - 4, 0), box.width * box.height];
    if (key[0] < best[0] || (key[0] === best[0] && key[1] < best[1])) [found, best] = [mark, key];
  }
  return found;
}

/** Shows what a mark says beside it, and a ring around it; null hides both. */
function point(svg, mark) {
  for (const ring of all(".ring", svg)) ring.remove();
  svg.classList.toggle("marked", mark?.dataset.n !== undefined);
  tip.hidden = !mark;
  if (!mark) return;
  const box = mark.getBBox();
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const size = { x: box.x - 2, y: box.y - 2, width: box.width + 4, height: box.height + 4, rx: 2.5, class: "ring" };
  for (const [key, value] of Object.entries(size)) ring.setAttribute(key, value);
  mark.parentNode.append(ring);
  const [where, shown] = parts(mark.dataset.says);
  tip.replaceChildren(make("strong", {}, shown), make("span", {}, where));
  placeTip(mark.getBoundingClientRect());
}

/** Above the mark where there is room, and never outside of the window. */
function placeTip(box) {
  const own = tip.getBoundingClientRect();
  const left = Math.min(Math.max(box.left + box.width / 2 - own.width / 2, 8), innerWidth - own.width - 8);
  const above = box.top - own.height - 10;
  tip.style.left = `${Math.max(left, 8)}px`;
  tip.style.top = `${above < 8 ? Math.min(box.bottom + 10, innerHeight - own.height - 8) : above}px`;
}
