"use strict";
(() => {
  document.documentElement.classList.add("js");
  const table = document.getElementById("findings");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const order = ["high", "medium", "low", "info"];
  const text = document.getElementById("filter-text");
  const level = document.getElementById("filter-level");
  const rule = document.getElementById("filter-rule");
  const shown = document.getElementById("shown");
  const filter = () => {
    const wanted = text.value.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      const fits = (!wanted || row.textContent.toLowerCase().includes(wanted))
        && (!level.value || row.dataset.level === level.value)
        && (!rule.value || row.dataset.rule === rule.value);
      row.hidden = !fits;
      if (fits) count += 1;
    }
    shown.textContent = count + " of " + rows.length + " findings";
  };
  for (const control of [text, level, rule]) control.addEventListener("input", filter);
  document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
  const value = (row, index) => {
    const cell = row.cells[index].textContent.trim().toLowerCase();
    return index === 0 ? String(order.indexOf(cell)) : cell;
  };
  Array.from(table.tHead.rows[0].cells).forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.textContent = "";
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort((a, b) => value(a, index).localeCompare(value(b, index)) * (down ? -1 : 1));
      body.append(...rows);
    });
  });
  filter();
})();
