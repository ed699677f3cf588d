// The tracker in a thread of its own, so that the page answers while the network computes. Each message {id, call,
// values} is answered by one {id, value} or {id, error}; {loaded, total} come in between while it loads.

import { reader } from "./pixels.js";
import { loadTracker } from "./tracker.js";

let tracker = null;

const calls = {
  async load({ base, backend, threads }) {
    tracker = await loadTracker(base, backend, threads, (loaded, total) => postMessage({ loaded, total }));
    return { config: tracker.config, precision: tracker.precision };
  },
  init: ({ pixels, size, box }) => using(pixels, (read) => tracker.init(read, size, box)),
  update: ({ pixels, size }) => using(pixels, (read) => tracker.update(read, size)),
};

async function using(pixels, work) {
  try {
    const start = performance.now();
    const value = await work(reader(pixels));
    return { ...value, milliseconds: performance.now() - start };
  } finally {
    pixels.bitmap?.close();
  }
}

let last = Promise.resolve(); // one after the other
onmessage = ({ data: { id, call, values } }) => {
  last = last.then(() => calls[call](values)).then(
    (value) => postMessage({ id, value }),
    (error) => postMessage({ id, error: error.message ?? String(error) }),
  );
};
