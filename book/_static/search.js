// The sections that have all words of the query, the best first, with what is said around them.
(() => {
  "use strict";

  const MOST = 40, AROUND = 110;
  // Small letters without their marks, as many as there were.
  const fold = (text) =>
    text.toLowerCase().replace(/[^\x00-\x7f]/g, (letter) => {
      const plain = letter.normalize("NFD").replace(/[\u0300-\u036f]/g, "");
      return plain.length === 1 ? plain : letter;
    });
  const SMALL = new Set("a an and are as at by do does for from how in is it of on or that the to what which with".split(" "));
  const wordsOf = (text) => {
    const every = fold(text).match(/[\p{L}\p{N}_∇]+/gu) ?? [], telling = every.filter((word) => !SMALL.has(word));
    return telling.length ? telling : every;
  };
  // Where a word begins in a text.
  const places = (text, word) => [...text.matchAll(new RegExp(`(?<![\\p{L}\\p{N}])${word}`, "gu"))].map((m) => m.index);

  // How well a section answers, or 0 where a word is missing.
  function score({ title, text, page, url }, words, phrase) {
    let sum = 0;
    for (const word of words) {
      const named = places(title, word).length, said = places(text, word).length;
      if (!named && !said && !places(page, word).length) return 0;
      sum += (named ? 20 : 0) + Math.min(said, 8);
    }
    // A name of code is looked up in the reference, a word in the chapters.
    if (title === phrase && (/[_.]/.test(phrase) || !url.includes("/api/"))) sum += 60;
    if (words.length > 1) sum += (title.includes(phrase) ? 40 : 0) + (text.includes(phrase) ? 15 : 0);
    return url.includes("/api/") ? sum / 2 : sum;
  }

  // The part of a text that has most of the words, with these marked.
  function excerpt(parent, text, words) {
    const whole = fold(text);
    const found = words.flatMap((word) => places(whole, word).map((at) => [at, at + word.length])).sort((p, q) => p[0] - q[0]);
    if (!found.length) return parent.append(`${text.slice(0, 2 * AROUND)} …`);
    const near = (at) => found.filter(([from]) => from >= at && from < at + 2 * AROUND).length;
    const first = found.map(([from]) => from).reduce((best, at) => (near(at) > near(best) ? at : best));
    const from = first < AROUND ? 0 : text.indexOf(" ", first - AROUND) + 1, end = text.lastIndexOf(" ", first + 2 * AROUND);
    const to = text.length <= first + 2 * AROUND ? text.length : end > first ? end : first + 2 * AROUND;
    let at = from;
    if (from) parent.append("… ");
    for (const [start, stop] of found) {
      if (start < at || stop > to) continue;
      const mark = document.createElement("mark");
      mark.textContent = text.slice(start, stop);
      parent.append(text.slice(at, start), mark);
      at = stop;
    }
    parent.append(text.slice(at, to), to < text.length ? " …" : "");
  }

  function show(query) {
    const place = document.getElementById("search-results"), words = wordsOf(query);
    place.replaceChildren();
    const said = place.appendChild(document.createElement("p"));
    said.setAttribute("role", "status");
    if (!words.length) return (said.textContent = "Type a word or more.");
    const phrase = fold(query).trim();
    const found = IGR_SECTIONS.map(([url, page, title, text]) => ({ url, page, title, text, low: { url, page: fold(page), title: fold(title), text: fold(text) } }))
      .map((one) => ({ ...one, score: score(one.low, words, phrase) }))
      .filter((one) => one.score)
      .sort((p, q) => q.score - p.score);
    said.textContent = found.length ? `${found.length} ${found.length > 1 ? "sections have" : "section has"} ${words.length > 1 ? "all these words" : "this word"}${found.length > MOST ? `; the first ${MOST}:` : "."}` : "No section has all these words.";
    const list = place.appendChild(document.createElement("ol"));
    for (const one of found.slice(0, MOST)) {
      const item = list.appendChild(document.createElement("li"));
      const link = item.appendChild(document.createElement("a"));
      link.href = one.url;
      link.textContent = one.title;
      if (one.title !== one.page) item.append(` · ${one.page}`);
      excerpt(item.appendChild(document.createElement("p")), one.text, words);
    }
  }

  const query = new URLSearchParams(location.search).get("q") ?? "";
  for (const input of document.querySelectorAll("input[name=q]")) input.value = query;
  show(query);
})();
