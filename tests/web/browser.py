"""Looks at the dashboard as people do, in Chromium: every page and state, on any width, light and dark, with and without JavaScript, by mouse and keyboard.

Usage: browser.py URL FOLDER OTHERS PATH...    PATH are the paths of all pages; screenshots go to FOLDER. OTHERS is JSON: `empty` is the URL of a server of nothing,
`closed` that of one that asks for `token`, of the data in `data`, which `program` builds. Says what is wrong, one line each, and exits with 1 if anything is.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from looking import PHONE, WIDE, accessible, check, fits, has_focus, launched, unfolded, watched, wrong
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from tables import are_their_csv

BASE, FOLDER, OTHERS, PATHS = sys.argv[1].rstrip("/"), Path(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:]
EMPTY, CLOSED = OTHERS["empty"], OTHERS["closed"]
LOOKS = [("wide", WIDE, "light"), ("phone-dark", PHONE, "dark")]


def path_of(url: str) -> str:
    return "/" + url.removeprefix(BASE).lstrip("/").split("?")[0]


def go(page: Page, link: Locator) -> None:
    """Follows a link, or sends a form."""
    with page.expect_navigation():
        link.click()


def crawl(browser: Browser) -> dict[str, str]:
    """One page of each path, by links alone, without a script; and each table against its CSV."""
    context = browser.new_context(viewport=WIDE, java_script_enabled=False)
    page = watched(context, "crawling")
    document = page.request.get(f"{BASE}/api/v1/openapi.json").json()
    found, waiting, asked, tables = {}, ["/"], {"/"}, 0
    while waiting:
        url = waiting.pop(0)
        if path_of(url) in found or path_of(url) not in PATHS:
            continue
        page.goto(BASE + url)
        found[path_of(url)] = url
        check(page.locator("main h1, main .total").count() > 0, f"{url}: says nothing without JavaScript")
        check(page.locator("button.copy:visible, .find:visible").count() == 0, f"{url}: offers without JavaScript what needs it")
        tables += are_their_csv(page, BASE, document, url)
        for link in re.findall(r'href="(/[^"]*)"', page.content()):
            link = link.replace("&amp;", "&")
            if link not in asked:
                asked.add(link)
                waiting.append(link)
    context.close()
    missing = sorted(set(PATHS) - set(found))
    check(not missing, f"no link leads to {missing}")
    check(tables > 30, f"only {tables} tables have a CSV")
    return found


def look(browser: Browser, pages: dict[str, str], name: str, size: dict, scheme: str, is_read: bool) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    page, grounds = watched(context, name), set()
    for path, url in pages.items():
        at = f"{name} {url}"
        # The first rows of a table look as all do, and are looked at in a tenth of the time.
        page.goto(f"{BASE}{url}{'&' if '?' in url else '?'}limit=8", wait_until="load")
        fits(page, at)
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.screenshot(path=FOLDER / f"{path.strip('/') or 'overview'}-{name}.png", full_page=True)
        if is_read:
            accessible(page, at)
        else:
            unfolded(page, at)
    # The eye decides: light ground, or dark.
    for ground in grounds:
        light = sum(int(part) for part in re.findall(r"\d+", ground)[:3])
        check((light < 200) == (scheme == "dark"), f"{name}: the ground is {ground}")
    context.close()


def states(browser: Browser) -> None:
    """Pages that say why there is nothing to see, and what to do."""
    pages = [
        ("first-visit", EMPTY, "/", 200, "Nothing has been metered yet"),
        ("nothing-published", EMPTY, "/sql", 200, "Nothing is published yet"),
        ("sign-in", CLOSED, "/teams", 401, "podledger token create"),
        ("missing", BASE, "/nowhere", 404, "Not Found"),
        ("wrong", BASE, "/teams?weak=1", 400, "weak"),
        ("nobody", BASE, "/teams?team=nobody", 200, "with these filters"),
        ("nobody-s-overview", BASE, "/?team=nobody", 200, "Cost by day"),
        ("nobody-s-runs", BASE, "/pipeline?pipeline=nobody", 200, "No run started in these days"),
        ("unobserved", BASE, "/?week=2020-W10", 200, "not observed"),
    ]
    for name, size, scheme in LOOKS:
        for what, base, path, status, words in pages:
            context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
            page, at = watched(context, f"{what} {name}", {status} - {200}), f"{what} {name}"
            answer = page.goto(base + path, wait_until="load")
            check(answer.status == status, f"{at}: {answer.status}")
            check(words in page.locator("body").inner_text(), f"{at}: does not say {words!r}")
            fits(page, at)
            page.screenshot(path=FOLDER / f"{what}-{name}.png", full_page=True)
            accessible(page, at)
            context.close()


def report(browser: Browser) -> None:
    """The week's report, which is a page of its own and may run no script, so axe-core is given the same page without that."""
    for name, size, scheme in LOOKS:
        context = browser.new_context(viewport=size, color_scheme=scheme)
        page, at = watched(context, f"report {name}"), f"report {name}"
        page.goto(BASE + "/report", wait_until="load")
        fits(page, at)
        page.screenshot(path=FOLDER / f"report-{name}.png", full_page=True)
        # On another page: what forbids scripts would stay with this one.
        alike = watched(context, at)
        alike.set_content(context.request.get(BASE + "/report").text())
        accessible(alike, at)
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
    check(has_focus(page, "a.sort"), "keyboard: no heading that sorts is reached")
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


