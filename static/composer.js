// The composer: one panel at a time, judged by the server as it is typed, kept as a draft. Without this the page works, too.
"use strict";
(() => {
  const form = document.getElementById("compose");
  if (!form) return;
  const { say, csrf } = window.backlot;
  const CHECK_MS = 500, KEEP_MS = 1200;
  const panels = document.getElementById("panels"), tabs = form.querySelector("[data-tabs]"), saved = document.getElementById("saved");
  const changing = Boolean(form.elements.publication);
  // What was touched is told at once; the rest when it is to be sent.
  const touched = new Set();
  let all = form.dataset.all === "yes", leaving = false;
  document.documentElement.classList.add("with-script");
  form.noValidate = true;

  const said = () => {
    const fields = new URLSearchParams();
    for (const [name, value] of new FormData(form)) fields.append(name, value);
    return fields;
  };
  const ask = (url, body, more = {}) => fetch(url, { method: "POST", body, headers: { "X-CSRF-Token": csrf(), Accept: "application/json", ...more.headers }, keepalive: more.keepalive }).catch(() => null);

  // ---- one panel at a time: links become tabs, arrows go between them ----
  const list = () => [...tabs.querySelectorAll("[data-tab]")];
  function show(id, focus) {
    for (const tab of list()) {
      const mine = tab.dataset.tab === String(id);
      tab.setAttribute("aria-selected", mine);
      tab.tabIndex = mine ? 0 : -1;
      document.getElementById(`panel-${tab.dataset.tab}`).hidden = !mine;
      if (mine && focus) tab.focus();
      if (mine) tabs.scrollLeft = Math.max(0, tab.offsetLeft - 24);
    }
  }
  function dress() {
    tabs.setAttribute("role", "tablist");
    for (const tab of list()) {
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", `panel-${tab.dataset.tab}`);
      const panel = document.getElementById(`panel-${tab.dataset.tab}`);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", tab.id);
      panel.removeAttribute("aria-label");
    }
    panels.hidden = !list().length;
    const slots = document.getElementById("slots");
    const row = slots.querySelector(".row");
    const wanted = list().filter((tab) => "slots" in tab.dataset).map((tab) => tab.dataset.tab);
    slots.hidden = !wanted.length;
    for (const button of [...row.children]) if (!wanted.includes(button.dataset.slotOf)) button.remove();
    for (const id of wanted) {
      if (row.querySelector(`[data-slot-of="${id}"]`)) continue;
      const button = document.createElement("button");
      button.className = "button small";
      button.type = "submit";
      button.name = "act";
      button.value = `slot-${id}`;
      button.dataset.slotOf = id;
      const { name, label } = document.getElementById(`tab-${id}`).dataset;
      button.append(window.backlot.icon("calendar-clock"), `${name} `, window.backlot.make("span", "muted", label));
      row.append(button);
    }
    const hint = form.querySelector("[data-no-account]");
    if (hint) hint.hidden = Boolean(list().length);
  }
  const current = () => tabs.querySelector('[aria-selected="true"]')?.dataset.tab;
  tabs.addEventListener("click", (event) => {
    const tab = event.target.closest("[data-tab]");
    if (!tab) return;
    event.preventDefault();
    show(tab.dataset.tab, true);
  });
  tabs.addEventListener("keydown", (event) => {
    const all = list(), at = all.findIndex((tab) => tab.dataset.tab === current());
    const to = { ArrowRight: (at + 1) % all.length, ArrowLeft: (at - 1 + all.length) % all.length, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(all[to].dataset.tab, true);
  });
  document.addEventListener("click", (event) => { const fold = event.target.closest("#forecast summary")?.parentElement; if (fold) fold.dataset.by = "hand"; });
  // A problem's link opens the panel, and the fold, where it is put right.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('#problems a[href^="#"], #forecast a[href^="#"]');
    if (!link) return;
    event.preventDefault();
    const place = document.getElementById(link.hash.slice(1));
    if (!place) return;
    const panel = place.closest("[data-account]");
    if (panel) show(panel.dataset.account);
    const fold = place.closest("details");
    if (fold) fold.open = true;
    const field = place.matches("input, textarea, select") ? place : place.closest(".field, .own-words, .commercial, fieldset, section")?.querySelector("input:not([type=hidden]):not(:disabled), textarea, select");
    (field ?? place).scrollIntoView({ block: "center" });
    field?.focus({ preventScroll: true });
  });

  // ---- accounts come and go ----
  form.addEventListener("change", async (event) => {
    const box = event.target;
    if (box.name !== "account") return;
    if (!box.checked) {
      document.getElementById(`tab-${box.value}`)?.remove();
      document.getElementById(`panel-${box.value}`)?.remove();
      dress();
      if (list().length && !current()) show(list()[0].dataset.tab);
      return;
    }
    const body = said();
    body.append("show", box.value);
    const answer = await ask(form.dataset.panel, body, { headers: { Accept: "text/html", "HX-Request": "true" } });
    if (!answer?.ok) { box.checked = false; say("needs", "The choices of this account could not be loaded. Check your connection, then tick it again."); return; }
    if (!box.checked || document.getElementById(`panel-${box.value}`)) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    // In the order of the boxes.
    const order = [...form.querySelectorAll('[name="account"]')].map((one) => one.value);
    const next = list().find((tab) => order.indexOf(tab.dataset.tab) > order.indexOf(box.value));
    tabs.insertBefore(document.adoptNode(fresh.querySelector("[data-tab]")), next ?? null);
    panels.append(document.adoptNode(fresh.querySelector("[data-account]")));
    dress();
    show(box.value);
    later();
  });

  // ---- the server's judgement ----
  let asking = false, again = false, checkTimer = 0;
  async function check() {
    clearTimeout(checkTimer);
    if (asking) { again = true; return; }
    asking = true;
    const answer = await ask(form.dataset.check, said());
    asking = false;
    if (again) { again = false; check(); return; }
    if (!answer?.ok) { document.documentElement.dataset.checked = "no"; return; }
    tell(await answer.json());
  }
  function tell({ problems, counts, pieces }) {
    // A problem with the words stands where they were written: at the text for all, or at an account's own.
    const told = {};
    for (const [name, text] of Object.entries(problems)) {
      const [id, word] = name.split("-");
      told[word === "text" && !form.elements[`${id}-own`]?.checked ? "text" : name] ??= text;
    }
    for (const place of form.querySelectorAll("[data-wrong]")) {
      const name = place.dataset.wrong;
      const text = told[name] && (all || touched.has(name)) ? told[name] : "";
      if (place.textContent !== text) place.replaceChildren(...(text ? [window.backlot.make("span", "error", text)] : []));
      const field = form.elements[name];
      const one = field instanceof RadioNodeList ? null : field;
      if (one && "setAttribute" in one) { if (text) one.setAttribute("aria-invalid", "true"); else one.removeAttribute("aria-invalid"); }
    }
    for (const place of form.querySelectorAll("[data-count]")) {
      const each = counts[place.dataset.count] ?? [];
      place.replaceChildren(...each.map(({ used, most, unit }) => window.backlot.make("span", used > most ? "over" : "", `${used} / ${most} ${unit}`)));
    }
    for (const tab of list()) {
      const left = Object.keys(problems).filter((name) => name.startsWith(`${tab.dataset.tab}-`)).length;
      const badge = tab.querySelector("[data-left]");
      badge.hidden = !left;
      badge.firstChild.data = left;
    }
    for (const [id, text] of Object.entries(pieces)) swap(id, text);
    document.documentElement.dataset.checked = "yes";
  }
  // A piece is swapped only when it says something else, so that focus and screen readers are left alone.
  function swap(id, text) {
    const old = document.getElementById(id);
    const fresh = new DOMParser().parseFromString(text, "text/html").body;
    if (!old) return;
    const whole = fresh.querySelector(`#${CSS.escape(id)}`);
    if (whole ? whole.isEqualNode(old) : fresh.innerHTML.trim() === old.innerHTML.trim()) return;
    // What a person opened or closed stays so.
    for (const fold of whole?.querySelectorAll("details[data-of]") ?? []) {
      const was = old.querySelector(`details[data-of="${fold.dataset.of}"]`);
      if (was && was.dataset.by) { fold.open = was.open; fold.dataset.by = "hand"; }
    }
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    // Pictures that are the same stay, so that they do not flicker; their signed addresses differ in what signs them.
    if (whole) for (const img of whole.querySelectorAll("img")) {
      const twin = [...old.querySelectorAll("img")].find((one) => one.alt === img.alt && one.width === img.width);
      if (twin && sameFile(twin.src, img.src)) img.replaceWith(twin);
    }
    old.replaceChildren(...(whole ?? fresh).childNodes);
    if (focused) old.querySelector(`[name="${CSS.escape(focused.name ?? "")}"][value="${CSS.escape(focused.value ?? "")}"], [href="${CSS.escape(focused.getAttribute("href") ?? "")}"]`)?.focus();
  }
  const sameFile = (one, other) => one === other;

  // ---- kept as it is typed ----
  const clock = (at) => new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(new Date(at));
  for (const time of saved.querySelectorAll("time")) time.textContent = clock(time.dateTime);
  let dirty = false, keeping = null, keepTimer = 0;
  async function keep() {
    clearTimeout(keepTimer);
    if (changing || leaving || !dirty) return;
    if (keeping) { await keeping; if (dirty) return keep(); return; }
    dirty = false;
    saved.textContent = "Saving…";
    keeping = ask(form.dataset.drafts, said());
    const answer = await keeping;
    keeping = null;
    if (!answer?.ok) {
      dirty = true;
      saved.textContent = answer?.status === 404 ? "This draft was removed meanwhile." : "Not saved: the server could not be reached.";
      if (answer?.status === 404) { form.elements.draft.value = ""; history.replaceState(null, "", form.dataset.page); }
      keepTimer = setTimeout(keep, 5000);
      return;
    }
    const draft = await answer.json();
    form.elements.draft.value = draft.id;
    saved.textContent = `Saved ${clock(draft.savedAt)}`;
    history.replaceState(null, "", `${form.dataset.page}?draft=${draft.id}`);
    if (dirty) keepTimer = setTimeout(keep, KEEP_MS);
  }
  function later() {
    dirty = true;
    clearTimeout(checkTimer);
    clearTimeout(keepTimer);
    checkTimer = setTimeout(check, CHECK_MS);
    keepTimer = setTimeout(keep, KEEP_MS);
  }
  // Left in the middle of a word: what is typed goes ahead of the page.
  addEventListener("pagehide", () => {
    if (!dirty || leaving || changing) return;
    dirty = false;
    ask(form.dataset.drafts, said(), { keepalive: true });
  });
  addEventListener("beforeunload", (event) => {
    if (!leaving && dirty && (changing || saved.textContent.startsWith("Not saved"))) event.preventDefault();
  });

  form.addEventListener("input", (event) => {
    const field = event.target;
    if (field.name === "account") { later(); return; }
    touched.add(field.name);
    // Which other field a choice settles.
    if (/-brand_(content|organic)$/.test(field.name)) touched.add(field.name.replace(/brand_.*/, "commercial"));
    const own = field.name.match(/^(\d+)-own$/);
    if (own && field.checked) {
      const box = form.elements[`${own[1]}-text`];
      if (!box.value) box.value = form.elements.text.value;
    }
    if (/-brand_content$|-commercial$/.test(field.name)) onlyMe(field.closest("[data-account]"));
    if (field.name === "when" || field.name === "at") words();
    later();
  });
  function onlyMe(panel) {
    const box = panel.querySelector("[data-only-me]");
    const branded = panel.querySelector('[name$="-commercial"]')?.checked && panel.querySelector('[name$="-brand_content"]')?.checked;
    if (!box) return;
    box.disabled = branded;
    if (branded) box.checked = false;
  }
  function words() {
    const word = form.querySelector("[data-send-word]");
    if (!changing) word.textContent = form.elements.when.value === "later" ? "Plan the post" : "Post";
  }

  // ---- sending, the next free slot, looking again ----
  form.addEventListener("submit", async (event) => {
    const button = event.submitter;
    if (button?.dataset.slotOf) {
      event.preventDefault();
      await slot(button.dataset.slotOf);
      return;
    }
    if (button?.value === "look") { event.preventDefault(); all = true; check(); return; }
    if (!changing && button?.value === "keep") { event.preventDefault(); dirty = true; keep(); return; }
    if (keeping) {
      // The draft that is on its way has to have its number, or it would stay behind.
      event.preventDefault();
      event.stopImmediatePropagation();
      await keeping;
      form.requestSubmit(button);
      return;
    }
    leaving = true;
    clearTimeout(keepTimer);
    clearTimeout(checkTimer);
  });
  addEventListener("pageshow", (event) => { if (event.persisted) leaving = false; });
  async function slot(id) {
    const answer = await fetch(`${form.dataset.slot}?account=${id}`, { headers: { Accept: "application/json" } }).catch(() => null);
    const told = await answer?.json().catch(() => null);
    for (const one of form.querySelectorAll("button")) one.disabled = false;
    if (!answer?.ok) { say("needs", told?.error?.message ?? "The server could not be reached. Check your connection, then try again."); return; }
    form.querySelector('[name="when"][value="later"]').checked = true;
    form.elements.at.value = told.at;
    if (![...form.elements.zone.options].some((one) => one.value === told.zone)) form.elements.zone.add(new Option(told.zone, told.zone));
    form.elements.zone.value = told.zone;
    words();
    later();
    check();
  }

  // ---- begin ----
  for (const tab of list()) onlyMe(document.getElementById(`panel-${tab.dataset.tab}`));
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && ![...form.elements.zone.options].some((one) => one.value === zone)) form.elements.zone.add(new Option(zone, zone));
  if (zone && !form.elements.draft.value && !changing && form.elements.zone.value === "UTC") form.elements.zone.value = zone;
  dress();
  const wrong = form.querySelector("[data-account] .error")?.closest("[data-account]");
  if (wrong) all = true;
  const first = wrong?.dataset.account ?? list()[0]?.dataset.tab;
  if (first) show(first);
  const problems = document.getElementById("problems");
  if (problems.querySelector("[role=alert]")) { all = true; problems.focus(); }
  check();
})();
