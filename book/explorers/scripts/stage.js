// What an explorer is drawn with: plots as SVG, handles, sliders and a sentence that is read out.
(function (IGR) {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";
  const MARGIN = { left: 46, right: 10, top: 8, bottom: 38 };
  // On a page with several explorers this file is run for each.
  IGR.count ??= 0;

  function add(parent, name, attributes = {}, text) {
    const svg = parent.namespaceURI === SVG || name === "svg";
    const node = svg ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return parent.appendChild(node);
  }

  // Attributes that differ from what is there: those that are only said again cost a layout.
  function set(node, attributes) {
    for (const [key, value] of Object.entries(attributes)) if (node.getAttribute(key) !== String(value)) node.setAttribute(key, value);
  }

  // A number in at most three digits, with a true minus and powers of ten.
  function number(value) {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "–" : "∞";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e-3 && size < 1e5) return String(+value.toPrecision(3)).replace("-", "−");
    const [digits, power] = value.toExponential(1).split("e");
    const raised = [...power.replace("+", "")].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
    return `${digits.replace("-", "−").replace(/\.0$/, "")}·10${raised}`.replace(/^1·/, "");
  }

  // One of a scale's colours; the style sheet makes it lighter on a dark page.
  function tint(node, color) {
    node.classList.add("igr-tinted");
    node.style.setProperty("--tint", color);
    return node;
  }

  function ticks(low, high, log) {
    if (!log) {
      const rough = (high - low) / 5, ten = 10 ** Math.floor(Math.log10(rough));
      const by = ten * [1, 2, 5, 10].find((s) => s * ten >= rough);
      const first = Math.ceil(low / by - 1e-9);
      return IGR.range(Math.floor(high / by + 1e-9) - first + 1, (i) => +((first + i) * by).toPrecision(12));
    }
    const from = Math.ceil(Math.log10(low) - 1e-9), to = Math.floor(Math.log10(high) + 1e-9);
    const every = Math.ceil((to - from + 1) / 6);
    return IGR.range(Math.max(0, Math.floor((to - from) / every) + 1), (i) => 10 ** (from + i * every));
  }

  // A plot that fills its box; `ratio` is its height by its width, or gives the height of a width. Whoever owns it draws in onresize.
  // `bare`: without the numbers on its axes. With a `margin` it has no axes, and that much around it.
  function plot(parent, label, xlabel, ylabel, ratio = 0.62, bare = false, margin) {
    const around = margin === undefined ? MARGIN : { left: margin, right: margin, top: margin, bottom: margin };
    const box = add(parent, "div", { class: "igr-plot" });
    const svg = add(box, "svg", { role: "group", "aria-label": label });
    const id = `igr-clip-${IGR.count++}`;
    const clip = add(add(add(svg, "defs"), "clipPath", { id }), "rect");
    const axes = add(svg, "g", { class: "igr-axes", "aria-hidden": "true" });
    const [below, inside] = [0, 1].map(() => add(svg, "g", { "clip-path": `url(#${id})`, "aria-hidden": "true" }));
    const above = add(svg, "g");
    const self = { svg, above, x: [0, 1], y: [0, 1], log: [false, false], onresize: [] };
    let layer = inside, framed, behind, measured = false;
    // Where a value is: `from` and `by` are those of its axis, which change with its limits alone.
    const line = ([low, high], log, a, b) => {
      const by = (b - a) / (log ? Math.log(high / low) : high - low);
      return log ? (v) => a + by * Math.log(v / low) : (v) => a + by * (v - low);
    };
    const back = (p, [low, high], log, a, b) => {
      const s = (p - a) / (b - a);
      return log ? low * (high / low) ** s : low + s * (high - low);
    };
    const span = () => [around.left, self.width - around.right];
    const rise = () => [self.height - around.bottom, around.top];
    self.inverse = (p, q) => [back(p, self.x, self.log[0], ...span()), back(q, self.y, self.log[1], ...rise())];
    // Where in the plot's own units an event is.
    self.under = (event) => {
      const area = svg.getBoundingClientRect(), scale = self.width / area.width;
      return [(event.clientX - area.left) * scale, (event.clientY - area.top) * scale];
    };
    const tenth = (v) => Math.round(10 * v) / 10;
    const place = ([u, v]) => `${tenth(self.X(u))} ${tenth(self.Y(v))}`;
    const join = (points) => {
      let path = "";
      for (const point of points) path += (path ? "L" : "M") + place(point);
      return path;
    };

    self.limits = (x, y, log = self.log) => {
      Object.assign(self, { x, y, log: Array.isArray(log) ? log : [log, log] });
      frame();
    };
    // Other names for its axes, drawn with the next limits.
    self.labels = (x, y) => ([xlabel, ylabel] = [x, y]);
    self.clear = () => inside.replaceChildren();
    // What stands behind, and still: it is drawn by `draw` when limits, size or `key` are others.
    self.behind = (draw, key) => {
      if (behind?.framed === framed && behind.key === key) return;
      behind = { framed, key };
      layer = below;
      below.replaceChildren();
      draw();
      layer = inside;
    };
    self.line = (kind, points) => points.length && add(layer, "path", { class: `igr-line igr-${kind}`, d: join(points) });
    self.pieces = (kind, pieces) => add(layer, "path", { class: `igr-line igr-${kind}`, d: pieces.map(join).join("") });
    self.dot = (kind, [u, v], r = 4.5) =>
      add(layer, "circle", { class: `igr-dot igr-${kind}`, cx: tenth(self.X(u)), cy: tenth(self.Y(v)), r });
    // Many of them as one node: ends of lines without a length, which are round.
    self.dots = (kind, points, r = 4.5) =>
      points.length && add(layer, "path", { class: `igr-line igr-dots igr-${kind}`, style: `stroke-width:${2 * r}px`, d: points.map((p) => `M${place(p)}h0`).join("") });

    const note = (x, y, anchor, text, kind = "plain") =>
      lowered(add(layer, "text", { class: `igr-note igr-${kind}`, x, y, "text-anchor": anchor }), text);
    self.note = ([u, v], text, { kind, anchor = "middle", dx = 0, dy = 4 } = {}) =>
      note(self.X(u) + dx, self.Y(v) + dy, anchor, text, kind);
    // The region between closed lines.
    self.area = (rings) =>
      add(layer, "path", { class: "igr-area", "fill-rule": "evenodd", d: rings.map((ring) => `${join(ring)}Z`).join("") });
    // The length between two values of x, as a bracket at the height `v` with its number beside it.
    self.bracket = (kind, ends, v, text) => {
      const [low, high] = ends.map(self.X).sort((p, q) => p - q), y = self.Y(v);
      add(layer, "path", { class: `igr-line igr-${kind}`, d: `M${low} ${y - 5}v10m0 -5H${high}m0 -5v10` });
      if (high + 60 < self.width) note(high + 6, y + 4, "start", text);
      else note(low - 6, y + 4, "end", text);
    };

    // The length between two points of a plane with equal axes as a bracket beside them, on the right
    // or, with a negative `half`, on the left; `half` is half of what the plane shows.
    self.gap = (kind, from, to, text, half) => {
      const [u, v] = to.map((value, i) => value - from[i]), length = Math.hypot(u, v), right = v < 0 || (v === 0 && u > 0) ? 1 : -1;
      const out = [(-v * right * half) / length, (u * right * half) / length];
      const at = (p, by) => p.map((value, i) => value + by * out[i]);
      self.line(kind, [at(from, 0.05), at(from, 0.12), at(to, 0.12), at(to, 0.05)]);
      const anchor = Math.abs(out[0]) < 0.4 * Math.abs(half) ? "middle" : out[0] > 0 ? "start" : "end";
      const middle = from.map((value, i) => (value + to[i]) / 2);
      return self.note(at(middle, anchor === "middle" ? 0.22 : 0.17), text, { anchor, kind });
    };

    self.cross = ([u, v]) =>
      add(layer, "path", { class: "igr-line igr-cross", d: `M${self.X(u) - 5} ${self.Y(v) - 5}l10 10m0 -10l-10 10` });

    // Asking for a width lays out all that was changed. It is asked until the browser tells it by itself.
    function measure() {
      self.width = Math.max(240, box.clientWidth);
      self.height = Math.round(ratio instanceof Function ? ratio(self.width) : self.width * ratio);
    }

    function frame() {
      if (!measured) measure();
      const now = JSON.stringify([self.x, self.y, self.log, self.width, self.height, xlabel, ylabel]);
      if (now === framed) return;
      framed = now;
      self.X = line(self.x, self.log[0], ...span());
      self.Y = line(self.y, self.log[1], ...rise());
      set(svg, { viewBox: `0 0 ${self.width} ${self.height}`, height: self.height });
      const [[left, right], [bottom, top]] = [span(), rise()];
      const area = { x: left, y: top, width: right - left, height: bottom - top };
      set(clip, area);
      axes.replaceChildren();
      if (margin !== undefined) return;
      add(axes, "rect", area);
      // An axis may run from its greatest value to its least.
      for (const v of ticks(Math.min(...self.x), Math.max(...self.x), self.log[0])) {
        add(axes, "path", { d: `M${self.X(v)} ${bottom}v4` });
        // A number near the right end is moved in, or the end of the picture would cut it.
        const text = number(v), x = Math.min(self.X(v), self.width - 4 * text.length);
        if (!bare) add(axes, "text", { x, y: bottom + 17, "text-anchor": "middle" }, text);
      }
      for (const v of ticks(...self.y, self.log[1])) {
        add(axes, "path", { d: `M${left} ${self.Y(v)}h-4` });
        // Not where the name of the axis is.
        const clear = self.Y(v) > top + 20 || 4 + 7 * ylabel.length < left - 9 - 6.5 * number(v).length;
        if (!bare && clear) add(axes, "text", { x: left - 7, y: self.Y(v) + 4, "text-anchor": "end" }, number(v));
      }
      lowered(add(axes, "text", { x: (left + right) / 2, y: bottom + 33, "text-anchor": "middle" }), xlabel);
      lowered(add(axes, "text", { x: 4, y: top + 10 }), ylabel);
    }
    new ResizeObserver(() => {
      if (!box.clientWidth) return;
      measured = true;
      if (Math.abs(box.clientWidth - self.width) < 2) return;
      measure();
      frame();
      self.onresize.forEach((draw) => draw());
    }).observe(box);
    frame();
    return self;
  }

  const ofPlane = ([u, v]) => `a = ${number(u)}, b = ${number(v)}`;

  // A point to be moved by mouse, touch or arrow keys (with Shift, ten times as far). `text` is what
  // it says of itself. With a `step` it belongs to a curve: x alone is moved, every key by so much.
  // `keys`, where it is given, says to which point a key leads from where the handle is.
  function handle(plot, label, moved, { text = ofPlane, step, keys: leads } = {}) {
    const node = add(plot.above, "g", { class: "igr-handle", tabindex: 0, role: "slider", "aria-label": label });
    const ring = [add(node, "circle", { r: 16, class: "igr-touch" }), add(node, "circle", { r: 7 })];
    let now = [0, 0];
    const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], Home: [-Infinity, 0], End: [Infinity, 0] };
    if (step) Object.assign(keys, { ArrowUp: [1, 0], ArrowDown: [-1, 0] });
    const inside = (v, [low, high]) => Math.min(high, Math.max(low, v));
    const move = ([u, v]) => moved([inside(u, plot.x), inside(v, plot.y)]);
    node.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      node.setPointerCapture(event.pointerId);
      node.focus();
      event.preventDefault();
    });
    node.addEventListener("pointermove", (event) => node.hasPointerCapture(event.pointerId) && move(plot.inverse(...plot.under(event))));
    node.addEventListener("keydown", (event) => {
      const far = event.shiftKey ? 10 : 1, by = keys[event.key], to = leads?.(event.key, now, far);
      if (!by && !to) return;
      event.preventDefault();
      if (to) return moved(to);
      move(now.map((v, i) => v + by[i] * far * (step ?? (i ? plot.y[1] - plot.y[0] : plot.x[1] - plot.x[0]) / 100)));
    });
    const place = (point) => {
      now = point;
      // A point out of sight has its handle at the edge.
      const [u, v] = [inside(now[0], plot.x), inside(now[1], plot.y)];
      ring.forEach((c) => set(c, { cx: plot.X(u), cy: plot.Y(v) }));
      const [valuemin, valuemax] = plot.x;
      set(node, { "aria-valuemin": valuemin, "aria-valuemax": valuemax, "aria-valuenow": u, "aria-valuetext": text(now) });
    };
    return { place };
  }

  function labelled(parent, label, name, attributes) {
    const id = `igr-control-${IGR.count++}`;
    const box = add(parent, "div", { class: "igr-control" });
    add(box, "label", { for: id }, label);
    return [add(box, name, { id, ...attributes }), box];
  }

  // A slider over powers: a thousand places from the least value to the greatest.
  function slider(parent, label, moved) {
    const [input, box] = labelled(parent, label, "input", { type: "range", min: 0, max: 1000, step: 1 });
    // Hidden from those who listen: the slider itself says its value.
    const output = add(box, "span", { class: "igr-value", "aria-hidden": "true" });
    const self = { input, low: 1, high: 10 };
    self.limits = (low, high) => Object.assign(self, { low, high });
    self.show = (value) => {
      const place = Math.round((1000 * Math.log(value / self.low)) / Math.log(self.high / self.low));
      if (+input.value !== place) input.value = place;
      output.textContent = number(value);
      input.setAttribute("aria-valuetext", number(value));
    };
    input.addEventListener("input", () => moved(self.low * (self.high / self.low) ** (input.value / 1000)));
    return self;
  }

  // A slider over equal steps, with a box for the number.
  function dial(parent, label, limits, moved) {
    const { min, max } = limits;
    const [input, box] = labelled(parent, label, "input", { type: "range", ...limits });
    add(box, "span", { class: "igr-track" }).append(input);
    const exact = add(box, "input", { type: "number", "aria-label": `${label}, as a number`, ...limits });
    input.addEventListener("input", () => moved(+input.value));
    exact.addEventListener("change", () => moved(Math.min(max, Math.max(min, +exact.value))));
    const show = (value) => {
      input.value = value;
      exact.value = +value.toPrecision(6);
    };
    return { show };
  }

  function choice(parent, label, options, value, chosen) {
    const [input] = labelled(parent, label, "select", {});
    for (const [name, text] of options) add(input, "option", { value: name }, text);
    input.value = value;
    input.addEventListener("change", () => chosen(input.value));
    return input;
  }

  const controls = (root) => add(root, "div", { class: "igr-controls" });
  const row = (root) => add(root, "div", { class: "igr-row" });

  function legend(root, entries) {
    const list = add(root, "ul", { class: "igr-legend" });
    for (const [kind, text] of entries) {
      const item = add(list, "li");
      const key = add(item, "span", { class: "igr-key", "aria-hidden": "true" });
      if (kind.startsWith("#")) tint(key, kind);
      else key.classList.add(`igr-${kind}`);
      rich(add(item, "span"), text);
    }
  }

  // Text with what follows a _ set lower, as in R_IG.
  function rich(node, text) {
    node.replaceChildren();
    text.split(/_(\w+)/).forEach((part, i) => part && (i % 2 ? add(node, "sub", {}, part) : node.append(part)));
    return node;
  }

  // The same in a drawing.
  function lowered(node, text) {
    const parts = text.split(/_(\w+)/);
    if (parts.length < 2) node.append(text);
    else parts.forEach((part, i) => part && add(node, "tspan", i % 2 ? { dy: 3, "font-size": "80%" } : i ? { dy: -3 } : {}, part));
    return node;
  }

  // The sentence that says what is shown; read out when the reader has stopped moving things. Its
  // place is high enough for the longest, where that is given, so that nothing jumps.
  function words(root, longest) {
    const place = add(root, "p", { class: "igr-words" });
    if (longest) place.classList.add("igr-held"), (place.dataset.longest = longest);
    const seen = longest ? add(place, "span") : place;
    const heard = add(root, "p", { class: "igr-heard", role: "status" });
    let timer;
    const say = (text) => {
      rich(seen, text);
      clearTimeout(timer);
      timer = setTimeout(() => (heard.textContent = text), 600);
    };
    return { say };
  }

  // Give every box on the page that has none yet its explorer.
  function mount() {
    for (const root of document.querySelectorAll("[data-igr-explorer]:not([data-igr-ready])")) {
      const start = IGR.explorers?.[root.dataset.igrExplorer];
      if (!start) continue;
      root.dataset.igrReady = "";
      const data = root.querySelector("script[type='application/json']");
      start(root, data && JSON.parse(data.textContent));
    }
  }

  IGR.stage = { add, set, number, tint, ticks, plot, handle, labelled, slider, dial, choice, controls, row, legend, rich, words, mount };
})((globalThis.IGR ??= {}));
