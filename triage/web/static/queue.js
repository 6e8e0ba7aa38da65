// Selecting rows: how many are, all that are shown, a stretch with shift, and that a fresh list keeps them. The key x is app.js's.

const one = (selector) => document.querySelector(selector);
const boxes = () => [...document.querySelectorAll("#rows input[name=ids]")];
const picked = new Set();
let last = null;

function tell() {
  const count = picked.size;
  const told = one("#picked");
  const text = count ? `${count} selected` : "";
  if (told && told.textContent !== text) told.textContent = text;
  one("#bulk")?.classList.toggle("open", count > 0);
  const all = one("#pick-all");
  if (all) all.hidden = count === 0 || boxes().every((box) => box.checked);
}

function note(box) {
  if (box.checked) picked.add(box.value);
  else picked.delete(box.value);
}

// A list that came anew has lost its ticks; what is no longer in it can't be meant.
function restore() {
  const here = boxes();
  const there = new Set(here.map((box) => box.value));
  for (const id of picked) if (!there.has(id)) picked.delete(id);
  for (const box of here) box.checked = picked.has(box.value);
  tell();
}

document.addEventListener("click", (event) => {
  const box = event.target.closest?.("#rows input[name=ids]");
  if (box) {
    const here = boxes();
    if (event.shiftKey && last && here.includes(last)) {
      const [from, to] = [here.indexOf(last), here.indexOf(box)].sort((a, b) => a - b);
      for (const between of here.slice(from, to + 1)) {
        between.checked = box.checked;
        note(between);
      }
    }
    note(box);
    last = box;
    tell();
  } else if (event.target.closest?.("#pick-all")) {
    for (const every of boxes()) {
      every.checked = true;
      note(every);
    }
    tell();
  } else if (event.target.closest?.("#pick-none")) {
    picked.clear();
    for (const every of boxes()) every.checked = false;
    tell();
    event.preventDefault();
  }
});
document.addEventListener("change", (event) => {
  if (event.target.closest?.(".filters form")) event.target.form.requestSubmit();
});
document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.closest?.("#list, #main, .panes")) restore();
});
new MutationObserver(restore).observe(document.body, { childList: true, subtree: true });
restore();
