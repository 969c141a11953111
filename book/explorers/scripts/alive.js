// What explorers have in common that invite: they play once when they are seen, say "drag me" until
// they are touched, have landmarks to press, and go back where they began.
(function (IGR) {
  "use strict";

  // The part of a path until a time, with the point between two that it has reached then.
  function until(path, times, t) {
    const k = times.findIndex((time) => time > t);
    if (k < 1) return k ? path : path.slice(0, 1);
    const s = (t - times[k - 1]) / (times[k] - times[k - 1]);
    return [...path.slice(0, k), path[k - 1].map((value, i) => value + s * (path[k][i] - value))];
  }

  // A slider over equal steps on the whole width, with a box for any number and landmarks to press.
  function scale(parent, label, moved) {
    const { add, set, labelled, number, rich } = IGR.stage;
    const [input, box] = labelled(parent, label, "input", { type: "range" });
    box.classList.add("igr-full");
    const exact = add(box, "input", { type: "number", "aria-label": `${label}, as a number`, step: "any" });
    const track = add(box, "span", { class: "igr-track" });
    track.append(input);
    const marks = add(track, "span", { role: "group", "aria-label": `Landmarks of ${label}` });
    const self = { input, low: 0, high: 1 };
    let now;
    input.addEventListener("input", () => moved(+(+input.value).toPrecision(6)));
    // An empty box is none.
    exact.addEventListener("change", () => {
      const value = exact.valueAsNumber;
      if (Number.isFinite(value) && value >= +exact.min && value <= +exact.max) moved(value);
      else self.show(now);
    });
    // By a step of the slider, as its arrows do.
    exact.addEventListener("keydown", (event) => {
      const by = { ArrowUp: 1, ArrowDown: -1 }[event.key] * (+input.step || 0);
      if (!by) return;
      event.preventDefault();
      moved(+Math.min(+exact.max, Math.max(+exact.min, now + by)).toPrecision(6));
    });
    self.limits = (low, high, step, { least = low, most = high } = {}) => {
      Object.assign(self, { low, high });
      set(input, { min: low, max: high, step });
      set(exact, { min: least, max: most });
    };
    self.show = (value) => {
      now = value;
      input.value = value;
      exact.value = +value.toPrecision(6);
      input.setAttribute("aria-valuetext", number(value));
    };
    // Each has a value, a name, what it means, and a row. One of them is a stop of Tab, arrows lead on.
    self.mark = (list) => {
      const seen = list.filter(({ value }) => value >= self.low && value <= self.high);
      track.style.setProperty("--rows", Math.max(0, ...seen.map(({ row = 0 }) => row + 1)));
      while (marks.children.length > seen.length) marks.lastChild.remove();
      seen.forEach(({ value, name, meaning, row = 0 }, i) => {
        const mark = marks.children[i] ?? add(marks, "button", { type: "button", class: "igr-mark igr-press", tabindex: i ? -1 : 0 });
        if (mark.dataset.name !== name) rich(mark, name);
        mark.dataset.name = name;
        mark.style.setProperty("--at", (value - self.low) / (self.high - self.low));
        mark.style.setProperty("--row", row);
        set(mark, { title: `${meaning}: ${number(value)}` });
        mark.onclick = () => moved(value);
      });
    };
    marks.addEventListener("keydown", (event) => {
      const all = [...marks.children], i = all.indexOf(document.activeElement), end = all.length - 1;
      const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: end }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = all[Math.min(end, Math.max(0, to))];
      all.forEach((mark) => (mark.tabIndex = mark === next ? 0 : -1));
      next.focus();
    });
    return self;
  }

  // A word on a patch, at the top of a plot.
  function badge(plot, text) {
    const [x, y] = [plot.width / 2, 28], wide = 9 * text.length + 20;
    const note = plot.note(plot.inverse(x, y), text, { kind: "badge" });
    note.before(IGR.stage.add(note.parentNode, "rect", { class: "igr-patch", x: x - wide / 2, y: y - 15, width: wide, height: 30, rx: 6 }));
  }

  // Numbers on their way to others; at once where motion is not wanted. What it returns ends it.
  function glide(from, to, apply, done = () => {}) {
    let frame, begun;
    const tick = (now) => {
      const s = IGR.isStill() ? 1 : Math.min(1, (now - (begun ??= now)) / 400), eased = s * s * (3 - 2 * s);
      apply(s < 1 ? from.map((value, i) => value + eased * (to[i] - value)) : to);
      if (s < 1) frame = requestAnimationFrame(tick);
      else done();
    };
    if (IGR.isStill()) tick(0);
    else frame = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(frame);
  }

  // `reset` sets what was at first; `frame` draws a part from 0 to 1 of what is played, `rest` all of
  // it. It is played once when the plot is seen.
  function guide(root, plot, { reset, frame, rest, seconds = 3 }) {
    const { add } = IGR.stage;
    const self = { touched: false };
    const again = () => {
      player.stop();
      self.touched = false;
      reset();
    };
    const player = IGR.player(root, plot.svg, seconds, (s) => (s < 1 ? frame(s) : rest()), again);
    Object.assign(self, { stop: player.stop, play: player.play });
    player.buttons([], add(root, "div", { class: "igr-bar" }));
    root.classList.add("igr-inviting");
    const touch = (event) => {
      if (!event.target.closest(".igr-handle") || event.key === "Tab") return;
      self.touched = true;
      root.classList.remove("igr-inviting");
      root.querySelectorAll(".igr-invite").forEach((note) => note.remove());
    };
    for (const event of ["pointerdown", "keydown"]) root.addEventListener(event, touch, true);
    self.invite = (point) => {
      const seen = point.every((v, i) => v >= plot[i ? "y" : "x"][0] && v <= plot[i ? "y" : "x"][1]);
      if (self.touched || !seen) return;
      const right = plot.X(point[0]) > plot.width - 90;
      plot.note(point, "drag me", { kind: "invite", anchor: right ? "end" : "start", dx: right ? -16 : 16, dy: -8 });
    };
    player.once(() => !self.touched);
    return self;
  }

  IGR.alive = { until, scale, badge, glide, guide };
})((globalThis.IGR ??= {}));
