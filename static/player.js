// What stands on the page before anybody wants to watch: one large button over the picture. The player itself
// (playing.js) is fetched when somebody comes near; if it cannot be, the browser's own controls are there again.
"use strict";
(() => {
  const { make, icon } = window.backlot;
  let fetched = null;
  const ready = (slot) => (fetched ??= new Promise((resolve, reject) => {
    const script = make("script"), style = make("link");
    const failed = () => { fetched = null; script.remove(); style.remove(); reject(new Error(script.src)); };
    Object.assign(style, { rel: "stylesheet", href: slot.dataset.css, onerror: failed });
    Object.assign(script, { src: slot.dataset.script, onerror: failed, onload: resolve });
    // Controls without their look would jump about.
    style.onload = () => document.head.append(script);
    document.head.append(style);
  }));

  function begin(slot) {
    const box = slot.querySelector(".player-box"), video = box?.querySelector("video");
    if (!video || box.dataset.begun) return;
    box.dataset.begun = "yes";
    // From here on a newer page changes the slot's attributes and nothing inside the box.
    box.setAttribute("hx-morph-skip", "");
    box.classList.add("own");
    video.controls = false;
    const button = make("button", "player-big");
    button.type = "button";
    button.append(icon("play"));
    button.setAttribute("aria-label", "Play");
    box.append(button);
    const come = () => ready(slot).then(() => window.backlot.playing(slot)).catch(() => { video.controls = true; button.remove(); });
    for (const name of ["pointerenter", "focusin", "touchstart"]) box.addEventListener(name, come, { once: true, passive: true });
    for (const node of [button, video]) {
      node.addEventListener("click", async () => { await come(); window.backlot.playing?.(slot).toggle(true); }, { once: true });
    }
  }

  function look() {
    document.querySelectorAll("[data-player]").forEach(begin);
    for (const form of document.querySelectorAll("form[data-poster]:not([data-begun])")) {
      form.dataset.begun = "yes";
      const slot = () => document.getElementById(form.dataset.poster);
      form.closest("details").addEventListener("toggle", () => ready(slot()).then(() => window.backlot.playing.poster(form, slot())).catch(() => null));
    }
  }
  // Notices bring the percent alone; how many pieces of each size are there is asked for now and then.
  let asked = 0;
  document.addEventListener("backlot:percent", async ({ detail }) => {
    const part = document.querySelector(`[data-follows="${CSS.escape(detail.topic)}"]`);
    const section = part?.closest("[data-src]");
    if (!section || Date.now() - asked < 3000) return;
    asked = Date.now();
    const answer = await fetch(section.dataset.src, { headers: { "HX-Request": "true" }, redirect: "manual" }).catch(() => null);
    if (answer?.ok && section.isConnected) htmx.swap({ text: await answer.text(), target: section, swap: "outerMorph", sourceElement: section });
  });

  document.addEventListener("htmx:after:swap", look);
  look();
})();
