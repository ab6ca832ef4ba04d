// The interview page: player, transcript and event stream together.

import { openPlayer } from "./player.js";
import { SeekBar } from "./seek.js";
import { follow } from "./site.js";
import { clock, Transcript } from "./transcript.js";

const page = document.getElementById("interview");
const { base, address, change, track } = page.dataset;
const word = document.getElementById("wording").dataset;
const notice = document.getElementById("notice");
const bar = document.getElementById("live-bar");
const screen = document.getElementById("screen");

let stage = page.dataset.stage;
let player = null; // there is none while one is being opened
let wanted = null; // where to go as soon as it can be played: { ms, play }
let counting = false; // the notice says in how long that is
const LIVE = Infinity; // as a moment: whatever is on air by then

const transcript = new Transcript(document.getElementById("lines"), track ? `${address}?track=${track}&` : `${address}?`, { onSeek: (ms) => seek(ms, true) });

const seekBox = document.getElementById("seek");
const seekBar = new SeekBar(seekBox, (ms) => seek(ms, false));
let along = { thumbnails: seekBox.dataset.thumbnails, peaks: seekBox.dataset.peaks };

function say(text, button, action) {
  counting = false;
  notice.replaceChildren(text ?? "");
  notice.hidden = !text;
  if (!button) return;
  const element = Object.assign(document.createElement("button"), { type: "button", textContent: button });
  element.addEventListener("click", action);
  notice.append(" ", element);
}

/** Go to a moment of the media clock, and play there if `play`; until it can be played, it is waited for. */
function seek(ms, play) {
  wanted = { ms, play };
  // Some browsers load nothing before they are told to play.
  if (play && player?.reach() === null) player.element.play().catch(() => {});
  go();
}

/** Go where it is wanted, once a player knows how far it reaches and, on air, the moment is not ahead of that. */
function go() {
  const reach = player?.reach() ?? null;
  if (!wanted || reach === null) return;
  const { ms, play } = wanted;
  const toLive = ms === LIVE && player.goLive;
  if (!toLive && ms >= reach && stage === "live" && player.goLive) {
    say(word.playsIn.replace("{time}", clock(ms - reach + 1000)));
    return void (counting = true);
  }
  wanted = null;
  if (counting) say(null); // whatever else is said stands
  if (toLive) player.goLive();
  else player.seek(Math.min(ms, reach - 50));
  if (play) player.element.play().catch(() => {});
  update();
}

function update() {
  if (!player) return;
  seekBar.update();
  const ms = wanted?.ms ?? player.now();
  const begun = wanted || !player.element.paused || player.element.currentTime > 0;
  if (begun && transcript.follow(ms, { dimAhead: stage === "live" }) && !wanted) caption(ms);
  if (!bar.hidden) {
    const behind = player.behind?.() ?? 0;
    bar.querySelector("[data-behind]").textContent = behind > 8 ? word.behind.replace("{time}", clock(behind * 1000)) : "";
    bar.querySelector('[data-do="live"]').disabled = behind <= 8 && !player.element.paused;
  }
}

/** Captions over a stream: the line being spoken, for as long as it lasts. Files have a track of their own. */
function caption(ms) {
  if (!player.goLive) return;
  player.captions ??= player.element.addTextTrack("captions", word.captions, document.documentElement.lang);
  const { captions, element } = player;
  for (const old of [...(captions.cues ?? [])]) captions.removeCue(old);
  const left = transcript.marked ? (Number(transcript.marked.dataset.end) - ms) / 1000 : 0;
  if (left <= 0) return;
  const text = transcript.marked.querySelector("p").textContent;
  captions.addCue(new VTTCue(element.currentTime, element.currentTime + left, text));
}

/** Open a player for this element, where it is wanted. */
async function start(element) {
  const opened = await openPlayer(element);
  if (!element.isConnected) return opened?.close(); // another has taken its place meanwhile
  player = opened;
  bar.hidden = !(player?.goLive && stage === "live");
  if (!player) return say(word.noHls);
  const attach = () => seekBar.attach(player, along);
  attach();
  element.addEventListener("durationchange", attach);
  for (const name of ["timeupdate", "seeked", "pause", "play"]) element.addEventListener(name, update);
  for (const name of ["loadedmetadata", "reachchange"]) element.addEventListener(name, () => (go(), update()));
  element.addEventListener("playerror", () => {
    keepPlace();
    if (stage === "live") say(word.liveFailed);
  });
  element.addEventListener("playfine", () => notice.textContent === word.liveFailed && say(null));
  go();
}

bar.addEventListener("click", ({ target }) => {
  const button = target.closest("button")?.dataset.do;
  if (button === "live") seek(LIVE, true);
  if (button === "begin") seek(0, true);
});

/** What is loaded now will be dropped: go on at the same moment afterwards, if nothing else is wanted. */
function keepPlace() {
  if (player && player.element.currentTime > 0) wanted ??= { ms: player.now(), play: !player.element.paused };
}

function closePlayer() {
  player?.close();
  player = null;
}

