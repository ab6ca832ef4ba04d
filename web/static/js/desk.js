// The desk: times in the producer's own zone, uploads with progress, the state of jobs, in and out points.

import { follow } from "./site.js";
import { openPlayer } from "./player.js";

// --- times: the fields show the visitor's own zone, and are sent as moments --------------------------------

const two = (number) => String(number).padStart(2, "0");
const local = (date) =>
  `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;

const zone = new Intl.DateTimeFormat(document.documentElement.lang, { timeZoneName: "short" })
  .formatToParts(new Date())
  .find((part) => part.type === "timeZoneName").value;
document.querySelectorAll("[data-zone]").forEach((element) => (element.textContent = zone));

for (const field of document.querySelectorAll("[data-moment]")) {
  if (field.value) field.value = local(new Date(`${field.value}Z`));
  field.form.addEventListener("formdata", ({ formData }) => {
    if (!field.value) return;
    formData.set(`${field.name}_exact`, new Date(field.value).toISOString());
  });
}

// --- guests -------------------------------------------------------------------------------------------------

for (const list of document.querySelectorAll("[data-guests]")) {
  const button = list.querySelector("[data-add-guest]");
  button.hidden = false;
  button.addEventListener("click", () => {
    const row = list.querySelector(".guest:last-of-type").cloneNode(true);
    row.querySelectorAll("input").forEach((input) => (input.value = ""));
    button.before(row);
    row.querySelector("input").focus();
  });
}

// --- what is being done: looked at again while something moves, and whenever the interview changes ----------

const desk = document.getElementById("desk");
const work = document.getElementById("work");
const moment = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
let looking = false;

const busy = () => work.querySelector("[data-busy]")?.dataset.busy === "1";

async function look() {
  if (looking || document.hidden || work.contains(document.activeElement)) return;
  looking = true;
  try {
    const answer = await fetch(`/desk/${desk.dataset.id}/work`, { cache: "no-store" });
    if (!answer.ok || answer.redirected) return;
    const wasBusy = busy();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    page.querySelectorAll("time[data-local]").forEach((time) => (time.textContent = moment.format(new Date(time.dateTime))));
    work.replaceChildren(...page.body.childNodes);
    if (wasBusy && !busy()) settle();
  } catch {
    // Away for a moment; the next look shows whether it is back.
  } finally {
    looking = false;
  }
}

/** All is done: the page shows the player and the rest, unless somebody is typing. */
function settle() {
  const typing = [...document.querySelectorAll("form.details, form.stream, form.cut")].some((form) => form.dataset.touched);
  if (!typing && !uploading) location.replace(location.pathname);
}

if (work) {
  document.querySelectorAll("form").forEach((form) => form.addEventListener("input", () => (form.dataset.touched = "1")));
  setInterval(() => busy() && look(), 2000);
  follow(`/interviews/${desk.dataset.id}/events`, { state: look, reset: look }, null);
}

// --- the upload ---------------------------------------------------------------------------------------------

let uploading = null;
const upload = document.getElementById("upload");

const size = (bytes) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < 4; unit++) bytes /= 1000;
  return `${unit > 1 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
};
const span = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}` : `${Math.floor(whole / 60)}:${two(whole % 60)}`;
};

function prepareUpload() {
  const file = upload.querySelector('[name="recording"]');
  const drop = upload.querySelector(".drop");
  const words = drop.querySelector(".drop-words");
  const asked = words.textContent;
  const show = () => (words.textContent = file.files[0] ? `${file.files[0].name} · ${size(file.files[0].size)}` : asked);
  file.addEventListener("change", show);
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => (event.preventDefault(), drop.classList.add("over")));
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) file.files = event.dataTransfer.files;
    show();
  });
  upload.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  upload.querySelector("[data-abort]").addEventListener("click", () => uploading?.abort());
  addEventListener("beforeunload", (event) => uploading && event.preventDefault());
}

function send() {
  const shown = upload.querySelector("[data-progress]");
  const bar = shown.querySelector("progress");
  const words = shown.querySelector("[data-words]");
  const error = upload.querySelector("[data-error]");
  const controls = upload.querySelectorAll("input, .actions button");
  const form = new FormData(upload);
  const request = (uploading = new XMLHttpRequest());
  const began = performance.now();
  const finish = (sentence) => {
    uploading = null;
    shown.hidden = true;
    controls.forEach((control) => (control.disabled = false));
    error.hidden = !sentence;
    error.textContent = sentence ?? "";
  };
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    const seconds = (performance.now() - began) / 1000;
    const rate = loaded / Math.max(seconds, 0.1);
    bar.value = loaded / total;
    const values = { done: size(loaded), whole: size(total), rate: size(rate), left: span((total - loaded) / rate) };
    words.textContent = loaded === total ? upload.dataset.checking : upload.dataset.sending.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  });
  request.addEventListener("load", () => {
    const { url, error: sentence } = request.response ?? {};
    if (!url) return finish(sentence ?? upload.dataset.broken);
    uploading = null;
    location.assign(url);
  });
  request.addEventListener("error", () => finish(upload.dataset.broken));
  request.addEventListener("abort", () => finish(null));
  request.open("POST", upload.action);
  request.setRequestHeader("Accept", "application/json");
  request.responseType = "json";
  error.hidden = true;
  shown.hidden = false;
  bar.value = 0;
  controls.forEach((control) => (control.disabled = true));
  request.send(form);
}

if (upload) prepareUpload();

// --- moments taken from the player --------------------------------------------------------------------------

async function prepareMoments() {
  const element = document.getElementById("player");
  const player = element && (await openPlayer(element));
  if (!player) return;
  for (const button of document.querySelectorAll("[data-here]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const ms = Math.round(player.now() / 100) * 100;
      const whole = Math.floor(ms / 1000);
      const clock = span(whole) + (ms % 1000 ? `.${(ms % 1000) / 100}` : "");
      const field = button.form.elements[button.dataset.here];
      field.value = clock;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }
}
if (document.querySelector("[data-here]")) prepareMoments();
