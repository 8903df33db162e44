"""Looks at the dashboard as people do, in Chromium: every page wide and narrow, light and dark, with and without JavaScript, by mouse and keyboard.

Usage: browser.py URL FOLDER PATH...    PATH are the paths of all pages; screenshots go to FOLDER. Says what is wrong, one line each, and exits with 1 if anything is.
"""

import json
import re
import shutil
import sys
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

BASE, FOLDER, PATHS = sys.argv[1].rstrip("/"), Path(sys.argv[2]), sys.argv[3:]
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
# Colours, names and roles of everything: what WCAG 2.2 AA asks for, and what is known to be good.
RULES = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
# What is another when the ground is dark and the window narrow.
RULES_OF_LOOKS = {"resultTypes": ["violations"], "runOnly": {"type": "rule", "values": ["color-contrast", "target-size", "scrollable-region-focusable"]}}

wrong: list[str] = []


def check(holds: bool, says: str) -> None:
    if not holds:
        wrong.append(says)


def watched(context: BrowserContext, name: str) -> Page:
    """A page that tells of everything that fails in it."""
    page = context.new_page()
    page.on("console", lambda said: said.type in ("error", "warning") and wrong.append(f"{name}: console: {said.text}"))
    page.on("pageerror", lambda error: wrong.append(f"{name}: script: {error}"))
    page.on("requestfailed", lambda request: wrong.append(f"{name}: no answer: {request.url}"))
    page.on("response", lambda answer: answer.status >= 400 and wrong.append(f"{name}: {answer.status} {answer.url}"))
    return page


def path_of(url: str) -> str:
    return "/" + url.removeprefix(BASE).lstrip("/").split("?")[0]


def crawl(browser: Browser) -> dict[str, str]:
    """One page of each path, by links alone, without a script."""
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)
    page = watched(context, "crawling")
    found, waiting, asked = {}, ["/"], {"/"}
    while waiting:
        url = waiting.pop(0)
        if path_of(url) in found or path_of(url) not in PATHS:
            continue
        page.goto(BASE + url)
        found[path_of(url)] = url
        check(page.locator("main h1, main .total").count() > 0, f"{url}: says nothing without JavaScript")
        check(page.locator("button.copy:visible, .find:visible").count() == 0, f"{url}: offers without JavaScript what needs it")
        for link in re.findall(r'href="(/[^"]*)"', page.content()):
            link = link.replace("&amp;", "&")
            if link not in asked:
                asked.add(link)
                waiting.append(link)
    context.close()
    missing = sorted(set(PATHS) - set(found))
    check(not missing, f"no link leads to {missing}")
    return found


def look(browser: Browser, pages: dict[str, str], name: str, size: dict, scheme: str, rules: dict) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page, axe, grounds = watched(context, name), Axe(), set()
    for path, url in pages.items():
        at = f"{name} {url}"
        # The first rows of a table look as all do, and are looked at in a tenth of the time.
        page.goto(f"{BASE}{url}{'&' if '?' in url else '?'}limit=8", wait_until="load")
        beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        check(beyond <= 0, f"{at}: {beyond} pixels wider than the window")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.screenshot(path=FOLDER / f"{path.strip('/') or 'overview'}-{name}.png", full_page=True)
        for violation in axe.run(page, options=rules).response["violations"]:
            if violation["impact"] in ("serious", "critical") or violation["id"].startswith("landmark"):
                nodes = [node["html"][:200] for node in violation["nodes"][:3]]
                wrong.append(f"{at}: axe: {violation['impact']} {violation['id']}: {violation['help']}: {nodes}")
    # The eye decides: light ground, or dark.
    for ground in grounds:
        light = sum(int(part) for part in re.findall(r"\d+", ground)[:3])
        check((light < 200) == (scheme == "dark"), f"{name}: the ground is {ground}")
    context.close()


