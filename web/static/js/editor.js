// Correcting lines in place. What is typed is kept in the browser until the server has acknowledged it.

const page = document.getElementById("interview");
const list = document.getElementById("lines");
const bar = document.getElementById("editor-bar");
const word = bar.dataset;
const speakers = JSON.parse(word.speakers);
const store = `draft:${page.dataset.base}:`;
const REST_MS = 1000;
const RETRY_MS = 3000;

const player = () => document.getElementById("player");
const isBusy = (event) => event.isComposing || event.keyCode === 229; // an input method is at work

async function send(method, path, revision, body) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": word.token };
  if (revision !== undefined) headers["If-Match"] = `"${revision}"`;
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body), keepalive: true });
  return { status: response.status, ...(await response.json().catch(() => ({}))) };
}

/** The transcript belongs to interview.js; it puts and removes lines when it is told so. */
const tell = (detail) => page.dispatchEvent(new CustomEvent("corrected", { detail }));

class Editing {
  #timer = null;
  #saving = null;
  #wanted = "";

  constructor(line, draft) {
    this.line = line;
    this.key = line.id;
    this.revision = draft?.revision ?? Number(line.dataset.revision ?? 0);
    this.words = line.querySelector("p");
    this.saved = draft ? null : this.words.textContent;
    this.box = document.createElement("div");
    this.box.className = "editing";
    this.area = document.createElement("textarea");
    Object.assign(this.area, { value: draft?.text ?? this.words.textContent, rows: 2, lang: this.words.lang, spellcheck: true });
    this.area.setAttribute("aria-label", word.label);
    this.state = Object.assign(document.createElement("p"), { className: "save-state" });
    this.state.setAttribute("role", "status");
    this.conflict = Object.assign(document.createElement("div"), { className: "both", hidden: true });
    this.tools = document.createElement("p");
    this.tools.className = "row tools";
    for (const [action, label] of [["insert", word.insert], ["delete", word.delete], ["history", word.history], ["close", word.close]]) {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: label });
      button.addEventListener("click", () => this[action]());
      this.tools.append(button);
    }
    this.box.append(this.area, this.conflict, this.state, this.tools);
    this.words.hidden = true;
    line.classList.add("being-edited");
    line.querySelector(".words").append(this.box);
    this.area.addEventListener("input", () => this.#typed());
    this.area.addEventListener("keydown", (event) => this.#key(event));
    this.area.addEventListener("blur", () => this.save());
    this.#grow();
    this.area.focus({ preventScroll: true });
    this.area.setSelectionRange(this.area.value.length, this.area.value.length);
    if (draft) this.#typed();
  }

  get changed() {
    return this.area.value.trim() !== (this.saved ?? "").trim() || this.saved === null;
  }

  #grow() {
    this.area.style.height = "auto";
    this.area.style.height = `${this.area.scrollHeight + 2}px`;
  }

  #typed() {
    this.#grow();
    if (!this.changed) return this.#forget();
    this.#keep();
    this.#say(word.unsaved);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.save(), REST_MS);
  }

  #keep() {
    const { start, end } = this.line.dataset;
    localStorage.setItem(store + this.key, JSON.stringify({ text: this.area.value, revision: this.revision, start, end }));
  }

  #forget() {
    localStorage.removeItem(store + this.key);
  }

  #say(text) {
    this.state.textContent = text;
  }

  /** Save what is there now; true once the server has it. One request at a time, the last text wins. */
  async save() {
    clearTimeout(this.#timer);
    if (this.#saving) {
      await this.#saving;
      return this.changed ? this.save() : true;
    }
    if (!this.changed || !this.area.value.trim()) return !this.changed;
    this.#saving = this.#send();
    try {
      return await this.#saving;
    } finally {
      this.#saving = null;
    }
  }

  async #send() {
    const text = this.area.value;
    this.#say(word.saving);
    let answer;
    try {
      answer = await send("PATCH", `/api/cues/${this.key.slice(1)}`, this.revision, { text });
    } catch {
      this.#say(word.offline);
      this.#timer = setTimeout(() => this.save(), RETRY_MS);
      return false;
    }
    if (answer.status === 412) return this.#differ(answer);
    if (answer.status !== 200) {
      this.#say(answer.error ?? word.failed);
      this.#timer = answer.status >= 500 ? setTimeout(() => this.save(), RETRY_MS) : null;
      return false;
    }
    this.saved = text;
    this.#forget();
    this.#accept(answer);
    if (this.changed) this.#typed();
    else this.#say(word.saved);
    return true;
  }

  /** The server's lines; if a later transcription has replaced the line, go on in the one that stands there. */
  #accept({ lines, removed }) {
    const own = lines.find((line) => line.key === this.key) ?? lines[0];
    if (own && own.key !== this.key) this.#moveTo(own.key, lines);
    if (own) this.revision = own.revision;
    tell({ lines, removed });
  }

  #moveTo(key, lines) {
    const old = this.line;
    this.#forget();
    tell({ lines, removed: [] });
    this.key = key;
    this.line = document.getElementById(key) ?? old;
    if (this.line === old) return;
    old.classList.remove("being-edited");
    this.words = this.line.querySelector("p");
    this.words.hidden = true;
    this.line.classList.add("being-edited");
    this.line.querySelector(".words").append(this.box);
    old.remove();
    this.area.focus({ preventScroll: true });
  }

  /** Somebody else was faster: both texts, and the choice. */
  #differ({ error, current }) {
    this.#say(error ?? "");
    const theirs = Object.assign(document.createElement("blockquote"), { textContent: current?.text ?? "", lang: current?.lang ?? "" });
    const choose = (label, action) => {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: label });
      button.addEventListener("click", () => {
        this.conflict.hidden = true;
        if (current) [this.revision, this.key] = [current.revision, current.key];
        action();
      });
      return button;
    };
    const mine = choose(word.keepMine, () => this.save());
    const other = choose(word.takeTheirs, () => {
      this.area.value = this.saved = current?.text ?? "";
      this.#forget();
      this.#grow();
      this.#say("");
      if (current) tell({ lines: [current], removed: [] });
    });
    const heading = Object.assign(document.createElement("p"), { textContent: word.theirs });
    this.conflict.replaceChildren(heading, theirs, mine, " ", other);
    this.conflict.hidden = false;
    return false;
  }

  #key(event) {
    if (isBusy(event)) return;
    const { code, altKey, ctrlKey, metaKey, shiftKey } = event;
    const take = (action) => (event.preventDefault(), action());
    const digit = /^Digit([1-9])$/.exec(code)?.[1];
    if (code === "Enter" && (ctrlKey || metaKey)) return take(() => this.split());
    if (code === "Enter" && !shiftKey && !altKey) return take(() => this.next());
    if (code === "Escape" || (altKey && code === "KeyK")) return take(playOrPause);
    if (altKey && code === "KeyJ") return take(() => skip(-3));
    if (altKey && code === "KeyL") return take(() => skip(3));
    if (altKey && code === "KeyR") return take(() => playFrom(this.line));
    if (altKey && code === "KeyU") return take(() => this.nextDoubtful());
    if (altKey && digit) return take(() => this.speaker(speakers[digit - 1]));
    const atStart = this.area.selectionStart === 0 && this.area.selectionEnd === 0;
    if (code === "Backspace" && atStart && !altKey && !ctrlKey && !metaKey) return take(() => this.merge());
    return undefined;
  }

  /** Save, and go on with the line behind it. */
  async next() {
    const following = neighbour(this.line, 1);
    const saved = this.save();
    if (following) open(following);
    else if (await saved) this.close();
  }

  async nextDoubtful() {
    let line = neighbour(this.line, 1);
    while (line && !line.classList.contains("doubtful") && !line.querySelector(".unsure, .suggestion")) line = neighbour(line, 1);
    if (line) open(line);
  }

  async #ask(method, path, body) {
    if (!(await this.save())) return null;
    const answer = await send(method, `/api/cues/${this.key.slice(1)}${path}`, this.revision, body).catch(() => null);
    if (!answer) return void this.#say(word.offline);
    if (answer.status === 412) return void this.#differ(answer);
    if (answer.status >= 300) return void this.#say(answer.error ?? word.failed);
    return answer;
  }

  async split() {
    const before = this.area.value.slice(0, this.area.selectionStart);
    const offset = [...before.trimStart()].length;
    const answer = await this.#ask("POST", "/split", { offset });
    if (!answer) return;
    this.#finish(answer);
    const second = answer.lines.at(-1);
    const line = second && document.getElementById(second.key);
    if (line) open(line, "start");
  }

  async merge() {
    const answer = await this.#ask("POST", "/merge", { neighbour: "previous" });
    if (!answer) return;
    this.#finish(answer);
    const line = document.getElementById(answer.lines[0]?.key);
    if (line) open(line);
  }

  async delete() {
    const answer = await this.#ask("DELETE", "");
    if (answer) this.#finish(answer);
  }

  async speaker(name) {
    if (!name) return;
    if (!(await this.save())) return;
    const answer = await this.#ask("PATCH", "", { speaker: name });
    if (answer) this.#accept(answer);
  }

  async insert() {
    if (!(await this.save())) return;
    const start = Number(this.line.dataset.end);
    const following = neighbour(this.line, 1);
    const end = Math.max(start + 500, Math.min(following ? Number(following.dataset.start) : start + 2000, start + 2000));
    const lang = word.languages.split(" ").find((code) => this.words.lang.startsWith(code)) ?? this.words.lang;
    const answer = await send("POST", `/api${page.dataset.base}/cues`, undefined, { start_ms: start, end_ms: end, text: "…", lang, track: document.getElementById("interview").dataset.track }).catch(() => null);
    if (!answer || answer.status >= 300) return this.#say(answer?.error ?? word.offline);
    tell(answer);
    open(document.getElementById(answer.lines[0].key), "all");
  }

  history() {
    location.assign(`${page.dataset.base}/cues/${this.key.slice(1)}`);
  }

  #finish(answer) {
    this.saved = this.area.value;
    this.#forget();
    this.#leave();
    tell(answer);
  }

  #leave() {
    clearTimeout(this.#timer);
    this.box.remove();
    this.words.hidden = false;
    this.line.classList.remove("being-edited");
    if (current === this) current = null;
  }

  /** Put the text back in its place; unless it could not be saved. */
  async close() {
    if (!(await this.save()) && this.area.value.trim()) return false;
    this.#forget();
    this.#leave();
    return true;
  }
}

