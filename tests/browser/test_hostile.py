"""Posts that try to be more than posts, in every field from outside: nothing runs, nothing is asked for, the page stays usable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle, islice

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import CHROMIUM, PHONE, Site, serving
from tests.conftest import NO_CHROMIUM
from tests.service import Service, service
from triage.mention import Attachment, Author, Visibility
from triage.person import Role

OpenPage = Callable[..., Page]

OUTSIDE = "https://evil.example"
RUN = ("alert(1)", "document.title='owned'", f"fetch('{OUTSIDE}')", f"location='{OUTSIDE}'", "confirm`1`")
AROUND = ("{}", '">{}', "'>{}", "</textarea>{}", "</title>{}", "--><!-- -->{}", "]]>{}", "</script>{}", "&lt;{}")
MARKUP = (
    "<script>{}</script>",
    "<img src=x onerror={}>",
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<body onload={}>",
    "<details open ontoggle={}>",
    "<input autofocus onfocus={}>",
    "<math><mtext><style><img src onerror={}></style></mtext></math>",
    '<iframe srcdoc="<script>{}</script>"></iframe>',
    "<a href=javascript:{}>here</a>",
    "<form action=javascript:{}><button>",
    '<div hx-get="/me" hx-trigger="load" hx-on::load="{}">',
    '<div data-hx-on:click="{}" data-key="j" id="item" data-id="1">',
)
OTHER = (
    f"<link rel=stylesheet href={OUTSIDE}/a.css>",
    f"<style>@import '{OUTSIDE}/a.css'; * {{ display: none }}</style>",
    f"<img src={OUTSIDE}/track.gif>",
    f"<video autoplay src={OUTSIDE}/a.mp4>",
    f"<object data={OUTSIDE}></object><embed src={OUTSIDE}>",
    f"<base href={OUTSIDE}>",
    f'<meta http-equiv="refresh" content="0;url={OUTSIDE}">',
    f'<div style="position:fixed;inset:0;background:url({OUTSIDE}/x)">over it all</div>',
    '" onmouseover="alert(1)" x="',
    "' autofocus onfocus='alert(1)",
    "{{7*7}} ${7*7} #{7*7} <%= 7*7 %> {% raw %} {{ config }} [[7*7]]",
    "%7B%7B7*7%7D%7D &#x3c;script&#x3e;alert(1)&#x3c;/script&#x3e;",
    "javascript:alert(1)",
    " \tjava\nscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:image/svg+xml,<svg onload=alert(1)>",
    "vbscript:msgbox(1)",
    "//evil.example/x",
    "https://user:secret@evil.example:99999/\u202eexe.txt",
    "http://[::1",
    "\u202eterces eht si siht\u202c and \u2066more\u2069 \u202d\u202b",
    "\u202e" * 300,
    "\u200b\u200c\u200d\u2060\ufeff" * 200,
    "a\u200bb" * 500,
    "null\x00byte \x1b[31mred\x07\x08\x7f \x85",
    "lone \ud83d surrogate \udc00 and \ud800",
    "🔥🎉👩‍👩‍👧‍👦🏴‍☠️" * 400,
    "W" * 5000,
    "https://evil.example/" + "a" * 3000,
    "مرحبا بالعالم " * 80,
    "שלום \u200f עולם (1) [2] <3>" * 40,
    "Z" + "̸̡̢̛̗̘̙̜̝̞̟̠̣̤̥̦̩̪̫̬̭̮̯̰̱̲̳̹̺̻̼͇͈͉͍͎" * 60,
    "ﷺ" * 200 + "﷽" * 100,
    "꧅𒐫𒈙⸻" * 60,
    "\n" * 400 + "below",
    "\t" * 400 + "right",
    "\u2028line\u2029paragraph\x0b\x0c",
    "'; DROP TABLE mentions; --",
    '" OR ""="',
    "../../../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "\r\nSet-Cookie: triage=evil\r\nHX-Trigger: evil",
    "constructor __proto__ toString undefined NaN null",
    "",
    " ",
)
STRINGS = tuple(dict.fromkeys([around.format(markup.format(run)) for around in AROUND for markup in MARKUP for run in RUN[:2]] + [
    markup.format(run) for markup in MARKUP for run in RUN
] + list(OTHER)))  # fmt: skip
HUGE = "<b>x</b> \u202e" * 1_000_000
"""10 MiB and more."""
IN_ONE = 20
"""So many are in one post."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A store full of such posts."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    folder = tmp_path_factory.mktemp("hostile")
    app = service(folder, f"sqlite:///{folder}/triage.db", source=", brake: 1000")
    endless = cycle(STRINGS)
    for number, some in enumerate(STRINGS[start : start + IN_ONE] for start in range(0, len(STRINGS), IN_ONE)):
        post(app, number, some, tuple(islice(endless, 16)))
    app.acme.post("huge@x.example", f"how? {HUGE}")
    for _ in range(3):
        app.pass_()
    with serving(app) as url:
        yield Site(url, app.store, sorted({row["mention"] for row in app.store.views.queue(1000)}))
    app.close()


