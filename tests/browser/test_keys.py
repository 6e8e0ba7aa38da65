"""The keys, in a real browser. The list is one of the test's own: which rows there are, and in which order, is the list's matter."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Site, Watch
from triage.person import Role

OpenPage = Callable[..., Page]


def with_list(page: Page, ids: Sequence[int]) -> None:
    """Open the first of these items beside a list of them."""
    rows = "".join(
        f'<li class="row" id="row-{id_}" data-id="{id_}"><input type="checkbox" aria-label="select {id_}">'
        f'<a href="/mentions/{id_}" hx-get="/mentions/{id_}" hx-target="#item" hx-push-url="true">item {id_}</a></li>'
        for id_ in ids
    )

    def answer(route: Route) -> None:
        route.fulfill(body=rows, content_type="text/html")

    page.route(re.compile(r"/rows(\?|$)"), answer)
    page.goto(f"/mentions/{ids[0]}")
    page.evaluate(
        """rows => {
            document.querySelector("#list")?.remove();
            const list = document.createElement("section");
            list.id = "list";
            list.innerHTML = `<ol id="rows">${rows}</ol>`;
            document.querySelector("#item").before(list);
            htmx.process(list);
            list.querySelector("li").setAttribute("aria-current", "true");
        }""",
        rows,
    )
    expect(page.locator("#item-head")).to_be_visible()


def shows(page: Page, id_: int) -> None:
    expect(page.locator("#item > .item")).to_have_attribute("data-id", str(id_))
    expect(page.locator("#item")).to_have_attribute("data-id", str(id_))
    expect(page.locator("#rows > .row[aria-current=true]")).to_have_attribute("data-id", str(id_))


def test_j_and_k_go_through_the_list_and_a_click_does_the_same(site: Site, open_page: OpenPage) -> None:
    """At either end they say so; the address follows; the focus is on the row, and on the item after a click."""
    page = open_page()
    first, second, third = site.mentions[:3]
    with_list(page, [first, second, third])
    page.keyboard.press("k")
    expect(page.locator("#said")).to_have_text("this is the first one")
    page.keyboard.press("j")
    shows(page, second)
    expect(page).to_have_url(re.compile(rf"/mentions/{second}$"))
    expect(page.locator(f"#row-{second} a")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    shows(page, third)
    page.keyboard.press("k")
    shows(page, second)
    page.locator(f"#row-{first} a").click()
    shows(page, first)
    expect(page.locator("#item-head")).to_be_focused()
    page.keyboard.press("x")
    expect(page.get_by_label(f"select {first}")).to_be_checked()


def test_the_neighbours_are_fetched_ahead_and_thrown_away_when_they_change(site: Site, open_page: OpenPage) -> None:
    """So j asks nobody; after the stream's word it asks again."""
    page = open_page()
    first, second = site.mentions[:2]
    with_list(page, [first, second])
    page.keyboard.press("j")
    shows(page, second)
    with page.expect_request(re.compile(rf"/mentions/{first}$")):  # what is before it is fetched while nothing else is to be done
        page.evaluate(f"document.body.dispatchEvent(new CustomEvent('changed', {{detail: {{mentions: [{first}]}}}}))")
        page.keyboard.press("k")
    shows(page, first)
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.keyboard.press("j")
    shows(page, second)
    assert not [url for url in asked if url.endswith(f"/mentions/{second}")]


def test_a_label_goes_on_to_the_next_and_z_takes_it_back_from_there(site: Site, open_page: OpenPage) -> None:
    """What a key did is told, with how to take it back."""
    page = open_page()
    one, other = site.mentions[1], site.mentions[2]
    with_list(page, [one, other])
    page.keyboard.press("3")
    expect(page.locator("#said")).to_have_text("it is praise now; z takes it back")
    shows(page, other)
    assert site.store.items.look(one).verdict.label == "praise"  # type: ignore[union-attr]
    page.keyboard.press("z")
    expect(page.locator("#said")).to_have_text("taken back: the label is noise again")
    shows(page, one)
    assert [task["state"] for task in site.store.items.look(one).actions if task["kind"] == "task"] == ["planned"]


def test_z_before_the_next_item_appears_shows_the_one_again_that_it_takes_back(site: Site, open_page: OpenPage) -> None:
    """The next item is on its way all the while."""
    page = open_page()
    one, other = site.mentions[0], site.mentions[2]
    held: list[Route] = []
    page.route(f"**/mentions/{other}", lambda route: held.append(route))  # a builtin is refused
    with_list(page, [one, other])
    page.keyboard.press("3")
    page.keyboard.press("z")
    expect(page.locator("#said")).to_contain_text("taken back: the label is")
    shows(page, one)
    expect(page.locator(f"#row-{one}")).to_have_attribute("aria-current", "true")
    page.unroute_all(behavior="ignoreErrors")


