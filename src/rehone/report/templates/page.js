"use strict";
// Everything here is a convenience: all text, tables and drawings are there without it.
(() => {
  const root = document.documentElement;
  const kept = {
    get() { try { return localStorage.getItem("rehone-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("rehone-theme", value); } catch { /* a file may keep nothing */ } },
  };
  root.classList.add("js");
  if (kept.get()) root.dataset.theme = kept.get();

  function theme() {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const button = document.createElement("button");
    const now = () => root.dataset.theme || (dark.matches ? "dark" : "light");
    const name = () => { button.textContent = now() === "dark" ? "Light" : "Dark"; };
    button.type = "button";
    button.id = "theme";
    button.title = "Change the colours";
    button.addEventListener("click", () => {
      root.dataset.theme = now() === "dark" ? "light" : "dark";
      kept.set(root.dataset.theme);
      name();
    });
    dark.addEventListener("change", name);
    name();
    document.querySelector(".made").append(button);
  }

  // Marks of a drawing say what they are when the pointer is on them, and when arrow keys come to them.
  function tips() {
    const tip = document.createElement("div");
    tip.id = "tip";
    tip.setAttribute("role", "status");
    document.body.append(tip);
    const marks = (drawing) => [...drawing.querySelectorAll("svg .mark[aria-label]")].filter((mark) => mark.getClientRects().length);
    let at = null;
    function hide() {
      tip.textContent = "";
      if (at) at.classList.remove("at");
      at = null;
    }
    function show(mark, chosen) {
      hide();
      tip.textContent = mark.getAttribute("aria-label");
      const box = mark.getBoundingClientRect();
      const size = tip.getBoundingClientRect();
      const left = Math.min(Math.max(4, box.left + box.width / 2 - size.width / 2), innerWidth - size.width - 4);
      const above = box.top - size.height - 8;
      tip.style.left = `${left}px`;
      tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
      at = mark;
      if (chosen) mark.classList.add("at");
    }
    document.addEventListener("pointerover", (event) => {
      const mark = event.target.closest?.(".drawing svg .mark[aria-label]");
      if (mark) show(mark, false);
      else if (at && event.pointerType === "mouse") hide();
    });
    document.addEventListener("focusout", hide);
    document.addEventListener("scroll", () => { if (!at?.classList.contains("at")) hide(); }, { passive: true });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { hide(); return; }
      const drawing = event.target.closest?.(".drawing");
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
      if (!drawing || step === undefined) return;
      const all = marks(drawing);
      if (!all.length) return;
      event.preventDefault();
      const from = all.indexOf(at);
      const to = Math.min(Math.max(from < 0 && step === -1 ? all.length - 1 : from + step, 0), all.length - 1);
      all[to].scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
      requestAnimationFrame(() => requestAnimationFrame(() => show(all[to], true)));
    });
  }

  // In one file the table is filtered here; a server is asked by the form itself.
  function filters() {
    for (const form of document.querySelectorAll("form[data-rows]")) {
      const rows = [...document.querySelectorAll(`#${form.dataset.rows} tbody tr`)];
      const count = form.querySelector("output");
      const keep = (row, asked) => ["ending", "trigger", "verdict"].every((key) => !asked[key] || row.dataset[key] === asked[key])
        && (!asked.since || row.dataset.day >= asked.since) && (!asked.until || row.dataset.day <= asked.until)
        && (!asked.text || row.textContent.toLowerCase().includes(asked.text.toLowerCase()));
      const apply = () => {
        const asked = Object.fromEntries(new FormData(form));
        let left = 0;
        for (const row of rows) { row.hidden = !keep(row, asked); left += !row.hidden; }
        count.textContent = `${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")} shown`;
      };
      form.hidden = false;
      form.addEventListener("input", apply);
      form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
      form.addEventListener("reset", () => setTimeout(apply));
    }
  }

  // A choice in a form that a server answers is sent at once.
  function sending() {
    const choices = "form[data-send] select, form[data-send] input[type=date]";
    document.addEventListener("change", (event) => { if (event.target.matches(choices)) event.target.form.requestSubmit(); });
  }

  function open() {
    const aim = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let fold = aim && aim.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    if (aim) aim.scrollIntoView();
  }

  // When something has happened, the text is replaced in place: scroll, focus, what is unfolded and typed stay.
  function follow() {
    const every = Number(document.body.dataset.refresh) * 1000;
    const said = document.getElementById("live");
    let main = document.querySelector("main"), state = main.dataset.state, sent = false;
    if (!every) return;
    document.addEventListener("submit", () => { sent = true; });
    const name = (field) => `${field.form?.getAttribute("action") || ""} ${field.name}`;
    function swap(fresh) {
      const unfolded = new Set([...main.querySelectorAll("details[open]")].map(key));
      const typed = new Map([...main.querySelectorAll("input:not([type=hidden]), select, textarea")].map((field) => [name(field), field.value]));
      const focused = main.contains(document.activeElement) ? trail(document.activeElement) : null;
      const y = scrollY;
      main.replaceWith(fresh);
      main = fresh;
      for (const fold of main.querySelectorAll("details")) if (unfolded.has(key(fold))) fold.open = true;
      for (const field of main.querySelectorAll("input:not([type=hidden]), select, textarea")) if (typed.has(name(field))) field.value = typed.get(name(field));
      if (focused) main.querySelector(focused)?.focus({ preventScroll: true });
      scrollTo({ top: y, behavior: "instant" });
      filters();
    }
    const key = (fold) => fold.id || fold.parentElement.querySelector("strong, h3, h4, caption")?.textContent || trail(fold);
    function trail(node) {
      if (node.id) return `#${CSS.escape(node.id)}`;
      const steps = [];
      for (; node && node !== main; node = node.parentElement) steps.unshift(`${node.localName}:nth-of-type(${1 + [...node.parentElement.children].filter((n) => n.localName === node.localName).indexOf(node)})`);
      return `:scope > ${steps.join(" > ")}`;
    }
    async function look() {
      try {
        if (!document.hidden && !sent) {
          const answer = await fetch(document.body.dataset.stateAt, { cache: "no-store" });
          if (!answer.ok) throw new Error(answer.status);
          const now = (await answer.text()).trim();
          if (state && now !== state) {
            const page = await fetch(location.href, { cache: "no-store" });
            if (!page.ok) throw new Error(page.status);
            const made = new DOMParser().parseFromString(await page.text(), "text/html");
            swap(document.adoptNode(made.querySelector("main")));
            document.querySelector(".made time").replaceWith(document.adoptNode(made.querySelector(".made time")));
          }
          state = now;
          said.textContent = "live";
        }
      } catch (error) {
        const out = error.message === "401";
        said.textContent = out ? "not live: the session has ended, load the page again" : "not live: the dashboard does not answer";
      }
      setTimeout(look, every);
    }
    look();
  }

  document.addEventListener("DOMContentLoaded", () => { theme(); tips(); filters(); sending(); open(); follow(); });
  addEventListener("hashchange", open);
  addEventListener("beforeprint", () => { for (const fold of document.querySelectorAll("details:not(.run)")) fold.open = true; });
})();
