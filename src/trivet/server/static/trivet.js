// Keys on pages with rows, and the choice of runs to compare. Every page works without this file.
"use strict";
(() => {
  const rows = [...document.querySelectorAll("tr[data-href]")];
  const field = document.querySelector("input[name=where]") || document.querySelector("header input");
  let at = -1;
  const go = (to) => {
    if (!rows.length) return;
    rows[at]?.classList.remove("at");
    at = Math.max(0, Math.min(rows.length - 1, to));
    rows[at].classList.add("at");
    rows[at].scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && typing) return event.target.blur();
    if (typing) return;
    const box = rows[at]?.querySelector("input[type=checkbox]");
    if (event.key === "/") field?.focus(), field?.select();
    else if (event.key === "j") go(at + 1);
    else if (event.key === "k") go(at - 1);
    else if (event.key === "Enter" && at >= 0 && !event.target.closest("a, button")) location.href = rows[at].dataset.href;
    else if (event.key === "x" && box) box.click();
    else if (event.key === "c") document.querySelector("button[name=compare]")?.click();
    else if (event.key === "n") document.querySelector("a[rel=next]")?.click();
    else if (event.key === "p") document.querySelector("a[rel=prev]")?.click();
    else return;
    event.preventDefault();
  });
  document.querySelector("button[name=compare]")?.addEventListener("click", () => {
    const chosen = rows.filter((row) => row.querySelector("input:checked")).map((row) => row.dataset.id);
    if (chosen.length > 1) location.href = "/compare?runs=" + chosen.join(",");
  });
  document.documentElement.dataset.ready = performance.now().toFixed(1);
})();
