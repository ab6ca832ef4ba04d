// The transcript beside the player: lines come, change and go; the one being spoken is marked and kept in view.

export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export class Transcript {
  #marked = null;
  #followed = true;

  constructor(list, address, { onSeek }) {
    Object.assign(this, { list, address });
    this.template = document.getElementById("line-template").content;
    this.gapTemplate = document.getElementById("gap-template").content;
    this.back = document.getElementById("back-to-now");
    list.classList.add("scripted");
    list.addEventListener("click", (event) => {
      const line = event.target.closest(".line");
      const wanted = line && (event.target.closest(".time") || !String(getSelection()));
      if (!wanted || event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.#setFollowed(true);
      onSeek(Number(line.dataset.start));
    });
    this.back.addEventListener("click", () => {
      this.#setFollowed(true);
      this.#show(this.#marked);
    });
    for (const sign of ["wheel", "touchmove"]) addEventListener(sign, () => this.#userScrolled(), { passive: true });
    addEventListener("keydown", ({ key }) => {
      if (/^(Page|Arrow)(Up|Down)$|^Home$|^End$/.test(key)) this.#userScrolled();
    });
  }

  get lines() {
    return [...this.list.children];
  }

  /** Put a line or gap where it belongs, or change it there. */
  put(line) {
    const element = this.#fill(document.getElementById(line.key) ?? this.#make(line), line);
    const next = this.lines.find((other) => other !== element && this.#before(line, other));
    if (element.nextElementSibling !== (next ?? null) || !element.parentNode) this.list.insertBefore(element, next ?? null);
    this.#nameSpeakers(element);
    document.getElementById("no-lines").hidden = true;
  }

  remove(key) {
    document.getElementById(key)?.remove();
  }

  replace(lines) {
    const staying = new Set(lines.map((line) => line.key));
    for (const element of this.lines) if (!staying.has(element.id)) element.remove();
    lines.forEach((line) => this.put(line));
  }

  /** Mark the line spoken at `ms`; what lies behind it has been transcribed but not played yet. */
  follow(ms, { dimAhead }) {
    const lines = this.lines.filter((line) => !line.classList.contains("gap"));
    const at = lines.findLastIndex((line) => Number(line.dataset.start) <= ms + 150);
    lines.forEach((line, index) => line.classList.toggle("ahead", dimAhead && index > at));
    const line = lines[at] ?? null;
    if (line === this.#marked && line?.hasAttribute("aria-current")) return;
    for (const old of this.list.querySelectorAll("[aria-current]")) old.removeAttribute("aria-current");
    this.#marked = line;
    line?.setAttribute("aria-current", "true");
    if (this.#followed) this.#show(line);
  }

  textAt(ms) {
    const line = this.#marked;
    return line && Number(line.dataset.end) + 800 > ms ? line.querySelector("p") : null;
  }

  #before(line, other) {
    const start = Number(other.dataset.start);
    return line.start_ms < start || (line.start_ms === start && line.gap && !other.classList.contains("gap"));
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
    if (line.gap) {
      const { interrupted } = document.getElementById("wording").dataset;
      if (line.missing_ms >= 1000) element.querySelector("p").textContent = interrupted.replace("{time}", clock(line.missing_ms));
      return element;
    }
    time.href = `${this.address}?t=${line.start_ms / 1000}`;
    const words = element.querySelector("p");
    words.textContent = line.text;
    words.lang = line.lang;
    words.title = line.doubt ?? "";
    element.classList.toggle("doubtful", Boolean(line.doubt));
    element.dataset.speaker = line.speaker ?? "";
    return element;
  }

  #nameSpeakers(element) {
    for (const line of [element, element.nextElementSibling]) {
      const speaker = line?.dataset.speaker;
      if (speaker === undefined) continue;
      const turn = speaker !== "" && line.previousElementSibling?.dataset.speaker !== speaker;
      line.classList.toggle("turn", turn);
      let name = line.querySelector(".speaker");
      if (!turn) name?.remove();
      else (name ?? line.querySelector(".words").insertBefore(Object.assign(document.createElement("b"), { className: "speaker" }), line.querySelector("p"))).textContent = speaker;
    }
  }

  #setFollowed(followed) {
    this.#followed = followed;
    this.back.hidden = followed;
  }

  #userScrolled() {
    if (this.#followed && this.#marked) this.#setFollowed(false);
  }

  #show(line) {
    if (!line) return;
    const { top, bottom } = line.getBoundingClientRect();
    const watch = document.querySelector(".watch").getBoundingClientRect();
    const covered = watch.right > line.getBoundingClientRect().left ? Math.max(0, watch.bottom) : 60;
    const room = innerHeight - covered;
    if (top > covered && bottom < covered + room * 0.85) return;
    const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches && Math.abs(top) < 3 * innerHeight;
    scrollTo({ top: scrollY + top - covered - room * 0.3, behavior: smooth ? "smooth" : "instant" });
  }
}
