/* What the console adds where scripts run: local times, keyboard, side panel, live figures, copying.
   Every page works without it. Nothing here fetches from another host or evaluates text. */
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const words = JSON.parse(document.body.dataset.words || "{}");
  const language = root.lang || "en";
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

  // -- times: UTC in the page, the visitor's own zone on the screen --------------------------------
  const date = { year: "numeric", month: "short", day: "numeric" };
  const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const styles = {
    full: new Intl.DateTimeFormat(language, { ...date, ...clock, second: "2-digit", timeZoneName: "short" }),
    short: new Intl.DateTimeFormat(language, { ...date, ...clock, timeZoneName: "short" }),
    date: new Intl.DateTimeFormat(language, date),
    row: new Intl.DateTimeFormat(language, { month: "short", day: "numeric", ...clock, second: "2-digit" }),
    old: new Intl.DateTimeFormat(language, { ...date, ...clock, second: "2-digit" }),
  };
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  const steps = [["day", 86400], ["hour", 3600], ["minute", 60]];

  function ago(at) {
    const past = (at - Date.now()) / 1000;
    for (const [unit, size] of steps) {
      if (Math.abs(past) >= size) return relative.format(Math.round(past / size), unit);
    }
    return relative.format(Math.round(past), "second");
  }

  function localTimes(within) {
    for (const time of $$("time[datetime]", within)) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      let style = time.dataset.when || "full";
      if (style === "row" && at.getFullYear() !== new Date().getFullYear()) style = "old";
      const text = style === "ago" ? ago(at) : (styles[style] || styles.full).format(at);
      if (time.textContent !== text) time.textContent = text;
      const title = `${styles.full.format(at)} · ${time.dateTime}`;
      if (time.title !== title) time.title = title;
    }
  }
  const zone = new Intl.DateTimeFormat(language, { timeZoneName: "short" }).formatToParts()
    .find((part) => part.type === "timeZoneName")?.value || "";
  setInterval(() => $$('time[data-when="ago"]').forEach((time) => localTimes(time.parentNode)), 30_000);

  // -- small things --------------------------------------------------------------------------------
  const told = $("#told");
  let toldTimer = 0;
  function tell(text) {
    if (!told) return;
    told.textContent = text;
    clearTimeout(toldTimer);
    toldTimer = setTimeout(() => { told.textContent = ""; }, 4000);
  }

  document.addEventListener("click", async (event) => {
    const copying = event.target.closest("[data-copy]");
    if (copying) {
      try {
        await navigator.clipboard.writeText(copying.dataset.copy);
        tell(words.copied);
      } catch {
        tell(words.failed);
      }
    }
    if (event.target.closest("[data-print]")) window.print();
    if (event.target.closest("[data-help]")) $("#help")?.showModal();
    const closing = event.target.closest("[data-close-panel]");
    if (closing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      closePanel(closing.getAttribute("href"));
    }
    for (const menu of $$("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("formdata", (event) => {
    if (!event.target.matches("[data-clean]")) return;
    for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });

  // -- the token against forged requests goes with what htmx sends ----------------------------------
  document.addEventListener("htmx:config:request", (event) => {
    const request = event.detail.ctx && event.detail.ctx.request;
    if (request && request.headers && !["GET", "HEAD"].includes(String(request.method).toUpperCase())) {
      request.headers["X-CSRF-Token"] = $('meta[name="csrf"]').content;
    }
  });
  document.addEventListener("htmx:error", () => tell(words.failed));

  // -- the side panel, and walking through rows ------------------------------------------------------
  const links = () => $$(".row-link");
  let at = -1;

  function choose(index, open) {
    const all = links();
    if (!all.length) return;
    at = Math.max(0, Math.min(all.length - 1, index));
    $$("tr.selected").forEach((row) => row.classList.remove("selected"));
    all[at].closest("tr")?.classList.add("selected");
    all[at].focus({ preventScroll: true });
    all[at].scrollIntoView({ block: "nearest" });
    if (open) all[at].click();
  }

  function closePanel(address) {
    const panel = $("#panel");
    if (!panel || !panel.firstElementChild) return false;
    panel.replaceChildren();
    if (address) history.replaceState(history.state, "", address);
    const all = links();
    if (all[at]) all[at].focus();
    $$("tr.selected").forEach((row) => row.classList.remove("selected"));
    return true;
  }

  document.addEventListener("focusin", (event) => {
    const index = links().indexOf(event.target);
    if (index >= 0) at = index;
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".row-link");
    if (!link) return;
    at = links().indexOf(link);
    $$("tr.selected").forEach((row) => row.classList.remove("selected"));
    link.closest("tr")?.classList.add("selected");
  });

  // -- keys; they can be turned off, since some people dictate ---------------------------------------
  const KEYS = "affidavit-keys";
  const keysOn = () => { try { return localStorage.getItem(KEYS) !== "off"; } catch { return true; } };
  const box = $("[data-keys-on]");
  if (box) {
    box.checked = keysOn();
    box.addEventListener("change", () => {
      try { localStorage.setItem(KEYS, box.checked ? "on" : "off"); } catch { /* private window */ }
    });
  }
  let going = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === "Escape") {
      const menu = $("details.menu[open]");
      if (menu) { menu.open = false; $("summary", menu).focus(); return; }
      closePanel($("[data-close-panel]")?.getAttribute("href"));
      return;
    }
    if (!keysOn() || event.target.closest("input, select, textarea, [contenteditable], dialog")) return;
    const key = event.key.toLowerCase();
    if (Date.now() - going < 1200) {
      going = 0;
      const link = $(`nav a[data-key="${CSS.escape(key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const open = Boolean($("#panel")?.firstElementChild);
    if (key === "g") going = Date.now();
    else if (key === "j") { event.preventDefault(); choose(at + 1, open); }
    else if (key === "k") { event.preventDefault(); choose(at - 1, open); }
    else if (key === "/") {
      const field = $("[data-filter-field]");
      if (field) { event.preventDefault(); const holder = field.closest("details"); if (holder) holder.open = true; field.focus(); }
    } else if (key === "?") $("#help")?.showModal();
  });

  // -- live figures: one stream a page, closed while nobody looks -------------------------------------
  let stream = null;
  function listen() {
    const place = $("[data-live]");
    const button = $("[data-live-switch]");
    const wanted = place && !document.hidden && (!button || button.getAttribute("aria-pressed") === "true");
    if (!wanted) {
      if (stream) stream.close();
      stream = null;
      return;
    }
    if (stream) return;
    stream = new EventSource(place.dataset.live);
    stream.addEventListener("figures", (event) => {
      if (place.contains(document.activeElement) || String(getSelection())) return; // do not disturb
      const made = document.createElement("template");
      made.innerHTML = event.data; // written and escaped by this service
      place.replaceChildren(made.content);
      place.classList.remove("stale");
    });
    stream.addEventListener("full", () => { stream.close(); });
    stream.onerror = () => place.classList.add("stale");
  }
  document.addEventListener("visibilitychange", listen);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-live-switch]");
    if (!button) return;
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    button.classList.toggle("on", on);
    listen();
  });

  let shownList = $("#list");
  // -- what comes later gets the same -----------------------------------------------------------------
  function enliven(within) {
    localTimes(within);
    for (const place of $$("[data-zone]", within)) if (place.textContent !== zone) place.textContent = zone;
    const list = within.matches(".calls-body") ? $("#list", within) : null;
    if (list && list !== shownList) {
      if (shownList) { at = -1; scrollTo({ top: 0 }); $(".table-wrap", list)?.focus({ preventScroll: true }); }
      shownList = list;
    }
    const title = $(".panel h2[tabindex]", within);
    if (title && within.id === "panel") title.focus({ preventScroll: true });
  }
  new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.addedNodes.length && change.target.nodeType === 1) enliven(change.target);
    }
  }).observe(document.body, { childList: true, subtree: true });
  enliven(document.body);
  listen();
})();
