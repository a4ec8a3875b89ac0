// Small things every page shares: htmx kept on a leash, confirmations, messages, times that stay true, the theme.
"use strict";
(() => {
  // ---- htmx: nothing that comes with a page may run as code (the names of htmx 4; reliability, section 7) ----
  if (window.htmx) {
    const refuse = function () { throw new Error("code from a page is not run"); };
    htmx.registerExtension("guard", { init: (api) => api.initSecurity(null, refuse, refuse) });
    // hx-on attributes are never bound.
    document.addEventListener("htmx:before:on:init", (event) => event.preventDefault());
    // Fragments bring no scripts.
    document.addEventListener("htmx:before:swap", (event) => {
      for (const task of event.detail.tasks ?? []) task.fragment?.querySelectorAll?.("script").forEach((node) => node.remove());
    });
    document.addEventListener("htmx:error", () => say("needs", "The server could not be reached. Check your connection, then try again."));
  }

  // ---- messages in the corner ----
  const icons = document.querySelector("use")?.getAttribute("href")?.split("#")[0] ?? "/static/icons.svg";
  function icon(name) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `${icons}#${name}`);
    svg.append(use);
    return svg;
  }
  function make(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }
  function say(tone, text) {
    const box = make("div", `alert tone-${tone}`);
    box.setAttribute("role", tone === "done" ? "status" : "alert");
    const body = make("div", "body");
    body.append(make("p", "", text));
    const close = make("button", "button quiet icon small");
    close.type = "button";
    close.dataset.close = "";
    close.setAttribute("aria-label", "Close this message");
    close.append(icon("x"));
    box.append(icon(tone === "done" ? "check" : "triangle-alert"), body, close);
    document.getElementById("alerts").replaceChildren(box);
    if (tone === "done") setTimeout(() => box.remove(), 6000);
  }
  const csrf = () => document.querySelector('meta[name="csrf"]')?.content ?? "";
  window.backlot = { say, icon, make, csrf };

  // ---- clicks ----
  document.addEventListener("click", async (event) => {
    const close = event.target.closest("[data-close]");
    if (close) close.closest(".alert, dialog").remove();
    const copy = event.target.closest("[data-copy]");
    if (copy) copyText(copy);
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // Plain HTTP has no clipboard object; a selected field still can be copied there.
  async function copyText(button) {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = make("textarea");
      field.value = text;
      field.className = "sr";
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    say("done", "Copied.");
  }

  // ---- forms: ask once where told to, and send once ----
  function ask(question, yes) {
    const dialog = make("dialog", "stack");
    const heading = make("h2", "", question);
    const actions = make("div", "actions");
    const keep = make("button", "button", "No, go back");
    const go = make("button", "button danger", yes);
    actions.append(go, keep);
    dialog.append(heading, actions);
    document.body.append(dialog);
    return new Promise((resolve) => {
      const end = (answer) => { resolve(answer); dialog.close(); dialog.remove(); };
      keep.addEventListener("click", () => end(false));
      go.addEventListener("click", () => end(true));
      dialog.addEventListener("cancel", () => end(false));
      dialog.showModal();
      keep.focus();
    });
  }
  const yes = (word) => (word ? `Yes, ${word[0].toLowerCase()}${word.slice(1)}` : "Yes");
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    // A form of several buttons may ask for one of them alone.
    const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
    if (question && !form.dataset.confirmed) {
      event.preventDefault();
      event.stopImmediatePropagation();
      const button = event.submitter ?? form.querySelector("button:not([type=button])");
      if (!(await ask(question, yes(button?.textContent.trim())))) return;
      form.dataset.confirmed = "yes";
      form.requestSubmit(event.submitter);
      delete form.dataset.confirmed;
    }
  }, true);
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method === "dialog" || event.target.hasAttribute("hx-post")) return;
    // After this turn, so that the pressed button is still part of what is sent.
    setTimeout(() => event.target.querySelectorAll("button:not([type=button])").forEach((node) => { node.disabled = true; }));
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) document.querySelectorAll("form button[disabled]").forEach((node) => { node.disabled = false; });
  });

  // ---- files dropped anywhere on a page that takes them; the code that sends them is loaded when it is needed ----
  const sends = document.querySelector('meta[name="uploads"]');
  let loading = null, veil = null, depth = 0;
  function load(src) {
    return new Promise((resolve, reject) => {
      const script = make("script");
      script.src = src;
      script.onload = resolve;
      script.onerror = () => { loading = composing = null; reject(new Error(src)); };
      document.head.append(script);
    });
  }
  let composing = null;
  const loadCompose = () => (composing ??= load(sends.dataset.compose));
  const loadSending = () => (loading ??= loadCompose().then(() => load(sends.content)));
  // The page of a batch and the choice in the Library; also when a batch comes to a page that was another before.
  let batching = null;
  function loadBatches() {
    if (!sends || !document.querySelector("[data-batch], #bulk")) return;
    batching ??= load(sends.dataset.batches).catch(() => { batching = null; notLoaded(); });
  }
  const carriesFiles = (event) => sends && [...(event.dataTransfer?.types ?? [])].includes("Files");
  function lift() { depth = 0; veil?.remove(); veil = null; }
  document.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    loadSending().catch(() => null);
    depth += 1;
    if (!veil) { veil = make("div", "drop-veil", "Drop it here"); document.body.append(veil); }
  });
  document.addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  document.addEventListener("dragleave", (event) => { if (carriesFiles(event) && --depth <= 0) lift(); });
  document.addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    const dropped = [...event.dataTransfer.files];
    lift();
    if (!dropped.length) return;
    try {
      await loadSending();
      await window.backlot.dropped(dropped);
    } catch { say("needs", "The upload could not begin. Check your connection, then drop it again."); }
  });
  const notLoaded = () => say("needs", "Part of this page could not be loaded. Load it again.");
  Object.assign(window.backlot, { loadSending, loadBatches });
  loadBatches();
  if (sends && document.getElementById("composer")) loadCompose().catch(notLoaded);
  if (sends && document.querySelector("[data-unfinished]")) loadSending().catch(notLoaded);
  // A form that is sent before this is loaded goes the plain way, with its file.
  document.addEventListener("change", (event) => {
    if (!sends || event.target.id !== "file" || window.backlot.chosen) return;
    loadSending().then(() => window.backlot.chosen(event.target.files)).catch(notLoaded);
  });

  // ---- theme: at once, and kept by the server ----
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-theme-choice]");
    if (!form) return;
    event.preventDefault();
    const theme = form.elements.theme.value;
    document.documentElement.dataset.theme = theme;
    try {
      if (theme === "auto") localStorage.removeItem("backlot-theme");
      else localStorage.setItem("backlot-theme", theme);
    } catch { /* Storage may be closed; the server keeps the choice. */ }
    document.querySelectorAll("[data-theme-choice] button").forEach((node) => { node.disabled = false; node.removeAttribute("aria-current"); });
    form.querySelector("button").setAttribute("aria-current", "true");
    form.closest("details").open = false;
    fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual" });
  });

  // ---- times: "3 minutes ago" stays true while the page is open ----
  const units = [[5400, 60, "minute"], [129600, 3600, "hour"], [5184000, 86400, "day"], [Infinity, 2592000, "month"]];
  function distance(at) {
    const seconds = (at - Date.now()) / 1000, far = Math.abs(seconds);
    if (far < 60) return seconds <= 0 ? "just now" : "in a moment";
    const [, size, word] = units.find(([most]) => far < most);
    const count = Math.max(1, Math.round(far / size));
    const words = `${count} ${word}${count === 1 ? "" : "s"}`;
    return seconds > 0 ? `in ${words}` : `${words} ago`;
  }
  setInterval(() => {
    for (const node of document.querySelectorAll("time[data-ago]")) {
      const words = distance(Date.parse(node.dateTime));
      if (node.textContent !== words) node.textContent = words;
    }
  }, 15000);
})();
