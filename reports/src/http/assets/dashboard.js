// Makes pages handier: finds and sorts rows, copies commands, says that something is being computed, and shows a new build's figures.
// Pages are complete without it.
"use strict";

// Fewer are seen at a glance.
const MANY = 6;

/// Puts a field before `place` that hides those items that have not all of its words.
function addFind(items, place, name) {
  const label = document.createElement("label");
  label.className = "find";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = name;
  input.setAttribute("aria-label", name);
  const told = document.createElement("span");
  told.setAttribute("role", "status");
  label.append(input, told);
  place.before(label);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const text = item.textContent.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
      if (!item.hidden) shown += 1;
    }
    told.textContent = words.length ? `${shown} of ${items.length}` : "";
  });
}

function addFinds(root) {
  for (const table of root.querySelectorAll("table.data")) {
    const rows = Array.from(table.tBodies[0] ? table.tBodies[0].rows : []);
    if (rows.length >= MANY) addFind(rows, table.closest(".scroll") || table, "Find in these rows");
  }
  for (const list of root.querySelectorAll(".findings")) {
    const items = Array.from(list.children).filter((child) => child.matches("details"));
    if (items.length >= MANY) addFind(items, list, "Find in this list");
  }
}

/// What a row is sorted by: a number where the column has numbers, else its text; `null` where there is none.
function sortValue(row, place, isNumber) {
  const cell = row.cells[place];
  if (!cell) return null;
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = cell.textContent.trim();
  if (!isNumber) return text || null;
  const number = Number(text);
  return text === "" || Number.isNaN(number) ? null : number;
}

/// Makes the rows of tables sortable that the server does not sort.
function addSorts(root) {
  for (const table of root.querySelectorAll("table.data")) {
    const body = table.tBodies[0];
    const heading = table.tHead && table.tHead.rows[0];
    if (!body || !heading || heading.querySelector("a.sort")) continue;
    const isMovable = (row) => !row.matches(".sum");
    const usual = Array.from(body.rows).filter(isMovable);
    if (usual.length < 2) continue;
    const last = Array.from(body.rows).filter((row) => !isMovable(row));
    for (const [place, th] of Array.from(heading.cells).entries()) {
      const isNumber = th.classList.contains("number");
      // Instants are sorted as numbers too; the newest first.
      const isQuantity = isNumber || usual.some((row) => row.cells[place] && row.cells[place].dataset.value !== undefined);
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      const words = document.createElement("span");
      words.append(...th.childNodes);
      const arrow = document.createElement("span");
      arrow.setAttribute("aria-hidden", "true");
      button.append(words, arrow);
      th.append(button);
      button.addEventListener("click", () => {
        const before = th.getAttribute("aria-sort");
        // Numbers are looked at from the largest, names from the first.
        const isDescending = before ? before === "ascending" : isQuantity;
        for (const other of heading.cells) {
          other.removeAttribute("aria-sort");
          const mark = other.querySelector("button.sort [aria-hidden]");
          if (mark) mark.textContent = "";
        }
        th.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
        arrow.textContent = isDescending ? " ↓" : " ↑";
        const values = new Map(usual.map((row) => [row, sortValue(row, place, isQuantity)]));
        const compare = (one, other) => {
          const [a, b] = [values.get(one), values.get(other)];
          // What is unknown comes last, whichever way.
          if (a === null || b === null) return (a === null) - (b === null);
          const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
          return isDescending ? -order : order;
        };
        body.append(...[...usual].sort(compare), ...last);
      });
    }
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
  addFinds(root);
  addSorts(root);
  addCopies(root);
}

const main = document.getElementById("main");

// What takes longer than a moment is said to be computed. The server gives up after half a minute, and so does this.
const SOON = 300;
const LATEST = 40000;
const loading = document.createElement("div");
loading.className = "loading";
loading.setAttribute("role", "status");
document.body.append(loading);
let timers = [];

function rest() {
  timers.forEach(clearTimeout);
  timers = [];
  loading.textContent = "";
  if (main) main.removeAttribute("aria-busy");
}

function work() {
  rest();
  const show = () => {
    loading.textContent = "Computing …";
    if (main) main.setAttribute("aria-busy", "true");
  };
  timers = [setTimeout(show, SOON), setTimeout(rest, LATEST)];
}

document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest("a[href]");
  const isElsewhere = event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
  if (!link || isElsewhere || link.hasAttribute("download") || link.target) return;
  // Links in pictures have an address that is an object.
  const href = link.getAttribute("href");
  if (!href.startsWith("#")) work();
});
document.addEventListener("submit", (event) => {
  // A download leaves the page as it is.
  const isDownload = event.submitter && event.submitter.value === "csv";
  if (!event.defaultPrevented && !isDownload) work();
});
// Who goes back to a page finds it as it was left.
window.addEventListener("pageshow", rest);

async function served() {
  const answer = await fetch("/api/v1/build", { headers: { Accept: "application/json" } });
  return answer.ok ? (await answer.json()).build : null;
}

// A new build changes figures: the page fetches itself again, unless somebody is typing, has typed a filter, sorted or opened something on it.
const build = document.querySelector('meta[name="podledger-build"]');

async function refresh() {
  const isFiltered = Array.from(main.querySelectorAll(".find input")).some((input) => input.value);
  const isSorted = main.querySelector("th[aria-sort] button.sort");
  const isBusy = isFiltered || isSorted || main.querySelector("details[open]") || main.contains(document.activeElement) || document.hidden;
  if (isBusy) return;
  try {
    const now = await served();
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

// Before there is anything to show, the page waits for it.
async function begin() {
  try {
    const now = await served();
    if (now && now !== main.dataset.shows) window.location.reload();
  } catch {
    // The server may be starting anew.
  }
}

enhance(document);
if (build) setInterval(refresh, 20000);
if (main && main.dataset.shows !== undefined) setInterval(begin, 5000);
