"""What a script adds to pages: rows are sorted and found, work is told, and a first visit ends by itself.

Usage: handy.py URL    Says what is wrong, one line each, and exits with 1 if anything is.
"""

import shutil
import sys

from playwright.sync_api import Page, sync_playwright

BASE = sys.argv[1].rstrip("/")
wrong: list[str] = []


def check(holds: bool, says: str) -> None:
    if not holds:
        wrong.append(says)


def values(page: Page, column: int) -> list[str]:
    """The values by which rows of the first table without server-side sorting are sorted."""
    return page.evaluate(
        """column => Array.from(document.querySelectorAll('table.data')).find(table => table.querySelector('button.sort'))
            .querySelectorAll('tbody tr').values().map(row => row.cells[column].dataset.value ?? row.cells[column].textContent).toArray()""",
        column,
    )


def sorting(page: Page) -> None:
    page.goto(BASE + "/pools")
    table = page.locator("table.data:has(button.sort)").first
    headings = table.locator("thead th")
    place = next(at for at in range(headings.count()) if headings.nth(at).inner_text().strip() == "cost")
    button = headings.nth(place).locator("button.sort")
    usual = values(page, place)
    # From the least to the most, by the keyboard alone.
    button.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    check(headings.nth(place).get_attribute("aria-sort") == "ascending", "sorting: the heading does not say so")
    now = values(page, place)
    check(sorted(usual, key=int) == now and now != usual, f"sorting: {now}")
    page.keyboard.press("Enter")
    check(headings.nth(place).get_attribute("aria-sort") == "descending", "sorting: not the other way")
    check(values(page, place) == sorted(usual, key=int, reverse=True), "sorting: not from the most to the least")
    # Names, and one heading at a time.
    headings.nth(0).locator("button.sort").click()
    check(table.locator("th[aria-sort]").count() == 1, "sorting: two headings say that they sort")
    names = [name.strip() for name in values(page, 0)]
    check(names == sorted(names, key=str.lower) or len(set(names)) > 1, f"sorting: {names}")


def finding(page: Page) -> None:
    page.goto(BASE + "/findings")
    items = page.locator("main .findings > details")
    field = page.locator("main .find input").first
    word = items.first.locator("summary strong").inner_text()
    field.fill(word)
    shown = page.locator("main .findings > details:visible")
    check(0 < shown.count() <= items.count(), "finding: nothing is found")
    check(all(word.lower() in text.lower() for text in shown.all_text_contents()), "finding: others are shown")
    field.fill("no such words")
    check(shown.count() == 0, "finding: a list hides nothing")


def first_visit(page: Page) -> None:
    page.clock.install()
    page.route("**/teams", lambda route: route.fulfill(body=FIRST, content_type="text/html"))
    page.route("**/api/v1/build", lambda route: route.fulfill(json={"build": None}))
    page.goto(BASE + "/teams")
    page.clock.run_for(6_000)
    check(page.locator("h1").inner_text() == "Nothing yet", "first visit: it does not wait")
    page.unroute("**/teams")
    page.unroute("**/api/v1/build")
    page.clock.run_for(6_000)
    page.get_by_role("heading", name="Teams", exact=True).wait_for()


FIRST = """<!DOCTYPE html><html lang="en"><head><title>x</title><script src="/assets/dashboard.js" defer></script></head>
<body><main id="main" data-shows=""><h1>Nothing yet</h1></main></body></html>"""

with sync_playwright() as playwright:
    # As root, as in containers, Chromium's sandbox does not start; it is shown nothing but this server.
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
    for part in (sorting, finding, first_visit):
        page = browser.new_page()
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        try:
            part(page)
        except Exception as error:
            wrong.append(f"{part.__name__}: {error}")
        page.close()
    browser.close()
print("\n".join(wrong))
sys.exit(1 if wrong else 0)
