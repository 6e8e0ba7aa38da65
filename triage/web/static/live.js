// What arrives without a reload. All tabs of a browser share one stream: the tab that holds a lock reads it and passes on what it
// says. Who else looks at the item is asked by each tab for itself.

const ROWS_MS = 300;
const ITEM_MS = 400; // longer than app.js waits before it asks for the item after a write of its own
const HIDDEN_MS = 5000;
const POLL_MS = 20000;
const BEAT_MS = 10000;
const TYPING_MS = 3000;
const THERE_MS = 300000; // nobody touched the page for so long: nobody looks at it
const LONGEST_MS = 60000;

const channel = "BroadcastChannel" in window ? new BroadcastChannel("triage-live") : null;
const shares = Boolean(channel && navigator.locks && window.EventSource);
const csrf = JSON.parse(document.body.getAttribute("hx-headers") || "{}");
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// Asking. `X-Unasked` tells that no person did: it keeps no session alive.

async function ask(path, body) {
  const headers = body ? { "HX-Request": "true", ...csrf } : { "HX-Request": "true", "X-Unasked": "1" };
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, body });
  return answer.ok ? answer.text() : null;
}

function parsed(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  return made.content;
}

// The list

const known = new Set();
let rowsTimer = 0;
let rowsBusy = false;
let toldRows = 0;
let arrived = 0;

function note() {
  const list = document.getElementById("rows");
  for (const row of list ? list.children : []) if (row.dataset.id) known.add(row.dataset.id);
}

function askRows(ms = document.hidden ? HIDDEN_MS : ROWS_MS) {
  toldRows = performance.now();
  if (!rowsTimer && document.getElementById("rows")) rowsTimer = setTimeout(rows, ms);
}

async function rows() {
  rowsTimer = 0;
  if (document.getElementById("rows")?.asked > toldRows) return; // app.js has asked since
  if (rowsBusy) return askRows();
  rowsBusy = true;
  try {
    const search = location.search;
    const html = await ask(`/rows${search}`);
    const list = document.getElementById("rows");
    if (html === null || !list || search !== location.search) return;
    const content = parsed(html);
    merge(list, content.getElementById("rows") || content);
  } catch {
    // the next change asks again
  } finally {
    rowsBusy = false;
  }
}

// A row that says the same stays the same element, so that focus, selection and the place on the page stay, too.
function merge(list, fresh) {
  const place = list.closest("#list")?.scrollTop;
  const focused = list.contains(document.activeElement) ? document.activeElement.closest(".row")?.id : "";
  const kind = focused && document.activeElement.localName;
  const current = list.querySelector('.row[aria-current="true"]')?.id;
  const chosen = new Set([...list.querySelectorAll("input:checked")].map((box) => box.closest(".row")?.id));
  const old = new Map([...list.children].filter((row) => row.matches(".row")).map((row) => [row.id, row]));
  let last = null;
  let count = 0;
  for (const row of [...fresh.children]) {
    if (!row.matches(".row")) continue;
    row.removeAttribute("aria-current");
    const says = row.outerHTML;
    let kept = old.get(row.id);
    old.delete(row.id);
    if (!kept || (kept.says || bare(kept)) !== says) {
      const box = row.querySelector("input[type=checkbox]");
      if (box && chosen.has(row.id)) box.checked = true;
      kept?.replaceWith(row);
      kept = row;
    }
    kept.says = says;
    const next = last ? last.nextElementSibling : list.firstElementChild;
    if (next !== kept) list.insertBefore(kept, next);
    if (!kept.htmx) {
      window.htmx?.process(kept);
      kept.htmx = true;
    }
    if (kept.id === current) kept.setAttribute("aria-current", "true");
    if (!known.has(kept.dataset.id)) count += 1;
    last = kept;
  }
  for (const row of old.values()) row.remove();
  note();
  if (focused && !list.contains(document.activeElement)) document.getElementById(focused)?.querySelector(kind)?.focus({ preventScroll: true });
  if (place !== undefined) list.closest("#list").scrollTop = place;
  if (count) announce(count);
}

function bare(row) {
  const copy = row.cloneNode(true);
  copy.removeAttribute("aria-current");
  return copy.outerHTML;
}

function announce(count) {
  arrived += count;
  say(`${count} new in the list`);
  title();
}