def filters(browser: Browser, has_script: bool) -> None:
    """Filters and days are chosen on the page, hold from page to page, and are taken away again."""
    name = f"filters {'with' if has_script else 'without'} a script"
    page = watched(browser.new_context(viewport=WIDE, java_script_enabled=has_script), name)
    page.goto(BASE + "/pipelines")

    def teams() -> set[str]:
        return set(page.locator('main table.data td a[href^="/team?"]').all_inner_texts())

    def days() -> str:
        return page.locator(".days strong").inner_text()

    everybody, week = teams(), days()
    check(len(everybody) > 1, f"{name}: only {everybody} had cost")
    team = min(everybody)
    page.get_by_text("Change days and filters").click()
    page.get_by_label("team", exact=True).fill(team)
    go(page, page.get_by_role("button", name="Show"))
    check(f"team={team}" in page.url and teams() == {team}, f"{name}: {teams()} on {page.url}")
    check(days() == week, f"{name}: {days()} instead of {week}")
    go(page, page.get_by_role("navigation", name="Pages").get_by_role("link", name="Jobs"))
    check(teams() == {team}, f"{name}: {teams()} on {page.url}")
    check(page.locator(".chips li").all_inner_texts() == [f"team {team} ×"], f"{name}: {page.locator('.chips').all_inner_texts()}")
    go(page, page.get_by_role("link", name="Without the filter team"))
    check("team=" not in page.url and teams() == everybody and page.locator(".chips").count() == 0, f"{name}: still filtered on {page.url}")
    go(page, page.get_by_role("link", name="The days before"))
    check("week=2026-W45" in page.url and "2026-W45" in days(), f"{name}: before {week} is {days()}")
    go(page, page.get_by_role("link", name="The days after"))
    check(days() == week, f"{name}: after the week before {week} is {days()}")
    page.get_by_text("Change days and filters").click()
    page.get_by_label("from", exact=True).fill("2026-11-10")
    page.get_by_label("to", exact=True).fill("2026-11-11")
    go(page, page.get_by_role("button", name="Show"))
    check(days() == "2026-11-10 to 2026-11-11", f"{name}: two days are {days()}")
    go(page, page.get_by_role("link", name="The days before"))
    check(days() == "2026-11-08 to 2026-11-09", f"{name}: two days before are {days()}")
    page.context.close()


QUERY = "select cost_category, sum(cost) as cost from costs_daily group by all order by cost desc nulls last, cost_category"


def console(browser: Browser, has_script: bool) -> None:
    """A query is written and asked by keyboard alone; what comes of it is what programs are told."""
    name = f"console {'with' if has_script else 'without'} a script"
    page = watched(browser.new_context(viewport=WIDE, java_script_enabled=has_script), name, {400})
    page.goto(BASE + "/sql")
    check(page.locator("section.marts details").count() > 20, f"{name}: no marts are told")

    def ask(query: str) -> None:
        check(has_focus(page, "textarea[name=query]"), f"{name}: the query is not reached")
        page.keyboard.press("Control+A")
        page.keyboard.type(query)
        check(has_focus(page, "button[value=page]", range(1)), f"{name}: the next stop is no way to run it")
        with page.expect_navigation():
            page.keyboard.press("Enter")

    ask(QUERY)
    answer = page.request.post(f"{BASE}/api/v1/sql", data={"query": QUERY}).json()
    rows = [[cell.inner_text() for cell in row.locator("td").all()] for row in page.get_by_role("region", name="Rows").locator("tbody tr").all()]
    told = [["NULL" if cell is None else cell for cell in row.values()] for row in answer["rows"]]
    check(rows == told and len(rows) > 5, f"{name}: {rows} instead of {told}")
    check(page.locator("p.note[role=status]").inner_text() == f"{len(rows)} rows.", f"{name}: {len(rows)} rows are not counted")
    check(page.locator("textarea").input_value() == QUERY, f"{name}: the query is gone")
    # Axe is a script, and waits for ever where none runs.
    if has_script:
        page.screenshot(path=FOLDER / "sql-answer.png", full_page=True)
        accessible(page, name)
    ask("select no_such_column from costs_daily")
    check("no_such_column" in page.get_by_role("alert").inner_text(), f"{name}: a mistake is not told")
    if has_script:
        accessible(page, f"{name}, a mistake")
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


