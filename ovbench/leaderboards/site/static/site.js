// Elements without markup in strings: what comes from outside is text, and stays text.
function make(tag, attributes, ...content) {
  const svg = ["svg", "g", "line", "circle", "text", "title", "a"].includes(tag) && attributes?.svg;
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name !== "svg" && value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...content.filter((one) => one !== null && one !== undefined));
  return made;
}
const percent = (value) => (value === null ? "–" : value.toFixed(2));
const byId = (name) => document.getElementById(name);
const read = (name) => JSON.parse(byId(name).textContent);
const state = () => new URLSearchParams(location.hash.slice(1));
function keep(values) {
  const kept = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  history.replaceState(null, "", `#${kept}`);
}

// A table that can be sorted; every cell is [content, value to sort by].
function table(label, columns, rows) {
  const head = columns.map(([title, numeric]) => make("th",
    { scope: "col", "aria-sort": "none", class: numeric ? "n" : null },
    make("button", { type: "button" }, title)));
  const body = rows.map((row) => make("tr", null, ...row.map(([content, value, kind], place) => make(
    place ? "td" : "th",
    { scope: place ? null : "row", "data-v": value ?? "",
      class: [columns[place][1] ? "n" : "", kind ?? ""].join(" ").trim() || null },
    ...[content].flat().filter((one) => one !== null)))));
  const made = make("table", { class: "sortable", "aria-label": label },
    make("thead", null, make("tr", null, ...head)), make("tbody", null, ...body));
  sortable(made);
  return make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": label }, made);
}

function overview() {
  const runs = read("runs");
  const filters = [...document.querySelectorAll("[data-filter]")];
  const values = (run, name) => [run[name]].flat();
  for (const field of filters) {
    const found = [...new Set(runs.flatMap((run) => values(run, field.dataset.filter)))].sort();
    field.append(...found.map((value) => make("option", { value }, value)));
    field.disabled = found.length < 2;
    field.addEventListener("change", draw);
  }
  const [ofBenchmark, cost] = [byId("plot-benchmark"), byId("plot-cost")];
  const benchmarks = [...new Set(runs.map((run) => run.benchmark))];
  ofBenchmark.append(...benchmarks.map((value) => make("option", { value }, value)));
  const asked = state();
  for (const field of filters) field.value = asked.get(field.dataset.filter) ?? "";
  for (const field of filters) if (field.selectedIndex < 0) field.value = "";
  if (benchmarks.includes(asked.get("plot"))) ofBenchmark.value = asked.get("plot");
  if (["peak_gpu", "peak_rss"].includes(asked.get("cost"))) cost.value = asked.get("cost");
  for (const field of [ofBenchmark, cost]) field.addEventListener("change", draw);
  byId("reset").addEventListener("click", () => {
    for (const field of filters) field.value = "";
    draw();
  });

  function draw() {
    const chosen = Object.fromEntries(filters.map((f) => [f.dataset.filter, f.value]));
    keep({
      ...chosen,
      plot: ofBenchmark.selectedIndex ? ofBenchmark.value : "",
      cost: cost.selectedIndex ? cost.value : "",
    });
    const shown = runs.filter((run) => Object.entries(chosen).every(
      ([name, value]) => !value || values(run, name).includes(value)));
    byId("count").textContent = `${shown.length} of ${runs.length} runs`;
    const notes = [];
    byId("overview").replaceChildren(matrix(shown, notes));
    byId("notes").replaceChildren(...notes.map((note) => make("li", null, note)));
    byId("plot").replaceChildren(
      plot(shown.filter((run) => run.benchmark === ofBenchmark.value), cost));
  }

  // Of several runs in one place the most complete one, never the best one.
  function matrix(shown, notes) {
    const lines = [...new Set(shown.map((run) => run.line))].sort();
    const columns = benchmarks.filter((name) => shown.some((run) => run.benchmark === name));
    const [cell, count] = [new Map(), new Map()];
    const number = (note) => {
      if (!notes.includes(note)) notes.push(note);
      return notes.indexOf(note) + 1;
    };
    for (const run of shown) {
      const place = JSON.stringify([run.line, run.benchmark]);
      count.set(place, (count.get(place) ?? 0) + 1);
      const before = cell.get(place);
      if (!before || run.images > before.images
          || (run.images === before.images && run.key > before.key)) cell.set(place, run);
    }
    const best = columns.map((name) => Math.max(...[...cell.values()]
      .filter((run) => run.benchmark === name && !run.unlike && run.miou !== null)
      .map((run) => run.miou)));
    const rows = lines.map((line) => [
      [line, line],
      ...columns.map((name, place) => {
        const key = JSON.stringify([line, name]);
        const run = cell.get(key);
        if (!run) return ["–", null];
        const span = run.interval[0] === null ? ""
          : `95 % interval ${run.interval.map(percent).join(" to ")}, `;
        const told = [
          run.unlike && `not comparable with the column: ${run.unlike}`,
          count.get(key) > 1
            && `one of ${count.get(key)} runs: the most complete, else by its id, not the best`,
          ...run.marks,
        ].filter(Boolean).map(number);
        const link = make("a", { href: `run/${run.key}.html`,
          title: `${span}${run.images.toLocaleString("en")} images` }, percent(run.miou));
        const kind = run.miou === best[place] && !run.unlike ? "best" : "";
        return [[link, told.length ? make("sup", null, told.join(",")) : null], run.miou, kind];
      }),
    ]);
    return table("mIoU of methods on benchmarks",
      [["method", false], ...columns.map((name) => [name, true])], rows);
  }
  draw();
}

