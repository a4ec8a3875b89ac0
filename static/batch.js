// The page of a batch: its one bar added up from all items, and files for places that wait. And the choice in the Library.
"use strict";
(() => {
  const { say, csrf, loadSending } = window.backlot;
  const sent = new Map();
  const page = () => document.querySelector("[data-batch]");
  const slots = () => [...document.querySelectorAll("[data-slot]")];
  const sending = () => window.backlot.sending?.() ?? [];

  // ---- one bar over all ----
  function add() {
    const bar = document.querySelector("[data-batch-bar]");
    if (!bar) return;
    const items = [...document.querySelectorAll("[data-counts]")];
    if (!items.length) return;
    let sum = 0;
    for (const item of items) {
      const { begins, span, part } = item.dataset;
      const own = sending().map(String).includes(item.id.slice(5)) ? sent.get(item.id.slice(5)) : undefined;
      sum += Number(begins) + (Number(span) * (own ?? Number(part))) / 100;
    }
    bar.value = sum / items.length;
    document.querySelector("[data-batch-percent]").textContent = `${Math.floor(sum / items.length)} %`;
  }
  document.addEventListener("backlot:percent", ({ detail: { topic, percent } }) => {
    for (const item of document.querySelectorAll(`[data-topic="${CSS.escape(topic)}"]`)) item.dataset.part = percent;
    add();
  });
  document.addEventListener("backlot:sent", ({ detail: { item, percent } }) => { sent.set(String(item), percent); add(); });

  // ---- files for places that wait ----
  function look() {
    const busy = sending().map(String);
    const idle = slots().filter((slot) => !busy.includes(slot.dataset.slot));
    for (const button of document.querySelectorAll("[data-pick]")) button.hidden = false;
    const missing = idle.some((slot) => slot.dataset.stage !== "refused") && !busy.length;
    for (const node of document.querySelectorAll("[data-idle]")) node.hidden = !missing;
    chosen();
    add();
  }
  // What the server had noted down; the storage's own count may be ahead of it, a moment after a line was cut.
  async function ask(slot) {
    const answer = await fetch(slot.dataset.upload, { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" } }).catch(() => null);
    const here = Number(answer?.ok ? answer.headers.get("Upload-Offset") : NaN), bar = slot.querySelector(":scope > progress");
    if (Number.isNaN(here) || !bar || here <= bar.value) return;
    bar.value = here;
    slot.querySelector("[data-here]").textContent = size(here);
    slot.closest("[data-item]").dataset.part = (100 * here) / bar.max;
    add();
  }
  const size = (bytes) => (bytes < 999500 ? `${(bytes / 1e3).toFixed(bytes < 99500 ? 1 : 0)} kB` : `${(bytes / 1e6).toFixed(bytes < 99.5e6 ? 1 : 0)} MB`);
  setTimeout(() => slots().filter((slot) => slot.dataset.upload && !sending().map(String).includes(slot.dataset.slot)).forEach(ask), 500);
  const same = (slot, file) => slot.dataset.name === file.name && Number(slot.dataset.bytes) === file.size;

  async function give(slot, file) {
    const { slot: item, title, upload } = slot.dataset;
    await loadSending();
    if (!upload || same(slot, file)) { window.backlot.sendItem(file, Number(item), title, upload ?? null); return; }
    // Another file instead: what is there of the first one goes.
    await fetch(upload, { method: "DELETE", headers: { "X-CSRF-Token": csrf(), "Tus-Resumable": "1.0.0" } }).catch(() => null);
    window.backlot.sendItem(file, Number(item), title);
  }

  // Each file to the place of its name; gives those that belong to none.
  function match(files) {
    const free = new Set(slots().filter((slot) => !sending().map(String).includes(slot.dataset.slot)));
    return files.filter((file) => {
      const slot = [...free].find((one) => same(one, file));
      if (!slot) return true;
      free.delete(slot);
      give(slot, file).catch(notSent);
      return false;
    });
  }
  const notSent = () => say("needs", "The upload could not begin. Check your connection, then try again.");

  let wanted = null;
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pick]");
    if (!button) { if (event.target.closest('[for="batch-files"]')) wanted = null; return; }
    wanted = button.dataset.pick;
    const picker = document.getElementById("batch-files");
    picker.multiple = false;
    picker.click();
    picker.multiple = true;
  });
  document.addEventListener("change", (event) => {
    if (event.target.id !== "batch-files") return;
    const files = [...event.target.files], slot = wanted && document.getElementById(`slot-${wanted}`);
    event.target.value = "";
    wanted = null;
    if (slot && files.length) { give(slot, files[0]).catch(notSent); return; }
    // One that is here already was chosen along with the others: there is nothing to say.
    const here = new Set([...document.querySelectorAll("[data-file]")].map((item) => item.dataset.file));
    const left = match(files).filter((file) => !here.has(file.name));
    if (left.length) say("needs", `Not part of this batch: ${left.map((file) => file.name).join(", ")}.`);
  });
  // Files dropped on the page of a batch that waits for them go to their places; others begin a new one.
  window.backlot.fits = (files) => (page() && slots().length ? match(files) : files);
  document.addEventListener("backlot:again", () => setTimeout(look));

  // ---- the choice in the Library ----
  const ticks = () => [...document.querySelectorAll('[name="video"][form="bulk"]')];
  function chosen() {
    const bulk = document.getElementById("bulk"), all = document.getElementById("choose-all");
    if (!bulk) return;
    const many = ticks().filter((tick) => tick.checked).length;
    bulk.querySelector("[data-chosen-count]").textContent = `${many} ${many === 1 ? "video" : "videos"} chosen`;
    all.closest("[data-choose-all]").hidden = !ticks().length;
    all.checked = many > 0 && many === ticks().length;
    all.indeterminate = many > 0 && many < ticks().length;
  }
  document.addEventListener("change", (event) => {
    if (event.target.id !== "choose-all") return;
    for (const tick of ticks()) tick.checked = event.target.checked;
    chosen();
  });
  // With Shift, everything between this one and the one before.
  let before = null;
  document.addEventListener("click", (event) => {
    if (!event.target.matches('[name="video"][form="bulk"]')) return;
    const all = ticks(), here = all.indexOf(event.target), there = all.indexOf(before);
    if (event.shiftKey && there >= 0) for (const tick of all.slice(Math.min(here, there), Math.max(here, there) + 1)) tick.checked = event.target.checked;
    before = event.target;
    chosen();
  });
  document.addEventListener("reset", () => setTimeout(chosen));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]") || !ticks().some((tick) => tick.checked)) return;
    for (const tick of ticks()) tick.checked = false;
    chosen();
  });

  document.addEventListener("htmx:after:swap", () => setTimeout(look));
  look();
})();