def signing_in(browser: Browser) -> None:
    """Who has a token signs in with it by keyboard, comes to where they wanted to go, and signs out again."""
    for name, size, scheme in LOOKS:
        context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
        page, at = watched(context, f"signing in {name}", {401}), f"signing in {name}"
        page.goto(CLOSED + "/teams?week=2026-W47")
        check(page.evaluate("document.activeElement.name") == "token", f"{at}: the token is not asked for at once")
        for token in ("pl_wrong", OTHERS["token"]):
            page.keyboard.type(token)
            with page.expect_navigation():
                page.keyboard.press("Enter")
            if token == "pl_wrong":
                check("not known" in page.get_by_role("alert").inner_text(), f"{at}: a wrong token is not told")
                page.screenshot(path=FOLDER / f"wrong-token-{name}.png", full_page=True)
                accessible(page, f"{at}, a wrong token")
        check(page.url == CLOSED + "/teams?week=2026-W47" and page.locator("h1").inner_text() == "Teams", f"{at}: leads to {page.url}")
        fits(page, at)
        accessible(page, at)
        go(page, page.get_by_role("button", name="Sign out"))
        check(page.goto(CLOSED + "/teams").status == 401, f"{at}: who signed out still reads")
        context.close()


def refreshing(browser: Browser) -> None:
    """The figures of a build of another process come by themselves, but not while somebody works with those that are there."""
    page = watched(browser.new_context(viewport=WIDE), "refreshing", {401})
    page.clock.install()
    page.goto(CLOSED + "/namespaces")
    page.keyboard.type(OTHERS["token"])
    with page.expect_navigation():
        page.keyboard.press("Enter")

    def build() -> str:
        return page.locator("meta[name=podledger-build]").get_attribute("content")

    def namespaces() -> list[str]:
        # Names; their money leads there too.
        texts = page.locator('main td a[href^="/pods?"]').all_inner_texts()
        return sorted(text for text in texts if not text.startswith("$"))

    before, shown = build(), namespaces()
    at = "timestamp '2026-11-16 {}:00:00'"
    pod = (
        f"select 'c' as cluster, 'late' as pod_uid, {at.format(11)} as observed_at, 'late' as pod_name, 'brand-new' as namespace, 'm' as machine, "
        f"{at.format(10)} as created_at, {at.format(10)} as bound_at, 'scheduled' as start_source, {at.format(10)} as running_at, {at.format(11)} as finished_at, "
        f"{at.format(11)} as released_at, 'watch' as end_source, 'Succeeded' as phase, 500 as cpu_request_millicores, 1073741824 as memory_request_bytes"
    )
    for command in (["import", "query", "--into", "pod_states", "--from", pod], ["build"]):
        subprocess.run([OTHERS["program"], "--data", OTHERS["data"], *command], check=True, capture_output=True, timeout=120)
    # The server looks for builds of others every two seconds.
    until = time.monotonic() + 30
    while page.request.get(CLOSED + "/api/v1/build").json()["build"] == before and time.monotonic() < until:
        pass
    page.locator("main td a").first.focus()
    page.clock.run_for(21_000)
    check(namespaces() == shown, "refreshing: figures move under who works with them")
    page.evaluate("document.activeElement.blur()")
    page.clock.run_for(21_000)
    try:
        page.locator("main td a", has_text="brand-new").wait_for(timeout=10_000)
    except Exception:
        wrong.append("refreshing: a new build's figures do not come")
    now = page.request.get(CLOSED + "/api/v1/build").json()["build"]
    check(build() == now != before, f"refreshing: the page says it is of {build()}, and is of {now}")
    check(namespaces() == sorted([*shown, "brand-new"]), f"refreshing: {namespaces()} instead of {shown} and another")
    page.context.close()


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with sync_playwright() as playwright:
        browser = launched(playwright)
        pages = crawl(browser)
        steps = [
            *((look, pages, *what, True) for what in LOOKS),
            (states,),
            (report,),
            (drill_down,),
            (keyboard,),
            *((step, has_script) for step in (filters, console) for has_script in (True, False)),
            (copying,),
            (signing_in,),
            (refreshing,),
        ]
        took = {}
        for step, *given in steps:
            begun = time.monotonic()
            step(browser, *given)
            took[step.__name__] = round(took.get(step.__name__, 0) + time.monotonic() - begun, 1)
        browser.close()
    print(json.dumps({"pages": pages, "seconds": took, "wrong": wrong}, indent=1))
    sys.exit(1 if wrong else 0)


main()