// Quality against a cost, on a logarithmic scale.
function plot(runs, cost) {
  const points = runs.filter((run) => run[cost.value] > 0 && run.miou !== null);
  const words = cost.selectedOptions[0].textContent;
  if (!points.length) return make("p", { class: "quiet" }, `No run here has ${words}.`);
  const scale = cost.value === "s_per_image" ? 1 : 2 ** 20;
  const value = (run) => run[cost.value] / scale;
  const [width, height, left, bottom] = [720, 380, 44, 40];
  const ends = (numbers) => [Math.min(...numbers), Math.max(...numbers)];
  let [low, high] = ends(points.map((run) => Math.log10(value(run))));
  [low, high] = [Math.floor(low * 2 - 0.2) / 2, Math.ceil(high * 2 + 0.2) / 2];
  let [least, most] = ends(points.map((run) => run.miou));
  [least, most] = [Math.max(0, Math.floor(least / 5) * 5 - 5), Math.min(100, Math.ceil(most / 5) * 5 + 5)];
  const x = (run) => left + (width - left) * (Math.log10(value(run)) - low) / (high - low);
  const y = (miou) => (height - bottom) * (1 - (miou - least) / (most - least));
  const svg = (tag, attributes, ...content) => make(tag, { svg: true, ...attributes }, ...content);
  const drawn = svg("svg", {
    viewBox: `0 -10 ${width + 10} ${height + 14}`, role: "group",
    "aria-label": `mIoU against ${words}, ${points.length} runs`,
  });
  const step = most - least > 40 ? 20 : 10;
  for (let miou = Math.ceil(least / step) * step; miou <= most; miou += step) {
    drawn.append(
      svg("line", { x1: left, x2: width, y1: y(miou), y2: y(miou), class: "grid" }),
      svg("text", { x: left - 6, y: y(miou) + 4, "text-anchor": "end" }, `${miou}`));
  }
  for (let power = Math.ceil(low); power <= high; power += 1) {
    const place = left + (width - left) * (power - low) / (high - low);
    drawn.append(
      svg("line", { x1: place, x2: place, y1: 0, y2: height - bottom, class: "grid" }),
      svg("text", { x: place, y: height - bottom + 16, "text-anchor": "middle" },
        `${Number((10 ** power).toPrecision(1))}`));
  }
  drawn.append(
    svg("text", { x: width, y: height - 4, "text-anchor": "end" }, words),
    svg("text", { x: left + 4, y: 4 }, "mIoU"));
  for (const run of [...points].sort((a, b) => value(a) - value(b))) {
    const hint = `${run.line}: ${percent(run.miou)} mIoU, ${value(run).toPrecision(3)} (${words})`;
    const point = svg("circle", { cx: x(run), cy: y(run.miou), r: 6 });
    drawn.append(svg("a", { href: `run/${run.key}.html`, "aria-label": hint },
      svg("title", null, hint), point));
  }
  return drawn;
}

// Numbers of runs come as scripts, which a page may load from a disk, too.
const held = { run: new Map(), images: new Map(), pictures: new Map() };
function given(what, content) { held[what].set(content.key, content); }
function fetched(what, key, file) {
  if (held[what].has(key)) return Promise.resolve(held[what].get(key));
  return new Promise((resolve) => {
    const script = make("script", { src: `data/${file}.js` });
    script.addEventListener("load", () => resolve(held[what].get(key)));
    script.addEventListener("error", () => resolve(null));
    document.head.append(script);
  });
}
function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  return Float64Array.from(new Float32Array(bytes.buffer));
}

