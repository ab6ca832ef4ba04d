// Every page: times in the visitor's own zone, countdowns, what is being said on air.

const page = document.documentElement.lang;
// The visitor's own way of writing times, as long as it is in the language of the page.
const language = navigator.languages.find((tag) => tag.split("-")[0] === page.split("-")[0]) ?? page;
const format = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

for (const time of document.querySelectorAll("time[data-local]")) {
  time.textContent = format.format(new Date(time.dateTime));
}

function countDown(element) {
  const begins = new Date(element.dataset.countdown);
  const left = Math.round((begins - Date.now()) / 1000);
  if (left <= 0) return void (element.textContent = format.format(begins));
  const [days, rest] = [Math.floor(left / 86400), left % 86400];
  if (days > 1) return void (element.textContent = format.format(begins));
  const two = (number) => String(number).padStart(2, "0");
  element.textContent = `${days * 24 + Math.floor(rest / 3600)}:${two(Math.floor(rest / 60) % 60)}:${two(rest % 60)}`;
  setTimeout(() => countDown(element), 1000 - (Date.now() % 1000));
}
document.querySelectorAll("[data-countdown]").forEach(countDown);

/** Follow an event stream while the page can be seen; `handlers` are by event name. */
export function follow(address, handlers, lastId) {
  let source = null;
  let last = lastId;
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(last ? `${address}?after=${last}` : address);
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        handle(event.data ? JSON.parse(event.data) : {});
      });
    }
    // A refused stream is not tried again by the browser itself.
    source.addEventListener("error", () => {
      handlers.lost?.({});
      if (source?.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, 3000);
      }
    });
    source.addEventListener("open", () => handlers.found?.({}));
  };
  const close = () => {
    source?.close();
    source = null;
  };
  const toggle = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", toggle);
  open();
  return () => {
    document.removeEventListener("visibilitychange", toggle);
    close();
  };
}

/** A picture of what is on air is made anew every few seconds; the page asks for one now and then. */
for (const picture of document.querySelectorAll(".on-air img.poster")) {
  const address = picture.src;
  setInterval(() => document.hidden || (picture.src = `${address}?at=${Date.now()}`), 20_000);
}

for (const quote of document.querySelectorAll("[data-latest]")) {
  const stop = follow(quote.dataset.latest, {
    lines: ({ added }) => {
      const line = added.findLast((each) => !each.withheld);
      if (line) [quote.textContent, quote.lang] = [line.text, line.lang];
    },
    state: ({ stage }) => stage !== "live" && (stop(), location.reload()),
    withheld: () => location.reload(),
    gone: () => location.reload(),
  });
}
