// The theme before the first paint. Signed in, the server already wrote it; a stranger's choice is this browser's.
(() => {
  const root = document.documentElement;
  try {
    const kept = localStorage.getItem("backlot-theme");
    if (root.dataset.theme === "auto" && kept) root.dataset.theme = kept;
  } catch { /* Storage may be closed; then the device decides. */ }
})();
