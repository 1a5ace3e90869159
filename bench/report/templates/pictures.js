let viewer;

/** Makes a button of every picture of a figure, which shows it as large as the window. */
function workPictures(group) {
  const images = all("img", group);
  images.forEach((image, place) => {
    const press = button({ class: "zoom", "aria-haspopup": "dialog", "aria-label": `Enlarge: ${image.alt}` });
    image.before(press);
    press.append(image);
    press.addEventListener("click", () => showPictures(images, place));
  });
}

function showPictures(images, first) {
  viewer ??= dialog("viewer", "viewer-name");
  let [place, size] = [first, 1];
  const picture = make("img", { alt: "" });
  const stage = make("div", { class: "stage", tabindex: "0" }, picture);
  const name = make("h2", { id: "viewer-name", "aria-live": "polite" });
  const shown = make("p", {});
  const side = (length) => Number(images[place].getAttribute(length));
  const fitting = () => {
    const room = Math.min((stage.clientWidth - 32) / side("width"), (stage.clientHeight - 32) / side("height"));
    return room > 2 ? Math.floor(room) : Math.max(room, 0.05);
  };
  const zoom = (to) => {
    size = Math.min(Math.max(to, 0.05), 64);
    picture.style.width = `${side("width") * size}px`;
    picture.className = size > 1.5 ? "small-picture" : "";
    shown.textContent = `${images.length > 1 ? `${place + 1} of ${images.length}, ` : ""}${side("width")} x ${side("height")} pixels, ${Math.round(100 * size)} %`;
  };
  const turn = (to) => {
    place = (to + images.length) % images.length;
    picture.src = images[place].src;
    picture.alt = images[place].alt;
    name.textContent = images[place].alt;
    zoom(fitting());
  };
  const actions = [
    ["Previous", "ArrowLeft", () => turn(place - 1)],
    ["Next", "ArrowRight", () => turn(place + 1)],
    ["Smaller", "-", () => zoom(size / 1.5)],
    ["Larger", "+", () => zoom(size * 1.5)],
    ["Fit", "0", () => zoom(fitting())],
  ].slice(images.length > 1 ? 0 : 2);
  const tools = actions.map(([label, key, act]) => {
    const press = button({ class: "tool", "aria-keyshortcuts": key, title: `${label} (${key.replace("Arrow", "arrow ").toLowerCase()})` }, label);
    press.addEventListener("click", act);
    return press;
  });
  const close = button({ class: "tool" }, "Close");
  close.addEventListener("click", () => viewer.close());
  viewer.onkeydown = (event) => {
    const act = actions.find(([, key]) => key === event.key || (key === "+" && event.key === "="))?.[2];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  };
  viewer.replaceChildren(
    make("div", { class: "head" }, make("div", {}, name, shown), make("div", { class: "tools" }, ...tools, close)),
    stage,
  );
  viewer.showModal();
  turn(first);
}