function title() {
  const plain = document.title.replace(/^\(\d+\) /, "");
  document.title = arrived ? `(${arrived}) ${plain}` : plain;
}

// The item

const shown = () => document.getElementById("item")?.dataset.id || "";

function writing() {
  const fields = document.querySelectorAll("#item textarea, #item input:not([type=hidden], [type=checkbox], [type=radio])");
  const begun = [...fields].some((field) => field === document.activeElement || field.value !== field.defaultValue);
  return begun || Boolean(document.querySelector("#item details.panel[open]"));
}

async function changedItem() {
  const id = shown();
  const heardAt = performance.now();
  if (!id) return;
  do await wait(ITEM_MS);
  while (document.body.dataset.writing);
  const { asked } = document.getElementById("item") ?? {};
  if (shown() !== id || (asked?.id === id && asked.at > heardAt)) return; // app.js has asked since
  if (!writing()) return showItem(id);
  const html = await ask(`/mentions/${id}`).catch(() => null);
  const told = (within) => within.querySelector("article.item")?.dataset.told;
  if (html !== null && shown() === id && told(parsed(html)) !== told(document.getElementById("item"))) offer(id);
}

function offer(id) {
  const item = document.getElementById("item");
  if (item.querySelector("#changed")) return;
  const bar = document.createElement("p");
  bar.id = "changed";
  const button = document.createElement("button");
  button.className = "quiet";
  button.textContent = "changed meanwhile: show";
  button.addEventListener("click", () => showItem(id, true));
  bar.append(button);
  item.prepend(bar);
}

async function showItem(id, wanted = false) {
  const html = await ask(`/mentions/${id}`).catch(() => null);
  const item = document.getElementById("item");
  if (html === null || !item || shown() !== id) return;
  if (!wanted && writing()) return offer(id); // begun while the answer was on its way
  const content = parsed(html);
  const fresh = content.getElementById("item");
  const inner = fresh ? fresh.innerHTML : html;
  if (item.says === inner) return;
  const presence = item.querySelector("#presence");
  const focus = item.contains(document.activeElement) ? document.activeElement : null;
  const place = item.scrollTop;
  item.innerHTML = inner;
  item.says = inner;
  if (presence) item.prepend(presence);
  window.htmx?.process(item);
  const again = focus && [focus.id && `#${CSS.escape(focus.id)}`, focus.dataset.key && `[data-key="${CSS.escape(focus.dataset.key)}"]`].find(Boolean);
  if (again) item.querySelector(again)?.focus({ preventScroll: true });
  item.scrollTop = place;
}

// Who else is here

let touched = Date.now();
let typed = 0;
let looked = "";

function place() {
  const item = document.getElementById("item");
  let part = item.querySelector("#presence");
  if (!part) {
    part = document.createElement("div");
    part.id = "presence";
    part.setAttribute("role", "status");
    item.prepend(part);
  }
  return part;
}

function show(id, html) {
  if (html === null || shown() !== id) return;
  const part = place();
  if (part.says === html || part.querySelector("details[open]")) return;
  part.innerHTML = html;
  part.says = html;
  window.htmx?.process(part);
}

async function beat(typing = false) {
  const id = shown();
  if (document.hidden || Date.now() - touched > THERE_MS) return;
  const left = looked && looked !== id ? looked : "";
  looked = id;
  if (!id) return;
  const body = new URLSearchParams({ typing: typing ? "1" : "0" });
  if (left) body.set("left", left);
  show(id, await ask(`/mentions/${id}/presence`, body).catch(() => null));
}

async function askPresence() {
  const id = shown();
  if (id) show(id, await ask(`/mentions/${id}/presence`).catch(() => null));
}

function onInput(event) {
  if (!event.target.closest?.("#item") || Date.now() - typed < TYPING_MS) return;
  typed = Date.now();
  beat(true);
}

// What the stream says

function act(name, data) {
  const mine = data.all || data.mentions?.includes(Number(shown()));
  if (name === "changed") {
    document.body.dispatchEvent(new CustomEvent("changed", { detail: data })); // app.js forgets what it fetched ahead
    askRows();
    if (mine) {
      changedItem();
      askPresence();
    }
  }
  if (name === "looking" && mine) askPresence();
}

let lostAt = 0;
let wasLive = false;

