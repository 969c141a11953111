// Chapter 4: a ReLU network whose parameters into the hidden layer are divided by c, and those out
// of it multiplied by c. Loss, slope and λ_max are recorded for each c, the function is drawn anew.
(function (IGR) {
  "use strict";

  const SECONDS = 6;
  const KINDS = ["losses", "slopes", "sharpness"];

  // The function of the rescaled network.
  const network = ({ network: { into, bias, out } }, c) => (x) =>
    into.reduce((sum, w, k) => sum + out[k] * c * Math.max(0, (w / c) * x + bias[k] / c), 0);

  const middle = ({ scales }) => scales.findIndex((c) => Math.abs(Math.log(c)) < 1e-6);

  // What is recorded at a place of the slider, and by how much it differs from that at c = 1.
  function compute(data, place) {
    const values = KINDS.map((kind) => data[kind][place]);
    return { c: data.scales[place], values, factors: values.map((value, k) => value / data[KINDS[k]][middle(data)]) };
  }

  // Where the slider is while it plays: from the middle to the right end, to the left end, and back.
  function sweep({ scales }, s) {
    const last = scales.length - 1, way = s < 0.25 ? 4 * s : s < 0.75 ? 2 - 4 * s : 4 * s - 4;
    return Math.round((last * (1 + way)) / 2);
  }

  // What is shown, in words; `say` writes a number.
  function sentence({ c, values: [E, slope, sharp], factors }, say) {
    const one = say(c) === "1";
    const times = (k) => (one ? "" : `, ${say(factors[k])} times as large as at c = 1`);
    return `${one ? "At c = 1 the network is as it was trained" : `With c = ${say(c)} the parameters into the hidden layer are divided by ${say(c)}, those out of it multiplied`}. ` +
      `The function ${one ? "has" : "does not stir, nor does"} the loss E = ${say(E)}. The slope ‖∇E‖ is ${say(slope)}${times(1)}, ` +
      `and λ_max is ${say(sharp)}${times(2)}.`;
  }

  IGR.rescale = { network, compute, middle, sweep, sentence };

  IGR.explorers ??= {};
  IGR.explorers.rescale = function (root, data) {
    const { stage } = IGR;
    const { inputs, targets, scales } = data, say = stage.number;
    let place = middle(data);
    const [input, box] = stage.labelled(stage.controls(root), "Rescaling factor c", "input", { type: "range", min: 0, max: scales.length - 1, step: 1 });
    box.classList.add("igr-wide");
    const output = stage.add(box, "span", { class: "igr-value", "aria-hidden": "true" });
    const hint = stage.add(box, "span", { class: "igr-hint", "aria-hidden": "true" }, "← drag me");
    input.addEventListener("input", () => set(+input.value));
    const row = stage.row(root);
    const graph = stage.plot(row, "The function of the network, and the points that it is trained on", "x", "f", 0.8);
    const bars = stage.plot(row, "Loss, slope and sharpness, as bars on a logarithmic scale", "", "", 0.8, true);
    const words = stage.words(root);
    const player = IGR.player(root, graph.svg, SECONDS, draw, reset);
    player.buttons([]);
    const xs = IGR.range(241, (i) => inputs[0] + ((IGR.last(inputs) - inputs[0]) * i) / 240);
    const NAMES = ["loss E", "slope ‖∇E‖", "λ_max"], all = KINDS.flatMap((kind) => data[kind]);
    const base = Math.min(...all) / 4, [low, high] = [base / 12, Math.max(...all) * 40];

    function set(wanted) {
      player.stop();
      place = wanted;
      hint.style.visibility = "hidden";
      draw(1);
      words.say(sentence(compute(data, place), say));
    }
    function reset() {
      set(middle(data));
      hint.style.visibility = "";
    }

    function draw(s) {
      const at = s < 1 ? sweep(data, s) : place, { c, values, factors } = compute(data, at);
      input.value = at;
      output.textContent = `c = ${say(c)}`;
      input.setAttribute("aria-valuetext", say(c));
      const span = IGR.last(inputs) - inputs[0], most = 1.35 * Math.max(...targets.map(Math.abs));
      graph.limits([inputs[0] - 0.05 * span, IGR.last(inputs) + 0.05 * span], [-most, most]);
      graph.clear();
      const f = network(data, c);
      graph.behind(() => {
        inputs.forEach((x, i) => graph.dot("point", [x, targets[i]], 3.5));
        graph.note([graph.x[0], most], "the function: it does not stir", { anchor: "start", dx: 8, dy: 18 });
      });
      graph.line("function", xs.map((x) => [x, f(x)]));

      bars.limits([0.4, 3.6], [low, high], [false, true]);
      bars.clear();
      bars.line("level", [[0, base], [4, base]]);
      values.forEach((value, k) => {
        const [left, right, first] = [k + 0.72, k + 1.28, value / factors[k]];
        bars.area([[[left, base], [left, value], [right, value], [right, base]]]).classList.add("igr-bar", `igr-bar${k}`);
        bars.line("guide", [[left - 0.14, first], [right + 0.14, first]]);
        bars.note([k + 1, Math.max(value, first)], say(value), { kind: "number", dy: -22 });
        bars.note([k + 1, Math.max(value, first)], Math.abs(factors[k] - 1) < 1e-6 ? "as at c = 1" : `× ${say(factors[k])}`, { dy: -8 });
        bars.note([k + 1, base], NAMES[k], { kind: "number", dy: 16 });
      });
    }
    for (const drawn of [graph, bars]) drawn.onresize.push(() => draw(1));
    reset();
    player.once();
    // The nearest of the scales that are recorded.
    const near = (c) => scales.reduce((best, other, k) => (Math.abs(Math.log(other / c)) < Math.abs(Math.log(scales[best] / c)) ? k : best), 0);
    IGR.address(root, {
      state: () => ({ c: scales[place] }), allowed: { c: [scales[0], IGR.last(scales)] }, take: ({ c }) => set(near(c)), play: player.play,
    });
  };
})((globalThis.IGR ??= {}));
