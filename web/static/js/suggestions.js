// Answering what a later transcription suggests, without leaving the page. Without this the forms do it.

const page = document.getElementById("interview");
const list = document.getElementById("lines");
const { token } = document.getElementById("editor-bar").dataset;

list.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.suggestion");
  if (!form || !event.submitter) return;
  event.preventDefault();
  const line = form.closest(".line");
  const [answer, id] = event.submitter.value.split("-");
  const response = await fetch(`/api/cues/${line.id.slice(1)}/suggestion`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": token, "If-Match": `"${line.dataset.revision}"` },
    body: JSON.stringify({ id: Number(id), follow: answer === "follow" }),
  }).catch(() => null);
  if (response?.ok) {
    form.remove();
    page.dispatchEvent(new CustomEvent("corrected", { detail: await response.json() }));
    next(line);
  } else {
    // The page that answers the form says what has happened, and shows both texts.
    form.elements.revision.value = line.dataset.revision;
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "do", value: event.submitter.value }));
    form.submit();
  }
});

/** The keyboard goes on where the work does. */
function next(line) {
  document.querySelector("[data-suggested]")?.remove();
  const left = [...list.querySelectorAll("form.suggestion")];
  const after = left.find((form) => line.compareDocumentPosition(form) & Node.DOCUMENT_POSITION_FOLLOWING) ?? left[0];
  (after?.querySelector("button") ?? line.querySelector(".edit")).focus();
}
