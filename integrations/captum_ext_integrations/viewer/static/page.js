"use strict";
// The page over the table that is there without it. Every text comes in by textContent: none of it is markup.
(() => {
  const maps = window.captumMaps;
  const embedded = document.getElementById("data");
  const source = window.captumSource;
  const ASKED = ["sort", "descending", "name", "target", "prediction", "right", "state", "least", "most", "page", "rows"];
  const LOOK = {opacity: "80", keep: "100", scale: "method"};
  let about = null, state = null, shown = [], curves = [], number = 0, sorted = "index";

  // The state is in the link: its query with a server, its fragment in a file.
  function readState() {
    const text = embedded ? location.hash.slice(1) : location.search;
    return new URLSearchParams(text);
  }

  function writeState(push) {
    for (const key of [...state.keys()]) if (!state.get(key) || state.get(key) === LOOK[key]) state.delete(key);
    const text = state.toString();
    if (embedded) {
      if (location.hash.slice(1) !== text) location.hash = text;
    } else {
      const url = `${location.pathname}${text ? "?" + text : ""}`;
      if (push) history.pushState(null, "", url);
      else history.replaceState(null, "", url);
    }
  }

  const look = (name) => state.get(name) || LOOK[name];
  const keep = () => Number(look("keep")) / 100;

  function make(tag, attributes, ...content) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...content);
    return element;
  }

  function named(text) {
    return make("bdi", {}, text);
  }

  function inWords(value) {
    return value === null || value === undefined ? "" : typeof value === "number" ? Number(value.toPrecision(4)).toString() : value;
  }

  function titleOf(column) {
    const several = column.run !== null && about.runs.length > 1;
    return several ? `${column.name} of ${about.runs[column.run].label}` : column.name;
  }

  // Photograph and map above each other, or beside each other where it is not known how they fit.
  function figureOf(row, run, label) {
    const below = about.photographs === "below";
    const photograph = about.photographs ? source.photograph(row.index) : null;
    const stack = make("div", {class: "stack"});
    const name = row.name || `sample ${row.index}`;
    if (photograph && below) stack.append(imageOf(photograph, name, row, stack));
    const canvas = make("canvas", {class: "map", role: "img", "aria-label": `map of ${label} for ${name}`, width: 1, height: 1});
    stack.append(canvas);
    const figure = make("figure", {}, stack, make("figcaption", {}, named(label)));
    const entry = {row, run, stack, canvas, map: null, below: Boolean(photograph && below)};
    return {figure, entry};
  }

  function imageOf(link, name, row, stack) {
    const image = make("img", {class: "photograph", src: link, alt: `photograph of ${name}`, loading: embedded ? "eager" : "lazy"});
    image.addEventListener("error", async () => {
      image.remove();
      stack.classList.add("bare");
      for (const entry of shown) if (entry.stack === stack) entry.below = false;
      draw();
      const why = await source.why(row.index);
      if (why && !stack.parentElement.querySelector(".why")) stack.parentElement.append(make("p", {class: "why"}, why));
    });
    return image;
  }

  async function load(entries) {
    const mine = ++number;
    shown = entries;
    await Promise.all(
      entries.map(async (entry) => {
        if (!entry.row.has[entry.run] || !about.runs[entry.run].shape) {
          missing(entry, entry.row.errors[entry.run] || "no map");
          return;
        }
        try {
          entry.map = await source.map(entry.run, entry.row.index);
        } catch (error) {
          missing(entry, error.message);
        }
      }),
    );
    if (mine === number) draw();
  }

  function missing(entry, reason) {
    entry.canvas.remove();
    entry.stack.append(make("p", {class: "why"}, reason));
  }

  // One range for all maps that are seen, for those of each method, or for each map.
  function groups() {
    const seen = shown.filter((entry) => entry.map);
    const scale = look("scale");
    const keyOf = (entry) => (scale === "all" ? "all" : scale === "map" ? shown.indexOf(entry) : entry.run);
    const found = new Map();
    for (const entry of seen) found.set(keyOf(entry), [...(found.get(keyOf(entry)) || []), entry]);
    return [...found.values()].map((entries) => {
      const limits = maps.limitsOf(entries.map((entry) => entry.map));
      return {entries, limits, outside: maps.shareOutside(entries.map((entry) => entry.map), limits)};
    });
  }

  function draw() {
    const found = groups();
    for (const group of found) {
      for (const entry of group.entries) {
        maps.paint(entry.canvas, entry.map, group.limits, about.palettes, keep(), entry.below);
        entry.stack.style.setProperty("--ratio", `${entry.map.width} / ${entry.map.height}`);
      }
    }
    document.body.classList.toggle("keeps", keep() < 1);
    document.body.style.setProperty("--opacity", Number(look("opacity")) / 100);
    drawLegend(found);
    drawCurves();
  }

  // Where a run has them, on the page of a sample.
  function drawCurves() {
    const place = document.getElementById("curves");
    if (!place) return;
    const labels = about.runs.map((run) => run.label);
    place.replaceChildren(...window.captumCurves.figures(curves, labels, keep()));
  }

  function sentence(text) {
    return text.charAt(0).toUpperCase() + text.slice(1);
  }

  function percent(share) {
    return share > 0 && share < 1e-4 ? "less than 0.01 %" : `${Number((100 * share).toPrecision(2))} %`;
  }

  function drawLegend(found) {
    const legend = document.getElementById("legend");
    legend.replaceChildren();
    if (keep() < 1) {
      const text = `Seen: the ${look("keep")} % of pixels with the largest numbers of each map; the rest is covered. `;
      legend.append(make("p", {}, text + about.no_curves));
      return;
    }
    if (look("scale") === "map") {
      legend.append(make("p", {}, "Each map has a range of its own: colours of different maps do not compare. Zero is white."));
      return;
    }
    const unit = sentence(about.unit || "attribution of a pixel of the stored map");
    for (const group of found) {
      const label = look("scale") === "all" ? "all maps on this page" : about.runs[group.entries[0].run].label;
      const bar = make("canvas", {class: "bar", role: "img", "aria-label": "colours from the lowest to the highest number"});
      maps.paintBar(bar, group.limits, about.palettes);
      const low = group.limits.signed ? inWords(-group.limits.limit) : "0";
      const words = `${about.meanings[group.limits.signed ? "signed" : "magnitude"]}. ${unit}; `
        + `${percent(group.outside.pixels)} of the pixels, with ${percent(group.outside.mass)} of the mass, are beyond the range.`;
      legend.append(make("div", {class: "scale"}, named(label), " ", low, " ", bar, " ", inWords(group.limits.limit), make("p", {}, words)));
    }
  }

  function controls(isGrid) {
    const slider = (name, label, minimum) => {
      const input = make("input", {type: "range", id: name, min: minimum, max: 100, value: look(name)});
      const output = make("output", {for: name}, `${look(name)} %`);
      input.addEventListener("input", () => {
        state.set(name, input.value);
        output.textContent = `${input.value} %`;
        draw();
      });
      input.addEventListener("change", () => writeState(false));
      return make("label", {for: name}, `${label} `, input, " ", output);
    };
    const scale = make("select", {id: "scale"});
    for (const [value, text] of [["method", "one for each run"], ["all", "one for all maps"], ["map", "one for each map"]]) {
      scale.append(make("option", {value, ...(look("scale") === value ? {selected: ""} : {})}, text));
    }
    scale.addEventListener("change", () => {
      state.set("scale", scale.value);
      writeState(false);
      draw();
    });
    const turns = embedded ? "" : ", n and p turn pages, / goes to the name";
    const keys = about.single
      ? ""
      : isGrid
        ? `Arrow keys move from sample to sample, Enter opens one${turns}.`
        : "The left and right arrow keys go to other samples, Escape goes back to all.";
    const section = make(
      "section",
      {id: "look", "aria-label": "How maps are shown"},
      slider("opacity", "Opacity of maps", 0),
      slider("keep", "Keep the top", 1),
      make("label", {for: "scale"}, "Range of colours ", scale),
      make("p", {class: "keys"}, keys),
      make("div", {id: "legend", "aria-live": "polite"}),
    );
    return section;
  }

  function tileOf(row) {
    const link = make("a", {href: source.linkOf(row.index, state.toString())});
    link.append(named(row.name || `sample ${row.index}`));
    const tile = make("li", {class: "tile"}, make("div", {class: "name"}, link));
    const figures = make("div", {class: "figures"});
    if (about.photographs === "beside") figures.append(besideOf(row));
    const entries = about.runs.map((run, k) => {
      const {figure, entry} = figureOf(row, k, run.label);
      figures.append(figure);
      return entry;
    });
    tile.append(figures, numbersOf(row));
    return {tile, entries};
  }

  function besideOf(row) {
    const stack = make("div", {class: "stack bare"});
    const link = source.photograph(row.index);
    if (link) stack.append(imageOf(link, row.name || `sample ${row.index}`, row, stack));
    return make("figure", {class: "beside"}, stack, make("figcaption", {}, "photograph"));
  }

  // Numbers below a tile: the column that is sorted by, classes, and disagreement; once where all runs say the same.
  function numbersOf(row) {
    const list = make("dl", {});
    const add = (title, value) => list.append(make("dt", {}, named(title)), make("dd", {}, named(value)));
    const wordsOf = (column) => row.classes[column.key] || inWords(row.values[column.key]);
    const done = new Set();
    for (const column of about.columns) {
      const name = column.key.split("@")[0];
      const wanted = column.key === sorted || name === "disagreement" || name === "target" || name === "prediction";
      if (!wanted || done.has(column.key) || wordsOf(column) === "") continue;
      const same = about.columns.filter((one) => one.run !== null && one.key.split("@")[0] === name);
      const all = column.run !== null && same.length === about.runs.length && new Set(same.map(wordsOf)).size === 1;
      for (const one of all ? same : [column]) done.add(one.key);
      const right = name === "prediction" ? row.right[column.run] : null;
      const words = right === null || right === undefined ? "" : right ? ", right" : ", wrong";
      add(all ? column.name : titleOf(column), wordsOf(column) + words);
    }
    return list;
  }

  async function showGrid(push) {
    writeState(push);
    const query = new URLSearchParams([...state].filter(([key]) => ASKED.includes(key)));
    const answer = await source.rows(query.toString());
    sorted = answer.sort || "index";
    const field = document.querySelector('#form [name="sort"]');
    if (field) field.value = sorted;
    const main = document.getElementById("main");
    const list = make("ul", {class: "grid"});
    const entries = [];
    for (const row of answer.rows) {
      const {tile, entries: found} = tileOf(row);
      list.append(tile);
      entries.push(...found);
    }
    const pages = answer.pages > 1 ? `, page ${answer.page} of ${answer.pages}` : "";
    const asked = answer.asked ? ["; ", named(answer.asked)] : [];
    main.replaceChildren(
      ...answer.said.map((text) => make("p", {class: "notice"}, named(text))),
      make("p", {role: "status"}, `${answer.total.toLocaleString("en")} samples${pages}`, ...asked),
      controls(true),
      list,
      pager(answer),
    );
    await load(entries);
    main.dataset.ready = String(number);
    if (answer.compared < 1) setTimeout(() => { if (!state.get("sample") && document.querySelector(".grid")) refresh(); }, 2000);
  }

  // Maps are still compared: ask again what is shown, unless somebody is at work in the page.
  async function refresh() {
    const busy = document.activeElement && document.activeElement !== document.body && document.activeElement.id !== "main";
    if (busy || !(state.get("sort") || "").startsWith("disagreement")) return;
    await showGrid(false);
  }

  function pager(answer) {
    const nav = make("nav", {class: "pager", "aria-label": "Pages"});
    const turn = (text, page, id) => {
      if (page < 1 || page > answer.pages) return;
      const button = make("button", {type: "button", id}, text);
      button.addEventListener("click", () => {
        state.set("page", String(page));
        showGrid(true).then(() => document.getElementById("main").focus());
      });
      nav.append(button);
    };
    turn("Page before", answer.page - 1, "page-before");
    turn("Next page", answer.page + 1, "page-after");
    return nav;
  }

  function largeFigures(row) {
    const figures = make("div", {class: "figures large"});
    if (about.photographs) figures.append(besideOf(row));
    const entries = about.runs.map((run, k) => {
      const {figure, entry} = figureOf(row, k, run.label);
      figures.append(figure);
      return entry;
    });
    return {figures, entries};
  }

  async function showSample(index) {
    const row = await source.sample(index);
    const main = document.getElementById("main");
    if (!row) {
      state.delete("sample");
      return showGrid(false);
    }
    curves = about.curves ? await source.curves(index) : [];
    const {figures, entries} = largeFigures(row);
    const below = make("section", {id: "curves", "aria-label": "Curves"});
    if (embedded) {
      const rows = (await source.rows(state.toString())).rows.map((one) => one.index);
      const at = rows.indexOf(index);
      const back = new URLSearchParams(state);
      back.delete("sample");
      const nav = make("nav", {class: "pager", "aria-label": "Samples"}, make("a", {id: "back", href: `#${back}`}, "All samples"));
      for (const [id, text, other] of [["before", "Sample before", rows[at - 1]], ["after", "Next sample", rows[at + 1]]]) {
        if (other !== undefined) nav.append(make("a", {id, href: source.linkOf(other, back.toString())}, text));
      }
      const heading = make("h2", {}, about.single ? "" : `Sample ${row.index}${row.name ? ": " : ""}`, named(row.name || ""));
      main.replaceChildren(...(about.single ? [] : [nav]), heading, controls(false), figures, below, numberTable(row));
    } else {
      for (const link of main.querySelectorAll(".pager a")) {
        const url = new URL(link.href);
        for (const name of Object.keys(LOOK)) if (state.get(name)) url.searchParams.set(name, state.get(name));
        link.href = url.href;
      }
      document.getElementById("figure").replaceChildren(controls(false), figures, below);
    }
    await load(entries);
    main.dataset.ready = String(number);
  }

  function numberTable(row) {
    const table = make("table", {}, make("caption", {}, "Numbers"));
    for (const column of about.columns) {
      if (column.key === "index" || column.key === "name") continue;
      const value = row.classes[column.key] || inWords(row.values[column.key]);
      table.append(make("tr", {}, make("th", {scope: "row"}, named(titleOf(column))), make("td", {}, named(value))));
    }
    return make("div", {class: "wide", tabindex: 0, role: "region", "aria-label": "Numbers of the sample"}, table);
  }

  function follow() {
    state = readState();
    const sample = embedded ? state.get("sample") : document.getElementById("main").dataset.index;
    return sample || about.single ? showSample(Number(sample || 0)) : showGrid(false);
  }

  function listenToForm() {
    const form = document.getElementById("form");
    if (!form) return;
    const ask = () => {
      for (const [name, value] of new FormData(form)) state.set(name, value);
      state.delete("page");
      showGrid(true).catch(say);
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      ask();
    });
    form.addEventListener("change", ask);
    for (const field of form.elements) if (field.name && state.get(field.name)) field.value = state.get(field.name);
  }

  function say(error) {
    document.getElementById("notices").append(make("p", {class: "notice", role: "alert"}, error.message));
  }

  async function start() {
    state = readState();
    about = await source.about();
    if (source.again && !about.complete) {
      const button = make("button", {type: "button"}, "Read the runs again");
      button.addEventListener("click", async () => {
        about = await source.again();
        document.getElementById("notices").replaceChildren(
          ...about.notices.map((text) => make("p", {class: "notice"}, named(text))), button);
        await follow();
      });
      document.getElementById("notices").append(button);
    }
    document.body.classList.add("scripted");
    listenToForm();
    addEventListener(embedded ? "hashchange" : "popstate", () => follow().catch(say));
    addEventListener("keydown", window.captumKeys);
    await follow();
  }

  start().catch(say);
})();
