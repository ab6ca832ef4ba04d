// The demo's strip: its forms are sent from here and answered in place; without this script they work as forms.

const strip = document.getElementById("demo");
const dialog = document.getElementById("demo-dialog");
const answer = strip.querySelector("[data-demo-answer]");

function show(sentence, search) {
  answer.textContent = sentence;
  if (search) {
    const link = document.createElement("a");
    link.href = search;
    link.textContent = answer.dataset.find;
    answer.append(" ", link);
  }
  answer.hidden = false;
}

async function send(form) {
  const fields = new URLSearchParams(new FormData(form));
  const response = await fetch(form.action, {
    method: "POST",
    body: fields,
    headers: { Accept: "application/json" },
  });
  const type = response.headers.get("Content-Type") ?? "";
  if (type.startsWith("application/json")) return response.json();
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return { sentence: page.querySelector("main p")?.textContent ?? response.statusText };
}

for (const form of strip.querySelectorAll("form")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { sentence } = await send(form);
    show(sentence);
  });
}

/** Put the form of the page at this address into the dialog. */
async function load(address) {
  const page = new DOMParser().parseFromString(await (await fetch(address)).text(), "text/html");
  const say = page.getElementById("say");
  const choose = say.querySelector(".say-choose");
  choose.querySelector("button").hidden = true;
  choose.addEventListener("change", () => load(`${choose.action}?${new URLSearchParams(new FormData(choose))}`));
  say.querySelector(".say-fill").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { sentence, search } = await send(event.target);
    dialog.close();
    show(sentence, search);
  });
  dialog.querySelector("[data-demo-form]").replaceChildren(say);
}

strip.querySelector("[data-demo-say]").addEventListener("click", async (event) => {
  event.preventDefault();
  await load(event.currentTarget.href);
  dialog.showModal();
});
dialog.querySelector("[data-demo-close]").addEventListener("click", () => dialog.close());

async function refresh() {
  if (document.hidden) return;
  const response = await fetch("/demo/status.json").catch(() => null);
  if (!response?.ok) return;
  const { measured, on_air: onAir } = await response.json();
  strip.querySelector("[data-demo-measured]").textContent = measured;
  const link = strip.querySelector("[data-demo-on-air]");
  link.hidden = !onAir || onAir.url === location.pathname;
  if (onAir) link.href = onAir.url;
}
setInterval(refresh, 3000);
refresh();
