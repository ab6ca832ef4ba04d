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
let player = null;
let waitingFor = null; // a moment of the media clock that cannot be played yet

const transcript = new Transcript(document.getElementById("lines"), track ? `${address}?track=${track}&` : `${address}?`, { onSeek: (ms) => seek(ms, true) });

const seekBox = document.getElementById("seek");
const seekBar = new SeekBar(seekBox, (ms) => seek(ms, false));
let along = { thumbnails: seekBox.dataset.thumbnails, peaks: seekBox.dataset.peaks };

function say(text, button, action) {
  notice.replaceChildren(text ?? "");
  notice.hidden = !text;
  if (!button) return;
  const element = Object.assign(document.createElement("button"), { type: "button", textContent: button });
  element.addEventListener("click", action);
  notice.append(" ", element);
}

/** Go to a moment and play; one that lies ahead of what can be played is waited for. */
function seek(ms, play) {
  if (!player) return;
  if (ms >= player.reach() && stage === "live" && player.goLive) {
    waitingFor = ms;
    return countDown();
  }
  waitingFor = null;
  say(null);
  player.seek(Math.min(ms, player.reach() - 50));
  if (play) player.element.play().catch(() => {});
  update();
}

function countDown() {
  if (waitingFor === null || !player) return;
  const left = waitingFor - player.reach();
  if (left < 0) return seek(waitingFor, true);
  if (stage === "live") say(word.playsIn.replace("{time}", clock(left + 1000)));
}

function update() {
  if (!player) return;
  seekBar.update();
  const ms = player.now();
  const begun = !player.element.paused || player.element.currentTime > 0 || waitingFor !== null;
  if (begun && transcript.follow(waitingFor ?? ms, { dimAhead: stage === "live" })) caption(ms);
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

async function start(element, startMs, play = true) {
  player?.close();
  player = await openPlayer(element, startMs);
  bar.hidden = !(player?.goLive && stage === "live");
  if (!player) return say(word.noHls);
  const attach = () => seekBar.attach(player, along);
  attach();
  element.addEventListener("durationchange", attach);
  for (const name of ["timeupdate", "seeked", "pause", "play"]) element.addEventListener(name, update);
  element.addEventListener("reachchange", () => (countDown(), update()));
  element.addEventListener("playerror", () => stage === "live" && say(word.liveFailed));
  element.addEventListener("playfine", () => notice.textContent === word.liveFailed && say(null));
  if (startMs === null) return;
  const begin = () => seek(startMs, play);
  if (player.goLive) element.addEventListener("reachchange", begin, { once: true });
  else if (element.readyState > 0) begin();
  else element.addEventListener("loadedmetadata", begin, { once: true });
}

bar.addEventListener("click", ({ target }) => {
  const wanted = target.closest("button")?.dataset.do;
  if (wanted === "live") (waitingFor = null), say(null), player.goLive();
  if (wanted === "begin") seek(0, true);
});

/** Another kind of player at the same moment. */
function changePlayer({ kind, url, audio_only }) {
  const at = player && player.element.currentTime > 0 ? player.now() : null;
  const playing = Boolean(player) && !player.element.paused;
  player?.close();
  const element = document.createElement(audio_only && kind === "file" ? "audio" : "video");
  Object.assign(element, { id: "player", controls: true, playsInline: true, preload: "metadata" });
  if (kind === "file") element.src = url;
  else {
    element.dataset.playlist = url;
    if (screen.dataset.hls) element.dataset.hls = screen.dataset.hls;
  }
  screen.classList.toggle("sound", element.localName === "audio");
  screen.replaceChildren(element);
  start(element, at, playing);
  say(null);
}

let shown = screen.dataset.kind;
function show(state) {
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
  const { kind } = state.player;
  if (before === "live" && stage !== "live" && kind === "hls") say(word.ended);
  if (kind === shown || kind === "none") return;
  if (kind === "file" && player && !player.element.paused) {
    return say(word.ready, word.switch, () => ((shown = kind), changePlayer(state.player)));
  }
  shown = kind;
  changePlayer(state.player);
}

async function readAnew() {
  const answer = await fetch(`${base}/lines.json${track ? `?track=${track}` : ""}`, { cache: "no-store" });
  if (!answer.ok) return;
  const { lines, state } = await answer.json();
  transcript.replace(lines);
  show(state);
  update();
  return state;
}

/** Something is withheld, or shown again: what has been loaded already is dropped with the player. */
async function playAnew() {
  const state = await readAnew();
  if (!state || !player) return;
  if (state.player.kind !== "none") return changePlayer(state.player);
  player.element.pause();
  player.close();
  player = null;
  shown = "none";
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
follow(
  `${base}/events`,
  {
    lines: ({ added, removed }) => {
      if (track) return readAnew(); // a translation is shown together with some of what is spoken
      removed.forEach((key) => transcript.remove(key));
      added.forEach((line) => transcript.put(line));
      update();
    },
    gaps: ({ gaps }) => transcript.setGaps(gaps),
    skip: (skip) => transcript.put(skip),
    media: () => shown === "none" && readAnew(),
    said: ({ text, lang, certain }) => {
      const letters = [...text];
      const say = (part, from, to) => Object.assign(provisional.querySelector(part), { textContent: letters.slice(from, to).join(""), lang });
      say("[data-certain]", 0, certain);
      say("[data-uncertain]", certain);
      provisional.hidden = !text;
    },
    state: show,
    whole: readAnew,
    reset: readAnew,
    withheld: playAnew,
    gone: () => (player?.close(), seekBar.attach(null, along), screen.replaceChildren(), say(word.gone)),
  },
  change,
);

const fromHash = /^#t=([\d.]+)/.exec(location.hash)?.[1];
const wanted = fromHash ? Number(fromHash) * 1000 : page.dataset.start ? Number(page.dataset.start) : null;
addEventListener("hashchange", () => {
  const t = /^#t=([\d.]+)/.exec(location.hash)?.[1];
  if (t) seek(Number(t) * 1000, true);
});
const element = document.getElementById("player");
if (element) start(element, wanted);
setInterval(countDown, 1000);
