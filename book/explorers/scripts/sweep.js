// Chapter 7: the sweep of Figure 2. Every model is a point: where it stands depends on where models
// are compared, and whether chance alone would put it there is seen by dealing out what was measured.
(function (IGR) {
  "use strict";

  const SLOPE = "‖∇E‖²";
  // Of what is measured: its name, the value of a model with m parameters, whether its axis is
  // logarithmic, and which of the recorded numbers is dealt out.
  const QUANTITIES = {
    regularizer: [`R_IG = ${SLOPE}/m`, (p, m) => p.squared_gradient / m, true, "squared_gradient"],
    squared: [SLOPE, (p) => p.squared_gradient, true, "squared_gradient"],
    ratio: ["R_IG/E", (p, m) => p.squared_gradient / m / p.loss, true, "squared_gradient"],
    loss: ["training loss E", (p) => p.loss, true, "loss"],
    accuracy: ["test accuracy (%)", (p) => 100 * p.accuracy, false, "accuracy"],
  };
  const SHORT = { regularizer: "R_IG", squared: SLOPE, ratio: "R_IG/E", loss: "E", accuracy: "test accuracy" };
  const CURVES = {
    loss: ["training loss E", true],
    squared_gradient: [SLOPE, true],
    accuracy: ["test accuracy (%)", false],
  };
  const AT = {
    test: "best test accuracy",
    validation: "best validation accuracy",
    end: "end of training",
    steps: "equal steps",
    time: "equal time",
    loss: "equal loss",
  };
  const NOWHERE = { step: NaN, loss: NaN, squared_gradient: NaN, accuracy: NaN, censored: false };

  // What was not measured, as a number that is none.
  const known = (point) => Object.fromEntries(Object.entries(point).map(([name, v]) => [name, v ?? NaN]));
  const measured = (pair) => pair.every(Number.isFinite);
  const mean = (list) => list.reduce((s, v) => s + v, 0) / list.length;
  const between = (from, to, share) => from + share * (to - from);

  // The measurement k of a model, and the numbers `share` of the way from it to the measurement l:
  // linear in log E, log ‖∇E‖² and log n, and in the accuracy itself.
  function blend({ steps }, model, k, l, share) {
    const both = (name) => [k, l].map((i) => model.curves[name][i] ?? NaN);
    const power = (pair) => (share ? Math.exp(between(...pair.map(Math.log), share)) : pair[0]);
    return {
      step: power([steps[k], steps[l]]),
      loss: power(both("loss")),
      squared_gradient: power(both("squared_gradient")),
      accuracy: share ? between(...both("accuracy"), share) : both("accuracy")[0],
      censored: false,
    };
  }

  // The measurements of the loss after step 0, by their numbers.
  const times = ({ steps }, model) =>
    IGR.range(model.curves.loss.length, (i) => i).filter((i) => steps[i] > 0 && model.curves.loss[i] !== null);

  // Where a model stands after n steps.
  function afterSteps(data, model, n) {
    const all = times(data, model), last = all.findIndex((i) => data.steps[i] >= n);
    // A step that was computed may differ from the measured one in its last digit.
    const same = all.find((i) => Math.abs(data.steps[i] / n - 1) < 1e-9);
    if (same !== undefined) return blend(data, model, same, same, 0);
    if (last < 1) return NOWHERE;
    const [k, l] = [all[last - 1], all[last]];
    return blend(data, model, k, l, Math.log(n / data.steps[k]) / Math.log(data.steps[l] / data.steps[k]));
  }

  // Where its training loss first falls below `level`; nowhere if it does not, or was below from the start.
  function atLoss(data, model, level) {
    const all = times(data, model), first = all.findIndex((i) => model.curves.loss[i] < level);
    if (first < 1) return NOWHERE;
    const [k, l] = [all[first - 1], all[first]], e = model.curves.loss;
    return { ...blend(data, model, k, l, Math.log(level / e[k]) / Math.log(e[l] / e[k])), loss: level };
  }

  // The place of every model where models are compared at one of AT, `value` being the number of
  // steps, the time or the loss that is equal.
  function places(data, at, value) {
    return data.models.map((model) => {
      if (at === "steps") return afterSteps(data, model, value);
      if (at === "time") return afterSteps(data, model, value / data.rates[model.rate]);
      return at === "loss" ? atLoss(data, model, value) : known(model[at]);
    });
  }

  // The least and the greatest value at which models can be compared, and where to begin.
  function limits(data, at) {
    const { models, rates, steps } = data;
    const ran = models.map((m) => [m, times(data, m)]).filter(([, all]) => all.length);
    if (at === "steps" || at === "time") {
      const scale = (m) => (at === "time" ? rates[m.rate] : 1);
      const low = Math.max(...ran.map(([m, all]) => steps[all[0]] * scale(m)));
      const high = Math.min(...ran.map(([m, all]) => steps[all[all.length - 1]] * scale(m)));
      return [low, high, high];
    }
    // From the loss that half of the models came to, up to the one that all had still before them.
    const least = ran.map(([m]) => Math.min(...m.curves.loss.filter((v) => v !== null))).sort((a, b) => a - b);
    const low = least[Math.floor((least.length - 1) / 2)];
    const high = Math.max(low, Math.min(...ran.map(([m, all]) => m.curves.loss[all[0]])));
    return [low, high, Math.min(high, Math.max(low, 0.01))];
  }

  // Each model at (λ = hm/4, the quantity).
  const points = ({ rates, models }, quantity, there) =>
    models.map((model, i) => [(rates[model.rate] * model.m) / 4, QUANTITIES[quantity][1](there[i], model.m)]);

  // Numbers in [0, 1) that look like chance and are the same for the same seed (mulberry32).
  function random(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  // The places with what was measured dealt out at random: over all models, or over those of one
  // width and seed ("block"). What is known of a model besides, its m and its loss, stays with it.
  function deal({ models }, quantity, there, over, seed) {
    const name = QUANTITIES[quantity][3], next = random(seed), dealt = [...there], hands = new Map();
    models.forEach((m, i) => {
      if (!Number.isFinite(there[i][name])) return;
      const hand = over === "block" ? `${m.width} ${m.seed}` : "all";
      hands.set(hand, [...(hands.get(hand) ?? []), i]);
    });
    for (const hand of hands.values()) {
      const from = [...hand];
      for (let k = from.length - 1; k > 0; k--) {
        const other = Math.floor(next() * (k + 1));
        [from[k], from[other]] = [from[other], from[k]];
      }
      hand.forEach((to, k) => (dealt[to] = { ...there[to], [name]: there[from[k]][name] }));
    }
    return dealt;
  }

  // The rank of each value from 1 up; equal values share the mean of theirs.
  function ranks(values) {
    const sorted = [...values].sort((a, b) => a - b);
    return values.map((v) => (sorted.indexOf(v) + sorted.lastIndexOf(v)) / 2 + 1);
  }

  // Spearman's correlation of the two coordinates of points, of those that have both.
  function correlation(all) {
    const pairs = all.filter(measured);
    const [u, v] = [0, 1].map((k) => {
      const list = ranks(pairs.map((pair) => pair[k])), middle = mean(list);
      return list.map((value) => value - middle);
    });
    const dot = (p, q) => mean(p.map((value, i) => value * q[i]));
    return dot(u, v) / Math.sqrt(dot(u, u) * dot(v, v));
  }

  // The models of each width and seed, by their numbers.
  function blocks({ models }) {
    const found = new Map();
    models.forEach((m, i) => {
      const name = `${m.width} ${m.seed}`;
      found.set(name, [...(found.get(name) ?? []), i]);
    });
    return [...found.values()];
  }

  // The mean change of a quantity with each doubling of h within a width and seed: in per cent, or
  // in its own unit where its axis is not logarithmic.
  function trend(data, quantity, all) {
    const log = QUANTITIES[quantity][2], slopes = [];
    for (const block of blocks(data)) {
      const pairs = block
        .filter((i) => Number.isFinite(log ? Math.log(all[i][1]) : all[i][1]))
        .map((i) => [Math.log2(data.rates[data.models[i].rate]), log ? Math.log(all[i][1]) : all[i][1]]);
      if (pairs.length < data.least) continue;
      const [x, y] = [0, 1].map((k) => mean(pairs.map((pair) => pair[k])));
      const sum = (f) => pairs.reduce((s, pair) => s + f(pair[0] - x, pair[1] - y), 0);
      slopes.push(sum((u, v) => u * v) / sum((u) => u * u));
    }
    return log ? 100 * Math.expm1(mean(slopes)) : mean(slopes);
  }

  // The line through the means over the seeds of a width, one place for each learning rate.
  function middle({ rates, models }, width, quantity, all) {
    const log = QUANTITIES[quantity][2];
    return rates.flatMap((_, rate) => {
      const here = all.filter((pair, i) => measured(pair) && models[i].width === width && models[i].rate === rate);
      if (!here.length) return [];
      const value = mean(here.map(([, v]) => (log ? Math.log(v) : v)));
      return [[here[0][0], log ? Math.exp(value) : value]];
    });
  }

  // The limits of an axis that shows all values, with some air.
  function around(all, log) {
    const values = all.filter((v) => Number.isFinite(v) && (v > 0 || !log));
    if (!values.length) return log ? [1, 10] : [0, 1];
    const low = Math.min(...values), high = Math.max(...values);
    if (log) {
      const air = Math.max((high / low) ** 0.06, 1.2);
      return [low / air, high * air];
    }
    const air = (high - low || 1) * 0.06;
    return [low - air, high + air];
  }

  // The same, but the old limits where they show all values large enough: an axis is not to move
  // with every key.
  function window(all, log, old) {
    const fresh = around(all, log);
    if (!old) return fresh;
    const size = ([low, high]) => (log ? Math.log(high / low) : high - low);
    return old[0] <= fresh[0] && fresh[1] <= old[1] && size(fresh) > 0.45 * size(old) ? old : fresh;
  }

  // Where step 0 stands on a logarithmic axis: at half of the first step after it.
  const zero = (steps) => steps.find((step) => step > 0) / 2;

  // Where the models may be compared: an arm without a validation split has none of the best there.
  const choices = ({ models }) =>
    Object.entries(AT).filter(([name]) => name !== "validation" || models.some((model) => model[name].step !== null));

  // The curve of a model where it was measured, as points.
  const curve = ({ steps }, model, name) =>
    model.curves[name]
      .map((v, i) => [steps[i] || zero(steps), name === "accuracy" ? 100 * v : v, v])
      .filter(([, , v]) => v !== null)
      .map(([step, v]) => [step, v]);

  IGR.sweep = { places, limits, points, deal, random, correlation, trend, middle, curve, choices, around, window };

  // The marks of widths, about the same area each, in a square of 8 around the origin.
  const MARKS = {
    o: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
    "^": "M0 -4.9L4.6 3.4H-4.6Z",
    s: "M-3.6 -3.6H3.6V3.6H-3.6Z",
    D: "M0 -4.8L4.8 0L0 4.8L-4.8 0Z",
    v: "M0 4.9L4.6 -3.4H-4.6Z",
    P: "M-1.5 -4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z",
  };
  const GHOSTS = 10;
  const SECONDS = 3;

  IGR.explorers ??= {};
  IGR.explorers.sweep = function (root, data) {
    const { stage } = IGR;
    const { rates, models, colors, dark, widths } = data;
    const state = { at: "test", quantity: "regularizer", over: "all", deals: 0, curve: "loss", lines: "width", model: -1 };
    const first = { ...state };
    const value = Object.fromEntries(["steps", "time", "loss"].map((at) => [at, limits(data, at)[2]]));
    const named = (table) => Object.entries(table).map(([name, [label]]) => [name, label]);
    const mark = (m) => MARKS[widths[m.width]] ?? MARKS.o;
    const title = (m) => `width ${m.width}, h = ${rates[m.rate]}, seed ${m.seed}`;
    const signed = (v, digits) => (Number.isFinite(v) ? v.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−") : "–");
    const chosen = () => models[state.model];
    // The colour of a learning rate, on a light page and on a dark one.
    const tint = (node, rate) => stage.tint(node, colors[rate]).style.setProperty("--dark", dark[rate]);

    const controls = stage.controls(root);
    const shows = stage.choice(controls, "Show", named(QUANTITIES), state.quantity, (quantity) => slide({ quantity }));
    const ats = stage.choice(controls, "Compare at", choices(data), state.at, (at) => slide({ at }));
    const buttons = stage.add(controls, "div", { class: "igr-control igr-deals" });
    const press = (text, label, change) => {
      const button = stage.add(buttons, "button", { type: "button", class: "igr-play", "aria-label": label }, text);
      button.addEventListener("click", () => slide(change()));
    };
    press("Deal out at random", "Deal out at random", () => ({ deals: state.deals + 1 }));
    press("× 100", "Deal out at random a hundred times", () => ({ deals: Math.min(state.deals + 100, 900) }));
    press("As recorded", "As recorded, without deals", () => ({ deals: 0 }));

    const row = stage.row(root);
    const column = () => stage.add(row, "div", { class: "igr-column" });
    const axis = (box) => stage.add(box, "p", { class: "igr-axis", "aria-hidden": "true" });
    const [left, right] = [column(), column()];
    const upright = axis(left);
    const cloud = stage.plot(left, "Models by λ = hm/4", "λ = hm/4", "", 0.78);
    const below = axis(left);
    const strip = stage.plot(left, "Rank correlations: as recorded, and of each deal", "", "", () => 54, true, 6);
    const beside = axis(right);
    const chart = stage.plot(right, "How the models came there", "", "", 0.78);
    const words = stage.words(root);
    const player = IGR.player(root, chart.svg, SECONDS, (s) => history(stand().there, s), reset);
    const there = IGR.range(rates.length, (i) => i).filter((i) => models.some((m) => m.rate === i));
    stage.legend(root, there.map((i) => [colors[i], `h = ${rates[i]}`]));
    root.querySelectorAll(".igr-key").forEach((node, k) => tint(node, there[k]));
    key(root.querySelector(".igr-legend"));
    const more = stage.controls(root);
    const over = { all: ["all models"], block: ["each width and seed"] };
    const hands = stage.choice(more, "Deal over", named(over), state.over, (over) => slide({ over, deals: state.deals || 1 }));
    const list = stage.choice(more, "Model", [[-1, "none"], ...models.map((m, i) => [i, title(m)])], -1, (i) => draw({ model: +i }));
    const joined = { width: ["a width, in bold"], seed: ["every seed"], none: ["none"] };
    const joins = stage.choice(more, "Join", named(joined), state.lines, (lines) => draw({ lines }));
    const curves = stage.choice(more, "Curve", named(CURVES), state.curve, (curve) => draw({ curve }));
    player.buttons([]);

    // What the marks mean: their form, hollow ones, grey ones.
    function key(list) {
      const entry = (path, kind, text) => {
        const item = stage.add(list, "li");
        const svg = stage.add(item, "svg", { viewBox: "-6 -6 12 12", width: 12, height: 12, "aria-hidden": "true" });
        stage.add(svg, "path", { d: path, class: kind });
        stage.add(item, "span", {}, text);
      };
      for (const [width, name] of Object.entries(widths)) entry(MARKS[name] ?? MARKS.o, "igr-mark-key", `width ${width}`);
      if (models.some((m) => m.test.censored || m.validation.censored))
        entry(MARKS.o, "igr-mark-key igr-hollow", "hollow: best in the last tenth of its run, so perhaps not yet the best");
      entry(MARKS.o, "igr-ghost-key", "grey: earlier deals");
    }

    // The models are one stop of Tab: the arrows lead from one to the next.
    const stop = stage.add(cloud.above, "g", { class: "igr-stop", tabindex: 0, role: "slider", "aria-label": "Model", "aria-valuemin": 0, "aria-valuemax": models.length });
    const dots = models.map((m) => stage.add(stop, "path", { class: "igr-model", d: mark(m) }));
    dots.forEach((dot, i) => tint(dot, models[i].rate));
    const ring = stage.add(cloud.above, "circle", { class: "igr-ring", r: 9 });
    const tip = stage.add(cloud.above, "text", { class: "igr-note igr-tip", "aria-hidden": "true" });
    let at = [];

    const group = blocks(data);
    function next(key) {
      const i = state.model, last = models.length - 1;
      if (key === "Escape") return -1;
      if (key === "Home") return 0;
      if (key === "End") return last;
      if (i < 0) return 0;
      const home = group.findIndex((block) => block.includes(i)), block = group[home];
      const along = { ArrowLeft: -1, ArrowRight: 1 }[key];
      if (along) return block[block.indexOf(i) + along] ?? i;
      const other = group[home + { ArrowUp: 1, ArrowDown: -1 }[key]];
      return other ? other.find((j) => models[j].rate >= models[i].rate) ?? other[other.length - 1] : i;
    }
    stop.addEventListener("keydown", (event) => {
      if (!/^(Arrow|Home$|End$|Escape$)/.test(event.key)) return;
      event.preventDefault();
      draw({ model: next(event.key) });
    });

    // The nearest model under the pointer, or -1.
    const under = (event) => {
      const place = cloud.under(event);
      const away = at.map(([u, v]) => (measured([u, v]) ? IGR.distance([cloud.X(u), cloud.Y(v)], place) : Infinity));
      const nearest = away.indexOf(Math.min(...away));
      return away[nearest] < 18 ? nearest : -1;
    };
    // Pointed at, a model says its name, and nothing else changes.
    function point(i) {
      tip.textContent = i < 0 ? "" : title(models[i]);
      if (i < 0) return;
      const [x, y] = [cloud.X(at[i][0]), cloud.Y(at[i][1])], end = x > cloud.width / 2;
      const place = { x: x + (end ? -12 : 12), y: y < 30 ? y + 20 : y - 8, "text-anchor": end ? "end" : "start" };
      for (const [name, v] of Object.entries(place)) tip.setAttribute(name, v);
    }
    cloud.svg.addEventListener("pointermove", (event) => point(under(event)));
    cloud.svg.addEventListener("pointerleave", () => point(-1));
    // Pressed, it is chosen; pressed again, or beside all models, no more.
    cloud.svg.addEventListener("pointerdown", (event) => {
      const model = under(event);
      draw({ model: model === state.model ? -1 : model });
    });

    // The line at which models are compared, to be dragged along its axis or moved by keys.
    const line = stage.add(chart.svg, "g", { class: "igr-handle igr-level-line", tabindex: 0, role: "slider" });
    const [reach, seen, grip] = ["igr-reach", "igr-line", "igr-grip"].map((kind) => stage.add(line, "path", { class: kind }));
    function move(to) {
      const [low, high] = limits(data, state.at);
      value[state.at] = Math.min(high, Math.max(low, to));
      draw({}, true);
    }
    line.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      line.setPointerCapture(event.pointerId);
      line.focus();
      event.preventDefault();
    });
    line.addEventListener("pointermove", (event) =>
      line.hasPointerCapture(event.pointerId) && move(+chart.inverse(...chart.under(event))[state.at === "loss" ? 1 : 0].toPrecision(4)));
    line.addEventListener("keydown", (event) => {
      const [low, high, begin] = limits(data, state.at), now = value[state.at];
      const by = 10 ** (event.shiftKey ? 0.5 : 0.05);
      const to = { ArrowRight: now * by, ArrowUp: now * by, ArrowLeft: now / by, ArrowDown: now / by, Home: low, End: high, Escape: begin }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      move(to);
    });
    function place() {
      const here = state.at in value && !(state.at === "loss" && state.curve !== "loss");
      if (!here) return line.remove();
      if (!line.isConnected) chart.svg.append(line);
      const flat = state.at === "loss", v = value[state.at];
      const [x0, y0, x1, y1] = [chart.X(chart.x[0]), chart.Y(chart.y[1]), chart.X(chart.x[1]), chart.Y(chart.y[0])];
      const path = flat ? `M${x0} ${chart.Y(v)}H${x1}` : `M${chart.X(v)} ${y0}V${y1}`;
      const [u, w] = flat ? [x1 - 22, chart.Y(v)] : [chart.X(v), y0 + 22];
      const arrows = flat ? "M-3.5 -2L0 -5.5L3.5 -2M-3.5 2L0 5.5L3.5 2" : "M-2 -3.5L-5.5 0L-2 3.5M2 -3.5L5.5 0L2 3.5";
      for (const part of [reach, seen]) part.setAttribute("d", path);
      grip.setAttribute("d", `M-12 0a12 12 0 1 0 24 0a12 12 0 1 0 -24 0Z${arrows}`);
      grip.setAttribute("transform", `translate(${u} ${w})`);
      const [low, high] = limits(data, state.at);
      const says = {
        label: { loss: "Equal training loss", steps: "Equal steps", time: "Equal time" }[state.at],
        orientation: flat ? "vertical" : "horizontal",
        valuemin: low,
        valuemax: high,
        valuenow: v,
        valuetext: stage.number(v),
      };
      for (const [name, text] of Object.entries(says)) line.setAttribute(`aria-${name}`, text);
    }

    // Where the models stand as chosen: as recorded, and in the last deals, the newest at the end.
    function stand() {
      const { quantity, over, deals } = state;
      const there = places(data, state.at, value[state.at]);
      const recorded = points(data, quantity, there);
      const chance = IGR.range(deals, (k) => points(data, quantity, deal(data, quantity, there, over, k + 1)));
      return { there, recorded, chance };
    }

    // A change that moves every mark: they slide, where motion is wanted.
    function slide(change) {
      if (change.at === "loss") Object.assign(change, { curve: "loss" });
      stop.classList.add("igr-sliding");
      draw(change);
    }

    let kept = {};
    function draw(change, still = false) {
      player.stop();
      Object.assign(state, change);
      if (still) stop.classList.remove("igr-sliding");
      const { quantity, deals } = state, model = chosen(), log = QUANTITIES[quantity][2];
      Object.assign(list, { value: state.model }), Object.assign(ats, { value: state.at });
      Object.assign(hands, { value: state.over }), Object.assign(joins, { value: state.lines });
      Object.assign(shows, { value: quantity }), Object.assign(curves, { value: state.curve });
      const { there, recorded, chance } = stand();
      const ghosts = chance.slice(-GHOSTS - 1, -1);
      at = deals ? chance[deals - 1] : recorded;

      const same = kept.quantity === quantity && kept.at === state.at && !(kept.deals && !deals);
      const every = [recorded, at, ...ghosts].flat().filter(measured);
      kept = { quantity, at: state.at, deals, y: window(every.map((p) => p[1]), log, same && kept.y) };
      cloud.limits(around(recorded.map((p) => p[0]), true), kept.y, [true, log]);
      cloud.clear();
      for (const ghost of ghosts) cloud.pieces("ghost", ghost.filter(measured).map((p) => [p, p]));
      join();
      dots.forEach((dot, i) => {
        const here = measured(at[i]);
        dot.style.display = here ? "" : "none";
        if (here) dot.style.transform = `translate(${cloud.X(at[i][0]).toFixed(1)}px, ${cloud.Y(at[i][1]).toFixed(1)}px)`;
        dot.classList.toggle("igr-open", there[i].censored && !deals);
        dot.classList.toggle("igr-chosen", i === state.model);
      });
      const shown = model && measured(at[state.model]);
      ring.style.display = shown ? "" : "none";
      if (shown) [["cx", cloud.X(at[state.model][0])], ["cy", cloud.Y(at[state.model][1])]].forEach(([k, v]) => ring.setAttribute(k, v));
      point(-1);
      stop.setAttribute("aria-valuenow", state.model + 1);
      stop.setAttribute("aria-valuetext", model ? title(model) : "none chosen");
      upright.textContent = QUANTITIES[quantity][0] + (deals ? `, deal ${deals}` : "") +
        (state.lines === "width" ? `; bold: width ${bold().width}` : "");

      history(there);
      place();
      const found = chance.map(correlation);
      compare(correlation(recorded), found);
      say(there, recorded, found);
    }

    // The model whose width has its means joined.
    const bold = () => chosen() ?? models[models.length - 1];

    // Lines between models that differ in the learning rate alone, and through the means of a width.
    function join() {
      const { lines } = state;
      if (lines === "none") return;
      for (const block of group) {
        if (lines === "width" && !block.includes(state.model)) continue;
        cloud.line("seed", block.map((i) => at[i]).filter(measured));
      }
      if (lines === "width") cloud.line("bold", middle(data, bold().width, state.quantity, at));
    }

    // The curves of all models, or of the chosen one and those that share its width and seed; while
    // they are played, a share of each.
    function history(there, share = 1) {
      const [label, steep] = CURVES[state.curve], timed = state.at === "time", model = chosen();
      const drawn = model ? group.find((block) => block.includes(state.model)) : models.map((_, i) => i);
      const scaled = (i, [n, v]) => [timed ? n * rates[models[i].rate] : n, v];
      const lines = drawn.map((i) => curve(data, models[i], state.curve).map((p) => scaled(i, p)));
      const all = lines.flat();
      chart.labels(timed ? "time h × steps" : "steps (0 at the left end)", "");
      chart.limits(around(all.map((p) => p[0]), true), around(all.map((p) => p[1]), steep), [true, steep]);
      chart.clear();
      drawn.forEach((i, k) => {
        const kind = i === state.model ? "model" : model ? "faint" : "many";
        if (lines[k].length) tint(chart.line(kind, lines[k].slice(0, Math.max(1, Math.ceil(share * lines[k].length)))), models[i].rate);
      });
      if (share < 1) return;
      for (const i of drawn) {
        const { [state.curve]: v, step } = there[i], u = state.curve === "accuracy" ? 100 * v : v;
        const [x, y] = scaled(i, [step || zero(data.steps), u]);
        if (measured([x, y]) && (y > 0 || !steep)) tint(chart.dot("stand", [x, y], i === state.model ? 6 : 3), models[i].rate);
      }
      beside.textContent = `${label}, ${model ? `width ${model.width}, seed ${model.seed}` : "all models"}`;
    }

    // The rank correlation on a line from −1 to 1: of the deals in grey, of the record in full.
    function compare(recorded, found) {
      strip.limits([-1.07, 1.07], [0, 1], false);
      strip.clear();
      strip.line("axis", [[-1, 0.5], [1, 0.5]]);
      for (const v of [-1, -0.5, 0, 0.5, 1]) {
        strip.line("axis", [[v, 0.42], [v, 0.58]]);
        strip.note([v, 0], signed(v, v % 1 ? 1 : 0), { dy: -1 });
      }
      for (const v of found) strip.line("chance", [[v, 0.35], [v, 0.65]]);
      if (found.length) strip.line("now", [[IGR.last(found), 0.28], [IGR.last(found), 0.72]]);
      below.textContent = `rank correlation of λ with ${SHORT[state.quantity]}${found.length ? ", and by chance" : ""}`;
      if (!Number.isFinite(recorded)) return;
      strip.line("recorded", [[recorded, 0.25], [recorded, 0.75]]);
      const anchor = recorded < -0.6 ? "start" : recorded > 0.6 ? "end" : "middle";
      strip.note([recorded, 1], `recorded ${signed(recorded, 2)}`, { dy: 10, anchor });
    }

    function say(there, recorded, found) {
      const { quantity, at: how } = state, text = stage.number, name = SHORT[quantity], v = value[how];
      const where = {
        test: "At the best test accuracy, as the paper compares",
        validation: "At the best validation accuracy",
        end: "At the end of training",
        steps: `After ${text(v)} steps`,
        time: `At time h × steps = ${text(v)}`,
        loss: `Where E falls to ${text(v)}`,
      }[how];
      const count = recorded.filter(measured).length, r = correlation(recorded), change = trend(data, quantity, recorded);
      const unit = QUANTITIES[quantity][2] ? " %" : " points", e = trend(data, "loss", points(data, "loss", there));
      let all = `${where} (${count === models.length ? `${count}` : `${count} of ${models.length}`} models): rank correlation of λ with ${name} ${signed(r, 2)}; `;
      all += Number.isFinite(r) && Number.isFinite(change)
        ? `within a width and seed each doubling of h changes ${name} by ${signed(change, unit === " %" ? 0 : 2)}${unit}` +
          (quantity === "loss" ? ". " : ` and E by ${signed(e, 0)} %. `)
        : `nothing to compare. `;
      if (found.length) {
        const [low, high] = [Math.min(...found), Math.max(...found)];
        all += `Dealt out at random: ${signed(IGR.last(found), 2)} now` +
          (found.length > 1 ? `, ${signed(mean(found), 2)} in the mean of ${found.length} deals (${signed(low, 2)} to ${signed(high, 2)}). ` : ". ");
      }
      const model = chosen(), point = there[state.model];
      let one = "Press a model to see how it came there.";
      if (model) {
        one = `Width ${model.width}, h = ${rates[model.rate]}, seed ${model.seed}: `;
        one += Number.isNaN(point.step)
          ? "does not come there."
          : `step ${Math.round(point.step)}${point.censored ? " (hollow)" : ""}, E = ${text(point.loss)}, ${SLOPE} = ${text(point.squared_gradient)}, ` +
            `R_IG = ${text(point.squared_gradient / model.m)}, test accuracy ${text(100 * point.accuracy)} %.`;
      }
      // Nothing is to be torn from its number at the end of a line.
      words.say((all + one).replaceAll(" = ", "\u00a0=\u00a0").replaceAll(" %", "\u00a0%").replaceAll(SLOPE, "‖\u2060∇\u2060E\u2060‖\u2060²"));
    }

    // A link of the text sets what it names: <a data-igr-sweep="at=loss deals=10">.
    document.addEventListener("click", (event) => {
      const link = event.target.closest?.("a[data-igr-sweep]");
      if (!link) return;
      const asked = Object.fromEntries(link.dataset.igrSweep.split(" ").map((part) => part.split("=")));
      slide({ ...first, ...asked, deals: +(asked.deals ?? 0) });
    });
    for (const plot of [cloud, strip, chart]) plot.onresize.push(() => draw({}, true));
    function reset() {
      for (const at of Object.keys(value)) value[at] = limits(data, at)[2];
      kept = {};
      draw({ ...first }, true);
    }
    draw({});
    player.once();

    // Of what is equal where models are compared the address has the value too.
    const names = (table) => Object.keys(table);
    const allowed = {
      at: choices(data).map(([name]) => name), value: [0, 1e9], quantity: names(QUANTITIES), over: names(over), deals: [0, 900],
      curve: names(CURVES), lines: names(joined), model: IGR.range(models.length + 1, (i) => String(i - 1)),
    };
    IGR.address(root, {
      state: () => ({ ...state, model: String(state.model), value: value[state.at] }), allowed, play: player.play,
      take({ value: wanted, model = state.model, deals = state.deals, curve, ...change }) {
        slide({ ...change, model: +model, deals: Math.round(deals) });
        if (curve) draw({ curve });
        if (wanted !== undefined && state.at in value) move(wanted);
      },
    });
  };
})((globalThis.IGR ??= {}));
