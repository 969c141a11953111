// Chapter 1: ten steps on a parabola of curvature s beside both flows, for hs from 0 to 2.5.
(function (IGR) {
  "use strict";

  const MOST = 2.5, STEPS = 10, FIRST = 0.5;
  const REGIMES = [[0.5, "a flow can follow"], [1.5, "overshoots"], [2.25, "diverges"]];
  const HEIGHT = 1.4; // of what is shown of θ, on both sides of 0

  // θ after 0 to n steps from 1, and both flows at the times of m places between two steps.
  function compute(hs, n = STEPS, m = 8) {
    const { flow, modified } = IGR.parabola.factors(hs);
    const along = (factor) => IGR.range(n * m + 1, (k) => factor ** (k / m));
    return { descent: IGR.parabola.iterates(hs, n), flow: along(flow), modified: along(modified) };
  }

  IGR.decay = { compute, regimes: REGIMES, first: FIRST };

  IGR.explorers ??= {};
  IGR.explorers.decay = function (root) {
    const { stage, alive } = IGR, { sentence } = IGR.parabola;
    root.querySelector(".igr-still")?.remove();
    const state = { hs: FIRST };
    const set = ({ hs }) => {
      guide.stop();
      state.hs = Math.round(1000 * Math.min(MOST, Math.max(0, hs))) / 1000;
      found = compute(state.hs);
      dial.show(state.hs);
      paint();
      words.say(sentence(state.hs, stage.number));
    };
    let found;
    const controls = stage.controls(root);
    controls.classList.add("igr-stick");
    const dial = alive.scale(controls, "hs", (hs) => set({ hs }));
    dial.limits(0, MOST, 0.01);
    dial.mark([...REGIMES.map(([value, name]) => ({ value, name, meaning: `hs in the middle of where gradient descent ${name}`, row: 1 })),
      { value: 1, name: "1", meaning: "lands on the minimum, hs" }, { value: 2, name: "2", meaning: "to and fro for ever, hs" }]);
    const words = stage.words(root, sentence(1.234, () => "−0.1234"));
    const row = stage.row(root);
    const chart = stage.plot(row, "By what a step and both flows multiply θ, against hs", "hs", "factor", 0.72);
    const course = stage.plot(row, "θ after each of ten steps, and along both flows", "step", "θ", 0.72);
    chart.limits([0, MOST], [-HEIGHT, HEIGHT]);
    course.limits([0, STEPS], [-HEIGHT, HEIGHT]);
    const handle = stage.handle(chart, "hs, in the chart", ([hs]) => set({ hs: Math.round(100 * hs) / 100 }), { step: 0.01, text: ([u]) => `hs = ${stage.number(u)}` });
    const guide = alive.guide(root, chart, { reset: () => set({ hs: FIRST }), frame: (s) => paint(STEPS * s), rest: () => paint(), seconds: 4 });
    const NAMES = { modified: "modified flow, of Ẽ, exp(−hs − (hs)²/2)", flow: "gradient flow of E, exp(−hs)", descent: "step of gradient descent, 1 − hs" };
    stage.legend(root, Object.entries(NAMES).reverse());
    const grid = IGR.range(126, (i) => i / 50);

    // All ten steps, or while they are played those until the time t, counted in steps.
    function paint(t = Infinity) {
      const { hs } = state, at = IGR.parabola.factors(hs);
      chart.clear();
      chart.area([[[2, -HEIGHT], [2, HEIGHT], [MOST, HEIGHT], [MOST, -HEIGHT]]]);
      for (const level of [-1, 0, 1]) chart.line("guide", [[0, level], [MOST, level]]);
      for (const edge of [1, 2]) chart.line("guide", [[edge, -HEIGHT], [edge, HEIGHT]]);
      REGIMES.forEach(([u, name]) => chart.note([u, 1.18], chart.width < 330 && u < 1 ? "can follow" : name));
      for (const name of Object.keys(NAMES)) {
        chart.line(name, grid.map((u) => [u, IGR.parabola.factors(u)[name]]));
        chart.dot(name, [hs, at[name]]);
      }
      chart.line("level", [[hs, -HEIGHT], [hs, HEIGHT]]);
      handle.place([hs, -1.2]);
      guide.invite([hs, -1.2]);

      course.clear();
      course.line("guide", [[0, 0], [STEPS, 0]]);
      for (const name of ["modified", "flow"]) {
        const m = (found[name].length - 1) / STEPS, path = found[name].map((theta, k) => [k / m, theta]);
        course.line(name, alive.until(path, path.map(([k]) => k), t));
      }
      const steps = found.descent.map((theta, n) => [n, theta]);
      course.line("descent igr-faint", alive.until(steps, steps.map(([n]) => n), t));
      steps.filter(([n]) => n <= t).forEach((point) => course.dot("descent", point));
      if (t < Infinity) course.dot("descent", IGR.last(alive.until(steps, steps.map(([n]) => n), t)), 6);
      else if (hs > 2) alive.badge(course, "diverges");
    }
    for (const drawn of [chart, course]) drawn.onresize.push(() => paint());
    set(state);
    IGR.address(root, { state: () => state, allowed: { hs: [0, MOST] }, take: set, play: guide.play });
  };
})((globalThis.IGR ??= {}));
