// Resumable uploads (tus): several at once, paused, resumed after a reload or a lost line, refused with the reason.
"use strict";
(() => {
  const { say, icon, make, csrf } = window.backlot;
  const TOGETHER = 2, MOST_FILES = 50, CHUNK_BYTES = 32 * 1024 * 1024, RETRY_MS = [0, 1000, 3000, 5000, 10000, 20000, 30000];
  const queue = [], rows = new Set();
  let files = [], tusLoading = null;

  const tray = () => document.getElementById("uploads");
  const words = {
    size(bytes) {
      const units = ["B", "kB", "MB", "GB"];
      let value = bytes, at = 0;
      while (value >= 999.5 && at < 3) { value /= 1000; at += 1; }
      return `${at === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
    },
    left(seconds) {
      if (!Number.isFinite(seconds)) return "";
      if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s left`;
      return seconds < 5400 ? `${Math.round(seconds / 60)} min left` : `${(seconds / 3600).toFixed(1)} h left`;
    },
    stem: (name) => (name.replace(/\.[^.]*$/, "") || name).replaceAll("_", " ").trim(),
  };

  function loadTus() {
    tusLoading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = document.querySelector('meta[name="tus"]').content;
      script.onload = resolve;
      script.onerror = () => { tusLoading = null; reject(new Error("The upload code could not be loaded. Check your connection.")); };
      document.head.append(script);
    });
    return tusLoading;
  }

  // ---- one upload: its row and its states ----
  class Sending {
    // `item` is the place in a batch that the file fills: it shows there, and the batch says what is wished for it.
    constructor(file, wishes, title, item = null) {
      Object.assign(this, { file, wishes, title, item, state: "waiting", sent: 0, samples: [] });
      this.row = make("div", "upload-row");
      const name = make("div", "clip");
      if (!item) name.append(make("strong", "", title), " ", make("span", "muted small", title === file.name ? "" : file.name));
      this.buttons = make("div", "actions");
      this.bar = make("progress");
      this.bar.max = file.size || 1;
      this.bar.value = 0;
      this.bar.setAttribute("aria-label", `Uploaded of ${title}`);
      this.note = make("p", "wide small muted num", "Waiting for its turn");
      if (item) this.row.append(this.bar, this.note, this.buttons);
      else this.row.append(name, this.buttons, this.bar, this.note);
      rows.add(this);
      if (item) this.mount();
      else {
        document.getElementById("sending").append(this.row);
        tray().hidden = false;
      }
      this.draw();
    }

    // Into its place on the batch's page; what the server tells of the place waits until nothing is sent from here.
    mount() {
      const slot = document.getElementById(`slot-${this.item}`);
      if (!slot || slot.contains(this.row)) return Boolean(slot);
      slot.setAttribute("hx-morph-skip", "");
      slot.replaceChildren(this.row);
      return true;
    }

    leave() {
      rows.delete(this);
      document.getElementById(`slot-${this.item}`)?.removeAttribute("hx-morph-skip");
      document.dispatchEvent(new CustomEvent("backlot:again"));
    }

    // Its place is gone: called off or taken out, here or elsewhere.
    async end() {
      const url = this.upload?.url;
      this.state = "cancelled";
      rows.delete(this);
      queue.splice(0, queue.length, ...queue.filter((one) => one !== this));
      await this.upload?.abort();
      if (url) this.upload._removeFromUrlStorage?.();
      next();
    }

    button(word, glyph, act, kind = "") {
      const button = make("button", `button small ${kind}`, word);
      button.type = "button";
      button.prepend(icon(glyph));
      button.setAttribute("aria-label", `${word}: ${this.title}`);
      button.addEventListener("click", act);
      return button;
    }

    draw() {
      const buttons = [];
      if (this.state === "sending" || this.state === "waiting") buttons.push(this.button("Pause", "pause", () => this.pause()));
      if (this.state === "paused" || this.state === "broken") buttons.push(this.button(this.state === "paused" ? "Resume" : "Try again", "play", () => this.queueUp()));
      if (!["done", "refused", "finishing"].includes(this.state)) buttons.push(this.button("Cancel", "x", () => this.cancel(), "quiet"));
      if (this.state === "refused" && !this.item) buttons.push(this.button("Dismiss", "x", () => this.remove(), "quiet"));
      const had = this.buttons.contains(document.activeElement);
      this.buttons.replaceChildren(...buttons);
      if (had) buttons[0]?.focus();
      this.row.classList.toggle("tone-failed", this.state === "refused" || this.state === "broken");
    }

    set(state, note) {
      this.state = state;
      if (note !== undefined) this.note.textContent = note;
      this.draw();
    }

    queueUp() {
      this.set("waiting", "Waiting for its turn");
      queue.push(this);
      next();
    }

    async start() {
      this.set("sending", "Starting …");
      this.samples = [];
      try {
        await loadTus();
        if (!this.upload) this.make();
        const previous = this.url || this.item ? [] : await this.upload.findPreviousUploads();
        const known = previous.filter((one) => one.uploadUrl).sort((a, b) => Date.parse(b.creationTime) - Date.parse(a.creationTime))[0];
        if (known) this.upload.resumeFromPreviousUpload(known);
        if (this.state === "sending") this.upload.start();
      } catch (error) { this.broke(error.message); }
    }

    make() {
      this.upload = new tus.Upload(this.file, {
        endpoint: "/uploads",
        uploadUrl: this.url ?? null,
        chunkSize: CHUNK_BYTES,
        retryDelays: RETRY_MS,
        storeFingerprintForResuming: true,
        removeFingerprintOnSuccess: true,
        headers: { "X-CSRF-Token": csrf(), Accept: "application/json" },
        metadata: { filename: this.file.name, ...(this.item ? { item: String(this.item) } : { wishes: JSON.stringify(this.wishes ?? {}) }) },
        onProgress: (sent) => this.progress(sent),
        onAfterResponse: (_, response) => { this.video = response.getHeader("Upload-Video") ?? this.video; },
        onShouldRetry: (error) => {
          const status = error.originalResponse?.getStatus() ?? 0;
          this.note.textContent = status ? "The server asks to wait; it goes on by itself …" : "The connection is lost; it goes on by itself …";
          return status === 0 || status === 409 || status === 423 || status === 429 || status >= 500;
        },
        onError: (error) => this.failed(error),
        onSuccess: () => this.finish(),
      });
    }

    progress(sent) {
      this.sent = sent;
      this.bar.value = sent;
      if (this.item) document.dispatchEvent(new CustomEvent("backlot:sent", { detail: { item: this.item, percent: (100 * sent) / (this.file.size || 1) } }));
      const now = performance.now();
      this.samples.push([now, sent]);
      while (this.samples.length > 2 && now - this.samples[0][0] > 5000) this.samples.shift();
      const [then, before] = this.samples[0];
      const speed = now - then > 400 ? (sent - before) / ((now - then) / 1000) : 0;
      const parts = [`${Math.floor((100 * sent) / (this.file.size || 1))} %`, `${words.size(sent)} of ${words.size(this.file.size)}`];
      if (speed > 0 && sent < this.file.size) parts.push(`${words.size(speed)}/s`, words.left((this.file.size - sent) / speed));
      if (sent >= this.file.size) { this.note.textContent = "All of it is here; it is being looked at …"; return; }
      this.note.textContent = parts.filter(Boolean).join(" · ");
    }

    failed(error) {
      const response = error.originalResponse, status = response?.getStatus() ?? 0;
      if (status === 401 || status === 403) { this.broke("You are signed out or this page is out of date. Load it again, then choose the file again: it goes on where it was."); return; }
      if (status >= 400 && status < 500) { this.refuse(reasonOf(response.getBody())); return; }
      this.broke(status ? reasonOf(response.getBody()) : "The connection is lost. What was sent is kept.");
    }

    refuse(reason) {
      this.set("refused", "");
      this.note.className = "error wide";
      this.note.setAttribute("role", "alert");
      this.note.textContent = `${this.file.name} was refused: ${reason}`;
      this.bar.remove();
      if (this.item) this.leave();
      next();
    }

    broke(reason) { this.set("broken", reason); next(); }

    async pause() {
      const running = this.state === "sending";
      this.set("paused", `Paused at ${words.size(this.sent)} of ${words.size(this.file.size)}`);
      queue.splice(0, queue.length, ...queue.filter((one) => one !== this));
      if (running) await this.upload?.abort();
      next();
    }

    async cancel() {
      const url = this.upload?.url;
      this.set("cancelled", "Cancelled");
      queue.splice(0, queue.length, ...queue.filter((one) => one !== this));
      await this.upload?.abort();
      if (url) await fetch(url, { method: "DELETE", headers: { "X-CSRF-Token": csrf(), "Tus-Resumable": "1.0.0" } }).catch(() => null);
      this.upload?._removeFromUrlStorage?.();
      if (this.item) this.leave();
      else this.remove();
      next();
    }

    remove() { rows.delete(this); this.row.remove(); tidy(); }

    // Everything is here. Normally the last answer named the video; a lost answer is asked for again.
    async finish() {
      this.set("finishing", "All of it is here; it is being looked at …");
      if (!this.video) {
        const answer = await fetch(`${this.upload.url}/finish`, { method: "POST", headers: { "X-CSRF-Token": csrf(), Accept: "application/json" } }).catch(() => null);
        const text = (await answer?.text()) ?? "";
        if (!answer || answer.status >= 500) { this.broke("The server did not answer. Try again: nothing is lost."); return; }
        if (!answer.ok) { this.refuse(reasonOf(text)); return; }
        this.video = JSON.parse(text).video.url;
      }
      this.set("done");
      rows.delete(this);
      const [, composed] = (this.account ?? "").match(/^compose-?(\d*)$/) ?? [];
      // Others that are still on their way would stop with this page.
      if (composed !== undefined && !rows.size) { location.href = `/compose?video=${this.video.split("/").pop()}${composed && `&account=${composed}`}`; return; }
      if (this.item) this.leave();
      else await this.becomeVideo();
      next();
    }

    // The row becomes the video's own line, which moves by itself from here on.
    async becomeVideo() {
      const answer = await fetch(`${this.video}/row`, { headers: { "HX-Request": "true", Accept: "text/html" } }).catch(() => null);
      if (!answer?.ok) { this.row.remove(); tidy(); return; }
      const list = document.getElementById("arrived") ?? document.getElementById("sending").insertAdjacentElement("afterend", Object.assign(make("ul", "list"), { id: "arrived" }));
      this.row.remove();
      const place = make("li");
      list.prepend(place);
      await htmx.swap({ text: await answer.text(), target: place, swap: "outerHTML", sourceElement: list });
      document.dispatchEvent(new CustomEvent("backlot:live"));
    }
  }

  function reasonOf(body) {
    try {
      const { message, fields } = JSON.parse(body).error;
      const more = Object.values(fields ?? {}).filter((text) => !message.includes(text));
      return [message, ...more].join(" ");
    } catch { return "The server could not take it."; }
  }

  function next() {
    while ([...rows].filter((one) => one.state === "sending").length < TOGETHER && queue.length) queue.shift().start();
  }

  function tidy() {
    const empty = !rows.size && !document.querySelector("#sending > *, #arrived > *, [data-unfinished]");
    if (tray()) tray().hidden = empty;
  }

  window.addEventListener("beforeunload", (event) => {
    if ([...rows].some((one) => one.state === "sending" || one.state === "waiting")) event.preventDefault();
  });

  // ---- choosing files ----
  function choose(list) {
    const form = document.getElementById("composer");
    if (!form) return;
    if (list.length > MOST_FILES) {
      wrong(form, "file", `At most ${MOST_FILES} files at once; these are ${list.length}. Choose fewer of them.`);
      return;
    }
    files = [...list];
    const shown = form.querySelector("#chosen"), most = Number(form.dataset.most);
    for (const video of shown.querySelectorAll("video")) URL.revokeObjectURL(video.src);
    shown.hidden = !files.length;
    shown.replaceChildren(...files.map((file, at) => chosenRow(form, file, at, most)));
    form.elements.file.required = !files.length;
    wrong(form, "file", "");
    const title = form.elements.title;
    title.dataset.hint ??= title.placeholder;
    title.placeholder = files.length === 1 ? words.stem(files[0].name) : files.length > 1 ? "{name}" : title.dataset.hint;
    for (const node of form.querySelectorAll("[data-several]")) node.hidden = files.length < 2;
    form.dataset.many = files.length;
    form.dispatchEvent(new CustomEvent("backlot:chosen"));
    sayTitles(form);
  }

  // Each file's own field shows the title it gets when nothing is written there.
  function sayTitles(form) {
    const common = form.elements.title?.value.trim();
    for (const field of form.querySelectorAll("[data-title-of]")) {
      const name = words.stem(files[field.dataset.titleOf]?.name ?? "");
      field.placeholder = common ? common.replaceAll("{name}", name) : name;
    }
  }
  document.addEventListener("input", (event) => { if (event.target.id === "title" && event.target.form?.id === "composer") sayTitles(event.target.form); });

  function chosenRow(form, file, at, most) {
    const row = make("li", "list-row");
    const video = make("video", files.length === 1 ? "preview big" : "preview");
    const about = make("div", "grow stack tight");
    const facts = make("span", "muted small num", words.size(file.size));
    const warning = make("span", "");
    video.muted = true;
    video.preload = "metadata";
    video.controls = files.length === 1;
    video.src = URL.createObjectURL(file);
    video.addEventListener("loadedmetadata", () => {
      const seconds = Math.round(video.duration);
      facts.textContent = `${words.size(file.size)} · ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} · ${video.videoWidth} × ${video.videoHeight}`;
      file.seconds = video.duration;
      // The first picture is often black.
      video.currentTime = Math.min(1, video.duration / 3);
      checkLength(form);
    });
    if (file.size > most) { warning.className = "error"; warning.textContent = `Larger than the ${words.size(most)} that one file may have.`; }
    row.dataset.at = at;
    about.append(make("strong", "clip", file.name), facts, warning);
    if (files.length > 1) {
      const field = make("input");
      field.type = "text";
      field.dataset.titleOf = at;
      field.placeholder = words.stem(file.name);
      field.setAttribute("aria-label", `Title of ${file.name}`);
      about.append(field);
    }
    const drop = make("button", "button quiet icon small");
    drop.type = "button";
    drop.setAttribute("aria-label", `Do not send ${file.name}`);
    drop.append(icon("x"));
    drop.addEventListener("click", () => choose(files.filter((one) => one !== file)));
    row.append(video, about, drop);
    return row;
  }

  // The platform's longest video for this account, before a byte is sent.
  function checkLength(form) {
    const longest = Number(form.querySelector("#panel")?.dataset.longest);
    for (const row of form.querySelectorAll("#chosen > li")) {
      const file = files[row.dataset.at];
      row.querySelector(".too-long")?.remove();
      if (longest && file?.seconds > longest) row.querySelector(".stack").append(make("span", "error too-long", `Longer than the ${longest} s this account may post.`));
    }
  }
  document.addEventListener("backlot:composer", () => { const form = document.getElementById("composer"); if (form) checkLength(form); });

  document.addEventListener("change", (event) => {
    if (event.target.id === "file" && event.target.files.length) choose(event.target.files);
  });

  function wrong(form, name, text) {
    const place = form.querySelector(`[data-wrong="${CSS.escape(name)}"]`);
    const field = form.querySelector(`[name="${CSS.escape(name)}"]`);
    if (!place) return false;
    place.replaceChildren(...(text ? [make("span", "error", text)] : []));
    if (text) field?.setAttribute("aria-invalid", "true");
    return true;
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.id !== "composer" || !form.dataset.check || !window.fetch) return;
    event.preventDefault();
    if (!files.length) { wrong(form, "file", "Choose a video first."); form.querySelector("#file").focus(); return; }
    const button = form.querySelector("button[type=submit]");
    button.disabled = true;
    try { await send(form); } finally { button.disabled = false; }
  });

  async function send(form) {
    const fields = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (typeof value === "string") fields.append(name, value);
    for (const node of form.querySelectorAll("[data-wrong]")) node.replaceChildren();
    const answer = await fetch(form.dataset.check, { method: "POST", body: fields, headers: { "X-CSRF-Token": csrf(), Accept: "application/json" } }).catch(() => null);
    if (!answer) { say("needs", "The server could not be reached. Check your connection, then try again."); return; }
    const said = await answer.json();
    if (!answer.ok) {
      const unplaced = Object.entries(said.error.fields ?? {}).filter(([name, text]) => !wrong(form, name, text));
      if (unplaced.length || !Object.keys(said.error.fields ?? {}).length) say("failed", [said.error.message, ...unplaced.map(([, text]) => text)].join(" "));
      form.querySelector(".error")?.scrollIntoView({ block: "center" });
      return;
    }
    if (files.length > 1) { await sendBatch(form, said.wishes); return; }
    const sendings = files.map((file, at) => {
      const own = form.querySelector(`[data-title-of="${at}"]`)?.value.trim();
      const title = own || said.wishes.title || words.stem(file.name);
      const post = said.wishes.post ? { ...said.wishes.post, title } : null;
      return Object.assign(new Sending(file, { ...said.wishes, title, post }, title), { account: form.elements.accountId?.value ?? "" });
    });
    form.reset();
    choose([]);
    form.dispatchEvent(new Event("input", { bubbles: true }));
    document.getElementById("compose-dialog")?.close();
    tray().scrollIntoView({ block: "nearest" });
    for (const sending of sendings) sending.queueUp();
  }

  // ---- several files: one batch, whose page comes here, as the files cannot follow to another ----
  let asked = "", key = "";
  async function sendBatch(form, wishes) {
    const sent = [...files];
    const titles = sent.map((_, at) => form.querySelector(`[data-title-of="${at}"]`)?.value.trim() || null);
    const about = sent.map((file, at) => ({ filename: file.name, bytes: file.size, title: titles[at] }));
    const body = new URLSearchParams({ act: "upload", files: JSON.stringify(about), wishes: JSON.stringify(wishes) });
    // The same again, after an answer that was lost, is the same batch.
    if (asked !== String(body)) { asked = String(body); key = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join(""); }
    body.append("key", key);
    const answer = await fetch(form.dataset.batches, { method: "POST", body, headers: { "X-CSRF-Token": csrf(), Accept: "application/json" } }).catch(() => null);
    if (!answer) { say("needs", "The server could not be reached. Check your connection, then try again."); return; }
    const said = await answer.json();
    if (!answer.ok) { sayWhichFiles(form, said.error); return; }
    asked = "";
    const { url, items } = said.batch;
    const page = await fetch(url, { headers: { Accept: "text/html" } }).catch(() => null);
    if (!page?.ok) { location.href = url; return; }
    choose([]);
    document.getElementById("compose-dialog")?.close();
    await show(url, await page.text());
    const sendings = sent.map((file, at) => new Sending(file, null, titles[at] ?? file.name, items[at]));
    for (const sending of sendings) sending.queueUp();
    window.backlot.loadBatches();
  }

  function sayWhichFiles(form, error) {
    const rest = [];
    for (const [name, text] of Object.entries(error.fields ?? {})) {
      const [, at] = name.match(/^files\.(\d+)\./) ?? [];
      const row = at === undefined ? null : form.querySelector(`#chosen > [data-at="${at}"] .stack`);
      if (row) row.append(make("span", "error", text));
      else rest.push(text);
    }
    say("failed", [error.message, ...rest].join(" "));
    form.querySelector(".error")?.scrollIntoView({ block: "center" });
  }

  async function show(url, text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    document.title = fresh.title;
    history.replaceState(null, "", url);
    await htmx.swap({ text: fresh.querySelector(".shell").outerHTML, target: document.querySelector(".shell"), swap: "outerHTML", sourceElement: document.body });
    document.dispatchEvent(new CustomEvent("backlot:live"));
    scrollTo(0, 0);
  }

  // A file for a place that waits for one; `url` goes on with what is there of it.
  function sendItem(file, item, title, url = null) {
    const sending = new Sending(file, null, title, item);
    sending.url = url;
    sending.queueUp();
  }
  window.backlot.sendItem = sendItem;
  window.backlot.sending = () => [...rows].filter((one) => one.item && !["refused", "done", "cancelled"].includes(one.state)).map((one) => one.item);
  document.addEventListener("htmx:after:swap", () => {
    for (const one of rows) if (one.item && !one.mount()) one.end();
  });

  // ---- dropped anywhere (page.js holds the files until this is loaded) ----
  async function dropped(list) {
    const left = window.backlot.fits?.(list) ?? list;
    if (!left.length) return;
    await openComposer();
    choose(left);
  }
  window.backlot.dropped = dropped;
  window.backlot.chosen = choose;

  // On the Library and the Dashboard the composer comes to the file, as a file cannot follow to another page.
  async function openComposer() {
    if (document.getElementById("composer")) return;
    const answer = await fetch("/videos/new", { headers: { "HX-Request": "true", Accept: "text/html" } });
    const dialog = make("dialog", "wide");
    dialog.id = "compose-dialog";
    const head = make("div", "dialog-head");
    const close = make("button", "button quiet icon");
    close.type = "button";
    close.setAttribute("aria-label", "Close without uploading");
    close.append(icon("x"));
    close.addEventListener("click", () => dialog.close());
    head.append(make("h2", "", "New video"), close);
    const place = make("div");
    dialog.append(head, place);
    document.body.append(dialog);
    dialog.addEventListener("close", () => { choose([]); dialog.remove(); });
    await htmx.swap({ text: await answer.text(), target: place, swap: "innerHTML", sourceElement: place });
    document.dispatchEvent(new CustomEvent("backlot:composer-loaded"));
    dialog.showModal();
  }

  // ---- uploads that stopped: choose the same file, and they go on ----
  let continuing = null;
  // The list tells what the server had noted down; the storage's own count may be ahead of it.
  async function ask(row) {
    const answer = await fetch(row.dataset.unfinished, { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" } }).catch(() => null);
    if (!answer || answer.status >= 500) return;
    if (!answer.ok) { row.remove(); tidy(); return; }
    const here = Number(answer.headers.get("Upload-Offset"));
    row.querySelector("progress").value = here;
    row.querySelector("[data-here]").textContent = words.size(here);
  }
  const picker = document.getElementById("continue-file");
  function offerContinue() {
    for (const button of document.querySelectorAll("[data-continue]")) button.hidden = false;
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-continue]");
    if (!button) return;
    continuing = button.closest("[data-unfinished]");
    picker.value = "";
    picker.click();
  });
  picker?.addEventListener("change", () => {
    const file = picker.files[0];
    if (!file || !continuing) return;
    if (file.size !== Number(continuing.dataset.bytes) || file.name !== continuing.dataset.name) {
      say("needs", `This is another file. Choose “${continuing.dataset.name}”, as it was.`);
      return;
    }
    const sending = new Sending(file, null, continuing.querySelector("strong").textContent);
    sending.url = continuing.dataset.unfinished;
    continuing.remove();
    sending.queueUp();
  });
  document.addEventListener("htmx:after:swap", () => { offerContinue(); tidy(); });
  document.addEventListener("backlot:composer-loaded", offerContinue);
  offerContinue();
  // A moment after a reload: the server may just be noticing that the line was cut.
  setTimeout(() => document.querySelectorAll("[data-unfinished]").forEach(ask), 500);
})();
