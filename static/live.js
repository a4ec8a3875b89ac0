// Keeps an open page true. Elements say what they show: data-live="video-7 target-9" data-src="/videos/7/card".
// One stream per page brings notices; a change fetches the element's own piece of HTML again and morphs it in, a
// percent moves its bar and nothing else. After every (re)connection everything counts as told once.
"use strict";
(() => {
  const MOST_TOPICS = 50, HIDDEN_MS = 20000, GATHER_MS = 60, LIST_MS = 700;
  let stream = null, open = new Set(), tries = 0, again = 0, hiddenTimer = 0;
  const busy = new WeakMap();

  const elements = () => [...document.querySelectorAll("[data-live]")];
  const topicsOf = (element) => element.dataset.live.split(" ").filter(Boolean);

  function wanted() {
    const topics = new Set();
    for (const element of elements()) for (const topic of topicsOf(element)) if (topics.size < MOST_TOPICS) topics.add(topic);
    return topics;
  }

  function connect() {
    clearTimeout(again);
    stream?.close();
    stream = null;
    open = wanted();
    if (!open.size || document.hidden) return;
    stream = new EventSource(`/live?${[...open].map((topic) => `topic=${encodeURIComponent(topic)}`).join("&")}`);
    stream.addEventListener("open", () => { tries = 0; mark("live"); refetchAll(); });
    stream.addEventListener("notice", (event) => hear(JSON.parse(event.data)));
    stream.addEventListener("error", () => {
      const refused = stream?.readyState === EventSource.CLOSED;
      stream?.close();
      mark("away");
      tries += 1;
      // All pages of a restarted server come back at different moments.
      again = setTimeout(connect, Math.min(15000, 500 * 2 ** tries) * (0.5 + Math.random()));
      if (refused && tries > 1) checkSession();
    });
  }

  const mark = (state) => { document.documentElement.dataset.stream = state; };

  async function checkSession() {
    const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
    if (answer?.type === "opaqueredirect") location.reload();
  }

  function hear(notice) {
    if (notice.percent !== undefined) {
      moveBars(notice.topic, notice.percent);
      return;
    }
    for (const element of elements()) if (topicsOf(element).includes(notice.topic)) refetch(element);
  }

  function moveBars(topic, percent) {
    const name = CSS.escape(topic);
    for (const bar of document.querySelectorAll(`progress[data-progress="${name}"]`)) bar.value = percent;
    for (const text of document.querySelectorAll(`[data-percent="${name}"]`)) text.textContent = `${Math.round(percent)} %`;
    document.dispatchEvent(new CustomEvent("backlot:percent", { detail: { topic, percent } }));
  }

  function refetchAll() {
    for (const element of elements()) if (!element.parentElement?.closest("[data-live]")) refetch(element);
  }

  // One fetch at a time and element; what is told meanwhile causes exactly one more.
  function refetch(element) {
    const state = busy.get(element) ?? {};
    busy.set(element, state);
    if (state.waiting) { state.more = state.running; return; }
    state.waiting = true;
    setTimeout(async () => {
      state.running = true;
      try { await load(element); } finally {
        state.waiting = state.running = false;
        if (state.more) { state.more = false; if (element.isConnected) refetch(element); }
      }
    }, element.hasAttribute("data-list") ? LIST_MS : GATHER_MS);
  }

  async function load(element) {
    if (!element.isConnected) return;
    const answer = await fetch(element.dataset.src, { headers: { "HX-Request": "true", Accept: "text/html" }, redirect: "manual" }).catch(() => null);
    if (!answer) return;
    if (answer.status === 404) { element.remove(); return; }
    if (!answer.ok) return;
    const text = await answer.text();
    if (!element.isConnected) return;
    if (element.hasAttribute("data-list") && holdsStill(element, text)) return;
    await swap(element, text);
  }

  async function swap(element, text) {
    await htmx.swap({ text, target: element, swap: "outerMorph", sourceElement: element });
    reviewTopics();
  }

  // A list does not move under the pointer or the keyboard: it offers what is new instead.
  function holdsStill(element, text) {
    const used = element.matches(":hover") || element.contains(document.activeElement);
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const ids = (root) => [...root.querySelectorAll("[data-item]")].map((node) => node.id);
    const before = ids(element), after = ids(fresh);
    if (!used || !before.length) return false;
    const added = after.filter((id) => !before.includes(id)).length;
    const moved = before.join() !== after.join();
    if (!moved) return false;
    offer(element, added, text);
    return true;
  }

  function offer(element, added, text) {
    const slot = document.getElementById(element.dataset.list);
    if (!slot) return;
    const button = backlot.make("button", "button small", added ? `${added} new` : "Show the newest order");
    button.type = "button";
    button.prepend(backlot.icon("refresh-cw"));
    button.addEventListener("click", () => { slot.replaceChildren(); swap(element, text); });
    slot.replaceChildren(button);
  }

  let review = 0;
  function reviewTopics() {
    clearTimeout(review);
    review = setTimeout(() => { if ([...wanted()].some((topic) => !open.has(topic))) connect(); }, 300);
  }

  document.addEventListener("htmx:after:swap", reviewTopics);
  document.addEventListener("backlot:live", reviewTopics);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiddenTimer);
    // A browser allows six connections a host: a page nobody sees gives its own back.
    if (document.hidden) hiddenTimer = setTimeout(() => { stream?.close(); stream = null; clearTimeout(again); }, HIDDEN_MS);
    else if (!stream || stream.readyState === EventSource.CLOSED) connect();
  });
  window.addEventListener("pagehide", () => stream?.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  connect();
})();
