// The composer's small comforts: counts, fields that depend on others, the browser's own time zone.
"use strict";
(() => {
  const { say } = window.backlot;

  // TikTok counts UTF-16 units, which is what a string's length is here: most emoji count twice.
  function count(field) {
    const out = document.querySelector(`[data-count-for="${field.id}"]`);
    if (!out) return;
    const most = Number(out.dataset.most);
    out.textContent = `${field.value.length} / ${most}`;
    out.classList.toggle("over", field.value.length > most);
  }

  const composed = (account) => account.startsWith("compose");
  function follow(form) {
    const at = (name) => form.elements[name];
    const picked = (name) => form.querySelector(`[name="${name}"]:checked`)?.value ?? "";
    for (const node of form.querySelectorAll("[data-fine]")) node.disabled = false;
    for (const node of form.querySelectorAll("[data-with-script]")) node.hidden = false;
    const later = form.querySelector("#later"), words = form.querySelector("#when-words");
    if (later) { later.hidden = picked("when") !== "later"; words.hidden = later.hidden; }
    const time = form.querySelector("#time");
    if (time) time.hidden = Boolean(form.querySelector('[name="accountId"]')) && (!picked("accountId") || composed(picked("accountId")));
    const commercial = at("commercial");
    if (commercial) {
      const box = form.querySelector("[data-commercial-only]");
      box.hidden = !commercial.checked;
      if (!commercial.checked) for (const node of box.querySelectorAll("input")) node.checked = false;
      const branded = at("brandContent").checked;
      for (const node of form.querySelectorAll("[data-branded-terms], [data-branded-hint]")) node.hidden = !branded;
      const onlyMe = form.querySelector("[data-only-me]");
      if (onlyMe) {
        onlyMe.disabled = branded;
        if (branded) onlyMe.checked = false;
      }
    }
    const word = form.querySelector("[data-submit-word]");
    const many = Number(form.dataset.many) > 1 ? ` ${form.dataset.many} videos` : "";
    if (word) word.textContent = (composed(picked("accountId")) ? "Upload, then compose" : !picked("accountId") ? "Upload and brand" : picked("when") === "later" ? "Upload, brand and plan" : "Upload, brand and post") + many;
    document.dispatchEvent(new CustomEvent("backlot:composer"));
  }

  function begin(form) {
    if (form.dataset.begun) return;
    form.dataset.begun = "yes";
    if (form.elements.file) form.elements.file.multiple = true;
    const zone = form.elements.zone, own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (zone && own && ![...zone.options].some((option) => option.value === own)) zone.add(new Option(own, own));
    if (zone && own && zone.value === "UTC" && own !== "UTC") zone.value = own;
    if (form.elements.title) count(form.elements.title);
    follow(form);
    form.addEventListener("input", (event) => {
      if (event.target.id === "title") count(event.target);
      event.target.closest(".field")?.querySelector(".error")?.remove();
      event.target.removeAttribute("aria-invalid");
      follow(form);
    });
    form.addEventListener("backlot:chosen", () => follow(form));
    form.addEventListener("change", () => follow(form));
    loadLook(form);
  }

  // The preview of the look is loaded where there is a look to be chosen.
  let loading = false;
  function loadLook(form) {
    const src = form.querySelector("[data-look]")?.dataset.look;
    if (!src || loading) return;
    loading = true;
    const script = document.createElement("script");
    script.src = src;
    script.onerror = () => { loading = false; say("needs", "The preview could not be loaded. Load the page again."); };
    document.head.append(script);
  }

  function look() {
    const form = document.getElementById("composer");
    if (form) { begin(form); follow(form); }
  }
  document.addEventListener("htmx:after:swap", look);
  document.addEventListener("backlot:composer-loaded", look);
  look();
})();