// The regularised incomplete beta function, by its continued fraction (Lentz's way).
function logGamma(x) {
  const terms = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155,
    1.208650973866179e-3, -5.395239384953e-6];
  const base = x + 5.5 - (x + 0.5) * Math.log(x + 5.5);
  const series = terms.reduce((sum, term, place) => sum + term / (x + 1 + place), 1.000000000190015);
  return Math.log(2.5066282746310005 * series / x) - base;
}
function beta(a, b, x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - beta(b, a, 1 - x);
  const tiny = 1e-300;
  let [c, d] = [1, 1 - (a + b) * x / (a + 1)];
  d = 1 / (Math.abs(d) < tiny ? tiny : d);
  let fraction = d;
  for (let m = 1; m < 500; m += 1) {
    for (const term of [
      m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
      -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 + term * d;
      d = 1 / (Math.abs(d) < tiny ? tiny : d);
      c = 1 + term / c;
      c = Math.abs(c) < tiny ? tiny : c;
      fraction *= c * d;
    }
    if (Math.abs(c * d - 1) < 1e-14) break;
  }
  const front = a * Math.log(x) + b * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b);
  return Math.exp(front) * fraction / a;
}
// Two-sided, of Student's t, and the t at which it is so.
const beyond = (t, freedom) => beta(freedom / 2, 0.5, freedom / (freedom + t * t));
function reach(p, freedom) {
  let [low, high] = [0, 1];
  while (beyond(high, freedom) > p) high *= 2;
  for (let i = 0; i < 100; i += 1) {
    const middle = (low + high) / 2;
    if (beyond(middle, freedom) > p) low = middle; else high = middle;
  }
  return high;
}

// As `ovbench compare` does it: the jackknife over the images, which are paired.
function paired(a, b) {
  const [one, other] = [unpacked(a.leftOut), unpacked(b.leftOut)];
  const effect = a.value - b.value;
  const left = one.map((value, i) => value - other[i]);
  const images = left.length;
  if (images < 2 || !left.every(Number.isFinite)) return null;
  const mean = left.reduce((sum, v) => sum + v, 0) / images;
  const squares = left.map((v) => (v - mean) ** 2);
  const total = squares.reduce((sum, v) => sum + v, 0);
  const error = Math.sqrt(total * (images - 1) / images);
  const [ours, theirs] = [unpacked(a.biases), unpacked(b.biases)];
  const biases = ours.map((v, i) => v - theirs[i]);
  const bias = biases.reduce((sum, v) => sum + v, 0);
  const middle = bias / biases.length;
  const spread = Math.sqrt(biases.reduce((sum, v) => sum + (v - middle) ** 2, 0) / biases.length);
  let freedom = images - 1;
  const fourth = squares.reduce((sum, v) => sum + v * v, 0);
  if (total > 0 && images * fourth / total ** 2 > 1) {
    freedom = Math.min(freedom, 2 * images / (images * fourth / total ** 2 - 1));
  }
  const centres = [[effect, error], [effect - bias, Math.hypot(error, Math.sqrt(biases.length) * spread)]];
  const t = reach(0.05, freedom);
  const [low, high] = [Math.min(...centres.map(([v, e]) => v - t * e)),
    Math.max(...centres.map(([v, e]) => v + t * e))];
  const [first, second] = [effect, effect - bias];
  const p = Math.min(first, second) <= 0 && Math.max(first, second) >= 0 ? 1
    : beyond(Math.min(...centres.map(([v, e]) => Math.abs(v) / e)), freedom);
  return { effect, low, high, p, images };
}

