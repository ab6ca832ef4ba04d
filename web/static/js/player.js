// The player on the media clock: milliseconds that mean the same moment live, rewound and archived.

/** A finished file: its own time is the media clock. */
class FilePlayer {
  constructor(element) {
    this.element = element;
  }
  now() {
    return this.element.currentTime * 1000;
  }
  /** The end of what can be played; unknown until the file's length is. */
  reach() {
    return Number.isFinite(this.element.duration) ? this.element.duration * 1000 : Infinity;
  }
  seek(ms) {
    this.element.currentTime = ms / 1000;
  }
  close() {}
}

/**
 * A growing or complete playlist. After a reconnect the player's own time drifts from the media clock, so every
 * segment's address carries its number and where it begins: …/segments/17-102000.ts
 */
class HlsPlayer {
  constructor(element, hls, Hls) {
    Object.assign(this, { element, hls });
    hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
      this.details = details;
      element.dispatchEvent(new Event("reachchange"));
    });
    let recovered = 0;
    hls.on(Hls.Events.ERROR, (_, { fatal, type }) => {
      if (!fatal) return;
      element.dispatchEvent(new Event("playerror"));
      if (type === Hls.ErrorTypes.MEDIA_ERROR && recovered++ < 3) hls.recoverMediaError();
      else setTimeout(() => hls.media && hls.loadSource(hls.url), 2500);
    });
    hls.on(Hls.Events.FRAG_BUFFERED, () => element.dispatchEvent(new Event("playfine")));
  }
  static start(fragment) {
    return Number(/-(\d+)\.ts/.exec(fragment.relurl)?.[1] ?? fragment.start * 1000);
  }
  fragments() {
    return this.details?.fragments ?? [];
  }
  now() {
    const at = this.element.currentTime;
    const playing = this.fragments().findLast((fragment) => fragment.start <= at + 0.001);
    return playing ? HlsPlayer.start(playing) + (at - playing.start) * 1000 : at * 1000;
  }
  reach() {
    const last = this.fragments().at(-1);
    return last ? HlsPlayer.start(last) + last.duration * 1000 : 0;
  }
  seek(ms) {
    const fragments = this.fragments();
    const holding = fragments.findLast((fragment) => HlsPlayer.start(fragment) <= ms) ?? fragments[0];
    if (!holding) return;
    const within = Math.min(Math.max(ms - HlsPlayer.start(holding), 0) / 1000, holding.duration - 0.05);
    this.element.currentTime = holding.start + within;
  }
  /** Where live is: a little before the end, so that the next segment is there in time. */
  live() {
    return this.hls.liveSyncPosition ?? this.element.duration;
  }
  goLive() {
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
export async function openPlayer(element, startMs) {
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
  const hls = new Hls({ enableWorker: false, startPosition: startMs == null ? -1 : startMs / 1000, backBufferLength: 120, liveSyncDurationCount: 2, manifestLoadingMaxRetry: 30, manifestLoadingRetryDelay: 2000 });
  const player = new HlsPlayer(element, hls, Hls);
  hls.loadSource(element.dataset.playlist);
  hls.attachMedia(element);
  return player;
}
