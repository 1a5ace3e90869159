const THEME = "bench-report-theme";

/** What the reader chose on another page of ours; nothing where the browser keeps no such things. */
function storedTheme() {
  try {
    return localStorage.getItem(THEME);
  } catch {
    return null;
  }
}

function themeButton() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = storedTheme();
  if (stored === "dark" || stored === "light") root.dataset.theme = stored;
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const found = button({ class: "tool" }, "Dark mode");
  const show = () => found.setAttribute("aria-pressed", String(dark()));
  found.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem(THEME, root.dataset.theme);
    } catch {
      // The choice lasts as long as the page does.
    }
    show();
  });
  system.addEventListener("change", show);
  show();
  return found;
}
