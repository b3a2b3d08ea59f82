"use strict";
(() => {
  document.documentElement.classList.add("js");
  const table = document.getElementById("findings");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const order = ["high", "medium", "low", "info"];
  const control = (name) => document.getElementById("filter-" + name);
  const [text, level, rule, subscription] = ["text", "level", "rule", "subscription"].map(control);
  const shown = document.getElementById("shown");
  const words = new Map();
  const wordsOf = (row) => {
    if (!words.has(row)) words.set(row, row.textContent.toLowerCase());
    return words.get(row);
  };
  const filter = () => {
    const wanted = text.value.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      const fits = (!level.value || row.dataset.level === level.value)
        && (!rule.value || row.dataset.rule === rule.value)
        && (!subscription.value || row.dataset.subscription === subscription.value)
        && (!wanted || wordsOf(row).includes(wanted));
      row.hidden = !fits;
      if (fits) count += 1;
    }
    shown.textContent = count + " of " + rows.length + " shown";
  };
  for (const one of [text, level, rule, subscription]) one.addEventListener("input", filter);
  document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
  const collator = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => typeof a === "number" ? a - b : collator.compare(a, b);
  const value = (row, index) => index === 0 ? order.indexOf(row.dataset.level) : row.cells[index].textContent.trim();
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
      const keys = new Map(rows.map((row) => [row, value(row, index)]));
      rows.sort((a, b) => compare(keys.get(a), keys.get(b)) * sign);
      body.append(...rows);
    });
  });
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
  });
  filter();
})();