def drill_down(browser: Browser) -> None:
    """From the total to a pod with its hours, its price and its rule, by clicks."""
    page = watched(browser.new_context(viewport=WIDE), "drill-down")
    page.goto(BASE + "/")
    check(page.locator(".total").first.inner_text().startswith("$"), "drill-down: the overview tells no total")
    for step in ("/team?", "/pipeline?", "/run?", "/pod?"):
        link = page.locator(f'main td a[href^="{step}"]').first
        if link.count() == 0:
            wrong.append(f"drill-down: no link to {step} on {page.url}")
            break
        link.click()
        page.wait_for_url(lambda url: path_of(url) == step.rstrip("?"))
    else:
        said = page.locator("main").inner_text()
        for part in ("hour", "rule", "price"):
            check(part in said.lower(), f"drill-down: a pod's page says nothing of its {part}")
    page.context.close()


def keyboard(browser: Browser) -> None:
    page = watched(browser.new_context(viewport=WIDE), "keyboard")
    page.goto(BASE + "/jobs")
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    check(page.evaluate(f"{focused}.matches('a.skip') && {focused}.getBoundingClientRect().left >= 0"), "keyboard: the first stop is no visible way past the navigation")
    page.keyboard.press("Enter")
    check(page.evaluate(f"{focused}.id") == "main", "keyboard: the way past the navigation does not lead to the figures")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate(f"{focused}.matches('a.sort')"):
            break
    check(page.evaluate(f"{focused}.matches('a.sort')"), "keyboard: no heading that sorts is reached")
    column = page.evaluate(f"{focused}.textContent.trim()")
    style = page.evaluate(f"getComputedStyle({focused}).outlineStyle")
    check(style not in ("none", ""), f"keyboard: what has the focus is not marked ({style})")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    sorted_by = page.locator("th[aria-sort] a.sort").first
    check("sort=" in page.url and sorted_by.inner_text().startswith(column), f"keyboard: {column} does not sort")
    page.locator(".find input").first.fill("no such words")
    check(page.locator("table.data tbody tr:visible").count() == 0, "keyboard: finding hides no row")
    page.context.close()


def copying(browser: Browser) -> None:
    """A patch is copied as it stands."""
    context = browser.new_context(viewport=WIDE, permissions=["clipboard-read", "clipboard-write"])
    page = watched(context, "copying")
    page.goto(BASE + "/rightsizing")
    patch = page.locator("section details").first
    patch.locator("summary").click()
    patch.locator("button.copy").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    check(copied == patch.locator("code").first.text_content() and "resources:" in copied, f"copying: {copied!r}")
    context.close()


def refreshing(browser: Browser) -> None:
    """A new build's figures come by themselves, but not while somebody reads something that they opened."""
    page = watched(browser.new_context(viewport=WIDE), "refreshing")
    page.clock.install()
    page.goto(BASE + "/teams")
    shown = page.content()
    page.route("**/api/v1/build", lambda route: route.fulfill(json={"build": "another"}))
    page.route("**/teams", lambda route: route.fulfill(body=shown.replace("<h1>Teams</h1>", "<h1>Teams anew</h1>"), content_type="text/html"))
    field = page.locator("main .find input, main a").first
    field.focus()
    page.clock.run_for(21_000)
    check(page.locator("main h1").inner_text() == "Teams", "refreshing: figures move under who works with them")
    page.evaluate("document.activeElement.blur()")
    page.clock.run_for(21_000)
    try:
        page.get_by_role("heading", name="Teams anew").wait_for(timeout=5_000)
    except Exception:
        wrong.append("refreshing: a new build's figures do not come")
    check(page.locator("meta[name=podledger-build]").get_attribute("content") == "another", "refreshing: the page does not say of which build it is")
    page.context.close()


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with sync_playwright() as playwright:
        # As root, as in containers, Chromium's sandbox does not start; it is shown nothing but this server.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        pages = crawl(browser)
        look(browser, pages, "wide", WIDE, "light", RULES)
        look(browser, pages, "phone-dark", PHONE, "dark", RULES_OF_LOOKS)
        drill_down(browser)
        keyboard(browser)
        copying(browser)
        refreshing(browser)
        browser.close()
    print(json.dumps({"pages": pages, "wrong": wrong}, indent=1))
    sys.exit(1 if wrong else 0)


main()
