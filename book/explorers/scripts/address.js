// What sets an explorer from outside: a link of the text, <a data-igr-set="h=*0.5">, and the address
// of the page, #step:h=0.3. What the reader has chosen is written into the address.
(function (IGR) {
  "use strict";

  const OFTEN = 400; // milliseconds: browsers refuse more than 100 addresses in 30 seconds

  // What a link of the text sets, as "h=*0.5;start=3,3": numbers, or a factor for what is there.
  function parse(text, state) {
    const read = (value) => (value.includes(",") ? value.split(",").map(Number) : value === "" || Number.isNaN(+value) ? value : +value);
    const pairs = text.split(";").map((part) => part.split("=").map((s) => s.trim()));
    return Object.fromEntries(pairs.map(([name, value]) => [name, value.startsWith("*") ? state[name] * value.slice(1) : read(value)]));
  }

  // A state as an address. `allowed` says what each part of it may be, in the order of the address:
  // the least and the greatest number, a list of names, or a function that knows a name.
  function write(name, state, allowed) {
    const text = (value) => (Array.isArray(value) ? value.join(",") : encodeURIComponent(value));
    const parts = Object.keys(allowed).filter((key) => state[key] !== undefined);
    return `#${name}:${parts.map((key) => `${key}=${text(state[key])}`).join(";")}`;
  }

  // The other way; null for an address of something else, or of what is not allowed. `state` shows
  // by what is there which parts are lists.
  function read(name, hash, state, allowed) {
    if (!hash.startsWith(`#${name}:`)) return null;
    const found = {};
    for (const part of hash.slice(name.length + 2).split(";")) {
      const [key, value, ...more] = part.split("="), may = Object.hasOwn(allowed, key) ? allowed[key] : null;
      if (!may || !value || more.length) return null;
      if (typeof may[0] === "number") {
        const numbers = value.split(",").map((v) => (v ? Number(v) : NaN)), there = state[key], isList = Array.isArray(there);
        if (numbers.length !== (isList ? there.length : 1) || !numbers.every((v) => v >= may[0] && v <= may[1])) return null;
        found[key] = isList ? numbers : numbers[0];
        continue;
      }
      try {
        found[key] = decodeURIComponent(value);
      } catch {
        return null;
      }
      if (!(may instanceof Function ? may(found[key]) : may.includes(found[key]))) return null;
    }
    return found;
  }

  // `state` gives what is shown, `take` sets parts of it, `play` shows it where motion is wanted.
  function address(root, { state, allowed, take, play = () => {} }) {
    const name = root.dataset.igrExplorer, now = () => write(name, state(), allowed), first = now();
    let kept = first, timer;
    const keep = () => (timer ??= setTimeout(note, OFTEN));
    function note() {
      const text = now(), mine = location.hash.startsWith(`#${name}:`);
      timer = undefined;
      if (text === kept) return;
      kept = text;
      // Back where it began, it has no address.
      if (text !== first) put(text);
      else if (mine) put(location.pathname + location.search);
    }
    for (const kind of ["input", "change", "click", "keydown", "pointerup"]) root.addEventListener(kind, keep);
    root.addEventListener("pointermove", (event) => event.buttons && keep());

    root.igrTake = (text) => {
      take(parse(text, state()));
      keep();
      if (!IGR.isStill()) play();
    };
    if (!IGR.linked) document.addEventListener("click", follow);
    IGR.linked = true;

    function visit() {
      const found = read(name, location.hash, state(), allowed);
      if (!found) return false;
      take(found);
      kept = now();
      root.scrollIntoView();
      return true;
    }
    addEventListener("hashchange", visit);
    // Until all is loaded its place may change; on a page that is loaded anew, the reader has one.
    const isNew = performance.getEntriesByType("navigation")[0]?.type === "navigate";
    if (visit() && isNew) addEventListener("load", () => root.scrollIntoView());
  }

  // Where a page must not have another address, as in a frame, it keeps its own.
  function put(text) {
    try {
      history.replaceState(history.state, "", text);
    } catch {}
  }

  // A link <a href="#explorer-step" data-igr-set="h=*0.5">. Without scripts it leads to the explorer.
  function follow(event) {
    const link = event.target.closest?.("a[data-igr-set]"), root = link && document.querySelector(link.hash);
    if (!root?.igrTake) return;
    event.preventDefault();
    root.igrTake(link.dataset.igrSet);
    const plot = root.querySelector(".igr-plot"), { top, bottom } = plot.getBoundingClientRect();
    if (top < 60 || bottom > innerHeight) plot.scrollIntoView({ behavior: IGR.isStill() ? "auto" : "smooth", block: "center" });
  }

  IGR.address = Object.assign(address, { parse, read, write });
})((globalThis.IGR ??= {}));
