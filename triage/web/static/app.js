// Keys, what a write says, and going from item to item. The list of keys is in triage/web/keys.py: a key presses the element that
// has it as data-key. Here are only those keys that press nothing: j k x z ? Escape.

const AHEAD = 30_000; // ms for which an item that was fetched ahead is shown without asking again
const KEPT = 6; // items
const TOLD_MS = 300; // so long a write waits for the stream to tell of it
const one = (selector, within = document) => within.querySelector(selector);
const item = () => one("#item");
const shown = () => item()?.dataset.id ?? null;
const rows = () => [...document.querySelectorAll("#rows > .row")];
const chosen = () => one("#rows > .row[aria-current=true]");
const idle = window.requestIdleCallback ?? ((job) => setTimeout(job, 50));

// What is said. The last deed is remembered, so that z takes it back from wherever one has gone on to.

let lastDeed = null;
let backTo = null; // the item of which a deed is being taken back from another one
let silence = 0;

function say(text) {
  one("#refused").textContent = "";
  one("#said").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => { one("#said").textContent = ""; }, 20_000);
}

function refuse(text) {
  one("#said").textContent = "";
  one("#refused").textContent = text;
}

// Showing an item.

const ahead = new Map(); // id -> {html, at}
let asking = null;
let headed = null; // the item that is to be shown, perhaps still on its way

async function fetchItem(id, signal) {
  const answer = await fetch(`/mentions/${id}`, { headers: { "HX-Request": "true" }, signal });
  if (answer.status === 401) location.assign(`/login?next=/mentions/${id}`);
  if (!answer.ok) throw new Error(JSON.parse(answer.headers.get("HX-Trigger") ?? "{}").refused ?? `the server answered ${answer.status}`);
  return answer.text();
}

function keep(id, html) {
  ahead.delete(id);
  ahead.set(id, { html, at: Date.now() });
  if (ahead.size > KEPT) ahead.delete(ahead.keys().next().value);
}

let forgotten = 0; // what was asked for before this changed is not kept

function forget(ids) {
  forgotten += 1;
  if (ids) ids.forEach((id) => ahead.delete(String(id)));
  else ahead.clear();
}

// What was typed and not sent stays when its item is shown anew, or left and opened again. Drafts of answers are the server's.
const unsent = new Map(); // id -> [[form's address, field's name, text]]
let owed = null;
const fields = (within) => within.querySelectorAll("form textarea[name]:not([data-kept]), form input[type=text][name]:not([data-kept]), form input:not([type])[name]");

function keepUnsent() {
  const typed = [...fields(item())].filter((field) => field.value !== field.defaultValue);
  if (typed.length) unsent.set(shown(), typed.map((field) => [field.form.getAttribute("action"), field.name, field.value]));
  else unsent.delete(shown());
}

function giveBackUnsent(id) {
  for (const [address, name, text] of unsent.get(id) ?? []) {
    const field = [...fields(item())].find((one) => one.form.getAttribute("action") === address && one.name === name);
    if (field && !field.value) field.value = text;
  }
}

async function show(id, { fresh = false, push = true } = {}) {
  asking?.abort();
  const mine = (asking = new AbortController());
  headed = id;
  const known = ahead.get(id);
  let html = !fresh && known && Date.now() - known.at < AHEAD ? known.html : null;
  try {
    if (!html) {
      item().asked = { id, at: performance.now() }; // live.js need not ask for what was told before this
      html = await fetchItem(id, mine.signal);
    }
  } catch (error) {
    if (error.name === "AbortError") return false;
    headed = shown();
    refuse(`item ${id} can't be shown: ${error.message}`);
    return false;
  }
  if (mine.signal.aborted) return false;
  if (id === shown() && item().contains(document.activeElement) && typing(document.activeElement)) {
    owed = id; // whoever types is not disturbed: it is shown anew once they leave the form
    return true;
  }
  owed = null;
  keepUnsent();
  // A panel that was opened while the answer was on its way stays open; its forms now tell the newest state.
  const key = id === shown() && document.activeElement?.closest("#item details.panel[open]")?.querySelector("summary").dataset.key;
  htmx.swap("#item", html, { swapStyle: "innerHTML" });
  arrived();
  if (key) press(key);
  if (push) history.replaceState({ htmx: true }, "", `/mentions/${id}${location.search}`);
  return true;
}

// After any way by which an item came into the pane.
function arrived() {
  const article = one("#item > .item");
  if (!article) return;
  const id = article.dataset.id;
  item().dataset.id = id;
  headed = id;
  mark(id);
  giveBackUnsent(id);
  document.body.dispatchEvent(new CustomEvent("shown", { detail: { id } }));
  idle(() => lookAhead(id));
}