/** Another player at the same moment; nothing that the one before has loaded is kept. */
function changePlayer({ kind, url, audio_only }) {
  keepPlace();
  closePlayer();
  const element = document.createElement(audio_only && kind === "file" ? "audio" : "video");
  Object.assign(element, { id: "player", controls: true, playsInline: true, preload: "metadata" });
  if (kind === "file") element.src = url;
  else {
    element.dataset.playlist = url;
    if (screen.dataset.hls) element.dataset.hls = screen.dataset.hls;
  }
  screen.classList.toggle("sound", element.localName === "audio");
  screen.replaceChildren(element);
  say(null);
  start(element);
}

/** What is written around the player. */
function describe(state) {
  const before = stage;
  stage = page.dataset.stage = state.stage;
  const badge = page.querySelector("[data-badge]");
  const dot = Object.assign(document.createElement("i"), { className: "dot" });
  const label = Object.assign(document.createElement("span"), { className: stage === "live" ? "badge live" : "badge" });
  const text = { live: word.onAir, scheduled: word.scheduled, processing: word.processing }[stage];
  label.append(...(stage === "live" ? [dot, text] : [text ?? ""]));
  badge.replaceChildren(label);
  bar.hidden = !(player?.goLive && stage === "live");
  const work = state.work.map(({ label, progress, note }) => {
    const line = document.createElement("p");
    const name = Object.assign(document.createElement("span"), { textContent: label });
    const detail = Object.assign(document.createElement("span"), { className: "step-note", textContent: note });
    line.append(name, Object.assign(document.createElement("progress"), { max: 1, value: progress }), detail);
    return line;
  });
  const problems = state.problems.map((problem) => Object.assign(document.createElement("p"), { className: "notice warn", textContent: problem }));
  document.getElementById("problems").replaceChildren(...problems);
  Object.assign(document.getElementById("captions-note"), { textContent: state.captions, hidden: !state.captions });
  document.getElementById("work").replaceChildren(...work);
  along = state.seek;
  if (player) seekBar.attach(player, along);
  if (before === "live" && stage !== "live" && state.player.kind === "hls") say(word.ended);
}

let shown = screen.dataset.kind; // the kind of player
function show(state) {
  describe(state);
  const { kind } = state.player;
  if (kind === shown || kind === "none") return;
  if (kind === "file" && player && !player.element.paused) {
    return say(word.ready, word.switch, () => ((shown = kind), changePlayer(state.player)));
  }
  shown = kind;
  changePlayer(state.player);
}

/** The lines as they are now; then `next` is given the state of everything else. */
async function readAnew(next) {
  const answer = await fetch(`${base}/lines.json${track ? `?track=${track}` : ""}`, { cache: "no-store" });
  if (!answer.ok) return;
  const { lines, state } = await answer.json();
  transcript.replace(lines);
  next(state);
  update();
}

/** Something is withheld, or shown again: what has been loaded already is dropped with the player. */
function showAnew(state) {
  describe(state);
  const { kind } = state.player;
  const before = shown;
  shown = kind;
  if (kind !== "none") return changePlayer(state.player);
  if (before === "none") return;
  closePlayer();
  const sentence = Object.assign(document.createElement("p"), { textContent: word.nothing });
  const place = Object.assign(document.createElement("div"), { className: "waiting" });
  place.append(sentence);
  screen.replaceChildren(place);
  bar.hidden = true;
}

// What the editor's script has saved, and where it wants to listen.
page.addEventListener("corrected", ({ detail: { lines, removed } }) => {
  removed.forEach((key) => transcript.remove(key));
  lines.forEach((line) => transcript.put(line));
  update();
});
page.addEventListener("playfrom", ({ detail: ms }) => seek(ms, true));

const provisional = document.getElementById("provisional");
const stopFollowing = follow(
  `${base}/events`,
  {
    lines: ({ added, removed }) => {
      if (track) return readAnew(show); // a translation is shown together with some of what is spoken
      removed.forEach((key) => transcript.remove(key));
      added.forEach((line) => transcript.put(line));
      update();
    },
    gaps: ({ gaps }) => transcript.setGaps(gaps),
    skip: (skip) => transcript.put(skip),
    media: () => shown === "none" && readAnew(show),
    said: ({ text, lang, certain }) => {
      const letters = [...text];
      const say = (part, from, to) => Object.assign(provisional.querySelector(part), { textContent: letters.slice(from, to).join(""), lang });
      say("[data-certain]", 0, certain);
      say("[data-uncertain]", certain);
      provisional.hidden = !text;
    },
    state: show,
    whole: () => readAnew(show),
    reset: () => readAnew(show),
    withheld: () => readAnew(showAnew),
    gone: () => (stopFollowing(), closePlayer(), seekBar.attach(null, along), screen.replaceChildren(), say(word.gone)),
  },
  change,
);

const fromHash = /^#t=([\d.]+)/.exec(location.hash)?.[1];
const asked = fromHash ? Number(fromHash) * 1000 : page.dataset.start;
if (asked !== undefined) wanted = { ms: Number(asked), play: true };
addEventListener("hashchange", () => {
  const t = /^#t=([\d.]+)/.exec(location.hash)?.[1];
  if (t) seek(Number(t) * 1000, true);
});
const element = document.getElementById("player");
if (element) start(element);
setInterval(go, 1000);
