// The player around <video>, fetched by player.js when somebody comes near: adaptive streams by hls.js, else the
// browser's own HLS, else the MP4. What it plays stands in the attributes of [data-player], which the live page
// keeps true; the box inside is this file's own.
"use strict";
(() => {
  const { make, icon, say } = window.backlot;
  const SKIP_S = 5, IDLE_MS = 2500, SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];
  const kept = {
    get(name) { try { return localStorage.getItem(`backlot-${name}`); } catch { return null; } },
    set(name, value) { try { localStorage.setItem(`backlot-${name}`, value); } catch { /* Storage may be closed. */ } },
  };
  const clock = (seconds) => {
    const whole = Math.max(0, Math.floor((seconds || 0) + 0.05)), two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  };

  let library = null;
  function loadHls(src) {
    library ??= new Promise((resolve, reject) => {
      const script = make("script");
      script.src = src;
      script.onload = () => resolve(window.Hls);
      script.onerror = () => { library = null; script.remove(); reject(new Error(src)); };
      document.head.append(script);
    });
    return library;
  }

  // WebVTT as far as our own files use it: [{start, end, text}].
  async function cuesOf(address) {
    const answer = await fetch(address).catch(() => null);
    if (!answer?.ok) return [];
    const seconds = (stamp) => stamp.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
    return (await answer.text()).replace(/\r\n?/g, "\n").split(/\n{2,}/).flatMap((block) => {
      const lines = block.split("\n"), at = lines.findIndex((line) => line.includes("-->"));
      if (at < 0) return [];
      const [start, end] = lines[at].split("-->").map((part) => seconds(part.trim().split(/\s/)[0]));
      return [{ start, end, text: lines.slice(at + 1).join(" ").trim() }];
    });
  }

  class Player {
    constructor(slot) {
      this.slot = slot;
      this.box = slot.querySelector(".player-box");
      this.video = this.box.querySelector("video");
      this.hls = null;
      this.playing = ""; // hls, native or mp4: what the element was given
      this.failed = ""; // the stream that could not be played here
      this.frames = this.chapters = null;
      this.build();
      this.listen();
      this.update();
      this.rouse();
      // Whoever fetched this file came near already.
      this.come();
      this.lookUp();
    }

    get given() { return this.slot.dataset; }
    get length() {
      const stated = Number(this.given.length) || 0, own = this.video.duration;
      return this.given.making !== undefined || !Number.isFinite(own) ? Math.max(stated, Number.isFinite(own) ? own : 0) : own;
    }
    get started() { return this.video.currentTime > 0 || !this.video.paused; }

    // ---- what is played ----
    update() {
      const { given, video } = this, version = `${given.hls ?? ""}|${given.mp4 ?? ""}`;
      this.box.classList.toggle("making", given.making !== undefined);
      this.showTexts();
      if (!this.started && given.still && video.getAttribute("poster") !== given.still) video.poster = given.still;
      if (version !== this.version) {
        const first = this.version === undefined, grows = !first && this.playing === "hls" && this.version.split("|")[0] === given.hls;
        this.version = version;
        this.frames = this.chapters = this.looked = null;
        if (!grows && (first || video.paused)) this.choose();
        else if (!grows) this.later = true;
      }
      // Small sizes are there first. A player that began with them begins anew where it is, once, when all are.
      if (this.playing === "hls" && this.hls?.levels.length && this.hls.levels.length < Number(given.sizes)) {
        const going = !video.paused;
        this.choose();
        if (going) this.toggle(true);
      }
      this.draw();
    }

    // A stream wins over the file. Nothing of a stream is fetched before somebody comes near.
    choose() {
      const { given, video } = this;
      this.from = video.currentTime;
      this.later = false;
      this.drop();
      const stream = given.hls && this.failed !== given.hls;
      this.playing = stream ? (window.MediaSource || window.ManagedMediaSource ? "hls" : video.canPlayType("application/vnd.apple.mpegurl") ? "native" : "mp4") : "mp4";
      if (this.playing === "mp4") {
        if (given.mp4 && video.getAttribute("src") !== given.mp4) video.src = given.mp4;
        if (!given.mp4) { video.removeAttribute("src"); video.load(); }
      } else if (this.playing === "native") {
        video.src = given.hls;
      } else {
        video.preload = "none";
        if (video.hasAttribute("src")) { video.removeAttribute("src"); video.load(); }
      }
      if (this.from && this.playing === "hls") this.come();
      else if (this.from) this.seek(this.from);
      this.menu();
    }

    drop() {
      this.hls?.destroy();
      this.hls = this.coming = null;
    }

    // The stream, made ready once.
    come() {
      if (this.playing !== "hls") return Promise.resolve();
      this.coming ??= loadHls(this.given.hlsScript).then((Hls) => this.attach(Hls)).catch(() => this.giveUp());
      return this.coming;
    }

    attach(Hls) {
      if (!Hls?.isSupported()) return this.giveUp();
      // A worker made of a blob would need another line in the page's policy; with fMP4 there is little for it to do. A
      // stream that still grows is played from its beginning, too.
      const hls = this.hls = new Hls({ enableWorker: false, startPosition: this.from, capLevelToPlayerSize: true, renderTextTracksNatively: false, subtitleDisplay: false });
      this.recovered = 0;
      hls.on(Hls.Events.MANIFEST_PARSED, () => { hls.subtitleTrack = -1; this.quality(kept.get("quality") ?? "auto"); });
      hls.on(Hls.Events.LEVEL_SWITCHED, () => this.menu());
      hls.on(Hls.Events.AUDIO_TRACKS_UPDATED, () => this.menu());
      hls.on(Hls.Events.ERROR, (_, error) => {
        if (!error.fatal) return;
        this.recovered += 1;
        if (error.type === Hls.ErrorTypes.MEDIA_ERROR && this.recovered < 3) hls.recoverMediaError();
        else this.giveUp();
      });
      hls.loadSource(this.given.hls);
      hls.attachMedia(this.video);
      return new Promise((resolve) => hls.once(Hls.Events.MANIFEST_PARSED, resolve));
    }

    // The file instead of the stream; only where there is none a person is told.
    giveUp() {
      const going = this.wants || !this.video.paused;
      this.failed = this.given.hls;
      this.choose();
      if (!this.given.mp4) say("needs", "The stream could not be played. Check your connection, then load the page again.");
      else if (going) this.video.play().catch(() => null);
    }

    async toggle(on = false) {
      const { video } = this;
      if (on && (!video.paused || this.wants)) return;
      if (!video.paused || this.wants) { this.wants = false; video.pause(); return this.draw(); }
      this.wants = true;
      this.draw();
      if (this.playing === "hls" && !this.hls) await this.come();
      if (!this.wants) return;
      video.play().catch(() => null).finally(() => { this.wants = false; this.draw(); });
    }

    async seek(to) {
      if (this.playing === "hls" && !this.hls) await this.come();
      const { video } = this, there = this.reach;
      const at = Math.max(0, Math.min(to, there ? Math.max(0, there - 0.1) : this.length));
      if (video.readyState) video.currentTime = at;
      else video.addEventListener("loadedmetadata", () => { video.currentTime = at; }, { once: true });
    }

    // How far a growing stream goes; 0 where everything is there.
    get reach() {
      const { seekable } = this.video;
      return this.given.making !== undefined && seekable.length ? seekable.end(seekable.length - 1) : 0;
    }

    side(level) { return Math.min(level.width || level.height, level.height); }

    quality(wanted) {
      if (!this.hls) return;
      const sides = this.hls.levels.map((level) => this.side(level));
      const best = Math.max(...sides.filter((side) => side <= Number(wanted)), 0) || Math.min(...sides);
      this.hls.nextLevel = wanted === "auto" ? -1 : sides.indexOf(best);
      this.wanted = wanted === "auto" ? "auto" : String(best);
      this.menu();
    }

    // ---- captions, chapters, little pictures ----
    showTexts() {
      const wanted = this.given.captions ?? "[]";
      if (wanted === this.texts) return;
      this.texts = wanted;
      this.video.querySelectorAll("track").forEach((node) => node.remove());
      for (const text of JSON.parse(wanted)) {
        const track = make("track");
        Object.assign(track, { kind: "captions", src: text.src, srclang: text.language, label: text.label });
        this.video.append(track);
      }
      this.captions(kept.get("captions") ?? "");
    }

    get tracks() { return [...this.video.querySelectorAll("track")].map((node) => node.track); }

    captions(language) {
      this.language = this.tracks.find((track) => track.language === language)?.language ?? "";
      for (const track of this.tracks) track.mode = this.language && track.language === this.language ? "showing" : "disabled";
      this.menu();
      this.draw();
    }

    lookUp() { return (this.looked ??= this.read()); }

    async read() {
      const { storyboard, chapters } = this.given;
      const [frames, parts] = await Promise.all([storyboard ? cuesOf(storyboard) : [], chapters ? cuesOf(chapters) : []]);
      this.frames = frames.map(({ start, end, text }) => {
        const [sheet, place] = text.split("#xywh=");
        return { start, end, sheet: new URL(sheet, new URL(storyboard, location)).href, place: (place ?? "").split(",").map(Number) };
      });
      this.chapters = parts;
      this.marks.replaceChildren(...parts.filter((part) => part.start > 0 && this.length).map((part) => {
        const mark = make("i");
        mark.style.left = `${(part.start / this.length) * 100}%`;
        return mark;
      }));
      this.menu();
    }

    peek(seconds) {
      const frame = this.frames?.findLast((one) => one.start <= seconds + 0.01), width = this.line.clientWidth;
      const part = this.chapters?.findLast((one) => one.start <= seconds);
      this.preview.hidden = false;
      this.picture.hidden = !frame;
      if (frame) paint(this.picture, frame);
      this.said.textContent = part ? `${clock(seconds)} · ${part.text}` : clock(seconds);
      const half = this.preview.offsetWidth / 2, x = (seconds / (this.length || 1)) * width;
      this.preview.style.left = `${Math.max(half, Math.min(width - half, x))}px`;
    }

    // ---- the controls ----
    build() {
      const { box, video } = this, button = (name, label, glyph, act) => {
        const node = make("button", `player-${name}`);
        node.type = "button";
        node.append(icon(glyph));
        node.title = label;
        node.setAttribute("aria-label", label);
        node.addEventListener("click", act);
        return (this[`${name}Button`] = node);
      };
      video.tabIndex = 0;
      video.setAttribute("aria-label", "Video. Space plays and pauses, arrows skip.");
      this.line = make("div", "player-line");
      this.range = make("input");
      Object.assign(this.range, { type: "range", min: 0, max: 1, step: "any", value: 0 });
      this.range.setAttribute("aria-label", "Position");
      this.done = make("b");
      this.here = make("b", "here");
      this.marks = make("span");
      this.preview = make("div", "player-preview");
      this.preview.hidden = true;
      this.picture = make("span");
      this.said = make("span", "said");
      this.preview.append(this.picture, this.said);
      this.line.append(this.done, this.here, this.marks, this.range, this.preview);
      this.time = make("span", "player-time num");
      this.volume = make("input", "player-volume");
      Object.assign(this.volume, { type: "range", min: 0, max: 1, step: 0.05, value: video.volume });
      this.volume.setAttribute("aria-label", "Volume");
      this.list = make("div", "player-menu");
      Object.assign(this.list, { hidden: true, id: `${box.id}-menu` });
      this.list.setAttribute("role", "menu");
      this.list.setAttribute("aria-label", "Playing");
      const bar = make("div", "player-bar"), row = make("div", "player-row");
      row.append(
        button("play", "Play", "play", () => this.toggle()), button("mute", "Mute", "volume-2", () => this.mute()), this.volume, this.time,
        button("captions", "Captions", "captions", () => this.flip()), button("settings", "Quality, speed and chapters", "settings", () => this.open(this.list.hidden)),
        button("full", "Full screen", "maximize", () => this.fill()),
      );
      this.settingsButton.setAttribute("aria-haspopup", "menu");
      this.settingsButton.setAttribute("aria-controls", this.list.id);
      this.captionsButton.hidden = true;
      bar.append(this.line, row);
      this.note = make("p", "player-note");
      this.note.setAttribute("role", "status");
      box.append(this.note, this.list, bar);
      // The one in the bar is for the keyboard; the large one is only a larger target now.
      const big = box.querySelector(".player-big");
      big.addEventListener("click", () => this.toggle());
      if (document.activeElement === big) this.playButton.focus();
      big.tabIndex = -1;
      big.setAttribute("aria-hidden", "true");
      const rate = Number(kept.get("speed"));
      if (SPEEDS.includes(rate)) video.defaultPlaybackRate = video.playbackRate = rate;
      this.menu();
    }

    listen() {
      const { box, video, line, range } = this, at = (event) => {
        const { left, width } = line.getBoundingClientRect();
        return Math.max(0, Math.min(1, (event.clientX - left) / width)) * this.length;
      };
      for (const name of ["pointerenter", "focusin", "touchstart"]) box.addEventListener(name, () => { this.come(); this.lookUp(); }, { passive: true });
      for (const name of ["play", "pause", "timeupdate", "progress", "durationchange", "volumechange", "ratechange", "waiting", "playing", "seeking", "seeked", "ended"]) video.addEventListener(name, () => this.draw());
      for (const name of ["pause", "ended"]) video.addEventListener(name, () => { if (this.later && !video.seeking) this.choose(); });
      video.addEventListener("error", () => { if (this.playing === "native") this.giveUp(); });
      let touched = false;
      video.addEventListener("pointerdown", (event) => { touched = event.pointerType === "touch"; });
      video.addEventListener("click", () => { if (!touched || !this.started) this.toggle(); else this.rouse(); });
      video.addEventListener("dblclick", () => { if (!touched) this.fill(); });
      for (const name of ["pointermove", "keydown", "focusin"]) box.addEventListener(name, () => this.rouse());
      range.addEventListener("input", () => { this.peek(Number(range.value)); this.seek(Number(range.value)); });
      line.addEventListener("pointermove", (event) => this.peek(at(event)));
      range.addEventListener("focus", () => { if (range.matches(":focus-visible")) this.peek(video.currentTime); });
      for (const [node, name] of [[line, "pointerleave"], [range, "blur"]]) node.addEventListener(name, () => { this.preview.hidden = true; });
      this.volume.addEventListener("input", () => { video.volume = Number(this.volume.value); video.muted = false; });
      box.addEventListener("keydown", (event) => this.key(event));
      document.addEventListener("click", (event) => { if (!this.list.hidden && !event.composedPath().includes(box)) this.open(false); });
      document.addEventListener("fullscreenchange", () => this.draw());
    }

    rouse() {
      clearTimeout(this.idle);
      this.box.classList.remove("idle");
      this.idle = setTimeout(() => this.box.classList.toggle("idle", !this.video.paused && this.list.hidden && !this.box.querySelector(":focus-visible:not(video)")), IDLE_MS);
    }

    key(event) {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const { video } = this, inMenu = this.list.contains(event.target), onButton = event.target.tagName === "BUTTON", onVolume = event.target === this.volume;
      if (event.key === "Escape" && !this.list.hidden) { event.preventDefault(); this.open(false); this.settingsButton.focus(); return; }
      if (inMenu) return this.walk(event);
      const louder = (by) => { video.muted = false; video.volume = Math.max(0, Math.min(1, video.volume + by)); };
      const jump = (to) => { this.seek(to); if (event.target === this.range) this.peek(Math.max(0, Math.min(to, this.length))); };
      const acts = {
        ArrowLeft: () => jump(video.currentTime - SKIP_S), ArrowRight: () => jump(video.currentTime + SKIP_S),
        ArrowUp: () => louder(0.1), ArrowDown: () => louder(-0.1), Home: () => jump(0), End: () => jump(this.length),
        k: () => this.toggle(), m: () => this.mute(), f: () => this.fill(), c: () => this.flip(),
      };
      if (!onButton) acts[" "] = acts.k;
      const act = /^[0-9]$/.test(event.key) ? () => jump((this.length * Number(event.key)) / 10) : acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act || (onVolume && event.key.startsWith("Arrow"))) return;
      event.preventDefault();
      act();
    }

    mute() { this.video.muted = !this.video.muted; }
    flip() {
      if (!this.tracks.length) return;
      const language = this.language ? "" : (kept.get("language") ?? this.tracks[0].language);
      this.captions(this.tracks.some((track) => track.language === language) || !language ? language : this.tracks[0].language);
      kept.set("captions", this.language);
    }
    fill() {
      if (document.fullscreenElement) document.exitFullscreen();
      else if (this.box.requestFullscreen) this.box.requestFullscreen().catch(() => null);
      else this.video.webkitEnterFullscreen?.();
    }

    // ---- the menu ----
    open(yes) {
      this.list.hidden = !yes;
      this.settingsButton.setAttribute("aria-expanded", String(yes));
      if (yes) { this.come(); this.lookUp(); this.menu(); (this.list.querySelector('[aria-checked="true"]') ?? this.list.querySelector("button"))?.focus(); }
    }

    walk(event) {
      const items = [...this.list.querySelectorAll("button")], place = items.indexOf(document.activeElement);
      const to = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: items.length - 1 }[event.key];
      if (event.key === "Tab") this.open(false);
      if (to === undefined) return;
      event.preventDefault();
      items.at(to % items.length).focus();
    }

    menu() {
      if (!this.list) return;
      const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
      const group = (title, items) => {
        if (items.length < 2 && title !== "Chapters" || !items.length) return null;
        const node = make("div");
        node.setAttribute("role", "group");
        node.setAttribute("aria-label", title);
        node.append(make("p", "", title), ...items.map(([text, picked, act]) => {
          const item = make("button", "", text);
          item.type = "button";
          item.tabIndex = -1;
          item.dataset.key = `${title} ${text.split(" (")[0]}`;
          item.setAttribute("role", picked === null ? "menuitem" : "menuitemradio");
          if (picked !== null) item.setAttribute("aria-checked", String(picked));
          item.addEventListener("click", () => { act(); this.open(false); this.settingsButton.focus(); });
          return item;
        }));
        return node;
      };
      const levels = this.hls?.levels ?? [], now = levels[this.hls?.currentLevel], auto = (this.wanted ?? "auto") === "auto";
      const sides = [...new Set(levels.map((level) => this.side(level)))].sort((a, b) => b - a);
      const pick = (value) => () => { kept.set("quality", value); this.quality(value); };
      const quality = sides.length ? [[auto && now ? `Auto (${this.side(now)}p)` : "Auto", auto, pick("auto")], ...sides.map((side) => [`${side}p`, this.wanted === String(side), pick(String(side))])] : [];
      const speed = SPEEDS.map((rate) => [rate === 1 ? "Normal" : `${rate} ×`, this.video.playbackRate === rate, () => { this.video.playbackRate = this.video.defaultPlaybackRate = rate; kept.set("speed", rate); this.menu(); }]);
      const sounds = (this.hls?.audioTracks ?? []).map((track, place) => [track.name, this.hls.audioTrack === place, () => { this.hls.audioTrack = place; }]);
      const say_ = (language) => () => { kept.set("captions", language); if (language) kept.set("language", language); this.captions(language); };
      const texts = this.tracks.length ? [["Off", !this.language, say_("")], ...this.tracks.map((track) => [track.label || track.language, track.language === this.language, say_(track.language)])] : [];
      const parts = (this.chapters ?? []).map((part) => [`${clock(part.start)}  ${part.text}`, null, () => this.seek(part.start)]);
      this.list.replaceChildren(...[group("Quality", quality), group("Speed", speed), group("Captions", texts), group("Sound", sounds), group("Chapters", parts)].filter(Boolean));
      if (focused) [...this.list.querySelectorAll("button")].find((item) => item.dataset.key === focused)?.focus();
    }

    // ---- what is seen ----
    draw() {
      const { video, length, range } = this, part = (seconds) => `${length ? Math.min(100, (seconds / length) * 100) : 0}%`;
      const face = (node, glyph, label) => {
        if (node.title === label) return;
        node.replaceChildren(icon(glyph));
        node.title = label;
        node.setAttribute("aria-label", label);
      };
      const stopped = video.paused && !this.wants, loud = video.volume > 0 && !video.muted;
      face(this.playButton, stopped ? "play" : "pause", stopped ? "Play" : "Pause");
      face(this.muteButton, loud ? "volume-2" : "volume-x", loud ? "Mute" : "Sound on");
      face(this.fullButton, document.fullscreenElement ? "minimize" : "maximize", document.fullscreenElement ? "Leave full screen" : "Full screen");
      this.volume.value = loud ? video.volume : 0;
      this.captionsButton.hidden = !this.tracks.length;
      this.captionsButton.setAttribute("aria-pressed", String(Boolean(this.language)));
      range.max = length || 1;
      if (document.activeElement !== range || !video.seeking) range.value = video.currentTime;
      range.setAttribute("aria-valuetext", `${clock(video.currentTime)} of ${clock(length)}`);
      this.here.style.width = part(video.currentTime);
      const ahead = [...Array(video.buffered.length).keys()].find((place) => video.buffered.start(place) <= video.currentTime + 0.2 && video.buffered.end(place) >= video.currentTime);
      this.done.style.width = ahead === undefined ? "0%" : part(video.buffered.end(ahead));
      this.time.textContent = `${clock(video.currentTime)} / ${clock(length)}`;
      const { box, reach } = this;
      box.classList.toggle("begun", this.started || Boolean(this.wants));
      box.classList.toggle("paused", video.paused);
      const waits = (this.wants && video.readyState < 3) || (!video.paused && video.readyState < 3 && !video.ended);
      box.classList.toggle("waits", waits);
      const note = reach && waits && video.currentTime > reach - 1.5 ? `Still being made: ${clock(reach)} of ${clock(length)} is there.` : this.later ? "There is a newer version; it is shown when you pause." : "";
      if (this.note.textContent !== note) this.note.textContent = note;
      if (video.paused) box.classList.remove("idle");
    }
  }

  // One picture of a sheet, as large as it is there.
  function paint(node, { sheet, place: [x = 0, y = 0, width = 0, height = 0] }) {
    Object.assign(node.style, { width: `${width}px`, height: `${height}px`, backgroundImage: `url("${sheet}")`, backgroundPosition: `-${x}px -${y}px` });
  }

  const players = new WeakMap();
  const observer = new MutationObserver((changes) => { for (const { target } of changes) players.get(target)?.update(); });
  window.backlot.playing = (slot) => {
    if (!players.get(slot)?.box.isConnected) {
      players.set(slot, new Player(slot));
      observer.observe(slot, { attributes: true });
    }
    return players.get(slot);
  };

  // ---- the poster: the frame that the player shows, or one of the little pictures ----
  window.backlot.playing.poster = async (form, slot) => {
    const player = window.backlot.playing(slot), field = form.elements.posterS, strip = form.querySelector("[data-frames]");
    if (!strip.hidden) return;
    strip.hidden = false;
    const show = () => { if (form.isConnected && document.activeElement !== field) field.value = player.video.currentTime.toFixed(2); };
    for (const name of ["timeupdate", "seeked"]) player.video.addEventListener(name, show);
    await player.lookUp();
    const step = Math.max(1, Math.ceil(player.frames.length / 24));
    strip.replaceChildren(...player.frames.filter((_, place) => place % step === 0).map((frame) => {
      const pick = make("button"), picture = make("span");
      pick.type = "button";
      pick.setAttribute("aria-label", `The frame at ${clock(frame.start)}`);
      pick.append(picture);
      paint(picture, frame);
      pick.addEventListener("click", () => { field.value = frame.start.toFixed(2); player.video.pause(); player.seek(frame.start); });
      return pick;
    }));
  };
})();