function mark(id) {
  for (const row of rows()) {
    if (row.dataset.id === id) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
}

async function lookAhead(id) {
  const here = rows();
  const place = here.findIndex((row) => row.dataset.id === id);
  if (place < 0) return;
  for (const row of [here[place + 1], here[place - 1]]) {
    const known = row && ahead.get(row.dataset.id);
    if (!row || (known && Date.now() - known.at < AHEAD / 2)) continue;
    try {
      const before = forgotten;
      const html = await fetchItem(row.dataset.id);
      if (before === forgotten) keep(row.dataset.id, html);
    } catch {
      return; // it is asked for again when it is wanted
    }
  }
}

function choose(row, options) {
  if (!row) return;
  mark(row.dataset.id);
  row.scrollIntoView({ block: "nearest" });
  one("a", row)?.focus({ preventScroll: true });
  show(row.dataset.id, options);
}

function step(by) {
  const here = rows();
  const place = here.indexOf(chosen());
  const to = here[place < 0 ? 0 : place + by];
  if (to) choose(to);
  else if (here.length) say(by > 0 ? "this is the last one" : "this is the first one");
}

async function freshRows() {
  const list = one("#rows");
  if (!list) return;
  list.asked = performance.now();
  const answer = await fetch(`/rows${location.search}`, { headers: { "HX-Request": "true" } });
  if (!answer.ok) return;
  const typed = document.activeElement?.closest("#rows .row")?.dataset.id;
  htmx.swap("#rows", await answer.text(), { swapStyle: "innerHTML" });
  if (shown()) mark(shown());
  if (typed) one(`#row-${CSS.escape(typed)} a`)?.focus({ preventScroll: true });
}

// After a write.

const after = new WeakMap(); // the request's element -> the id of the item to go on to
const heard = new WeakMap(); // the same -> settles once the stream has told of what was written
let writing = Promise.resolve(); // settles once the last write has its answer

// Settles when the stream tells that an item changed. Where nothing is live it does so at once, else after a moment at the latest.
function told(id) {
  if (!document.body.dataset.live) return null;
  return new Promise((done) => {
    const hear = ({ detail }) => {
      if (!detail?.all && !detail?.mentions?.includes(Number(id))) return;
      document.body.removeEventListener("changed", hear);
      done();
    };
    document.body.addEventListener("changed", hear);
    setTimeout(() => document.body.removeEventListener("changed", hear), AHEAD);
  });
}

async function written(to, source) {
  const id = /^\/mentions\/(\d+)$/.exec(to)?.[1];
  if (!id) {
    const page = await fetch(to);
    const main = new DOMParser().parseFromString(await page.text(), "text/html").querySelector("#main");
    if (!page.ok || !main) return location.assign(to);
    htmx.swap("#main", main.innerHTML, { swapStyle: "innerHTML" });
    if (document.activeElement === document.body) one("#rows > .row a")?.focus({ preventScroll: true }); // its button is gone
    return undefined;
  }
  forget([id]);
  source?.closest("form")?.reset();
  if (backTo === id || source?.closest("form")?.action.endsWith("/undo")) lastDeed = null;
  else lastDeed = { id, at: Date.now() };
  const next = source && one(`#row-${CSS.escape(after.get(source) ?? "")}`);
  const within = item()?.contains(document.activeElement);
  const panel = source?.closest("details.panel");
  if (panel?.contains(document.activeElement)) document.activeElement.blur();
  const back = backTo === id;
  if (back) backTo = null;
  else if (next && shown() === id) choose(next);
  // What is asked for after the stream has told of it is not asked for again by live.js.
  await Promise.race([heard.get(source), new Promise((done) => setTimeout(done, TOLD_MS))]);
  if (back) {
    await show(id, { fresh: true });
    one("#item-head")?.focus({ preventScroll: true });
  } else if (headed === id) {
    await show(id, { fresh: true, push: false });
    if (within && !owed) one("#item-head")?.focus({ preventScroll: true });
  }
  await freshRows();
  return undefined;
}

document.body.addEventListener("said", (event) => say(event.detail.value));
document.body.addEventListener("refused", (event) => refuse(event.detail.value));
document.body.addEventListener("done", (event) => written(event.detail.to, event.target));
document.body.addEventListener("changed", (event) => forget(event.detail?.mentions));
document.body.addEventListener("htmx:beforeRequest", (event) => {
  const { xhr, elt, requestConfig } = event.detail;
  if (requestConfig.verb === "post") {
    const mine = (writing = new Promise((done) => xhr.addEventListener("loadend", done)));
    document.body.dataset.writing = "1";
    mine.then(() => { if (writing === mine) delete document.body.dataset.writing; });
    heard.set(elt, told(/^\/mentions\/(\d+)\//.exec(requestConfig.path)?.[1]));
  }
  // An element that left the page before its answer came can't tell what the answer says: its events reach nobody.
  xhr.addEventListener("readystatechange", () => {
    if (xhr.readyState !== XMLHttpRequest.DONE || elt.isConnected) return;
    const told = JSON.parse(xhr.getResponseHeader("HX-Trigger") || "{}");
    if (told.refused) refuse(told.refused);
    if (told.said) say(told.said);
    if (told.done) written(told.done.to, elt);
  });
  if (!elt.closest("form[data-next]")) return;
  const row = chosen();
  after.set(elt, (row?.nextElementSibling ?? row?.previousElementSibling)?.dataset.id);
});
document.body.addEventListener("htmx:sendError", () => refuse("the server does not answer; nothing is lost, try again in a moment"));
document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "item") return;
  arrived();
  if (event.detail?.requestConfig) one("#item-head")?.focus({ preventScroll: true }); // by a click or Enter on its row
});
document.body.addEventListener("htmx:load", (event) => {
  if (event.target.id !== "reply") return;
  if (wanted && event.target.dataset.at) press(wanted);
  wanted = null;
});
document.body.addEventListener("htmx:beforeSwap", (event) => {
  if (event.target.id === "item") keepUnsent();
});
document.body.addEventListener("focusout", (event) => {
  const form = event.target.closest?.("#item form");
  if (owed && form && event.relatedTarget && !form.contains(event.relatedTarget)) show(owed, { fresh: true, push: false });
});

