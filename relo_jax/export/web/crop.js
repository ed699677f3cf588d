// The square around a box that the network sees, and the way back: relo_jax/geometry/crop.py in JavaScript. What is
// float32 there is rounded by `Math.fround` here, so that boxes equal Python's; crops equal OpenCV's to the byte.

const f = Math.fround;
const ONE = 2048; // OpenCV's weights of linear interpolation have 11 bits

// Rounds halves to even, as Python does.
export function round(x) {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + (low % 2 === 0 ? 0 : 1) : Math.round(x);
}

// The window [x1, y1, side] around the first box, in float64; `factor` is its side over that of a square of the box's area.
export function firstWindow([x, y, w, h], factor) {
  const side = Math.ceil(Math.sqrt(w * h) * factor);
  return [round(x + 0.5 * w - side * 0.5), round(y + 0.5 * h - side * 0.5), side];
}

// The same around a box of float32.
export function windowOf([x, y, w, h], factor) {
  const square = f(f(w * h) * f(factor * factor));
  let side = Math.ceil(f(Math.sqrt(square)));
  if (f((side - 1) ** 2) >= square) side -= 1;
  if (f(side ** 2) < square) side += 1;
  side = Math.max(side, 1);
  return [round(f(f(x + 0.5 * w) - 0.5 * side)), round(f(f(y + 0.5 * h) - 0.5 * side)), side];
}

// What must be read of a frame to cut a window: [left, top, width, height], or null where nothing of it is in the frame.
export function patchOf([x1, y1, side], width, height) {
  const [left, top] = [Math.max(x1, 0), Math.max(y1, 0)];
  const [right, bottom] = [Math.min(x1 + side, width), Math.min(y1 + side, height)];
  return right > left && bottom > top ? [left, top, right - left, bottom - top] : null;
}

// Cuts a window and resizes it, black outside of the frame: uint8 [size, size, 3].
//   patch: {left, top, width, height, data}, RGBA of a part of the frame that has all of the window that is in the frame.
export function cut(patch, window, [width, height], size) {
  const out = new Uint8Array(size * size * 3);
  if (patch === null) return out;
  const [x1, y1, side] = window;
  const columns = taps(x1, side, width, size, patch.left, 4);
  const rows = taps(y1, side, height, size, patch.top, 4 * patch.width);
  const { data } = patch;
  for (let i = 0, to = 0; i < size; i++) {
    const [upper, lower, up, down] = [rows.at[0][i], rows.at[1][i], rows.weight[0][i], rows.weight[1][i]];
    for (let j = 0; j < size; j++) {
      const [left, right, l, r] = [columns.at[0][j], columns.at[1][j], columns.weight[0][j], columns.weight[1][j]];
      for (let c = 0; c < 3; c++) {
        const above = data[upper + left + c] * l + data[upper + right + c] * r;
        const below = data[lower + left + c] * l + data[lower + right + c] * r;
        out[to++] = ((((above >> 4) * up) >> 16) + (((below >> 4) * down) >> 16) + 2) >> 2;
      }
    }
  }
  return out;
}

// The two neighbours of each of `size` pixels along an axis: where they lie in the patch, and their weights in units of
// 1/2048. A neighbour outside of the frame has the weight 0; it lies anywhere in the patch.
function taps(start, side, length, size, begin, stride) {
  const at = [new Int32Array(size), new Int32Array(size)];
  const weight = [new Int32Array(size), new Int32Array(size)];
  const scale = 1 / (size / side); // OpenCV's division
  const end = start + side >= length ? length - 1 : length; // the padding rule of the released code
  for (let k = 0; k < size; k++) {
    const position = f((k + 0.5) * scale - 0.5);
    const low = Math.floor(position);
    const fraction = f(position - low);
    [f(1 - fraction), fraction].forEach((share, tap) => {
      const pixel = start + Math.min(Math.max(low + tap, 0), side - 1);
      const isInside = pixel >= 0 && pixel < end;
      at[tap][k] = isInside ? (pixel - begin) * stride : 0;
      weight[tap][k] = isInside ? round(share * ONE) : 0;
    });
  }
  return { at, weight };
}

// A box relative to the crop around itself: x, y, w, h. `g` rounds: Math.fround for boxes of float32, nothing for the first.
export function boxInOwnCrop([, , w, h], side, size, g = f) {
  const scale = g(size / side);
  const [width, height] = [w, h].map((v) => g(g(v * scale) / (size - 1))); // the released code takes S - 1 here
  return [0.5 - 0.5 * width, 0.5 - 0.5 * height, width, height].map(f);
}

// A box of the network (cx, cy, w, h, relative to the crop) in pixels of the frame: float32 x, y, w, h.
export function boxFromCrop(boxNorm, [x, y, w, h], side, size) {
  const across = f(size / f(size / side));
  const [cx, cy, width, height] = boxNorm.map((v) => f(v * across));
  const half = f((0.5 * size) / f(size / side));
  const center = [f(cx + f(f(x + 0.5 * w) - half)), f(cy + f(f(y + 0.5 * h) - half))];
  return [f(center[0] - 0.5 * width), f(center[1] - 0.5 * height), width, height];
}

// Clips a box to the frame and keeps it at least `margin` pixels large.
export function clip([x, y, w, h], width, height, margin = 10) {
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  const [right, bottom] = [clamp(f(x + w), margin, width), clamp(f(y + h), margin, height)];
  const [left, top] = [clamp(x, 0, width - margin), clamp(y, 0, height - margin)];
  return [left, top, Math.max(f(right - left), margin), Math.max(f(bottom - top), margin)];
}
