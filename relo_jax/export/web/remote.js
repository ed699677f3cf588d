// The page's end of worker.js.

// Whether the browser gives WebAssembly threads, and how many are of use: a small network has little for more than four,
// and half of what a processor calls cores are the same core twice.
export function threadsHere() {
  const cores = navigator.hardwareConcurrency ?? 1;
  return crossOriginIsolated ? Math.min(4, Math.max(cores >> 1, Math.min(cores, 2))) : 1;
}

// Whether there is a GPU; one that the browser imitates on the processor is slower than WebAssembly.
export async function hasWebGPU() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
  } catch {
    return false;
  }
}

// Starts a tracker. Its `init` and `update` take a picture of frames.js; `stop` ends it.
export async function startTracker(backend, threads, told) {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  const waiting = new Map();
  let count = 0;
  const fail = (message) => {
    for (const { reject } of waiting.values()) reject(new Error(message));
    waiting.clear();
  };
  worker.onerror = (event) => fail(event.message ?? "worker.js cannot be loaded");
  worker.onmessage = ({ data: { id, value, error, loaded, total } }) => {
    if (id === undefined) return told(loaded, total);
    const { resolve, reject } = waiting.get(id) ?? {};
    waiting.delete(id);
    return error === undefined ? resolve?.(value) : reject?.(new Error(error));
  };
  const call = (name, values, transfer = []) =>
    new Promise((resolve, reject) => {
      waiting.set(++count, { resolve, reject });
      worker.postMessage({ id: count, call: name, values }, transfer);
    });
  const withPicture = (name) => async (picture, more = {}) => {
    const { pixels, transfer } = await picture.pixels();
    return call(name, { pixels, size: [picture.width, picture.height], ...more }, transfer);
  };
  const base = new URL("./", document.baseURI).href;
  const { config, precision } = await call("load", { base, backend, threads });
  return { config, precision, backend, threads, init: withPicture("init"), update: withPicture("update"), stop: () => worker.terminate() };
}
