"use strict";
(() => {
  document.documentElement.classList.add("js");
  const copied = (button, text) => {
    button.textContent = text;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  const select = (code) => {
    const range = document.createRange();
    range.selectNodeContents(code);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  };
  for (const box of document.querySelectorAll(".copy")) {
    const code = box.querySelector("code");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the command " + code.textContent);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        copied(button, "Copied");
      } catch {
        select(code);
        copied(button, document.execCommand("copy") ? "Copied" : "Selected");
      }
      live.textContent = "The command was copied.";
    });
    box.append(button);
  }
  const live = document.createElement("p");
  live.setAttribute("role", "status");
  live.className = "skip";
  document.body.append(live);
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
  });
  const holder = document.getElementById("cards");
  if (!holder) return;
  const cards = Array.from(holder.children);
  const levels = ["high", "medium", "low", "info"];
  const control = (name) => document.getElementById("filter-" + name);
  const [text, level, rule, subscription] = ["text", "level", "rule", "subscription"].map(control);
  const shown = document.getElementById("shown");
  const data = cards.map((card, place) => ({
    card, place, name: card.dataset.name, rank: levels.indexOf(card.dataset.level),
    findings: Array.from(card.querySelectorAll(".finding")), words: null,
  }));
  const wordsOf = (one) => {
    if (one.words === null) one.words = one.card.textContent.toLowerCase();
    return one.words;
  };
  const filter = () => {
    const wanted = text.value.trim().toLowerCase();
    let count = 0;
    for (const one of data) {
      const fits = (!subscription.value || one.card.dataset.subscription === subscription.value)
        && (!wanted || wordsOf(one).includes(wanted));
      let open = 0;
      for (const finding of one.findings) {
        const kept = (!level.value || finding.dataset.level === level.value)
          && (!rule.value || finding.dataset.rule === rule.value);
        finding.hidden = !kept;
        if (kept) open += 1;
      }
      one.card.hidden = !fits || open === 0;
      if (!one.card.hidden) count += 1;
    }
    shown.textContent = count + " of " + data.length + " shown";
  };
  for (const one of [text, level, rule, subscription]) one.addEventListener("input", filter);
  document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
  const collator = new Intl.Collator("en", { numeric: true });
  const orders = {
    worst: (a, b) => a.place - b.place,
    name: (a, b) => collator.compare(a.name, b.name) || a.place - b.place,
    count: (a, b) => b.findings.length - a.findings.length || a.place - b.place,
  };
  const order = document.getElementById("order");
  order.addEventListener("input", () => {
    holder.append(...data.slice().sort(orders[order.value]).map((one) => one.card));
  });
  filter();
})();
