// The home page: what was said of what somebody listens for, while they look at it.

const place = document.getElementById("told-lately");
const EVERY_MS = 5000;

// Not how long ago: that alone is no news, and a screen reader would read it out again and again.
const news = (element) =>
  [...element.querySelectorAll("a, [name=up_to]")].map((each) => each.getAttribute("href") ?? each.value).join(" ");

async function look() {
  if (document.hidden || place.contains(document.activeElement)) return;
  const response = await fetch(place.dataset.told);
  // Whoever is signed out meanwhile is sent to another page.
  if (!response.ok || response.redirected) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (news(page.body) !== news(place)) place.replaceChildren(...page.body.childNodes);
}

setInterval(() => look().catch(() => {}), EVERY_MS);