function state(live, over) {
  document.body.dataset.live = live ? "1" : "";
  if (live) {
    if (!wasLive || lostAt) act("changed", wasLive ? { all: true } : { mentions: [] }); // what happened while nobody listened
    wasLive = true;
    lostAt = 0;
    say("");
  } else {
    lostAt ||= Date.now();
    const time = new Date(lostAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    say(over ? "you were logged out; log in again to go on" : `not live since ${time}; trying again`);
  }
}

function say(text) {
  let place = document.getElementById("live");
  if (!place) {
    place = document.createElement("span");
    place.id = "live";
    place.className = "soft small";
    place.setAttribute("role", "status");
    document.querySelector(".top .me")?.before(place);
  }
  if (place.textContent !== text) place.textContent = text;
}

// A log-in in another tab: the same person goes on here with the new session's token; of somebody else's nothing is shown here.

let stranger = false;
let renewed = 0;
let back = null;

function adopt({ me, headers }) {
  if (headers === document.body.getAttribute("hx-headers")) return;
  stranger = me !== document.body.dataset.me;
  if (stranger) {
    state(false);
    say("somebody else has logged in; load this page again");
  } else {
    document.body.setAttribute("hx-headers", headers);
    Object.assign(csrf, JSON.parse(headers));
    for (const field of document.querySelectorAll("input[name=csrf]")) field.value = csrf["X-CSRF-Token"];
    if (live) state(true);
  }
  renewed += 1;
  back?.();
}

// One stream for all tabs

let last = "";
let live = null; // null until known

function tell(message) {
  channel?.postMessage(message);
  hear(message);
}

function hear(message) {
  if (message.kind === "who") adopt(message);
  if (message.id) last = message.id;
  if (message.kind === "event" && !stranger) act(message.name, message.data);
  if (message.kind === "state") {
    live = message.live;
    if (!stranger) state(message.live, message.over);
  }
}

async function lead() {
  channel.addEventListener("message", ({ data }) => {
    if (data.kind === "who" && live !== null) channel.postMessage({ kind: "state", live, id: last });
  });
  for (let failures = 0; ; ) {
    const before = renewed;
    const over = await read(() => (failures = 0));
    if (over && renewed !== before) continue; // it was the session before that is over
    tell({ kind: "state", live: false, over });
    if (over) live = null; // nobody is told so who has just logged in
    const pause = Math.min(LONGEST_MS, 1000 * 2 ** failures++) * (0.5 + Math.random() / 2);
    await Promise.race([wait(over ? 2 ** 31 - 1 : pause), new Promise((done) => (back = done))]);
  }
}

// Reads one stream to its end; true when the session is over.
function read(opened) {
  return new Promise((done) => {
    const stream = new EventSource(`/live?since=${encodeURIComponent(last)}`);
    const end = (over) => {
      stream.close();
      done(over);
    };
    stream.addEventListener("hello", ({ lastEventId }) => {
      opened();
      tell({ kind: "state", live: true, id: lastEventId });
    });
    for (const name of ["changed", "looking"])
      stream.addEventListener(name, ({ data, lastEventId }) => tell({ kind: "event", name, data: JSON.parse(data), id: lastEventId }));
    stream.addEventListener("over", () => end(true));
    stream.onerror = () => end(false); // we come back by ourselves, more and more slowly
  });
}

// Begin

note();
for (const name of ["pointerdown", "pointermove", "keydown", "scroll", "focus"])
  window.addEventListener(
    name,
    () => {
      const away = Date.now() - touched > BEAT_MS;
      touched = Date.now();
      if (away) beat();
      if (arrived && name !== "pointermove" && name !== "focus") {
        arrived = 0;
        title();
        say("");
      }
    },
    { capture: true, passive: true },
  );
document.addEventListener("input", onInput, true);
document.addEventListener("visibilitychange", () => beat());
new MutationObserver(() => (shown() !== looked || (shown() && !document.getElementById("presence"))) && beat()).observe(document.getElementById("main"), {
  childList: true,
  subtree: true,
  attributes: true,
  attributeFilter: ["data-id"],
});
setInterval(beat, BEAT_MS);
beat();

if (shares) {
  channel.addEventListener("message", ({ data }) => hear(data));
  channel.postMessage({ kind: "who", me: document.body.dataset.me, headers: document.body.getAttribute("hx-headers") });
  navigator.locks.request("triage-live", lead);
} else {
  setInterval(() => act("changed", { all: true }), POLL_MS);
}
