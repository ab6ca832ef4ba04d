// The results page: what narrows a search comes after the results, so that counting never delays them.

const place = document.getElementById("narrow");

async function narrow() {
  const response = await fetch(place.dataset.facets);
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const facets = page.getElementById("facets");
  if (!facets?.querySelector("a")) return place.replaceChildren();
  if (matchMedia("(max-width: 60rem)").matches) {
    const folded = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = place.getAttribute("aria-label");
    folded.append(summary, facets);
    place.replaceChildren(folded);
  } else {
    place.replaceChildren(facets);
  }
}

if (place) narrow().catch(() => {});
