// Makes pages handier: filters rows of a table, copies commands, and shows a new build's figures. Pages are complete without it.
"use strict";

function addFilters(root) {
  for (const table of root.querySelectorAll("table.data")) {
    const rows = Array.from(table.tBodies[0] ? table.tBodies[0].rows : []);
    if (rows.length < 12) continue;
    const scroll = table.closest(".scroll");
    const label = document.createElement("label");
    label.className = "find";
    const input = document.createElement("input");
    input.type = "search";
    input.placeholder = "Find in these rows";
    input.setAttribute("aria-label", "Find in these rows");
    const told = document.createElement("span");
    told.setAttribute("role", "status");
    label.append(input, told);
    scroll.before(label);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        if (!row.hidden) shown += 1;
      }
      told.textContent = words.length ? `${shown} of ${rows.length}` : "";
    });
  }
}

function addCopies(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
}

function enhance(root) {
  addFilters(root);
  addCopies(root);
}

// A new build changes figures: the page fetches itself again, unless somebody is typing, has typed a filter or has opened something on it.
const build = document.querySelector('meta[name="podledger-build"]');

async function refresh() {
  const main = document.getElementById("main");
  const isFiltered = Array.from(main.querySelectorAll(".find input")).some((input) => input.value);
  const isBusy = isFiltered || main.querySelector("details[open]") || main.contains(document.activeElement) || document.hidden;
  if (isBusy) return;
  try {
    const answer = await fetch("/api/v1/build", { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const now = (await answer.json()).build;
    if (!now || now === build.content) return;
    const page = await fetch(window.location.href);
    if (!page.ok) return;
    const fresh = new DOMParser().parseFromString(await page.text(), "text/html");
    main.replaceChildren(...fresh.getElementById("main").childNodes);
    const footer = document.querySelector("footer");
    footer.replaceChildren(...fresh.querySelector("footer").childNodes);
    document.title = fresh.title;
    build.content = now;
    enhance(main);
  } catch {
    // The server may be starting anew.
  }
}

enhance(document);
if (build) setInterval(refresh, 20000);
