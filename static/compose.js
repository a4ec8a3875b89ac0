// The composer's small comforts: counts, fields that depend on others, the browser's own time zone, logos.
"use strict";
(() => {
  const { say, csrf } = window.backlot;

  // TikTok counts UTF-16 units, which is what a string's length is here: most emoji count twice.
  function count(field) {
    const out = document.querySelector(`[data-count-for="${field.id}"]`);
    if (!out) return;
    const most = Number(out.dataset.most);
    out.textContent = `${field.value.length} / ${most}`;
    out.classList.toggle("over", field.value.length > most);
  }

  function follow(form) {
    const at = (name) => form.elements[name];
    const picked = (name) => form.querySelector(`[name="${name}"]:checked`)?.value ?? "";
    for (const node of form.querySelectorAll("[data-fine]")) node.disabled = false;
    for (const node of form.querySelectorAll("[data-with-script]")) node.hidden = false;
    for (const node of form.querySelectorAll("[data-logo-only]")) node.hidden = !picked("logo");
    const later = form.querySelector("#later"), words = form.querySelector("#when-words");
    if (later) { later.hidden = picked("when") !== "later"; words.hidden = later.hidden; }
    const time = form.querySelector("#time");
    if (time) time.hidden = Boolean(form.querySelector('[name="accountId"]')) && !picked("accountId");
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
    for (const range of form.querySelectorAll("input[type=range]")) {
      const out = form.querySelector(`output[for="${range.id}"]`);
      if (out) out.textContent = range.value;
    }
    const word = form.querySelector("[data-submit-word]");
    const many = Number(form.dataset.many) > 1 ? ` ${form.dataset.many} videos` : "";
    if (word) word.textContent = (!picked("accountId") ? "Upload and brand" : picked("when") === "later" ? "Upload, brand and plan" : "Upload, brand and post") + many;
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
    form.addEventListener("change", (event) => {
      if (event.target.matches("[data-logo]")) addLogo(form, event.target);
      follow(form);
    });
  }

  async function addLogo(form, input) {
    const body = new FormData();
    body.append("file", input.files[0]);
    const answer = await fetch(input.dataset.logo, { method: "POST", body, headers: { "X-CSRF-Token": csrf(), "HX-Request": "true" } }).catch(() => null);
    input.value = "";
    if (!answer) { say("needs", "The logo could not be sent. Check your connection."); return; }
    const text = await answer.text();
    await htmx.swap({ text, target: answer.ok ? "#logos" : "#alerts", swap: answer.ok ? "outerHTML" : "innerHTML", sourceElement: input });
    follow(form);
  }

  function look() {
    const form = document.getElementById("composer");
    if (form) { begin(form); follow(form); }
  }
  document.addEventListener("htmx:after:swap", look);
  document.addEventListener("backlot:composer-loaded", look);
  look();
})();
