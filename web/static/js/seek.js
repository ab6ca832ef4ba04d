// The bar below a finished recording: what it looks like at each moment, and how loud it is.

import { clock } from "./transcript.js";

const STEP_MS = 5000;
const PAGE_MS = 30000;

/** Where in the strip each moment's picture lies, from WebVTT with media fragments (#xywh). */
async function readStrip(address) {
  const answer = await fetch(address);
  if (!answer.ok) return [];
  const cue = /(\d+):(\d\d):(\d\d\.\d{3}) --> .*\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)/g;
  return [...(await answer.text()).matchAll(cue)].map(([, h, m, s, image, x, y, width, height]) => ({
    start: (Number(h) * 3600 + Number(m) * 60 + Number(s)) * 1000,
    image: new URL(image, new URL(address, location.href)).href,
    place: [x, y, width, height].map(Number),
  }));
}

/** Lowest and highest samples, from audiowaveform's format (version 2, 8 bits). */
async function readPeaks(address) {
  const answer = await fetch(address);
  if (!answer.ok) return null;
  const data = await answer.arrayBuffer();
  const head = new DataView(data);
  if (data.byteLength < 24 || head.getInt32(0, true) !== 2 || !(head.getUint32(4, true) & 1)) return null;
  const pixelMs = (head.getInt32(12, true) * 1000) / head.getInt32(8, true);
  return { values: new Int8Array(data, 24), pixelMs };
}

export class SeekBar {
  #strip = null;
  #peaks = null;
  #shown = "";

  constructor(box, onSeek) {
    this.box = box;
    this.range = box.querySelector("input");
    this.canvas = box.querySelector("canvas");
    this.glimpse = box.querySelector(".glimpse");
    this.picture = box.querySelector(".glimpse-picture");
    this.time = box.querySelector(".glimpse-time");
    this.player = null;
    this.range.addEventListener("input", () => {
      onSeek(Number(this.range.value));
      this.#glance(Number(this.range.value));
    });
    this.range.addEventListener("keydown", (event) => this.#key(event, onSeek));
    this.range.addEventListener("focus", () => this.range.matches(":focus-visible") && this.#glance(Number(this.range.value)));
    this.range.addEventListener("blur", () => this.#hide());
    this.range.addEventListener("pointermove", (event) => this.#glance(this.#momentAt(event)));
    this.range.addEventListener("pointerleave", () => this.#hide());
    new ResizeObserver(() => this.#draw()).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** Stand below this player (null: none), with these addresses of thumbnails and peaks. */
  async attach(player, { thumbnails, peaks }) {
    this.player = player;
    const length = player?.reach() ?? 0;
    this.box.hidden = !(thumbnails || peaks) || !player || player.goLive || !Number.isFinite(length) || length <= 0;
    if (this.box.hidden) return;
    this.range.max = Math.floor(length);
    this.update();
    const address = `${thumbnails} ${peaks}`;
    if (address === this.#shown) return this.#draw();
    this.#shown = address;
    this.#strip = thumbnails || null;
    this.#peaks = peaks && "wave" in this.box.dataset ? await readPeaks(peaks) : null;
    this.canvas.hidden = !this.#peaks;
    this.box.classList.toggle("waved", Boolean(this.#peaks));
    this.#draw();
  }

  /** Follow the player. */
  update() {
    if (this.box.hidden || !this.player) return;
    const ms = Math.round(this.player.now());
    this.range.value = ms;
    this.range.setAttribute("aria-valuetext", `${clock(ms)} / ${clock(Number(this.range.max))}`);
    this.#draw();
  }

  #key(event, onSeek) {
    const steps = { ArrowLeft: -STEP_MS, ArrowDown: -STEP_MS, ArrowRight: STEP_MS, ArrowUp: STEP_MS, PageDown: -PAGE_MS, PageUp: PAGE_MS };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const ms = Math.min(Math.max(Number(this.range.value) + steps[event.key], 0), Number(this.range.max));
    this.range.value = ms;
    onSeek(ms);
    this.#glance(ms);
  }

  #momentAt(event) {
    const { left, width } = this.range.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - left) / width, 0), 1) * Number(this.range.max);
  }

  async #glance(ms) {
    this.wanted = ms;
    this.glimpse.hidden = false;
    this.time.textContent = clock(ms);
    if (typeof this.#strip === "string") this.#strip = readStrip(this.#strip);
    const cues = (await this.#strip) ?? [];
    if (this.wanted !== ms) return;
    const found = cues.findLast(({ start }) => start <= ms);
    this.picture.hidden = !found;
    if (found) {
      const [x, y, width, height] = found.place;
      const { style } = this.picture;
      [style.width, style.height] = [`${width}px`, `${height}px`];
      style.backgroundImage = `url("${found.image}")`;
      style.backgroundPosition = `-${x}px -${y}px`;
    }
    const room = this.box.clientWidth - this.glimpse.offsetWidth;
    const middle = (ms / Number(this.range.max)) * this.box.clientWidth - this.glimpse.offsetWidth / 2;
    this.glimpse.style.left = `${Math.min(Math.max(middle, 0), Math.max(room, 0))}px`;
  }

  #hide() {
    this.wanted = null;
    this.glimpse.hidden = true;
  }

  /** The waveform, a column for each pixel; what has been played is in the accent's colour. */
  #draw() {
    if (!this.#peaks || this.box.hidden) return;
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const { color: played, borderTopColor: rest } = getComputedStyle(canvas);
    context.clearRect(0, 0, width, height);
    const { values, pixelMs } = this.#peaks;
    const step = 3 * scale;
    const at = (Number(this.range.value) / Number(this.range.max)) * width;
    for (let x = 0; x < width; x += step) {
      const from = Math.floor(((x / width) * this.range.max) / pixelMs);
      const to = Math.max(from + 1, Math.floor((((x + step) / width) * this.range.max) / pixelMs));
      let loud = 0;
      for (let i = from * 2; i < to * 2 && i < values.length; i++) loud = Math.max(loud, Math.abs(values[i]));
      const bar = Math.max(2 * scale, (Math.sqrt(loud / 128) * height) | 0);
      context.fillStyle = x < at ? played : rest;
      context.fillRect(x, (height - bar) / 2, 2 * scale, bar);
    }
  }
}