def post(app: Service, number: int, some: tuple[str, ...], more: tuple[str, ...]) -> None:
    """A post below another one, with the first strings as its text and the others in all other fields."""
    above = None
    if number % 2:
        above = app.acme.post(f"{more[0]}@x.example", f"how? {more[1]}").remote_id
    made = app.acme.post(f"a{number}@x.example", "", reply_to=above, visibility=list(Visibility)[number % 4])
    hostile = replace(
        made,
        author=Author(f"{more[2]}{number}@x.example", more[3], more[4], bot=True),
        text="\n".join(("how? maybe", *some)),
        url=more[5],
        language=more[6][:30] or None,
        warning=more[7],
        attachments=(Attachment(more[8], more[9], more[10]), Attachment("image", more[11], more[12])),
        poll=(more[13], more[14]),
        quote=more[15],
    )
    world = app.acme._world
    world.posts[made.remote_id] = hostile
    world.shown[-1] = app.acme._item(hostile)


def no_sideways(page: Page, what: str) -> None:
    """The page scrolls in one direction only, and our own script is still its master."""
    wide, shown = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= shown, f"{what} is {wide} wide"
    assert page.evaluate(
        "[document.title.includes('owned'), document.querySelectorAll('main script, main iframe, main style, main base').length]"
    ) == [False, 0]


def test_hostile_posts_show_safely_everywhere(site: Site, open_page: OpenPage) -> None:
    """The list, each item with its panels, the answer, why, and the other pages; the phone's width is the narrowest."""
    assert len(STRINGS) >= 200
    page = open_page(Role.ADMIN, viewport=PHONE)
    for to in ("/", "/?state=all", "/?q=alert", "/sources", "/insights", "/people", "/privacy"):
        page.goto(to)
        no_sideways(page, to)
    assert len(site.mentions) > len(STRINGS) / IN_ONE
    for mention in site.mentions:
        page.goto(f"/mentions/{mention}")
        expect(page.locator("#item-head")).to_be_visible()
        expect(page.locator("#reply[data-at]")).to_be_visible()
        page.evaluate("document.querySelectorAll('#item details').forEach(one => { one.open = true })")
        no_sideways(page, f"item {mention}")
    for to in ("why", "reply", "same"):
        page.goto(f"/mentions/{site.mentions[1]}/{to}")
        no_sideways(page, to)


def test_keys_work_among_hostile_posts(site: Site, open_page: OpenPage) -> None:
    """They go from one to the next, and a deed is told."""
    page = open_page()
    page.goto("/")
    page.keyboard.press("j")
    expect(page.locator("#item > .item")).to_be_visible()
    first = page.locator("#item").get_attribute("data-id")
    page.keyboard.press("j")
    expect(page.locator("#item")).not_to_have_attribute("data-id", first or "")
    page.keyboard.press("e")
    expect(page.locator("#said")).to_have_text("archived; z takes it back")
    no_sideways(page, "the queue")