// Keys.

const typing = (target) => target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !/^(checkbox|radio|button|submit)$/.test(target.type);

let wanted = null; // a key for the answer's panel, which is still on its way

// Why a key presses nothing, where more can be told than that it does not.
const NOT_HERE = {
  b: "this can't be boosted: only public praise can, once",
  p: "there is no prepared thanks for this item",
  t: "no ticket can be filed here: it has one, or there is no tracker",
  y: "no rule suggests anything for this item",
};

function whyNot(key) {
  if (!shown()) return "choose an item first: j";
  if (!one("[data-key=e]", item())) return `${key} is not for your role`; // whoever may write can archive
  return NOT_HERE[key] ?? `${key} does nothing with this item`;
}

function press(key) {
  const name = `[data-key="${CSS.escape(key)}"]`;
  const found = (item() && one(name, item())) ?? one(name);
  if (!found && "bp".includes(key) && one("#reply:not([data-at])")) {
    wanted = key;
    return true;
  }
  if (!found || found.disabled) {
    if (item() && [...document.querySelectorAll("#keys dt kbd")].some((one) => one.textContent === key)) say(whyNot(key));
    return false;
  }
  if (found.closest("#reply:not([data-at])") && wanted !== key) {
    wanted = key;
    return true;
  }
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(found.tagName)) {
    found.closest("details")?.setAttribute("open", "");
    found.focus();
    if (found.tagName === "TEXTAREA" && !found.selectionEnd) found.setSelectionRange(found.value.length, found.value.length); // go on, not before it
    found.scrollIntoView({ block: "nearest" });
  } else {
    found.click();
    const panel = found.closest("summary")?.parentElement;
    if (panel?.open) one("form button, form select, form input:not([type=hidden])", panel)?.focus();
  }
  return true;
}

async function takeBack() {
  await writing; // a deed that is on its way is the last one
  const here = lastDeed?.id === shown() && headed === shown(); // and nobody is on the way to the next item
  if (!lastDeed || here || Date.now() - lastDeed.at > 300_000) return press("z");
  backTo = lastDeed.id;
  await htmx.ajax("POST", `/mentions/${backTo}/undo`, { source: document.body, swap: "none" });
  backTo = null; // where it was refused
  return true;
}

function leave(event) {
  one("#refused").textContent = "";
  const target = document.activeElement;
  const panel = target?.closest("#item details.panel[open]");
  if (typing(target)) target.blur();
  if (owed) show(owed, { fresh: true, push: false });
  if (panel) {
    panel.open = false;
    one("summary", panel).focus();
    event.preventDefault();
  } else if (chosen()) one("a", chosen())?.focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const button = event.target.closest?.(".notes form")?.querySelector("button");
    button?.focus(); // out of the field, so that the item is shown anew with its note
    button?.click();
    return;
  }
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.keyCode === 229) return;
  if (one("dialog[open]")) return; // which closes itself on Escape
  if (event.key === "Escape") return leave(event);
  if (event.repeat && !"jk".includes(event.key)) return;
  if (typing(event.target)) return;
  const ours = {
    j: () => step(1),
    k: () => step(-1),
    x: () => (chosen() ? one("input[type=checkbox]", chosen())?.click() : one("#rows") && say("choose an item first: j")),
    z: takeBack,
    "?": () => one("#keys").showModal(),
  }[event.key];
  if (ours) ours();
  else if (event.key.length !== 1 || event.key === " " || !press(event.key)) return;
  event.preventDefault();
});

if (one("#item > .item")) arrived();

export { forget, freshRows, refuse, say, show };
