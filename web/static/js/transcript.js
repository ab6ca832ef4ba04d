// The transcript beside the player: lines come, change and go; the one being spoken is marked and kept in view.

export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

const startOf = (element) => Number(element.dataset.start);
const isGap = (element) => element.classList.contains("gap");
const EARLY = 150; // a line is marked this many milliseconds before its first sound

export class Transcript {
  #followed = true;
  #dimmed = null; // from which line on they are shown as not played yet

  constructor(list, address, { onSeek }) {
    Object.assign(this, { list, address, marked: null });
    this.template = document.getElementById("line-template").content;
    this.gapTemplate = document.getElementById("gap-template").content;
    this.back = document.getElementById("back-to-now");
    list.classList.add("scripted");
    list.addEventListener("click", (event) => {
      const line = event.target.closest(".line");
      if (event.target.closest(".edit, .editing, .suggestion")) return;
      const wanted = line && (event.target.closest(".time") || !String(getSelection()));
      if (!wanted || event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.#setFollowed(true);
      onSeek(startOf(line));
    });
    this.back.addEventListener("click", () => {
      this.#setFollowed(true);
      this.#show(this.marked);
    });
    for (const sign of ["wheel", "touchmove"]) addEventListener(sign, () => this.#userScrolled(), { passive: true });
    addEventListener("keydown", ({ key }) => {
      if (/^(Page|Arrow)(Up|Down)$|^Home$|^End$/.test(key)) this.#userScrolled();
    });
  }

  /** Put a line or gap where it belongs, or change it there. */
  put(line) {
    const known = document.getElementById(line.key);
    const element = this.#fill(known ?? this.#make(line), line);
    // Taken out and put back, a line that somebody types in would lose the caret.
    if (known?.classList.contains("being-edited")) return;
    known?.remove();
    const at = this.#after(line.start_ms, Boolean(line.gap));
    this.list.insertBefore(element, this.list.children[at] ?? null);
    this.#nameSpeakers(element);
    document.getElementById("no-lines").hidden = true;
    this.#dimmed = null;
  }

  remove(key) {
    const element = document.getElementById(key);
    // Somebody types in it: it stays until that is saved, onto whatever stands there now.
    if (element?.classList.contains("being-edited")) return;
    const next = element?.nextElementSibling;
    element?.remove();
    if (next) this.#nameSpeakers(next);
    this.#dimmed = null;
  }

  replace(lines) {
    const staying = new Set(lines.map((line) => line.key));
    for (const element of [...this.list.children]) if (!staying.has(element.id)) this.remove(element.id);
    lines.forEach((line) => this.put(line));
  }

  /** These are the gaps there are: others have been filled. */
  setGaps(gaps) {
    const staying = new Set(gaps.map((gap) => gap.key));
    for (const element of [...this.list.children]) {
      if (/^gap\d/.test(element.id) && !staying.has(element.id)) this.remove(element.id);
    }
    gaps.forEach((gap) => this.put(gap));
  }

  /** Mark the line spoken at `ms`; what lies behind it has been transcribed but not played yet. True if it changed. */
  follow(ms, { dimAhead }) {
    let at = this.#after(ms + EARLY, false) - 1;
    while (at >= 0 && isGap(this.list.children[at])) at -= 1;
    const line = this.list.children[at] ?? null;
    const dimmed = dimAhead ? at + 1 : Infinity;
    if (dimmed !== this.#dimmed) {
      [...this.list.children].forEach((other, index) => other.classList.toggle("ahead", index >= dimmed));
      this.#dimmed = dimmed;
    }
    if (line === this.marked && (!line || line.hasAttribute("aria-current"))) return false;
    for (const old of this.list.querySelectorAll("[aria-current]")) old.removeAttribute("aria-current");
    this.marked = line;
    line?.setAttribute("aria-current", "true");
    if (this.#followed) this.#show(line);
    return true;
  }

  /** How many children begin at or before `ms`; a gap goes before the lines that begin where it stands. */
  #after(ms, gap) {
    const { children } = this.list;
    let [low, high] = [0, children.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const start = startOf(children[middle]);
      if (start < ms || (start === ms && (!gap || isGap(children[middle])))) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #make(line) {
    const element = (line.gap ? this.gapTemplate : this.template).firstElementChild.cloneNode(true);
    element.id = line.key;
    return element;
  }

  #fill(element, line) {
    Object.assign(element.dataset, { start: line.start_ms, end: line.end_ms ?? line.start_ms });
    const time = element.querySelector(".time");
    time.textContent = clock(line.start_ms);
    const words = element.querySelector("p");
    if (line.gap) {
      const { skipped } = document.getElementById("wording").dataset;
      words.textContent = line.skipped ? skipped.replace("{time}", clock(line.end_ms - line.start_ms)) : line.text;
      return element;
    }
    time.href = `${this.address}t=${line.start_ms / 1000}`;
    // What was suggested for another text does not hold for this one.
    if (words.textContent !== line.text) for (const old of element.querySelectorAll(".suggestion")) old.remove();
    this.#write(words, line);
    Object.assign(words, { lang: line.lang, title: line.doubt ?? "" });
    element.classList.toggle("doubtful", Boolean(line.doubt));
    element.classList.toggle("withheld", Boolean(line.withheld));
    if (line.withheld) words.dataset.mark = document.getElementById("wording").dataset.withheld;
    else delete words.dataset.mark;
    element.dataset.speaker = line.speaker ?? "";
    element.dataset.revision = line.revision ?? 0;
    element.classList.toggle("read", Boolean(line.read));
    const edit = element.querySelector(".edit");
    if (edit) edit.href = `${this.list.dataset.base}/cues/${line.key.slice(1)}`;
    return element;
  }

  /** The text; for editors with the words underlined that the recogniser was not sure of. */
  #write(words, { text, unsure = [] }) {
    words.textContent = "";
    const letters = [...text];
    let at = 0;
    for (const [start, end] of this.list.dataset.base ? unsure : []) {
      const doubtful = Object.assign(document.createElement("span"), { className: "unsure" });
      doubtful.textContent = letters.slice(start, end).join("");
      words.append(letters.slice(at, start).join(""), doubtful);
      at = end;
    }
    words.append(letters.slice(at).join(""));
  }

  #nameSpeakers(element) {
    for (const line of [element, element.nextElementSibling]) {
      const speaker = line?.dataset.speaker;
      if (speaker === undefined) continue;
      const turn = speaker !== "" && line.previousElementSibling?.dataset.speaker !== speaker;
      line.classList.toggle("turn", turn);
      line.querySelector(".speaker")?.remove();
      if (!turn) continue;
      const name = Object.assign(document.createElement("b"), { className: "speaker", textContent: speaker });
      line.querySelector(".words").prepend(name);
    }
  }

  #setFollowed(followed) {
    this.#followed = followed;
    this.back.hidden = followed;
  }

  #userScrolled() {
    if (this.#followed && this.marked) this.#setFollowed(false);
  }

  #show(line) {
    if (!line) return;
    const { top, bottom, left } = line.getBoundingClientRect();
    const watch = document.querySelector(".watch").getBoundingClientRect();
    const covered = watch.right > left ? Math.max(0, watch.bottom) : 60;
    const room = innerHeight - covered;
    if (top > covered && bottom < covered + room * 0.85) return;
    const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches && Math.abs(top) < 3 * innerHeight;
    scrollTo({ top: scrollY + top - covered - room * 0.3, behavior: smooth ? "smooth" : "instant" });
  }
}
