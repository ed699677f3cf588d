// Isolates the page by the service worker where the host does not: once, by loading the page a second time.

const TRIED = "relo: the service worker was tried";

// Resolves when the page is as isolated as it will get; not at all if it is about to be loaded again.
export async function isolate() {
  if (crossOriginIsolated || !isSecureContext || !navigator.serviceWorker) return;
  try {
    if (sessionStorage.getItem(TRIED)) return;
    sessionStorage.setItem(TRIED, "yes");
    await navigator.serviceWorker.register("service-worker.js");
    await navigator.serviceWorker.ready;
  } catch {
    return; // forbidden, as in some private windows: one thread has to do
  }
  location.reload();
  await new Promise(() => {});
}
