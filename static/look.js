// How a video will look, before anything is sent: the frame, the logo, the words and the colours on the chosen file.
"use strict";
(() => {
  const { say, csrf } = window.backlot;
  // As the worker counts (app/media/look.py): the canvas of a picture with room around it.
  const ROOMY = 1080, SMALL_ROOMY = 720, HD = 1280, SAMPLE = [1280, 720];
  const TINTS = {
    grayscale: "grayscale(1)", warm: "sepia(.28) saturate(1.2)", cool: "hue-rotate(-8deg) saturate(.92) brightness(1.02)",
    vivid: "contrast(1.08) saturate(1.35)", vintage: "sepia(.4) saturate(.75) contrast(.92) brightness(1.04)",
  };
  // So much of a page's height that the fields below stay in sight.
  const narrow = matchMedia("(max-width: 760px)");
  const tallest = () => (narrow.matches ? 190 : 300);
  const FADE_S = 1;
  const looks = new WeakSet();

  // ---- the fields, as text by name ----
  function read(root) {
    const fields = {};
    for (const node of root.querySelectorAll("input[name], select[name], textarea[name]")) {
      if (node.type === "radio") { if (node.checked) fields[node.name] = node.value; }
      else if (node.type === "checkbox") fields[node.name] = node.checked ? node.value : "";
      else fields[node.name] = node.value;
    }
    return fields;
  }

  function fill(root, fields) {
    for (const [name, value] of Object.entries(fields)) {
      for (const node of root.querySelectorAll(`[name="${CSS.escape(name)}"]`)) {
        if (node.type === "radio") node.checked = node.value === value;
        else if (node.type === "checkbox") node.checked = Boolean(value);
        else node.value = value;
      }
    }
  }

  // A kit says how, not what: words and captions of this video stay unless it has some of its own.
  function takeOver(root, fields) {
    const kept = ["captionsText", "captionsMode", "stream-hls", "stream-dash", ...(fields.titleText ? [] : ["titleText"])];
    fill(root, Object.fromEntries(Object.entries(fields).filter(([name]) => !kept.includes(name))));
  }

  // ---- the frame ----
  function canvasOf(size, fields) {
    const [width, height] = size, shape = fields.frameAspect?.split(":").map(Number) ?? [];
    if (shape.length !== 2 || Math.abs(width / height / (shape[0] / shape[1]) - 1) < 0.01) return size;
    const ratio = shape[0] / shape[1];
    if (fields.frameFit === "crop") return width / height > ratio ? [height * ratio, height] : [width, width / ratio];
    const unit = (Math.max(width, height) >= HD ? ROOMY : SMALL_ROOMY) / Math.min(...shape);
    return [shape[0] * unit, shape[1] * unit];
  }

  // The focus comes as near to the middle as the picture's edges let it.
  const along = (focus, whole, part) => (whole <= part ? 50 : (100 * Math.min(Math.max(0, focus * whole - part / 2), whole - part)) / (whole - part));

  function place(node, position, x, y) {
    const left = position.endsWith("left"), right = position.endsWith("right"), top = position.startsWith("top"), bottom = position.startsWith("bottom");
    Object.assign(node.style, {
      left: left ? x : right ? "auto" : "50%", right: right ? x : "auto",
      top: top ? y : bottom ? "auto" : "50%", bottom: bottom ? y : "auto",
      transform: `translate(${left || right ? 0 : -50}%, ${top || bottom ? 0 : -50}%)`,
      textAlign: left ? "left" : right ? "right" : "center",
    });
  }

  // ---- captions: the one of this moment ----
  const clock = (text) => text.trim().split(/[ \t]/)[0].replace(",", ".").split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
  function captionAt(text, at) {
    let first = "";
    for (const block of text.replace(/\r/g, "").split(/\n{2,}/)) {
      const lines = block.split("\n"), row = lines.findIndex((line) => line.includes("-->"));
      if (row < 0) continue;
      const words = lines.slice(row + 1).join("\n").replace(/<[^<>]*>/g, "").trim(), [from, to] = lines[row].split("-->").map(clock);
      first ||= words;
      if (at >= from && at < to) return words;
    }
    return first;
  }

  class Look {
    constructor(root) {
      this.root = root;
      this.form = root.closest("form");
      // Where the worker itself draws a picture there is no stage.
      this.stage = root.querySelector("[data-stage]");
      this.forKit = !root.querySelector("#kit");
      for (const node of root.querySelectorAll("[data-with-script]")) node.hidden = false;
      root.addEventListener("input", () => this.draw());
      root.addEventListener("change", (event) => this.changed(event.target));
      this.form.addEventListener("reset", () => setTimeout(() => this.draw()));
      // A problem in a folded part is not seen.
      new MutationObserver(() => {
        for (const wrong of root.querySelectorAll("details:not([open]) .error")) wrong.closest("details").open = true;
      }).observe(root, { childList: true, subtree: true });
      if (this.stage) this.begin();
      this.draw();
    }

    begin() {
      this.main = this.stage.querySelector(".stage-main");
      this.behind = this.stage.querySelector(".stage-behind");
      this.moment = this.root.querySelector("#moment");
      this.size = SAMPLE;
      this.root.querySelector("[data-preview]").hidden = false;
      this.form.addEventListener("backlot:chosen", () => this.follow());
      this.main.addEventListener("loadedmetadata", () => this.loaded());
      this.main.addEventListener("error", () => this.source(""));
      this.moment.addEventListener("input", () => this.seek());
      this.drag();
      new ResizeObserver(() => this.draw()).observe(this.stage.parentElement);
      this.follow();
    }

    changed(node) {
      if (node.matches("[data-logo]")) addLogo(this, node);
      else if (node.matches("[data-clip]")) addClip(this, node);
      else if (node.matches("[data-captions]")) readCaptions(this, node);
      else if (node.id === "kit") takeOver(this.root, JSON.parse(node.selectedOptions[0].dataset.fields));
      this.draw();
    }

    // The first chosen file, where there is one.
    follow() {
      if (this.root.dataset.source) this.source(this.root.dataset.source);
      else this.source(this.form.querySelector("#chosen video")?.src ?? "");
    }

    source(src) {
      if (this.src === src) return;
      this.src = src;
      for (const video of [this.main, this.behind]) {
        if (src) video.src = src;
        else { video.removeAttribute("src"); video.load(); }
      }
      this.stage.classList.toggle("shows-video", Boolean(src));
      if (!src) { this.size = SAMPLE; this.root.querySelector("[data-moment]").hidden = true; }
      const hint = this.root.querySelector("[data-preview-hint]");
      hint.dataset.before ??= hint.textContent;
      hint.textContent = src ? "About how it will look; the fonts are stand-ins." : hint.dataset.before;
      this.draw();
    }

    loaded() {
      const { videoWidth, videoHeight, duration } = this.main;
      if (!videoWidth) { this.source(""); return; }
      this.size = [videoWidth, videoHeight];
      const ends = Number.isFinite(duration);
      this.root.querySelector("[data-moment]").hidden = !ends;
      if (ends) { this.moment.max = Math.max(0.1, duration); this.moment.value = Math.min(1, duration / 3); }
      this.seek();
    }

    seek() {
      const at = Number(this.moment.value);
      for (const video of [this.main, this.behind]) if (video.readyState) video.currentTime = at;
      const out = this.moment.closest("[data-moment]").querySelector("output");
      out.textContent = `${Math.floor(at / 60)}:${String(Math.floor(at % 60)).padStart(2, "0")}`;
      this.moment.setAttribute("aria-valuetext", out.textContent);
      this.draw();
    }

    draw() {
      const fields = read(this.root);
      for (const out of this.root.querySelectorAll("output[for]")) out.textContent = fields[out.htmlFor] ?? "";
      this.form.dispatchEvent(new CustomEvent("backlot:look"));
      if (!this.stage) return;
      const canvas = canvasOf(this.size, fields), { style } = this.stage;
      const room = this.stage.parentElement.clientWidth, ratio = canvas[0] / canvas[1];
      const width = Math.min(room, tallest() * ratio);
      style.width = `${width}px`;
      style.height = `${width / ratio}px`;
      this.scale = width / canvas[0];
      this.drawPicture(fields, canvas);
      this.drawLogo(fields, canvas);
      this.drawTitle(fields, canvas);
      this.drawCaptions(fields);
    }

    drawPicture(fields, canvas) {
      const framed = fields.frameAspect !== "original", [width, height] = this.size;
      const cut = framed && fields.frameFit === "crop";
      const scale = Math.max(canvas[0] / width, canvas[1] / height);
      const tints = Object.keys(TINTS).filter((name) => fields[`effect-${name}`]).map((name) => TINTS[name]);
      const at = Number(this.moment.value), left = (this.main.duration || 0) - at;
      if (this.src && fields["effect-fade-in"] && at < FADE_S) tints.push(`brightness(${at / FADE_S})`);
      if (this.src && fields["effect-fade-out"] && left < FADE_S) tints.push(`brightness(${Math.max(0, left / FADE_S)})`);
      const position = `${along(fields.frameFocusX / 100, width * scale, canvas[0])}% ${along(fields.frameFocusY / 100, height * scale, canvas[1])}%`;
      for (const node of [this.main, this.stage.querySelector(".stage-sample")]) {
        node.style.filter = tints.join(" ") || "none";
        node.style.objectFit = cut ? "cover" : "contain";
        node.style.objectPosition = cut ? position : "50% 50%";
      }
      const sample = this.stage.querySelector(".stage-sample");
      const inside = Math.min(canvas[0] / width, canvas[1] / height), part = cut ? scale : inside;
      Object.assign(sample.style, {
        width: `${(100 * width * part) / canvas[0]}%`, height: `${(100 * height * part) / canvas[1]}%`,
        left: `${cut ? -(Math.max(0, width * scale - canvas[0]) * along(fields.frameFocusX / 100, width * scale, canvas[0])) / canvas[0] : 50 - (50 * width * inside) / canvas[0]}%`,
        top: `${cut ? -(Math.max(0, height * scale - canvas[1]) * along(fields.frameFocusY / 100, height * scale, canvas[1])) / canvas[1] : 50 - (50 * height * inside) / canvas[1]}%`,
      });
      this.behind.hidden = !(framed && fields.frameFit === "blur");
      this.behind.style.filter = `blur(14px) ${tints.join(" ")}`;
      this.stage.classList.toggle("blurs", framed && fields.frameFit === "blur");
      this.stage.classList.toggle("draggable", cut);
      this.stage.style.backgroundColor = framed && fields.frameFit === "pad" ? fields.frameColour : "#000";
    }

    drawLogo(fields, canvas) {
      const logo = this.stage.querySelector(".stage-logo");
      const picked = this.root.querySelector('[name="logo"]:checked')?.closest("label").querySelector("img");
      logo.hidden = !picked;
      if (!picked) return;
      if (logo.getAttribute("src") !== picked.getAttribute("src")) logo.src = picked.getAttribute("src");
      const margin = `${Math.min(Number(fields.logoMargin), canvas[0] / 3, canvas[1] / 3) * this.scale}px`;
      logo.style.width = `${fields.logoScale}%`;
      logo.style.opacity = fields.logoOpacity / 100;
      place(logo, fields.logoPosition, margin, margin);
    }

    drawTitle(fields, canvas) {
      const title = this.stage.querySelector(".stage-title");
      title.textContent = fields.titleText || (this.forKit ? "Your title" : "");
      title.dataset.font = fields.titleFont;
      const margin = fields.titleMargin === "" ? null : `${Number(fields.titleMargin) * this.scale}px`;
      Object.assign(title.style, { fontSize: `${(fields.titleSize / 100) * canvas[1] * this.scale}px`, color: fields.titleColour, opacity: fields.titleOpacity / 100 });
      place(title, fields.titlePosition, margin ?? "5%", margin ?? "5%");
    }

    drawCaptions(fields) {
      const shown = this.stage.querySelector(".stage-captions"), words = shown.firstElementChild;
      const on = this.forKit || fields.captionsMode !== "off";
      words.textContent = on ? captionAt(fields.captionsText ?? "", Number(this.moment.value)) || "Captions look like this" : "";
      shown.hidden = !words.textContent;
      words.style.backgroundColor = fields.captionsBox ? fields.captionsBackground : "transparent";
      shown.dataset.font = fields.captionsFont;
      shown.style.color = fields.captionsColour;
      shown.style.fontSize = `${(fields.captionsSize / 100) * Math.max(this.stage.clientWidth, this.stage.clientHeight)}px`;
      place(shown, fields.captionsPosition, "5%", "5%");
    }

    // What is cut off follows the pointer; the two sliders do the same from the keyboard.
    drag() {
      let from = null;
      this.stage.addEventListener("pointerdown", (event) => {
        if (!this.stage.classList.contains("draggable")) return;
        const fields = read(this.root);
        from = { x: event.clientX, y: event.clientY, fx: Number(fields.frameFocusX), fy: Number(fields.frameFocusY) };
        this.stage.setPointerCapture(event.pointerId);
        event.preventDefault();
      });
      this.stage.addEventListener("pointermove", (event) => {
        if (!from) return;
        const canvas = canvasOf(this.size, read(this.root)), scale = Math.max(canvas[0] / this.size[0], canvas[1] / this.size[1]) * this.scale;
        const moved = (start, by, whole) => String(Math.round(Math.min(100, Math.max(0, start - (100 * by) / whole))));
        fill(this.root, { frameFocusX: moved(from.fx, event.clientX - from.x, this.size[0] * scale), frameFocusY: moved(from.fy, event.clientY - from.y, this.size[1] * scale) });
        this.draw();
      });
      for (const end of ["pointerup", "pointercancel"]) this.stage.addEventListener(end, () => { from = null; });
    }
  }

  // ---- files that belong to the look ----
  async function addLogo(look, input) {
    const body = new FormData();
    body.append("file", input.files[0]);
    const label = look.root.querySelector(`label[for="${input.id}"]`);
    label.setAttribute("aria-disabled", "true");
    const answer = await fetch(input.dataset.logo, { method: "POST", body, headers: { "X-CSRF-Token": csrf(), "HX-Request": "true" } }).catch(() => null);
    input.value = "";
    label.removeAttribute("aria-disabled");
    if (!answer) { say("needs", "The logo could not be sent. Check your connection."); return; }
    const text = await answer.text();
    await htmx.swap({ text, target: answer.ok ? "#logos" : "#alerts", swap: answer.ok ? "outerHTML" : "innerHTML", sourceElement: input });
    look.draw();
  }

  function addClip(look, input) {
    const body = new FormData(), sending = new XMLHttpRequest(), hint = look.root.querySelector("[data-clip-hint]");
    const usual = hint.textContent;
    body.append("file", input.files[0]);
    input.value = "";
    input.disabled = true;
    sending.open("POST", input.dataset.clip);
    for (const [name, value] of [["X-CSRF-Token", csrf()], ["Accept", "application/json"]]) sending.setRequestHeader(name, value);
    sending.upload.onprogress = (event) => { hint.textContent = `Sending the clip: ${Math.round((100 * event.loaded) / event.total)} %`; };
    sending.onloadend = () => {
      input.disabled = false;
      hint.textContent = usual;
      let told = null;
      try { told = JSON.parse(sending.responseText); } catch { /* The line was cut. */ }
      if (!told?.asset) { say("needs", told?.error?.message ?? "The clip could not be sent. Check your connection."); return; }
      const { address, name, length } = told.asset, ends = ["intro", "outro"].map((end) => look.root.querySelector(`#${end}`));
      for (const select of ends) if (![...select.options].some((one) => one.value === address)) select.add(new Option(`${name} · ${length}`, address));
      (ends.find((select) => !select.value) ?? ends[0]).value = address;
      look.draw();
    };
    sending.send(body);
  }

  async function readCaptions(look, input) {
    const file = input.files[0];
    if (!file) return;
    const bytes = await file.arrayBuffer();
    input.value = "";
    let text = new TextDecoder().decode(bytes);
    // Older programs write what the machine's own code page says.
    if (text.includes("\ufffd")) text = new TextDecoder("windows-1252").decode(bytes);
    if (!text.includes("-->")) { say("needs", `“${file.name}” holds no captions: choose a SubRip (.srt) or WebVTT (.vtt) file.`); return; }
    const language = file.name.match(/[._-]([a-z]{2,3}(?:-[A-Za-z]{2,4})?)\.(?:srt|vtt)$/)?.[1];
    fill(look.root, { captionsText: text, ...(language ? { captionsLanguage: language } : {}) });
    look.root.querySelector("#captionsText").dispatchEvent(new Event("input", { bubbles: true }));
  }

  // ---- the pictures of the worker's own making, on the page of a video that is there ----
  function watchStill(form) {
    const still = form.querySelector("[data-still]");
    if (!still || still.dataset.begun) return;
    still.dataset.begun = "yes";
    const said = still.querySelector("[data-still-said]");
    let timer = 0, shown = address();
    function address() {
      const query = new URLSearchParams();
      for (const [name, value] of new FormData(form)) if (value && typeof value === "string" && !["csrf", "captionsText", "kit"].includes(name)) query.append(name, value);
      return `${still.dataset.still}?${query}`;
    }
    async function ask() {
      const wanted = address(), old = still.querySelector("img");
      if (wanted === shown) return;
      shown = wanted;
      still.setAttribute("aria-busy", "true");
      const next = new Image();
      next.alt = old.alt;
      next.src = wanted;
      const drawn = await next.decode().then(() => true, () => false);
      // Another look may have been asked for meanwhile.
      if (wanted !== shown) return;
      if (drawn) { old.replaceWith(next); said.textContent = ""; } else await sayWhy(wanted);
      still.removeAttribute("aria-busy");
    }
    async function sayWhy(wanted) {
      const answer = await fetch(wanted, { headers: { Accept: "application/json" } }).catch(() => null);
      const told = await answer?.json().catch(() => null);
      said.textContent = Object.values(told?.error?.fields ?? {})[0] ?? told?.error?.message ?? "The preview could not be made.";
      if (answer?.status !== 429) return;
      shown = "";
      timer = setTimeout(ask, 1000 * (Number(answer.headers.get("Retry-After")) || 5));
    }
    const moment = form.elements.at, out = still.querySelector('output[for="at"]');
    const soon = () => { clearTimeout(timer); timer = setTimeout(ask, 500); };
    form.addEventListener("backlot:look", soon);
    moment.addEventListener("input", () => {
      out.textContent = `${Math.floor(moment.value / 60)}:${String(Math.floor(moment.value % 60)).padStart(2, "0")}`;
      soon();
    });
  }

  function begin() {
    for (const root of document.querySelectorAll("[data-look]")) {
      if (looks.has(root)) continue;
      looks.add(root);
      new Look(root);
      watchStill(root.closest("form"));
    }
  }
  document.addEventListener("htmx:after:swap", begin);
  document.addEventListener("backlot:composer-loaded", begin);
  begin();
})();
