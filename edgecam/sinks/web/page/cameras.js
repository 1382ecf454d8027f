// Which camera the page shows, where several share it: the one in its address, ?camera=NAME.
const camera = new URLSearchParams(location.search).get("camera");

// The same path for this page's camera.
export const of = (path, name = camera) => (name ? `${path}?camera=${encodeURIComponent(name)}` : path);

export async function cameras() {
  const answer = await fetch("/cameras.json").catch(() => null);
  return answer?.ok ? answer.json() : [];
}

// Links to the others; the left and right arrow keys go round, Escape shows all of them.
export async function navigate(place) {
  const names = await cameras();
  if (names.length < 2 || !camera) return;
  const link = (text, href) => Object.assign(document.createElement("a"), { textContent: text, href });
  place.replaceChildren(link("All cameras", "/"), ...names.map((name) => link(name, of("/", name))));
  place.querySelector(`a:nth-child(${names.indexOf(camera) + 2})`)?.setAttribute("aria-current", "page");
  place.hidden = false;
  document.addEventListener("keydown", (event) => {
    // What has the focus may need the keys itself: the picture's cross, the slider, a name.
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.closest("canvas, input, textarea, [tabindex]:not(a)")) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) location.assign(of("/", names[(names.indexOf(camera) + step + names.length) % names.length]));
    else if (event.key === "Escape") location.assign("/");
  });
}
