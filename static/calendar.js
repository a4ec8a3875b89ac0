// The calendar: planned posts are carried to another day or hour by pointer or keyboard, or by a dialog of day and time.
// Without this script the same is done by the forms of the list and of a publication's page.
"use strict";
(() => {
  const { say, icon, make, csrf } = window.backlot;
  const FAR_PX = 6;
  const calendar = () => document.getElementById("calendar");
  const dialog = document.getElementById("move-dialog");
  let carried = null, pressed = null, skipClick = false;

  // ---- wall times as text: days and hours are counted without any zone, the server knows what the clocks do ----
  const parts = (wall) => wall.match(/^(\d+)-(\d+)-(\d+)T(\d+):(\d+)$/).slice(1).map(Number);
  function moved(wall, days, hours) {
    const [year, month, day, hour, minute] = parts(wall);
    return new Date(Date.UTC(year, month - 1, day + days, hour + hours, minute)).toISOString().slice(0, 16);
  }
  function words(wall) {
    const [year, month, day, hour, minute] = parts(wall);
    const shown = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: "UTC" });
    return shown.format(new Date(Date.UTC(year, month - 1, day, hour, minute)));
  }
  const isWeek = () => calendar().dataset.view === "week";
  const cellOf = (wall) => {
    const day = `[data-cell][data-day="${wall.slice(0, 10)}"]`;
    return document.querySelector(isWeek() ? `${day}[data-hour="${Number(wall.slice(11, 13))}"]` : day);
  };
  // Dropped on a day it keeps its time, dropped on an hour its minutes.
  function wallAt(cell) {
    const time = carried.wall.slice(11);
    return `${cell.dataset.day}T${cell.dataset.hour === undefined ? time : `${cell.dataset.hour.padStart(2, "0")}:${time.slice(3)}`}`;
  }
  const isPast = (wall) => wall < calendar().dataset.now;

  // ---- taking, aiming, dropping ----
  function take(entry, by) {
    const { target, wall, fold, title, move } = entry.dataset;
    carried = { target, wall, fold, title, move, zone: calendar().dataset.zone, to: wall, by };
    carried.bar = make("div", "carry");
    carried.bar.setAttribute("role", "status");
    document.body.append(carried.bar);
    document.documentElement.classList.add("carrying");
    mark();
    aim(wall);
  }
  function mark() {
    for (const node of document.querySelectorAll(".entry.taken")) node.classList.remove("taken");
    for (const node of document.querySelectorAll(".cell.aim")) node.classList.remove("aim");
    if (!carried) return;
    document.getElementById(`entry-${carried.target}`)?.classList.add("taken");
    const cell = carried.to && carried.to !== carried.wall ? cellOf(carried.to) : null;
    cell?.classList.add("aim");
    if (carried.by === "keys") cell?.scrollIntoView({ block: "nearest" });
  }
  function aim(to) {
    carried.to = to;
    const keys = carried.by === "keys" ? " Enter puts it there, Escape leaves it." : "";
    carried.bar.textContent = !to || to === carried.wall
      ? `“${carried.title}” stays at ${words(carried.wall)}.${keys && " Arrow keys move it, Escape leaves it."}`
      : isPast(to) ? `${words(to)} is past.` : `“${carried.title}” → ${words(to)}, ${carried.zone}.${keys}`;
    mark();
  }
  function leave() {
    carried?.bar.remove();
    carried?.ghost?.remove();
    carried = null;
    document.documentElement.classList.remove("carrying");
    mark();
  }
  async function drop() {
    const { target, wall, fold, title, move, zone, to, by } = carried;
    leave();
    if (!to || to === wall) return;
    if (isPast(to)) { say("needs", `${words(to)} is past. Choose a time to come.`); return; }
    if (await send(move, to, zone, 0, title, { wall, fold, zone }) && by === "keys") focus(target);
  }
  const focus = (target) => document.querySelector(`#entry-${target} .grab`)?.focus();

  async function send(address, at, zone, fold, title, was) {
    const held = calendar();
    held.setAttribute("aria-busy", "true");
    const headers = { "X-CSRF-Token": csrf(), Accept: "application/json" };
    const answer = await fetch(address, { method: "POST", headers, body: new URLSearchParams({ at, zone, fold }), redirect: "manual" }).catch(() => null);
    const told = answer ? await answer.json().catch(() => null) : null;
    await again();
    calendar().removeAttribute("aria-busy");
    if (!answer?.ok) {
      const wrong = told?.error;
      say("needs", Object.values(wrong?.fields ?? {})[0] ?? wrong?.message ?? "It could not be moved. Check your connection, then try again.");
      return false;
    }
    notice(title, told.moved, was, address);
    return true;
  }
  async function again() {
    const held = calendar();
    const answer = await fetch(held.dataset.src, { headers: { "HX-Request": "true", Accept: "text/html" }, redirect: "manual" }).catch(() => null);
    if (answer?.ok) await htmx.swap({ text: await answer.text(), target: held, swap: "outerMorph", sourceElement: held });
  }
  function notice(title, now, was, address) {
    const box = make("div", "alert tone-done"), body = make("div", "body"), close = make("button", "button quiet icon small");
    box.setAttribute("role", "status");
    body.append(make("p", "", `“${title}” is moved to ${now.words}.${now.note ? ` ${now.note}` : ""}`));
    close.type = "button";
    close.dataset.close = "";
    close.setAttribute("aria-label", "Close this message");
    close.append(icon("x"));
    box.append(icon("check"), body);
    if (was) {
      const undo = make("button", "button small", "Undo");
      undo.type = "button";
      undo.prepend(icon("rotate-ccw"));
      undo.addEventListener("click", () => { box.remove(); send(address, was.wall, was.zone, was.fold, title, null); });
      box.append(undo);
    }
    box.append(close);
    document.getElementById("alerts").replaceChildren(box);
  }

  // ---- the pointer: a mouse or a pen drags; a finger scrolls, and has the dialog ----
  document.addEventListener("pointerdown", (event) => {
    skipClick = false;
    if (event.button !== 0 || event.pointerType === "touch" || carried) return;
    const entry = event.target.closest("#calendar .entry[data-movable]");
    if (entry) pressed = { entry, x: event.clientX, y: event.clientY };
  });
  document.addEventListener("pointermove", (event) => {
    if (pressed && !carried && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > FAR_PX) {
      take(pressed.entry, "pointer");
      carried.ghost = pressed.entry.cloneNode(true);
      carried.ghost.removeAttribute("id");
      carried.ghost.classList.add("carried");
      carried.ghost.setAttribute("aria-hidden", "true");
      document.body.append(carried.ghost);
    }
    if (carried?.by !== "pointer") return;
    event.preventDefault();
    carried.ghost.style.translate = `${event.clientX + 10}px ${event.clientY + 10}px`;
    const cell = document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-cell]");
    aim(cell ? wallAt(cell) : null);
  });
  document.addEventListener("pointerup", () => {
    pressed = null;
    if (carried?.by !== "pointer") return;
    skipClick = true;
    drop();
  });
  document.addEventListener("pointercancel", () => { pressed = null; if (carried?.by === "pointer") leave(); });
  document.addEventListener("click", (event) => {
    if (!skipClick) return;
    skipClick = false;
    event.preventDefault();
    event.stopPropagation();
  }, true);
  document.addEventListener("dragstart", (event) => { if (event.target.closest?.("#calendar .entry")) event.preventDefault(); });

  // ---- the keyboard ----
  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("keydown", (event) => {
    const grab = event.target.closest?.("#calendar .grab");
    if (!carried) {
      if (!grab || (event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      take(grab.closest(".entry"), "keys");
      return;
    }
    if (event.key === "Escape") { event.preventDefault(); leave(); return; }
    if (carried.by !== "keys") return;
    if (event.key === "Tab") { leave(); return; }
    const step = STEPS[event.key];
    if (step) {
      event.preventDefault();
      aim(moved(carried.to, step[0] + (isWeek() ? 0 : 7 * step[1]), isWeek() ? step[1] : 0));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      drop();
    }
  });
  // A space lets go of a button with a click of its own.
  document.addEventListener("keyup", (event) => { if (event.key === " " && event.target.closest?.("#calendar .grab")) event.preventDefault(); });

  // ---- the dialog ----
  let asked = null;
  document.addEventListener("click", (event) => {
    const grab = event.target.closest("#calendar .grab");
    if (grab && !carried) ask(grab.closest(".entry"));
    if (event.target.closest("[data-move-close]")) dialog.close();
  });
  function ask(entry) {
    asked = { ...entry.dataset };
    dialog.querySelector("[data-move-what]").textContent = `“${asked.title}”, now ${words(asked.wall)}`;
    dialog.querySelector("[data-move-open]").href = entry.querySelector("a").href;
    dialog.querySelector("[data-move-words]").textContent = calendar().dataset.zone;
    [dialog.querySelector("#move-day").value, dialog.querySelector("#move-clock").value] = asked.wall.split("T");
    dialog.showModal();
  }
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    event.stopPropagation();
    const at = `${dialog.querySelector("#move-day").value}T${dialog.querySelector("#move-clock").value}`;
    const { target, title, move, wall, fold } = asked, zone = calendar().dataset.zone;
    dialog.close();
    send(move, at, zone, 0, title, { wall, fold, zone }).then((done) => done && focus(target));
  });

  // ---- filters send themselves; what a live update brings is shown as it was ----
  document.addEventListener("change", (event) => event.target.closest("[data-sends-itself]")?.requestSubmit());
  document.addEventListener("htmx:after:swap", mark);
})();
