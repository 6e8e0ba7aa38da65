"""axe-core looks at every page, light and dark: no serious or critical fault. The debugger injects it past the content policy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, Watch
from triage.person import Role

OpenPage = Callable[..., Page]

AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe-4.14.1.min.js").read_text()
GRAVE = ("serious", "critical")


def faults(page: Page) -> list[str]:
    """What axe-core finds grave, with where."""
    page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 5  # it has looked
    return [
        f"{page.url}: {one['id']} ({one['impact']}): {node['target']} {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_grave_fault(site: Site, open_page: OpenPage, watch: Watch, scheme: str) -> None:
    """Logged in as an admin, who sees most; and not logged in."""
    page = open_page(Role.ADMIN, color_scheme=scheme)
    one = site.mentions[3]
    found: list[str] = []
    for to in (
        "/",
        "/?q=sync",
        "/?state=snoozed",
        "/sources",
        "/insights",
        "/people",
        "/me",
        "/privacy",
        f"/mentions/{one}/why",
        f"/mentions/{one}/reply",
    ):
        page.goto(to)
        page.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true })")
        found += faults(page)
    page.goto("/mentions/99999")
    watch.expect("404")
    found += faults(page)
    page.goto(f"/mentions/{one}")
    expect(page.locator("#reply[data-at]")).to_be_visible()
    found += faults(page)
    page.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true })")
    expect(page.locator(".why .evidence").first).to_be_visible()
    found += faults(page)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    found += faults(page)
    stranger = open_page(None, color_scheme=scheme)
    token = site.store.people.invite(Role.VIEWER, "triage", datetime.now(UTC))
    for to in ("/login", f"/welcome?token={token}"):
        stranger.goto(to)
        found += faults(stranger)
    assert found == []