def test_what_one_did_oneself_is_asked_for_once(site: Site, open_page: OpenPage) -> None:
    """Though the stream tells of it, too."""
    page = open_page()
    one = site.mentions[5]
    with_list(page, [one])
    expect(page.locator("body")).to_have_attribute("data-live", "1")
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    told = f"""new Promise((done) => document.body.addEventListener("changed", ({{ detail }}) => {{
        if (detail.mentions?.includes({one})) setTimeout(done, 1500);
    }}))"""
    page.evaluate(f"() => {{ window.told = {told}; }}")
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="I take it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("you have it now; z takes it back")
    page.evaluate("() => window.told")
    assert len([url for url in asked if url.endswith(f"/mentions/{one}")]) == 1


def test_what_a_person_does_to_an_item_by_keys_alone(site: Site, open_page: OpenPage) -> None:
    """Sleep, assign, note, ticket, archive; each is told, and the last is taken back."""
    page = open_page()
    one, other = site.mentions[3], site.mentions[4]
    with_list(page, [one, other])
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="I take it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("you have it now; z takes it back")
    page.keyboard.press("n")
    page.keyboard.type("j k 1 e ? are letters here, @boss")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".notes li")).to_contain_text("are letters here")
    page.keyboard.press("y")
    expect(page.locator("#said")).to_have_text("no rule suggests anything for this item")
    page.keyboard.press("t")
    expect(page.locator("#said")).to_contain_text("the ticket is on its way")
    page.keyboard.press("z")
    expect(page.locator("#said")).to_contain_text("nothing is filed")
    page.keyboard.press("e")
    expect(page.locator("#said")).to_have_text("archived; z takes it back")
    shows(page, other)
    page.keyboard.press("z")
    expect(page.locator("#said")).to_have_text("taken back: the task is open again")
    shows(page, one)
    page.keyboard.press("h")
    expect(page.get_by_role("button", name="3 hours")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("it sleeps until")
    shows(page, other)
    item = site.store.items.look(one)
    assert item.item["assignee"].startswith("triager-")
    assert [note["to"] for note in item.notes] == [["boss"]]


def test_what_is_typed_stays_when_the_item_is_shown_anew(site: Site, open_page: OpenPage) -> None:
    """A note is begun while the last deed's answer is still on its way; and it is left for another item and found again."""
    page = open_page()
    one, other = site.mentions[5], site.mentions[6]
    with_list(page, [one, other])
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    page.keyboard.press("n")
    page.keyboard.type("not to be lost")
    page.keyboard.press("Escape")
    expect(page.locator("summary[data-key=a]", has_text="You have it")).to_be_visible()
    expect(page.get_by_label("A note for colleagues")).to_have_value("not to be lost")
    page.keyboard.press("j")
    shows(page, other)
    expect(page.get_by_label("A note for colleagues")).to_have_value("")
    page.keyboard.press("k")
    shows(page, one)
    expect(page.get_by_label("A note for colleagues")).to_have_value("not to be lost")
    page.keyboard.press("n")
    page.keyboard.type("!")
    expect(page.get_by_label("A note for colleagues")).to_have_value("not to be lost!")


def test_keys_rest_where_they_must(site: Site, open_page: OpenPage) -> None:
    """In a field, with a modifier, while a word is being composed, and behind the help."""
    page = open_page()
    one, other = site.mentions[5], site.mentions[6]
    with_list(page, [one, other])
    page.keyboard.press("Control+j")
    page.keyboard.press("Alt+e")
    page.evaluate("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', isComposing: true, bubbles: true}))")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("n")
    page.keyboard.type("jke4")
    expect(page.get_by_label("A note for colleagues")).to_have_value("jke4")
    page.keyboard.press("Escape")
    expect(page.get_by_label("A note for colleagues")).not_to_be_focused()
    shows(page, one)
    expect(page.locator("#said")).to_be_empty()


def test_of_two_people_the_second_is_told_and_nothing_is_done(site: Site, open_page: OpenPage, watch: Watch) -> None:
    """The page of the second is stale: it says who labelled the post, and shows nothing as done."""
    mine, theirs = open_page(), open_page()
    one = site.mentions[7]
    for page in (mine, theirs):
        page.goto(f"/mentions/{one}")
    mine.keyboard.press("1")
    expect(mine.locator("#said")).to_contain_text("it is a bug now")
    theirs.keyboard.press("2")
    expect(theirs.locator("#refused")).to_contain_text("has labelled it bug report meanwhile; nothing was done")
    watch.expect("409")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.TRAINEE])
def test_who_may_only_look_has_no_keys_that_write(site: Site, open_page: OpenPage, role: Role) -> None:
    """They press nothing, and say so."""
    page = open_page(role)
    page.goto(f"/mentions/{site.mentions[0]}")
    before = site.store.views.show(site.mentions[0])["events"]
    for key in ("1", "e", "t", "h"):
        page.keyboard.press(key)
        expect(page.locator("#said")).to_have_text(f"{key} is not for your role")
    assert site.store.views.show(site.mentions[0])["events"] == before
    assert page.locator("[data-key='1']").count() == 0
    assert page.locator("[data-key='n']").count() == (role is Role.TRAINEE)


def test_the_phone_scrolls_in_one_direction(site: Site, open_page: OpenPage) -> None:
    """360 pixels are wide enough, and what is touched is large enough."""
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, color_scheme="dark")
    page.goto(f"/mentions/{site.mentions[7]}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for button in page.locator("#item button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 40, button.inner_text()
