document.body.append(tip);
document.querySelector("header.page").prepend(make("div", { class: "tools" }, themeButton()));
openNumbers();
all("section.table").forEach(workTable);
all(".panel > svg").forEach(workDrawing);
all(".pictures").forEach(workPictures);
