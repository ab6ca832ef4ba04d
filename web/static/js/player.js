// The player on the media clock: milliseconds that mean the same moment live, rewound and archived.

/** A finished file: its own time is the media clock. */
class FilePlayer {
  constructor(element) {
    this.element = element;
  }
  now() {
    return this.element.currentTime * 1000;
  }
  /** The end of what can be played; null until that is known. */
  reach() {
    return this.element.readyState > 0 ? this.element.duration * 1000 : null;
  }
  seek(ms) {
    this.element.currentTime = ms / 1000;
  }
  close() {}
}

const WRAP_SECONDS = 2 ** 33 / 90000;

/**
 * A growing or complete playlist. The player's own time is not the media clock: hls.js puts takes where it has room
 * for them, and fills what is missing of their sound. But it says which time it gives to the stamps of a take, and
 * every segment's address carries its number, where it begins on the media clock (ms) and the time stamp (90 kHz)
 * that this moment has: …/segments/17-102000-8123000.ts
 */
class HlsPlayer {
  constructor(element, hls, Hls) {
    Object.assign(this, { element, hls, zeros: new Map(), target: null });
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
      this.details = details;
      element.dispatchEvent(new Event("reachchange"));
      // Where to begin has been said by now, or is where live is.
      if (!hls.loadingEnabled) hls.startLoad(this.target === null ? -1 : element.currentTime);
    });
    hls.on(Hls.Events.INIT_PTS_FOUND, (_, { frag, initPTS, timescale }) => {
      this.zeros.set(frag.cc, initPTS / timescale);
      // Where it was told to go could only be guessed.
      if (this.target !== null && element.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) this.seek(this.target);
    });
    // Once it has loaded something, hls.js goes where it began, even if the element was sent elsewhere since.
    element.addEventListener("loadedmetadata", () => this.target !== null && this.seek(this.target));
    element.addEventListener("seeked", () => (this.target = null));
    let recovered = 0;
    hls.on(Hls.Events.ERROR, (_, { fatal, type }) => {
      if (!fatal) return;
      element.dispatchEvent(new Event("playerror"));
      if (type === Hls.ErrorTypes.MEDIA_ERROR && recovered++ < 3) return hls.recoverMediaError();
      this.details = null;
      this.zeros.clear();
      setTimeout(() => hls.media && hls.loadSource(hls.url), 2500);
    });
    hls.on(Hls.Events.FRAG_BUFFERED, () => element.dispatchEvent(new Event("playfine")));
  }
  static start(fragment) {
    return Number(/-(\d+)-\d+\.ts/.exec(fragment.relurl)?.[1] ?? fragment.start * 1000);
  }
  fragments() {
    return this.details?.fragments ?? [];
  }
  /** The player's time at the fragment's beginning; a guess while none of its take has been loaded. */
  place(fragment) {
    const stamp = /-(\d+)\.ts/.exec(fragment.relurl)?.[1];
    const zero = this.zeros.get(fragment.cc);
    if (stamp === undefined || zero === undefined) return fragment.start;
    const at = stamp / 90000 - zero;
    return at - WRAP_SECONDS * Math.round((at - fragment.start) / WRAP_SECONDS);
  }
  now() {
    const at = this.element.currentTime;
    const playing = this.fragments().findLast((fragment) => this.place(fragment) <= at + 0.001);
    return playing ? HlsPlayer.start(playing) + (at - this.place(playing)) * 1000 : at * 1000;
  }
  reach() {
    const last = this.fragments().at(-1);
    return last ? HlsPlayer.start(last) + (last.start + last.duration - this.place(last)) * 1000 : null;
  }
  seek(ms) {
    const fragments = this.fragments();
    const holding = fragments.findLast((fragment) => HlsPlayer.start(fragment) <= ms) ?? fragments[0];
    if (!holding) return;
    this.target = ms;
    this.element.currentTime = this.place(holding) + Math.max(ms - HlsPlayer.start(holding), 0) / 1000;
  }
  /** Where live is: a little before the end, so that the next segment is there in time. */
  live() {
    return this.hls.liveSyncPosition ?? this.element.duration;
  }
  goLive() {
    this.target = null;
    this.element.currentTime = this.live();
    this.element.play().catch(() => {});
  }
  behind() {
    return Math.max(0, this.live() - this.element.currentTime);
  }
  close() {
    // What is in the element's memory must not be played on.
    this.element.pause();
    this.hls.destroy();
  }
}

function loadScript(address) {
  return new Promise((resolve, reject) => {
    if (window.Hls) return resolve();
    document.head.append(Object.assign(document.createElement("script"), { src: address, onload: resolve, onerror: reject }));
  });
}

/** A player for this element, or null where the browser cannot play the stream. */
export async function openPlayer(element) {
  if (!element.dataset.playlist) return new FilePlayer(element);
  const native = element.canPlayType("application/vnd.apple.mpegurl");
  try {
    if (!element.dataset.hls) throw new Error("hls.js is not installed");
    await loadScript(element.dataset.hls);
    if (!window.Hls.isSupported()) throw new Error("no media source extensions");
  } catch {
    return native ? new FilePlayer(element) : null;
  }
  const { Hls } = window;
  element.replaceChildren();
  element.removeAttribute("src");
  element.load();
  // The worker would come from a blob: address, which our content security policy does not allow.
  const hls = new Hls({ enableWorker: false, autoStartLoad: false, backBufferLength: 120, liveSyncDurationCount: 2, manifestLoadingMaxRetry: 30, manifestLoadingRetryDelay: 2000 });
  const player = new HlsPlayer(element, hls, Hls);
  hls.loadSource(element.dataset.playlist);
  hls.attachMedia(element);
  return player;
}
