// The answer's panel: drafts, the counter, Ctrl+Enter, the countdown. Without it all of that is there by buttons.
const SAVE_AFTER = 500, COUNT_AFTER = 300, LARGEST_KEEPALIVE = 20000;
const state = new WeakMap(); // form -> {saved, saver, counter, asked}

const formOf = (element) => element?.closest?.("form.answer");
const textOf = (form) => form.elements.namedItem("text");
const spotOf = (form) => `draft/${form.dataset.person}/${form.dataset.mention}`;
const say = (form, words) => { form.querySelector(".kept").textContent = words; };

function post(to, form, fields, more = {}) {
  const body = new URLSearchParams({ csrf: form.elements.namedItem("csrf").value, ...fields });
  return fetch(to, { method: "POST", body, redirect: "manual", ...more });
}

// What was typed stays in the browser until the server has it: a session that ended meanwhile loses nothing.
function keep(form) {
  const text = textOf(form).value, once = form.elements.namedItem("once").value;
  try { sessionStorage.setItem(spotOf(form), JSON.stringify({ text, once })); } catch { /* full or forbidden: the server's copy is left */ }
}

async function save(form, leaving = false) {
  const its = state.get(form), text = textOf(form).value;
  if (!its || its.sent || text === its.saved) return;
  clearTimeout(its.saver);
  try {
    const once = form.elements.namedItem("once").value;
    const answer = await post(form.dataset.draft, form, { text, once }, { keepalive: leaving && text.length < LARGEST_KEEPALIVE });
    if (!answer.ok) throw new Error(String(answer.status));
    its.saved = text;
    if (textOf(form).value === text) {
      sessionStorage.removeItem(spotOf(form));
      say(form, text.trim() ? "draft saved" : "");
    }
  } catch {
    say(form, "not saved yet: kept in this browser; log in again or wait for the network");
    if (!leaving) its.saver = setTimeout(() => save(form), 10 * SAVE_AFTER);
  }
}

async function count(form) {
  const its = state.get(form), text = textOf(form).value, box = form.querySelector(".preview");
  const asked = (its.asked = (its.asked ?? 0) + 1);
  try {
    const answer = await post(form.dataset.preview, form, { text }, { headers: { "HX-Request": "true" } });
    if (answer.ok && its.asked === asked) box.innerHTML = await answer.text();
  } catch { /* no network: the next letter asks again */ }
}

function typed(form) {
  const its = state.get(form);
  keep(form);
  clearTimeout(its.saver); clearTimeout(its.counter);
  its.saver = setTimeout(() => save(form), SAVE_AFTER);
  its.counter = setTimeout(() => count(form), COUNT_AFTER);
}

// What this browser still has and the server did not get. Of a form that was sent the server takes no draft: then it is forgotten.
async function restore(form) {
  let local = null;
  try { local = JSON.parse(sessionStorage.getItem(spotOf(form))); } catch { /* not ours */ }
  const area = textOf(form);
  if (!local || local.text === area.value) return;
  try {
    const answer = await post(form.dataset.draft, form, local);
    if (!answer.ok) return;
    sessionStorage.removeItem(spotOf(form));
    if (!(await answer.json()).saved) return;
    area.value = state.get(form).saved = local.text;
    say(form, "what you had typed is back");
    count(form);
  } catch { /* it stays for the next time */ }
}

function meet() {
  for (const form of document.querySelectorAll("form.answer")) {
    if (state.has(form)) continue;
    state.set(form, { saved: textOf(form).value });
    form.querySelector(".save").hidden = true; // it saves itself
    restore(form);
    if (textOf(form).value.trim()) count(form);
  }
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
}

document.addEventListener("input", (event) => {
  const form = formOf(event.target);
  if (form && event.target.name === "text") typed(form);
});
document.addEventListener("focusout", (event) => { const form = formOf(event.target); if (form) save(form); });
addEventListener("pagehide", () => { for (const form of document.querySelectorAll("form.answer")) save(form, true); });

document.addEventListener("keydown", (event) => {
  const form = formOf(event.target);
  if (form && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    const button = form.querySelector("button.send");
    if (button) form.requestSubmit(button);
  }
});

document.addEventListener("click", async (event) => {
  const insert = event.target.closest?.("[data-insert]"), copy = event.target.closest?.("[data-copy]");
  if (insert) {
    event.preventDefault();
    const form = insert.form, area = textOf(form), before = area.value.trim();
    area.value = before ? `${before}\n\n${insert.dataset.insert}` : insert.dataset.insert;
    area.focus();
    typed(form);
  } else if (copy) {
    const text = copy.dataset.copy || textOf(formOf(copy)).value;
    try { await navigator.clipboard.writeText(text); copy.textContent = "Copied"; } catch { textOf(formOf(copy))?.select(); }
  }
});

// A form that was sent saves nothing any more; one that was refused goes on.
document.addEventListener("htmx:afterRequest", (event) => {
  const form = event.target;
  if (!form.matches?.("form.answer") || !event.detail.successful) return;
  const its = state.get(form);
  if (its) { its.sent = true; clearTimeout(its.saver); }
  sessionStorage.removeItem(spotOf(form));
});

setInterval(() => {
  for (const left of document.querySelectorAll("[data-left]")) {
    const seconds = Number(left.dataset.left) - 1;
    left.dataset.left = String(seconds);
    left.textContent = seconds > 0 ? ` in ${seconds} s` : " now";
    const panel = left.closest("#reply"), form = panel.querySelector("form.answer");
    const idle = !form || !panel.contains(document.activeElement) || !textOf(form).value;
    if (seconds < 0 && seconds % 3 === 0 && idle && window.htmx) window.htmx.ajax("GET", panel.dataset.at, { target: "#reply", swap: "outerHTML" });
  }
}, 1000);

document.addEventListener("htmx:afterSettle", meet);
meet();
