"""Opens pages with hostile names in Chromium, and sees to it that nothing of them acts.

Usage: inert.py URL FOLDER PATH...    Screenshots go to FOLDER. Says what is wrong, one line each, and exits with 1 if anything is.
"""

import json
import sys
from pathlib import Path

from looking import WIDE, fits, launched, watched, wrong
from playwright.sync_api import sync_playwright

BASE, FOLDER, PATHS = sys.argv[1].rstrip("/"), Path(sys.argv[2]), sys.argv[3:]

FOLDER.mkdir(parents=True, exist_ok=True)
with sync_playwright() as playwright:
    browser = launched(playwright)
    for number, path in enumerate(PATHS):
        context = browser.new_context(viewport=WIDE)
        page = watched(context, path)
        page.goto(BASE + path, wait_until="load")
        fits(page, path)
        page.screenshot(path=FOLDER / f"hostile-{number}.png", full_page=True)
        # What would have come of a tag in a name: everything is loaded from here, and there is one script.
        loaded = page.evaluate("Array.from(document.querySelectorAll('script, img, iframe, object, link[rel=stylesheet]'), (tag) => tag.src || tag.href)")
        if sorted(loaded) != [f"{BASE}/assets/dashboard.js", f"{BASE}/assets/style.css"]:
            wrong.append(f"{path}: loads {loaded}")
        context.close()
    browser.close()
print(json.dumps(wrong, indent=1))
sys.exit(1 if wrong else 0)
