// Suggestions while typing: an ARIA 1.2 combobox over the search box, which stays a plain form without this.

const input = document.getElementById("q");
const form = input.form;
const list = Object.assign(document.createElement("ul"), { id: "suggestions", className: "suggestions", hidden: true });
const status = Object.assign(document.createElement("p"), { className: "hidden" });
status.setAttribute("role", "status");
list.setAttribute("role", "listbox");
list.setAttribute("aria-label", form.dataset.label);
form.append(list, status);
for (const [name, value] of Object.entries({
  role: "combobox",
  "aria-autocomplete": "list",
  "aria-expanded": "false",
  "aria-controls": "suggestions",
}))
  input.setAttribute(name, value);

const PAUSE_MS = 120;
const known = new Map();
let timer = 0;
let asking = null;
let chosen = -1;

function close() {
  clearTimeout(timer);
  asking?.abort();
  list.hidden = true;
  choose(-1);
  input.setAttribute("aria-expanded", "false");
}

function choose(index) {
  const options = [...list.children];
  chosen = options.length ? (index + options.length + 1) % (options.length + 1) : -1;
  if (index < 0 || chosen === options.length) chosen = index === -2 ? options.length - 1 : -1;
  options.forEach((option, at) => option.setAttribute("aria-selected", String(at === chosen)));
  if (chosen < 0) input.removeAttribute("aria-activedescendant");
  else {
    input.setAttribute("aria-activedescendant", options[chosen].id);
    options[chosen].scrollIntoView({ block: "nearest" });
  }
}

function show(found) {
  list.replaceChildren(
    ...found.map(({ text, lang, label, url }, at) => {
      const option = Object.assign(document.createElement("li"), { id: `suggestion-${at}` });
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      option.dataset.url = url;
      const words = Object.assign(document.createElement("span"), { textContent: text });
      words.lang = lang === "zh" ? "zh-Hans" : lang;
      option.append(words, Object.assign(document.createElement("span"), { className: "kind", textContent: label }));
      return option;
    }),
  );
  choose(-1);
  list.hidden = !found.length;
  input.setAttribute("aria-expanded", String(!list.hidden));
  status.textContent = found.length ? form.dataset.count.replace("{count}", found.length) : "";
}

async function suggest() {
  const typed = input.value.trim();
  if (!typed) return close();
  if (known.has(typed)) return show(known.get(typed));
  asking?.abort();
  asking = new AbortController();
  try {
    const response = await fetch(`/api/suggestions?q=${encodeURIComponent(typed)}`, { signal: asking.signal });
    if (!response.ok) return;
    const { suggestions } = await response.json();
    known.set(typed, suggestions);
    if (input.value.trim() === typed && document.activeElement === input) show(suggestions);
  } catch (error) {
    if (error.name !== "AbortError") close();
  }
}

function soon(event) {
  clearTimeout(timer);
  // While an input method composes, what stands in the box is not what is meant.
  if (!event.isComposing) timer = setTimeout(suggest, PAUSE_MS);
}

input.addEventListener("input", soon);
input.addEventListener("compositionend", () => soon({ isComposing: false }));
input.addEventListener("blur", close);
input.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (list.hidden) return void suggest();
    if (event.key === "ArrowDown") choose(chosen + 1);
    else choose(chosen < 0 ? -2 : chosen === 0 ? -1 : chosen - 1);
  } else if (event.key === "Escape" && !list.hidden) {
    event.preventDefault();
    close();
  } else if (event.key === "Enter" && chosen >= 0 && !list.hidden) {
    event.preventDefault();
    location.assign(list.children[chosen].dataset.url);
  }
});
// Pressing must not take the focus away, or the list would close under the pointer.
list.addEventListener("pointerdown", (event) => event.preventDefault());
list.addEventListener("click", ({ target }) => {
  const option = target.closest("li");
  if (option) location.assign(option.dataset.url);
});
