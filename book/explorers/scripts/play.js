// What plays: once when it is seen, unless motion is not wanted, and whenever its button is pressed.
(function (IGR) {
  "use strict";

  // Whether motion is not wanted.
  IGR.isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // `draw` is called with s from 0 to 1 during `seconds`, and with 1 for the picture at rest. Escape
  // calls `reset`. The buttons come after the controls, as the last of the explorer.
  function player(root, seen, seconds, draw, reset) {
    let frame;
    const stop = () => {
      cancelAnimationFrame(frame);
      delete root.dataset.igrPlaying;
    };
    function play() {
      stop();
      root.dataset.igrPlaying = "";
      let begun;
      const tick = (now) => {
        const s = (now - (begun ??= now)) / (1000 * seconds);
        if (s >= 1) return stop(), draw(1);
        draw(s);
        frame = requestAnimationFrame(tick);
      };
      frame = requestAnimationFrame(tick);
    }
    // Buttons: pairs of a name and what it does.
    function buttons(pairs, box = IGR.stage.controls(root)) {
      for (const [name, pressed] of [...pairs, ["Play", play], ["Reset", reset]])
        IGR.stage.add(box, "button", { type: "button", class: "igr-play" }, name).addEventListener("click", pressed);
    }
    root.addEventListener("keydown", (event) => event.key === "Escape" && !event.defaultPrevented && reset());
    addEventListener("beforeprint", () => root.dataset.igrPlaying === undefined || (stop(), draw(1)));
    function once(isWanted = () => true) {
      if (IGR.isStill()) return;
      new IntersectionObserver((entries, watch) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        watch.disconnect();
        if (isWanted()) play();
      }, { threshold: 0.6 }).observe(seen);
    }
    return { stop, play, buttons, once };
  }

  IGR.player = player;
})((globalThis.IGR ??= {}));