function comparison() {
  const runs = read("compared");
  const [benchmark, first, second] = [byId("benchmark"), byId("a"), byId("b")];
  const names = [...new Set(runs.map((run) => run.benchmark))];
  benchmark.append(...names.map((value) => make("option", { value }, value)));
  const fill = () => {
    for (const field of [first, second]) {
      const options = runs.filter((run) => run.benchmark === benchmark.value)
        .map((run) => make("option", { value: run.key }, `${run.label} ${percent(run.miou)}`));
      field.replaceChildren(...options);
    }
    if (second.options.length > 1) second.selectedIndex = 1;
  };
  const of = (key) => runs.find((run) => run.key === key);
  const asked = state();
  const start = of(asked.get("a"));
  if (start) benchmark.value = start.benchmark;
  fill();
  if (start) first.value = start.key;
  if (of(asked.get("b"))?.benchmark === benchmark.value) second.value = asked.get("b");
  else if (start && second.value === start.key) second.selectedIndex = second.selectedIndex ? 0 : 1;
  if (second.selectedIndex < 0) second.selectedIndex = 0;
  benchmark.addEventListener("change", () => { fill(); draw(); });
  for (const field of [first, second]) field.addEventListener("change", draw);
  byId("exchange").addEventListener("click", () => {
    [first.value, second.value] = [second.value, first.value];
    draw();
  });

  async function draw() {
    const [a, b] = [of(first.value), of(second.value)];
    keep({ a: a.key, b: b.key });
    const [one, other] = await Promise.all([a, b].map((run) => fetched("run", run.key, run.key)));
    if (first.value !== a.key || second.value !== b.key) return;
    const sentence = byId("sentence");
    const told = [a, b].filter((run) => run.unlike).map((run) => `${run.label}: ${run.unlike}`);
    const same = a.same === b.same && one?.leftOut && other?.leftOut;
    const found = same ? paired(one, other) : null;
    if (!one || !other) sentence.textContent = "The numbers of a run are not in this site.";
    else if (!found) {
      sentence.textContent = `${percent(a.miou)} and ${percent(b.miou)} mIoU; `
        + "not paired: other images, too few, or a run without its records.";
    } else {
      const margin = `${Math.abs(found.effect).toFixed(2)} ± ${((found.high - found.low) / 2).toFixed(2)} mIoU`;
      const images = `on the same ${found.images.toLocaleString("en")} images`;
      const p = found.p < 0.001 ? "p < 0.001" : `p = ${found.p.toFixed(3)}`;
      sentence.textContent = found.low <= 0 && found.high >= 0
        ? `A and B cannot be told apart: ${margin} between them ${images} (${p})`
        : `${found.effect > 0 ? "A is better than B" : "B is better than A"} by ${margin} ${images} (${p})`;
      sentence.dataset.effect = JSON.stringify(found);
    }
    byId("told").textContent = told.join("; ");
    classes(one, other);
    await images(a, same ? one : null, other);
    await pictures(one?.leftOut && other?.leftOut ? [a, b] : []);
  }

  function signed(value) {
    const words = value === null ? "–" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
    return [words, value, value === null ? "" : value > 0 ? "better" : value < 0 ? "worse" : ""];
  }

  function classes(one, other) {
    const there = byId("by-class");
    if (!one || !other) { there.replaceChildren(); return; }
    const pairs = one.classes.map(([name, iou, pixels], place) => {
      const [, theirs] = other.classes[place] ?? [name, null];
      return [[name, name], [percent(iou), iou], [percent(theirs), theirs],
        signed(iou === null || theirs === null ? null : iou - theirs),
        [pixels.toLocaleString("en"), pixels]];
    });
    there.replaceChildren(table("IoU of every class in both runs",
      [["class", false], ["A", true], ["B", true], ["A − B", true], ["pixels", true]], pairs));
  }

  // Drawn are the images on which all runs of the benchmark differ most, where they kept answers.
  async function pictures(pair) {
    const [one, other] = (await Promise.all(pair.map(
      (run) => fetched("pictures", run.key, `pictures-${run.key}`)))).map((found) => found?.images);
    const names = Object.keys(one ?? {}).filter((name) => other?.[name]);
    byId("pictures").replaceChildren(...names.map((name) => {
      const [image, label, answer, errors] = one[name];
      const shown = [[image, "image"], [label, "ground truth"], [answer, "A"], [errors, "errors of A"],
        [other[name][2], "B"], [other[name][3], "errors of B"]];
      return make("article", { class: "card" }, make("h3", null, make("code", null, name)),
        make("div", { class: "strip" }, ...shown.map(([src, words]) => make("figure", null,
          make("img", { src, alt: `${words} of ${name}`, loading: "lazy" }),
          make("figcaption", null, words)))));
    }));
  }

  async function images(a, one, other) {
    const there = byId("by-image");
    if (!one || !other) {
      there.replaceChildren(make("p", { class: "quiet" }, "Not paired."));
      return;
    }
    const names = (await fetched("images", a.same, `images-${a.same}`))?.names ?? [];
    const [ours, theirs] = [unpacked(one.mious), unpacked(other.mious)];
    const order = [...names.keys()].filter((i) => Number.isFinite(ours[i] - theirs[i]))
      .sort((i, j) => Math.abs(ours[j] - theirs[j]) - Math.abs(ours[i] - theirs[i])).slice(0, 40);
    const rows = order.map((i) => [[names[i], names[i]], [percent(ours[i]), ours[i]],
      [percent(theirs[i]), theirs[i]], signed(ours[i] - theirs[i])]);
    there.replaceChildren(table("Images on which the runs differ most",
      [["image", false], ["A", true], ["B", true], ["A − B", true]], rows));
  }
  draw();
}

if (byId("runs")) overview();
if (byId("compared")) comparison();
