// Predictions: a list of options becomes radio buttons, the answer opens when one is chosen, and
// the choice is remembered. Without this script the page has the list and a closed answer.
(() => {
  "use strict";

  const LETTERS = "ABCDE";

  // A browser may refuse to store anything, as in a private window: then nothing is remembered.
  const memory = {
    read(key) {
      try { return localStorage.getItem(key); } catch { return null; }
    },
    write(key, value) {
      try {
        if (value === null) localStorage.removeItem(key);
        else localStorage.setItem(key, value);
      } catch { /* nothing to do */ }
    },
  };

  function element(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  // The list as a form with one group of radio buttons, which is one tab stop.
  function asForm(list, name) {
    const legend = element("legend", { class: "igr-legend" }, "Your choice");
    const fieldset = element("fieldset", { class: "igr-choices" }, legend);
    [...list.children].forEach((item, k) => {
      const radio = element("input", { type: "radio", name, value: LETTERS[k], required: "" });
      const letter = element("span", { class: "igr-letter" }, `${LETTERS[k]}.`);
      const text = element("span", { class: "igr-option" });
      text.append(...item.childNodes);
      fieldset.append(element("label", { class: "igr-choice" }, radio, letter, text));
    });
    const button = element("button", { type: "submit", class: "igr-see" }, "See the answer");
    const form = element("form", { class: "igr-form" }, fieldset, button);
    list.replaceWith(form);
    return { form, fieldset, button, radios: [...fieldset.querySelectorAll("input")] };
  }

  // The figure; or what stands from it on, side by side, before the target of `until`.
  function veiled(first, until) {
    if (!until) return [first];
    let node = first;
    while (node.parentElement && !node.parentElement.contains(until)) node = node.parentElement;
    const found = [];
    for (; node && !node.contains(until); node = node.nextElementSibling) found.push(node);
    return found;
  }

  // What is hidden until the choice is made. Who comes by a link to it sees it at once.
  function hidden(box) {
    const target = box.dataset.hides && document.getElementById(box.dataset.hides);
    if (!target) return { show() {}, hide() {} };
    const parts = veiled(target, document.getElementById(box.dataset.until));
    const linked = () => parts.some((part) => part.contains(document.getElementById(location.hash.slice(1))));
    const back = element("a", { href: `#${box.id}` }, "Choose an answer first");
    const anyway = element("button", { type: "button" }, "Show it anyway");
    const note = element("p", { class: "igr-waiting-note" }, back, anyway);
    const show = () => {
      for (const part of parts) {
        part.classList.remove("igr-waiting");
        part.inert = false;
      }
      note.remove();
    };
    const hide = () => {
      if (linked()) return;
      for (const part of parts) {
        part.classList.add("igr-waiting");
        part.inert = true;
      }
      parts[0].before(note);
    };
    anyway.addEventListener("click", show);
    addEventListener("hashchange", () => linked() && show());
    return { show, hide };
  }

  function mount(box) {
    const list = box.querySelector(".igr-options");
    const right = list.dataset.right;
    const key = `igr-prediction:${box.dataset.page}:${box.dataset.label}`;
    const { form, fieldset, button, radios } = asForm(list, key);
    const answer = box.querySelector(".igr-answer");
    const said = element("p", { class: "igr-said", tabindex: "-1" });
    const again = element("button", { type: "button", class: "igr-again" }, "Choose again");
    const live = element("div", { "aria-live": "polite" }, said);
    answer.replaceWith(live);
    live.append(answer);
    box.append(again);
    const curtain = hidden(box);

    function close() {
      box.dataset.state = "open";
      fieldset.disabled = false;
      form.reset();
      said.textContent = "";
      answer.open = false;
      radios.forEach((radio) => delete radio.parentElement.dataset.mark);
      curtain.hide();
    }

    function reveal(chosen) {
      radios.find((radio) => radio.value === chosen).checked = true;
      radios.forEach((radio) => {
        const label = radio.parentElement;
        if (radio.value === right) label.dataset.mark = "right";
        else if (radio.value === chosen) label.dataset.mark = "wrong";
      });
      box.dataset.state = "chosen";
      fieldset.disabled = true;
      said.textContent = chosen === right
        ? `You chose ${chosen}, and that is right.`
        : `You chose ${chosen}. The answer is ${right}.`;
      answer.open = true;
      curtain.show();
    }

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const chosen = radios.find((radio) => radio.checked).value;
      memory.write(key, chosen);
      reveal(chosen);
      said.focus({ preventScroll: true });
    });
    again.addEventListener("click", () => {
      memory.write(key, null);
      close();
      radios[0].focus();
    });

    const remembered = memory.read(key);
    close();
    if (radios.some((radio) => radio.value === remembered)) reveal(remembered);
  }

  document.querySelectorAll(".igr-prediction").forEach(mount);
})();