let current = null;
const left = new Set(); // lines left while their text was still on its way

function open(line, caret) {
  if (current?.line === line) return;
  const before = current;
  if (before) {
    left.add(before);
    before.close().then((closed) => closed && left.delete(before));
  }
  const known = [...left].find((other) => other.line === line);
  current = known ?? new Editing(line, draftOf(line));
  left.delete(current);
  const { area } = current;
  area.focus({ preventScroll: true });
  if (caret === "start") area.setSelectionRange(0, 0);
  if (caret === "all") area.select();
  line.scrollIntoView({ block: "nearest" });
}

function draftOf(line) {
  const kept = localStorage.getItem(store + line.id);
  return kept ? JSON.parse(kept) : null;
}

function neighbour(line, step) {
  let other = line;
  do other = step > 0 ? other.nextElementSibling : other.previousElementSibling;
  while (other && !other.classList.contains("line"));
  return other;
}

function playOrPause() {
  const element = player();
  if (!element) return;
  if (element.paused) element.play().catch(() => {});
  else element.pause();
}

function skip(seconds) {
  const element = player();
  if (element) element.currentTime = Math.max(0, element.currentTime + seconds);
}

const playFrom = (line) => page.dispatchEvent(new CustomEvent("playfrom", { detail: Number(line.dataset.start) }));

list.addEventListener("click", (event) => {
  const wanted = event.target.closest(".edit");
  if (!wanted || event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  event.stopPropagation();
  open(wanted.closest(".line"));
});
list.addEventListener("dblclick", (event) => {
  const line = event.target.closest(".line");
  if (line && !event.target.closest(".editing, .suggestion")) open(line);
});

addEventListener("beforeunload", () => current?.save());
addEventListener("online", () => current?.save());

/** Text that was typed and never acknowledged: offer it again, also where the line itself has been replaced. */
function recover() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(store));
  for (const key of keys) {
    const id = key.slice(store.length);
    const draft = JSON.parse(localStorage.getItem(key));
    const line = document.getElementById(id) ?? lineAt(Number(draft.start));
    if (!line) continue;
    if (line.id !== id) {
      localStorage.removeItem(key);
      line.dataset.stale = id;
    }
    bar.querySelector("[data-recovered]").hidden = false;
    const editing = new Editing(line, draft);
    if (line.dataset.stale) editing.key = line.dataset.stale;
    if (current) left.add(current);
    current = editing;
  }
}

function lineAt(ms) {
  return [...list.querySelectorAll(".line")].findLast((line) => Number(line.dataset.start) <= ms) ?? null;
}

recover();
