"use strict";
// What the page does beyond what is written in it. Without this script it can be read in full.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const said = document.getElementById("said");

function say(text) {
  said.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (said.textContent = ""), 2500);
}

// Sorting: numbers by size, all else as text; what has no value comes last in either direction.
function sort(table, header) {
  const column = header.cellIndex;
  const down = header.getAttribute("aria-sort") === "ascending";
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const [p, q] = [Number(x), Number(y)];
    const order = Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y, "en", { numeric: true }) : p - q;
    return down ? -order : order;
  };
  for (const other of all("[aria-sort]", table)) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(compare));
  say(`Sorted by ${header.textContent.trim()}, ${down ? "descending" : "ascending"}`);
}
for (const button of all("table.sortable .sort")) {
  button.addEventListener("click", () => sort(button.closest("table"), button.closest("th")));
}

// Sliders: each picture is that of the position, or the last one before it; where there is none, the first.
for (const slides of all(".slides")) {
  const slider = slides.querySelector(".slider");
  if (!slider) continue;
  const input = slider.querySelector("input");
  const positions = input.dataset.positions.split(" ").map(Number);
  const shown = (n) => `${n.toLocaleString("en")} ${slides.dataset.unit}`;
  const show = () => {
    const at = positions[input.value];
    slider.querySelector("output").textContent = shown(at);
    input.setAttribute("aria-valuetext", shown(at));
    for (const strip of all(".strip", slides)) {
      const images = all("img[data-at]", strip);
      const chosen = images.filter((image) => Number(image.dataset.at) <= at).pop() ?? images[0];
      for (const image of images) image.hidden = image !== chosen;
      if (chosen) strip.querySelector(".at").textContent = shown(Number(chosen.dataset.at));
    }
  };
  input.addEventListener("input", show);
  slider.hidden = false;
  show();
}

// Series of the figures, switched in all of them at once.
for (const toggle of all(".toggle")) {
  toggle.addEventListener("click", () => {
    const on = toggle.getAttribute("aria-pressed") !== "true";
    const series = toggle.dataset.series;
    for (const same of all(`.toggle[data-series="${series}"]`)) same.setAttribute("aria-pressed", on);
    for (const drawn of all(`.chart .series${series}`)) drawn.style.display = on ? "" : "none";
  });
}

// Light or dark: as the system has it until the button says otherwise.
const theme = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
const label = () => {
  theme.textContent = isDark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
};
try {
  const stored = localStorage.getItem("genjax-report-theme");
  if (stored === "light" || stored === "dark") document.documentElement.dataset.theme = stored;
} catch { /* no storage for pages from disk */ }
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("genjax-report-theme", document.documentElement.dataset.theme); } catch { /* as above */ }
  label();
});
system.addEventListener("change", label);
theme.hidden = false;
label();

// Copying, also where the browser keeps the clipboard from pages on disk.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
for (const button of all(".copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    const done = await copy(code.textContent);
    button.focus();
    if (!done) getSelection().selectAllChildren(code);
    say(done ? "Copied" : "Selected: copy it by hand");
  });
}
