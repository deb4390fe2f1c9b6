"use strict";
(async () => {
  const byId = (id) => document.getElementById(id);
  const make = (tag, content, attributes = {}) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...[content ?? []].flat());
    return made;
  };

  // ---- figures in words ----

  const grouped = (value) => value.toLocaleString("en-US");
  const kib = (value) => value === null || value === undefined ? "–"
    : value % 1024 ? `${grouped(value)} B` : `${grouped(value / 1024)} KiB`;
  const signed = (value) => value === null || value === undefined ? "–"
    : (value > 0 ? "+" : value < 0 ? "-" : "") + kib(Math.abs(value));
  const brief = (value) => {
    for (const [size, unit] of [[2 ** 60, "EiB"], [2 ** 50, "PiB"], [2 ** 40, "TiB"], [2 ** 30, "GiB"],
      [2 ** 20, "MiB"], [1024, "KiB"]]) {
      if (Math.abs(value) >= size) {
        const number = value / size;
        return `${number >= 100 || Number.isInteger(number) ? Math.round(number) : number.toPrecision(3)} ${unit}`;
      }
    }
    return `${value} B`;
  };

  // ---- the data ----

  const unpacked = async () => {
    const text = atob(byId("data").textContent);
    const bytes = Uint8Array.from(text, (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).text();
  };
  const raw = await unpacked();
  const data = JSON.parse(raw);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (tone) => tone[dark.matches ? 2 : 1];
  const toneOf = (word) => data.tones[word] ?? ["other", "#939393", "#b3c1ba", "O", ""];
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const inkOn = (fill) => {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(fill.slice(at, at + 2), 16));
    return r * 0.299 + g * 0.587 + b * 0.114 > 140 ? "#000" : "#fff";
  };
  const swatch = (tone) => {
    const made = make("span", tone[3], { class: "swatch", "aria-hidden": "true" });
    made.style.background = colour(tone);
    made.style.color = inkOn(colour(tone));
    return made;
  };

  const redraws = [];
  const redraw = () => redraws.forEach((draw) => draw());
  dark.addEventListener("change", redraw);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; requestAnimationFrame(redraw); } });

  const save = byId("save");
  save.hidden = false;
  save.addEventListener("click", () => {
    const link = make("a", [], { download: "procmem-report.json" });
    link.href = URL.createObjectURL(new Blob([raw], { type: "application/json" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  for (const section of document.querySelectorAll("section")) {
    const heading = section.querySelector("h2");
    section.id ||= heading.textContent.toLowerCase().replaceAll(/\W+/g, "-");
    byId("contents").append(make("a", heading.textContent, { href: `#${section.id}` }));
  }

  // ---- tables that sort ----

  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, at) => {
      const button = make("button", head.textContent, { type: "button" });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending"
          || (!head.hasAttribute("aria-sort") && head.classList.contains("n"));
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[at].dataset.v === undefined ? row.cells[at].textContent : row.cells[at].dataset.v;
        const whole = (text) => /^-?\d+$/.test(text);
        const order = (a, b) => {
          if (whole(a) && whole(b)) { const [x, y] = [BigInt(a), BigInt(b)]; return x < y ? -1 : x > y ? 1 : 0; }
          const [x, y] = [Number(a), Number(b)];
          return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
        };
        const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
        rows.sort((a, b) => down ? order(b[0], a[0]) : order(a[0], b[0]));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  };
  const number = (value, show = kib) =>
    make("td", value === null || value === undefined ? "–" : show(value), { class: "n", ...(value === null || value === undefined ? { title: "not known" } : { "data-v": value }) });

  const tip = byId("tip");
  const showTip = (text, x, y) => {
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(4, y - box.height - 10) : y + 18}px`;
  };
  const canvasOf = (canvas, height) => {
    const ratio = devicePixelRatio || 1;
    const wide = Math.max(120, canvas.parentElement.clientWidth);
    canvas.width = wide * ratio;
    canvas.height = height(wide) * ratio;
    canvas.style.height = `${height(wide)}px`;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, wide, height(wide));
    return [context, wide];
  };
  const report = { data, ready: false };
  globalThis.procmemReport = report;

  if (data.moments.length) regions();
  if (data.series) time();
  document.querySelectorAll("table.sortable").forEach(sortable);
  report.ready = true;

  // ---- regions: bars, map, pages, table ----

  function regions() {
    const MEASURES = [["size", "VSZ"], ["rss", "RSS"], ["pss", "PSS"], ["uss", "USS"]];
    const state = { moment: data.moments.length - 1, group: "kind", only: null, chosen: null, query: "", sort: ["start", 1] };
    let now, words, shown;

    const load = () => {
      now = data.moments[state.moment];
      words = { kind: now.kind.words, use: now.use.words };
      state.chosen = null;
      state.only = null;
    };
    const groupOf = (at) => now[state.group].of[at];
    const wordOf = (field, at) => words[field][now[field].of[at]];
    const inFilter = (at) => state.only === null || groupOf(at) === state.only;

    const sums = () => {
      const found = words[state.group].map((word, group) => ({ word, group, count: 0, size: 0, rss: 0, pss: 0, uss: 0 }));
      for (const one of found) for (const [name] of MEASURES) if (!now[name]) one[name] = null;
      for (let at = 0; at < now.count; at++) {
        const one = found[groupOf(at)];
        one.count++;
        for (const [name] of MEASURES) {
          if (one[name] === null) continue;
          // The kernel's half, where [vsyscall] is, is not part of VmSize.
          const value = name === "size" && now.start[at].length === 16 && now.start[at] >= "8" ? 0 : now[name][at];
          one[name] = value === null ? null : one[name] + value;
        }
      }
      return found.filter((one) => one.count).sort((a, b) => b.size - a.size);
    };

    const only = (group) => {
      state.only = state.only === group ? null : group;
      update();
    };

    const bars = () => {
      const groups = sums();
      const box = byId("bars");
      box.replaceChildren();
      for (const [name, title] of MEASURES) {
        const known = groups.filter((one) => one[name] !== null);
        const total = known.reduce((sum, one) => sum + one[name], 0);
        const bar = make("div", [], { class: "bar", "aria-hidden": "true" });
        for (const one of known) {
          if (!one[name]) continue;
          const piece = make("i", []);
          const tone = toneOf(one.word);
          piece.style.background = colour(tone);
          piece.style.width = `${100 * one[name] / total}%`;
          piece.style.opacity = state.only === null || state.only === one.group ? 1 : 0.2;
          piece.addEventListener("click", () => only(one.group));
          piece.addEventListener("mousemove", (event) => showTip(
            `${one.word}: ${kib(one[name])} of ${title}, ${(100 * one[name] / total).toFixed(1)} %`, event.clientX, event.clientY));
          piece.addEventListener("mouseleave", () => showTip(""));
          bar.append(piece);
        }
        const missing = known.length < groups.length;
        box.append(make("span", title), missing && !known.length ? make("span", "not read", { class: "soft" }) : bar,
          make("span", missing ? "" : kib(total), { class: "n", "data-bar": name }));
      }
      byId("key").replaceChildren(...groups.map((one) => {
        const button = make("button", [swatch(toneOf(one.word)), make("span", `${one.word} · ${grouped(one.count)} · ${brief(one.rss ?? one.size)}${one.rss === null ? " VSZ" : ""}`)],
          { type: "button", "aria-pressed": String(state.only === one.group), "data-word": one.word });
        button.addEventListener("click", () => only(one.group));
        return make("li", button);
      }));
      const table = byId("groups");
      table.tHead.rows[0].replaceChildren(make("th", state.group === "kind" ? "Kind" : "Use", { scope: "col" }),
        make("th", "Regions", { scope: "col", class: "n" }), ...MEASURES.map(([, title]) => make("th", title, { scope: "col", class: "n" })));
      table.tBodies[0].replaceChildren(...groups.map((one) => make("tr", [make("td", one.word), number(one.count, grouped),
        ...MEASURES.map(([name]) => number(one[name]))])));
      sortable(table);
      byId("all").disabled = state.only === null;
    };

    // -- the map --

    const ROW = 34, TALL = 26;
    let places = [], rows = 0;
    const arrange = (wide) => {
      const natural = (size) => 3 + 2.2 * Math.log2(1 + size / 4096);
      let sum = 0;
      for (let at = 0; at < now.count; at++) sum += natural(now.size[at]) + (now.gap[at] ? 18 : 0);
      const scale = Math.min(1, 24 * wide / sum);
      places = [];
      let x = 0, row = 0;
      for (let at = 0; at < now.count; at++) {
        const gap = now.gap[at] ? Math.max(2, 18 * scale) : 0;
        const size = Math.max(1, natural(now.size[at]) * scale);
        if (x && x + gap + size > wide) { x = 0; row++; }
        places.push({ row, gapX: x, x: x + gap, size: Math.min(size, wide - gap) });
        x += gap + size;
      }
      rows = row + 1;
      return scale;
    };
    const space = byId("space");
    const drawMap = () => {
      const wide = Math.max(120, space.parentElement.clientWidth);
      arrange(wide);
      const [context] = canvasOf(space, () => rows * ROW + 4);
      const back = style("--back"), soft = style("--soft"), ink = style("--ink");
      const hatching = make("canvas", []);
      hatching.width = hatching.height = 6;
      const brush = hatching.getContext("2d");
      brush.strokeStyle = soft;
      brush.lineWidth = 1;
      brush.beginPath();
      brush.moveTo(0, 6); brush.lineTo(6, 0);
      brush.stroke();
      const hatched = context.createPattern(hatching, "repeat");
      for (let at = 0; at < now.count; at++) {
        const place = places[at], y = place.row * ROW + 4;
        if (place.x > place.gapX) {
          context.globalAlpha = 0.55;
          context.fillStyle = hatched;
          context.fillRect(place.gapX, y + 8, place.x - place.gapX - 1, TALL - 16);
        }
        const tone = toneOf(wordOf(state.group, at));
        const fill = colour(tone), weight = inFilter(at) ? 1 : 0.12;
        context.globalAlpha = 0.3 * weight;
        context.fillStyle = fill;
        const across = place.size > 3 ? place.size - 1 : place.size;
        context.fillRect(place.x, y, across, TALL);
        const part = now.rss && now.rss[at] !== null ? Math.min(1, now.rss[at] / now.size[at]) : 1;
        context.globalAlpha = weight;
        context.fillRect(place.x, y + TALL * (1 - part), across, TALL * part);
        if (place.size > 14) {
          context.fillStyle = part > 0.6 ? inkOn(fill) : ink;
          context.font = "600 11px system-ui, sans-serif";
          context.fillText(tone[3], place.x + 3, y + TALL - 8);
        }
        if (at === state.chosen) {
          context.globalAlpha = 1;
          context.strokeStyle = ink;
          context.lineWidth = 2;
          context.strokeRect(place.x - 1, y - 2, across + 2, TALL + 4);
        }
      }
      context.globalAlpha = 1;
      context.fillStyle = back;
    };
    const at = (event) => {
      const box = space.getBoundingClientRect();
      const x = event.clientX - box.left, row = Math.floor((event.clientY - box.top - 2) / ROW);
      let low = 0, high = places.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        const place = places[middle];
        if (place.row < row || (place.row === row && place.gapX <= x)) low = middle; else high = middle - 1;
      }
      const place = places[low];
      if (!place || place.row !== row || x < place.gapX || x > place.x + place.size) return null;
      return { region: low, gap: x < place.x };
    };
    const described = (region) => {
      const parts = [`${now.start[region]}-${now.end[region]} ${now.perms[region]} ${wordOf("kind", region)}`];
      const use = wordOf("use", region);
      if (use !== wordOf("kind", region)) parts.push(`use: ${use}`);
      parts.push(now.name[region], `size ${kib(now.size[region])}`);
      for (const [name, title] of [["rss", "RSS"], ["pss", "PSS"], ["uss", "USS"], ["swap", "swap"], ["huge", "in huge pages"]]) {
        if (now[name] && (now[name][region] || name === "rss")) parts.push(`${title} ${kib(now[name][region])}`);
      }
      if (now.path[region] && now.path[region] !== now.name[region]) parts.push(now.path[region]);
      return parts;
    };
    space.addEventListener("mousemove", (event) => {
      const found = at(event);
      if (!found) return showTip("");
      showTip(found.gap ? `nothing is mapped for ${brief(now.gap[found.region])} below ${now.start[found.region]}`
        : described(found.region).join("\n"), event.clientX, event.clientY);
    });
    space.addEventListener("mouseleave", () => showTip(""));
    space.addEventListener("click", (event) => {
      const found = at(event);
      if (found && !found.gap) choose(found.region, true);
    });
    space.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
      const from = state.chosen ?? (step > 0 ? -1 : now.count);
      if (step) {
        let next = from + step;
        while (next >= 0 && next < now.count && !inFilter(next)) next += step;
        if (next >= 0 && next < now.count) choose(next, true);
      } else if (event.key === "Home") choose(0, true);
      else if (event.key === "End") choose(now.count - 1, true);
      else return;
      event.preventDefault();
    });

    const choose = (region, scroll) => {
      state.chosen = region;
      byId("chosen").textContent = described(region).join(" · ");
      drawMap();
      drawPages();
      if (scroll) {
        const place = shown.indexOf(region);
        const grid = byId("grid");
        if (place >= 0) grid.scrollTop = Math.max(0, place * HIGH - grid.clientHeight / 2);
      }
      drawRows();
    };

    // -- pages --

    const missing = byId("heat-note").textContent;
    const STATES = [["resident", "in memory, mapped here alone"], ["shared", "in memory, mapped elsewhere too"],
      ["file", "of a file or shared memory, mapped here alone"], ["swapped", "in swap"], ["guard", "guard"], ["zero", "the page of zeros"]];
    const heat = byId("pages");
    let cells = null;
    const drawPages = () => {
      const figure = heat.parentElement, counts = byId("page-counts");
      const runs = data.pages && state.moment === data.moments.length - 1 && state.chosen !== null ? data.pages.regions[state.chosen] : null;
      figure.hidden = counts.hidden = !runs;
      cells = null;
      if (!data.pages) return;
      if (state.chosen === null) { byId("heat-note").textContent = "Choose a region in the map or in the table."; return; }
      if (!runs) { byId("heat-note").textContent = data.pages.left_out?.[state.chosen] ?? (state.moment === data.moments.length - 1 ? "No page of this region is in memory or in swap." : missing); return; }
      const size = data.page_size ?? data.pages.page_size, total = now.size[state.chosen] / size;
      const SIDE = 9, wide = Math.max(120, figure.clientWidth), across = Math.floor(wide / SIDE);
      let per = 1;
      while (total / per > across * 60) per *= 2;
      const many = Math.ceil(total / per);
      const best = new Uint8Array(many), most = new Uint32Array(many), flags = new Uint8Array(many);
      const tally = new Map();
      for (let i = 0; i < runs.length; i += 3) {
        const [first, length, code] = [runs[i], runs[i + 1], runs[i + 2]];
        const names = codeNames(code);
        for (const name of names) tally.set(name, (tally.get(name) ?? 0) + length);
        for (let cell = Math.floor(first / per); cell <= Math.floor((first + length - 1) / per); cell++) {
          const inside = Math.min(first + length, (cell + 1) * per) - Math.max(first, cell * per);
          if (inside > most[cell]) { most[cell] = inside; best[cell] = 1 + (code & 7); }
          flags[cell] |= code >> 3;
        }
      }
      const [context] = canvasOf(heat, () => Math.ceil(many / across) * SIDE + 2);
      const empty = style("--line");
      for (let cell = 0; cell < many; cell++) {
        const x = (cell % across) * SIDE, y = Math.floor(cell / across) * SIDE;
        context.fillStyle = best[cell] ? colour(pageTone(STATES[best[cell] - 1][0])) : empty;
        context.globalAlpha = best[cell] ? 1 : 0.5;
        context.fillRect(x, y, SIDE - 1, SIDE - 1);
        context.globalAlpha = 1;
        if (flags[cell] & 1) { context.strokeStyle = style("--ink"); context.lineWidth = 1; context.strokeRect(x + 0.5, y + 0.5, SIDE - 2, SIDE - 2); }
        if (flags[cell] & 2) { context.fillStyle = style("--ink"); context.fillRect(x + 3, y + 3, 2, 2); }
      }
      cells = { across, SIDE, per, many, best, flags, size };
      byId("heat-note").textContent = (per > 1 ? `Each cell is ${grouped(per)} pages, in the colour of most of those that are there. ` : "Each cell is a page. ")
        + "Outlined: part of a huge page. Dotted: written since the soft-dirty bits were cleared; "
        + (data.pages.dirty ? "all are set until something clears them (clear_refs, proc_pid_clear_refs(5))." : "this kernel keeps no such bits, so it is only known how many pages are dirty.");
      byId("page-key").replaceChildren(...STATES.map(([name, meaning]) => make("li", [swatch(pageTone(name)), ` ${meaning}`])));
      const absent = total - STATES.reduce((sum, [name]) => sum + (tally.get(name) ?? 0), 0);
      const rows = [...STATES.map(([name, meaning]) => [meaning, tally.get(name) ?? 0]), ["not there", absent],
        ["of these in huge pages", data.pages.huge ? tally.get("huge") ?? 0 : null], ["of these written (soft-dirty)", data.pages.dirty ? tally.get("dirty") ?? 0 : null],
        ["of these dirty and mapped here alone (Private_Dirty of smaps)", now.dirty && now.dirty[state.chosen] !== null ? now.dirty[state.chosen] / size : null]];
      counts.tBodies[0].replaceChildren(...rows.map(([name, value]) => make("tr", [make("td", name), number(value, grouped), number(value === null ? null : value * size)])));
    };
    const pageTone = (name) => data.page_tones[name] ? [name, ...data.page_tones[name].slice(1)] : ["zero", "#bdbdbd", "#5e5e5e", "z", ""];
    const codeNames = (code) => [STATES[code & 7][0], ...(code & 8 ? ["huge"] : []), ...(code & 16 ? ["dirty"] : [])];
    heat.addEventListener("mousemove", (event) => {
      if (!cells) return;
      const box = heat.getBoundingClientRect();
      const cell = Math.floor((event.clientY - box.top) / cells.SIDE) * cells.across + Math.floor((event.clientX - box.left) / cells.SIDE);
      if (cell < 0 || cell >= cells.many) return showTip("");
      const start = BigInt(`0x${now.start[state.chosen]}`) + BigInt(cell * cells.per * cells.size);
      const words = [cells.best[cell] ? STATES[cells.best[cell] - 1][1] : "not there"];
      if (cells.flags[cell] & 1) words.push("huge page");
      if (cells.flags[cell] & 2) words.push("written (soft-dirty)");
      showTip(`${start.toString(16)}${cells.per > 1 ? `, ${cells.per} pages` : ""}: ${words.join(", ")}`, event.clientX, event.clientY);
    });
    heat.addEventListener("mouseleave", () => showTip(""));

    // -- the table --

    const HIGH = 25;
    // Field, heading, and width in characters: with fixed widths a row that is scrolled in moves no other.
    const COLUMNS = [["start", "Start", 17], ["end", "End", 17], ["perms", "Perms", 8], ["kind", "Kind", 17], ["size", "Size", 15], ["rss", "RSS", 13],
      ["pss", "PSS", 13], ["uss", "USS", 13], ["name", "Name", 30], ["use", "Use", 22], ["swap", "Swap", 12], ["dirty", "Private dirty", 16],
      ["shared", "Shared", 13], ["huge", "Huge pages", 14], ["locked", "Locked", 12], ["path", "Path", 60]];
    const TEXTS = new Set(["perms", "kind", "use", "name", "path"]);
    const grid = byId("grid"), table = grid.querySelector("table");
    let columns;
    const value = (field, region) => field === "kind" || field === "use" ? wordOf(field, region) : now[field][region];
    const heads = () => {
      columns = COLUMNS.filter(([field]) => field === "kind" || field === "use" || now[field]);
      table.style.width = `${columns.reduce((sum, [, , size]) => sum + size, 0)}ch`;
      table.tHead.rows[0].replaceChildren(...columns.map(([field, title, size]) => {
        const button = make("button", title, { type: "button" });
        button.addEventListener("click", () => {
          const first = TEXTS.has(field) || field === "start" || field === "end" ? 1 : -1;
          state.sort = [field, state.sort[0] === field ? -state.sort[1] : first];
          grid.scrollTop = 0;
          filter();
        });
        const head = make("th", button, { scope: "col", "data-field": field, ...(TEXTS.has(field) ? {} : { class: "n" }) });
        head.style.width = `${size}ch`;
        return head;
      }));
    };
    const filter = () => {
      const asked = state.query.toLowerCase();
      const address = /^(0x)?[0-9a-f]{3,16}$/.test(asked) ? BigInt(`0x${asked.replace("0x", "")}`) : null;
      shown = [];
      for (let region = 0; region < now.count; region++) {
        if (!inFilter(region)) continue;
        if (asked && !`${now.name[region]}\n${now.path[region]}\n${now.perms[region]}\n${wordOf("kind", region)}\n${wordOf("use", region)}\n${now.start[region]}\n${now.end[region]}`.toLowerCase().includes(asked)
          && !(address !== null && BigInt(`0x${now.start[region]}`) <= address && address < BigInt(`0x${now.end[region]}`))) continue;
        shown.push(region);
      }
      const [field, sense] = state.sort;
      if (field === "start" || field === "end") { if (sense < 0) shown.reverse(); }
      else if (TEXTS.has(field)) shown.sort((a, b) => sense * (value(field, a) ?? "").localeCompare(value(field, b) ?? "") || a - b);
      else shown.sort((a, b) => sense * ((value(field, a) ?? -1) - (value(field, b) ?? -1)) || a - b);
      for (const head of table.tHead.rows[0].cells) {
        head.removeAttribute("aria-sort");
        if (head.dataset.field === field) head.setAttribute("aria-sort", sense > 0 ? "ascending" : "descending");
      }
      table.setAttribute("aria-rowcount", shown.length + 1);
      byId("found").textContent = shown.length === now.count ? `${grouped(now.count)} regions` : `${grouped(shown.length)} of ${grouped(now.count)} regions`;
      drawRows();
    };
    const rowOf = (place) => {
      const region = shown[place];
      const row = make("tr", columns.map(([field]) => {
        const content = value(field, region);
        if (TEXTS.has(field)) {
          const cell = make("td", content ?? "", field === "name" || field === "path" ? { title: content ?? "" } : {});
          if (field === state.group) cell.prepend(swatch(toneOf(content)), " ");
          return cell;
        }
        return field === "start" || field === "end" ? make("td", content, { class: "n mono" }) : number(content);
      }), { "aria-rowindex": place + 2, "aria-selected": String(region === state.chosen) });
      row.addEventListener("click", () => choose(region, false));
      return row;
    };
    const pad = (high) => {
      const cell = make("td", [], { colspan: columns.length });
      cell.style.height = `${high}px`;
      return make("tr", cell, { class: "pad", "aria-hidden": "true" });
    };
    const drawRows = (everything = 0) => {
      const first = everything ? 0 : Math.max(0, Math.floor(grid.scrollTop / HIGH) - 10);
      const last = everything ? Math.min(shown.length, everything) : Math.min(shown.length, first + Math.ceil(grid.clientHeight / HIGH) + 20);
      const rows = [];
      for (let place = first; place < last; place++) rows.push(rowOf(place));
      table.tBodies[0].replaceChildren(...(first ? [pad(first * HIGH)] : []), ...rows, ...(last < shown.length && !everything ? [pad((shown.length - last) * HIGH)] : []));
    };
    let asked = false;
    grid.addEventListener("scroll", () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => { asked = false; drawRows(); });
    });
    grid.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step || !shown.length) return;
      const place = Math.max(0, Math.min(shown.length - 1, (state.chosen === null ? -1 : shown.indexOf(state.chosen)) + step));
      choose(shown[place], true);
      event.preventDefault();
    });
    addEventListener("beforeprint", () => drawRows(500));
    addEventListener("afterprint", () => drawRows());
    byId("search").addEventListener("input", (event) => { state.query = event.target.value.trim(); grid.scrollTop = 0; filter(); });
    byId("all").addEventListener("click", () => only(state.only));
    for (const radio of document.querySelectorAll("input[name=group]")) {
      radio.addEventListener("change", () => { state.group = radio.value; state.only = null; update(); });
    }
    const choice = byId("moment");
    if (data.moments.length > 1) {
      byId("moment-choice").hidden = false;
      choice.append(...data.moments.map((one, place) => make("option", one.label, { value: place })));
      choice.value = state.moment;
      choice.addEventListener("change", () => { state.moment = Number(choice.value); load(); heads(); byId("chosen").textContent = ""; update(); });
    }
    const update = () => { bars(); drawMap(); drawPages(); filter(); };
    load();
    heads();
    update();
    redraws.push(update);
    report.regions = { shown: () => shown, state };
  }

  // ---- time ----

  function time() {
    const series = data.series;
    const summed = (packed) => {
      if (!packed) return null;
      const found = new Array(packed.length);
      let last = 0;
      packed.forEach((step, at) => { found[at] = step === null ? null : (last += step); });
      return found;
    };
    const figures = {};
    for (const name of ["vsz", "rss", "swap", "page_tables"]) figures[name] = summed(series[name]);
    const seconds = summed(series.microseconds).map((one, at) => one === null ? at : one / 1e6);
    const timed = !series.microseconds.includes(null);
    const count = seconds.length, last = count - 1;
    const state = { from: 0, to: last };
    const when = (at) => timed ? `${seconds[at].toFixed(seconds[last] < 100 ? 2 : 1)} s` : `snapshot ${at}`;
    byId("time-note").textContent = series.note;

    const nearest = (sorted, wanted) => {
      let low = 0, high = sorted.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (sorted[middle] < wanted) low = middle + 1; else high = middle;
      }
      return low && wanted - sorted[low - 1] <= sorted[low] - wanted ? low - 1 : low;
    };
    const indexAt = (x) => nearest(seconds, x);

    // -- what changed in the range, and why --

    const change = (name, before, after, show = kib) => make("tr", [make("td", name), number(before, show), number(after, show),
      number(before === null || after === null ? null : after - before, signed)]);
    const caption = (id, text) => { byId(id).caption.textContent = text; };
    let nearby = [0, last];
    byId("to-nearest").addEventListener("click", () => choose(...nearby));
    const calls = series.calls;
    const between = calls?.between;
    if (calls) {
      byId("calls-note").hidden = byId("range-calls").hidden = false;
      byId("calls-note").textContent = calls.note;
      between[0] = summed(between[0]);
    }
    const callsShown = (from, to) => {
      if (!calls) return;
      const sums = calls.names.map((name) => [name, 0, 0, 0, 0, 0, 0]);
      const all = ["all", 0, 0, 0, 0, 0, 0];
      between[0].forEach((by, row) => {
        if (by <= from || by > to) return;
        for (const one of [sums[between[1][row]], all]) for (let k = 1; k < 7; k++) one[k] += between[k + 1][row];
      });
      const found = sums.filter((one) => one[1]);
      caption("range-calls", found.length ? "What the calls changed by themselves: memory that is mapped counts in RSS when it is first used, mostly outside of calls."
        : "No memory call ended in this range.");
      byId("range-calls").tHead.hidden = !found.length;
      const changed = (value, [, many, , , , unknown, shared]) => make("td", unknown === many ? "–" : (shared ? "~" : "") + signed(value), { class: "n" });
      byId("range-calls").tBodies[0].replaceChildren(...(found.length > 1 ? [...found, all] : found).map((one) => {
        const [name, many, failed, vsz, rss, unknown, shared] = one;
        const remarks = [...(unknown && unknown < many ? [`without ${grouped(unknown)} whose change is not known`] : []),
          ...(shared ? [`~: of ${grouped(shared)} the change may not be the call's alone`] : [])];
        return make("tr", [make("td", name), number(many, grouped), number(failed, grouped), changed(vsz, one), changed(rss, one), make("td", remarks.join("; "))]);
      }));
    };
    const rangeShown = () => {
      const { from, to } = state;
      for (const [id, value] of [["from", from], ["to", to]]) {
        if (document.activeElement !== byId(id)) byId(id).value = value; // somebody types in it
      }
      byId("range-title").textContent = `What changed from ${when(from)} to ${when(to)}`;
      caption("range-figures", `Snapshots ${grouped(from)} and ${grouped(to)}`);
      const rows = [["vsz", "VSZ"], ["rss", series.rss_exact ? "RSS" : "RSS (the kernel's count may lag)"], ["swap", "Swap"], ["page_tables", "Page tables"]];
      byId("range-figures").tBodies[0].replaceChildren(...rows.filter(([name]) => figures[name].some((one) => one !== null))
        .map(([name, title]) => change(title, figures[name][from], figures[name][to])));
      const kinds = byId("range-kinds");
      kinds.hidden = series.at.length < 2;
      if (!kinds.hidden) {
        const [a, b] = [nearest(series.at, from), nearest(series.at, to)];
        caption("range-kinds", a === b ? "No two snapshots in this range have the memory of each region."
          : `Snapshots ${grouped(series.at[a])} (${when(series.at[a])}) and ${grouped(series.at[b])} (${when(series.at[b])}), the nearest that are kept with the memory of each region`);
        kinds.tBodies[0].replaceChildren(...(a === b ? [] : series.kinds.map((word, k) => [word, series.stack[k][a], series.stack[k][b]])
          .filter(([, before, after]) => before || after).sort((x, y) => Math.abs(y[2] - y[1]) - Math.abs(x[2] - x[1])).map((one) => change(...one))));
      }
      callsShown(from, to);
      const [i, j] = [nearest(series.anchors, from), nearest(series.anchors, to)];
      const list = byId("causes");
      list.replaceChildren();
      byId("nearest").hidden = true;
      if (!series.anchors.length || i === j) {
        byId("causes-of").textContent = "No two snapshots near the ends of this range were compared when the report was made, so no cause is known here: "
          + `widen the range, or run “procmem diff FILE:${from} FILE:${to}” with the recording.`;
        return;
      }
      const [first, second] = [series.anchors[i], series.anchors[j]];
      const found = series.diffs[`${i}-${j}`];
      const exact = first === from && second === to;
      byId("nearest").hidden = exact;
      nearby = [first, second];
      byId("causes-of").textContent = (exact ? "Between these snapshots" : `From snapshot ${grouped(first)} (${when(first)}) to ${grouped(second)} (${when(second)}), the nearest that were compared when the report was made`)
        + `: VSZ ${signed(found.vsz)}, RSS ${found.rss_error === 0 ? "" : "~"}${signed(found.rss)}${found.minor === null ? "" : `, ${grouped(found.minor)} minor faults`}.`
        + (exact ? "" : ` “procmem diff FILE:${from} FILE:${to}” with the recording has the causes of just this range.`);
      for (const [words, evidence] of found.causes) {
        list.append(make("li", [`${words}.`, ...(evidence ? [make("span", `evidence: ${evidence}`, { class: "evidence" })] : [])]));
      }
      for (const words of found.more) list.append(make("li", words));
      if (!list.children.length) list.append(make("li", "Nothing changed."));
    };
    let waiting = 0;
    const choose = (from, to, move = true) => {
      from = Math.max(0, Math.min(last, from));
      to = Math.max(0, Math.min(last, to));
      if (from > to) [from, to] = [to, from];
      if (from === to) { if (to < last) to++; else if (from) from--; }
      if (from === state.from && to === state.to) return;
      Object.assign(state, { from, to });
      if (move) report.time.show?.(seconds[from], seconds[to]);
      clearTimeout(waiting);
      waiting = setTimeout(rangeShown, 60);
    };
    report.time = { choose, state, figures, seconds };
    for (const id of ["from", "to"]) {
      byId(id).max = last;
      byId(id).addEventListener("change", () => choose(Number(byId("from").value), Number(byId("to").value)));
    }
    byId("whole").addEventListener("click", () => choose(0, last));
    const peak = series.peak;
    for (const [id, range] of [["to-peak", [0, peak]], ["from-peak", [peak, last]]]) {
      byId(id).disabled = peak === null || range[0] === range[1];
      byId(id).addEventListener("click", () => choose(...range));
    }
    for (const [name, since] of series.suspects) {
      const button = make("button", `Growth of ${name}`, { type: "button" });
      button.addEventListener("click", () => choose(indexAt(since), last));
      byId("suspected").append(button, " ");
    }

    // -- the charts --

    byId("time-key").replaceChildren(...series.kinds.map((word) => make("li", [swatch(toneOf(word)), ` ${word}`])));
    rangeShown();
    if (globalThis.Bokeh === undefined || count < 2) return;
    const Bokeh = globalThis.Bokeh;
    Bokeh.set_log_level?.("error");
    const known = figures.rss.filter((one) => one !== null);
    const top = Math.max(1, known.reduce((a, b) => Math.max(a, b), 0), ...series.at.map((_, k) => series.stack.reduce((sum, one) => sum + one[k], 0)));
    const [size, unit] = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [1024, "KiB"]].find(([one]) => top >= one) ?? [1, "bytes"];
    // The least and the largest of the samples that fall on one pixel: a peak is never left out.
    const thinned = (start, end, pixels) => {
      const first = Math.max(0, indexAt(start) - 1), behind = Math.min(count, indexAt(end) + 2);
      const x = [], y = [];
      const per = Math.max(1, (behind - first) / pixels);
      for (let slot = first; slot < behind; slot += per) {
        let low = -1, high = -1;
        for (let at = Math.floor(slot); at < Math.min(behind, Math.floor(slot + per)); at++) {
          const value = figures.rss[at];
          if (value === null) continue;
          if (low < 0 || value < figures.rss[low]) low = at;
          if (high < 0 || value > figures.rss[high]) high = at;
        }
        for (const at of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
          if (at >= 0) { x.push(seconds[at]); y.push(figures.rss[at] / size); }
        }
      }
      return { x, y };
    };
    const EVENTS = "events", OTHER = "other calls", LANES = 7;
    const shown = (calls?.names ?? []).slice(0, calls?.names.length > LANES ? LANES - 1 : LANES);
    const lanes = [...(series.events.length ? [EVENTS] : []), ...shown, ...(calls?.names.length > LANES ? [OTHER] : [])];
    const plt = Bokeh.Plotting;
    const whole = [seconds[0], seconds[last]];
    const xRange = new Bokeh.Range1d({ start: whole[0], end: whole[1], bounds: whole });
    const yRange = () => new Bokeh.Range1d({ start: 0, end: 1.08 * top / size });
    const frame = (high, more) => plt.figure({ height: high, sizing_mode: "stretch_width", y_range: yRange(), toolbar_location: null,
      x_axis_label: timed ? "seconds since the first snapshot" : "number of the snapshot", y_axis_label: unit, output_backend: "canvas", min_border_right: 20, min_border_left: lanes.length ? 100 : 60, ...more });
    const main = frame(380, { x_range: xRange, tools: "xpan,xwheel_zoom", active_scroll: "xwheel_zoom" });
    const overview = frame(120, { x_range: new Bokeh.Range1d({ start: whole[0], end: whole[1] }), tools: "", x_axis_label: null });
    const areas = [];
    const x = series.at.map((at) => seconds[at]);
    let below = x.map(() => 0);
    series.kinds.forEach((word, k) => {
      const above = below.map((base, at) => base + series.stack[k][at] / size);
      const source = new Bokeh.ColumnDataSource({ data: { x, y1: below, y2: above } });
      for (const plot of [main, overview]) {
        areas.push([word, plot.varea({ field: "x" }, { field: "y1" }, { field: "y2" }, { source, fill_alpha: 0.85 })]);
      }
      below = above;
    });
    const line = new Bokeh.ColumnDataSource({ data: thinned(...whole, 2000) });
    const lines = [main.line({ field: "x" }, { field: "y" }, { source: line, line_width: 1.5 }),
      overview.line({ field: "x" }, { field: "y" }, { source: new Bokeh.ColumnDataSource({ data: thinned(...whole, 600) }), line_width: 1 })];
    const marks = [];
    if (peak !== null) {
      const [px, py] = [seconds[peak], figures.rss[peak] / size];
      const point = main.scatter([px], [py], { size: 9, marker: "inverted_triangle" });
      const label = new Bokeh.Label({ x: px, y: py, text: `peak ${brief(figures.rss[peak])}`, text_font_size: "12px",
        text_align: px > (whole[0] + whole[1]) / 2 ? "right" : "left", text_baseline: "bottom", x_offset: px > (whole[0] + whole[1]) / 2 ? -8 : 8 });
      main.add_layout(label);
      marks.push([point, label]);
    }
    // What happened at a known time, or between two snapshots that follow each other, has a place on the axis.
    const placed = series.events.filter(([after, by, at]) => at !== null || by - after === 1).map(([, by, at, words]) => [at ?? seconds[by], words]);
    const spans = (placed.length > 12 ? [] : placed).map(([at]) => {
      const span = new Bokeh.Span({ location: at, dimension: "height", line_dash: [4, 4], line_width: 1 });
      main.add_layout(span);
      return span;
    });
    const happened = [];
    if (lanes.length) {
      const plot = frame(46 + 20 * lanes.length, { x_range: xRange, y_range: new Bokeh.FactorRange({ factors: lanes.toReversed() }), tools: "xpan,xwheel_zoom", active_scroll: "xwheel_zoom", x_axis_label: null, y_axis_label: null });
      const points = { x: placed.map(([at]) => at), lane: placed.map(() => EVENTS), words: placed.map(([, words]) => words) };
      calls?.drawn.at.forEach((at, k) => {
        points.x.push(at / 1e6);
        points.lane.push(shown[calls.drawn.name[k]] ?? OTHER);
        points.words.push(calls.drawn.words[k]);
      });
      const between = series.events.filter(([after, by, at]) => at === null && by - after > 1);
      const long = { left: between.map(([after]) => seconds[after]), right: between.map(([, by]) => seconds[by]), lane: between.map(() => EVENTS), words: between.map(([after, by, , words]) => `${words}, between snapshots ${grouped(after)} and ${grouped(by)}`) };
      happened.push(plot.hbar({ field: "lane" }, 0.3, { field: "right" }, { field: "left" }, { source: new Bokeh.ColumnDataSource({ data: long }), fill_alpha: 0.35, line_alpha: 0 }),
        plot.scatter({ field: "x" }, { field: "lane" }, { source: new Bokeh.ColumnDataSource({ data: points }), size: 7, marker: "dash", angle: Math.PI / 2, line_width: 1.5 }));
      plot.add_tools(new Bokeh.HoverTool({ renderers: happened, tooltips: [["time", timed ? "$x{0.000} s" : "$x"], ["", "@words"]] }));
      report.time.lanes = plot;
    }
    const brush = new Bokeh.RangeTool({ x_range: xRange, start_gesture: "pan" });
    overview.add_tools(brush);
    const hover = new Bokeh.HoverTool({ renderers: [lines[0]], mode: "vline", tooltips: [["time", timed ? "@x{0.000} s" : "@x"], ["RSS", `@y{0.00} ${unit}`]] });
    main.add_tools(hover);
    const plots = [main, ...(report.time.lanes ? [report.time.lanes] : []), overview];
    const themed = () => {
      const [back, card, ink, soft, rule, accent] = ["--back", "--card", "--ink", "--soft", "--line", "--accent"].map(style);
      for (const plot of plots) {
        plot.background_fill_color = card;
        plot.border_fill_color = back;
        plot.outline_line_color = rule;
        for (const axis of [...plot.xaxes, ...plot.yaxes]) {
          Object.assign(axis, { axis_label_text_color: soft, major_label_text_color: soft, axis_line_color: soft, major_tick_line_color: soft, minor_tick_line_color: null });
        }
        for (const grid of [...plot.xgrids, ...plot.ygrids]) grid.grid_line_color = rule;
      }
      for (const [word, area] of areas) area.glyph.fill_color = { value: colour(toneOf(word)) };
      for (const one of lines) one.glyph.line_color = { value: ink };
      for (const [point, label] of marks) { point.glyph.fill_color = point.glyph.line_color = { value: ink }; label.text_color = ink; }
      for (const span of spans) span.line_color = soft;
      for (const one of happened) one.glyph.line_color = one.glyph.fill_color = { value: accent };
      Object.assign(brush.overlay, { fill_color: accent, fill_alpha: 0.18, line_color: accent, line_alpha: 1, line_dash: [] });
    };
    themed();
    redraws.push(themed);
    plt.show(plots, "#chart");
    let asked = false;
    const moved = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        line.data = thinned(xRange.start, xRange.end, 1500);
        const from = indexAt(xRange.start), to = indexAt(xRange.end);
        choose(from, to, false);
      });
    };
    xRange.change.connect(moved);
    report.time.show = (start, end) => { xRange.setv({ start, end }); };
    report.time.range = xRange;
    report.time.thinned = thinned;
  }
})();
