"""What programs share that look at pages in Chromium: what is wrong so far, pages that tell of everything that fails in them, and axe-core."""

import shutil
from collections.abc import Collection, Iterable

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
# Colours, names and roles of everything: what WCAG 2.2 AA asks for, and what is known to be good.
RULES = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

wrong: list[str] = []


def check(holds: bool, says: str) -> None:
    if not holds:
        wrong.append(says)


def launched(playwright: Playwright) -> Browser:
    # As root, as in containers, Chromium's sandbox does not start; it is shown nothing but this server.
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])


def watched(context: BrowserContext, name: str, statuses: Collection[int] = ()) -> Page:
    """A page that tells of everything that fails in it, but for statuses of answers that it is meant to get."""
    page = context.new_page()

    def said(message) -> None:
        # Chromium says of each such answer what is told of it below.
        is_meant = any(f"with a status of {status} " in message.text for status in statuses)
        if message.type in ("error", "warning") and not is_meant:
            wrong.append(f"{name}: console: {message.text}")

    def asked(dialog) -> None:
        wrong.append(f"{name}: dialog: {dialog.message}")
        dialog.dismiss()

    page.on("console", said)
    page.on("dialog", asked)
    page.on("pageerror", lambda error: wrong.append(f"{name}: script: {error}"))
    # What is still asked when the page is left is asked no more.
    page.on(
        "requestfailed",
        lambda request: None if request.failure == "net::ERR_ABORTED" else wrong.append(f"{name}: no answer: {request.url}: {request.failure}"),
    )
    page.on("response", lambda answer: answer.status >= 400 and answer.status not in statuses and wrong.append(f"{name}: {answer.status} {answer.url}"))
    return page


def fits(page: Page, at: str) -> None:
    beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    check(beyond <= 0, f"{at}: {beyond} pixels wider than the window")


def unfolded(page: Page, at: str) -> None:
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    fits(page, f"{at}, unfolded")


def accessible(page: Page, at: str) -> None:
    """Whether all of a page can be seen and used, what is folded too."""
    unfolded(page, at)
    for violation in Axe().run(page, options=RULES).response["violations"]:
        if violation["impact"] in ("serious", "critical") or violation["id"].startswith("landmark"):
            nodes = [node["html"][:200] for node in violation["nodes"][:3]]
            wrong.append(f"{at}: axe: {violation['impact']} {violation['id']}: {violation['help']}: {nodes}")


def has_focus(page: Page, selector: str, presses: Iterable[int] = range(60)) -> bool:
    """Goes on by the tabulator until something has the focus."""
    for _ in presses:
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return True
    return False
