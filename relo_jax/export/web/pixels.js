// Pixels of a frame, as FFmpeg would give them.
//
// A browser converts a film's colours in its own way, and guesses the matrix that the file does not name; each grey level
// of difference moves a box a little. So this reads the planes that the decoder made, which are the same in every
// decoder, and converts them in the integer arithmetic of FFmpeg's swscale (x86). Where a browser hides the planes, and
// for cameras, it draws the picture and reads that.

// Coefficients of V in red, U in blue, U and V in green, in units of 1/65536. What a file does not say is BT.601.
const MATRICES = {
  bt709: [117489, 138438, 13975, 34925],
  "bt2020-ncl": [110013, 140363, 12277, 42626],
};
const BT601 = [104597, 132201, 25675, 53279];

// The reader of what a picture of frames.js sends: a function (left, top, width, height) -> patch of `cut` in crop.js.
export function reader(pixels) {
  return pixels.bitmap ? readBitmap(pixels.bitmap) : readPlanes(pixels);
}

// pixels: {data, layout, format: "I420" or "NV12", width, height, rotation, colour: {matrix, fullRange}}; width and
// height are those before the rotation by 0, 90, 180 or 270 degrees, clockwise.
function readPlanes({ data, layout, format, width: columns, height: rows, rotation, colour }) {
  const convert = converter(colour);
  const step = format === "NV12" ? 2 : 1; // from one U to the next
  const [luma, blue] = layout;
  const red = format === "NV12" ? { offset: blue.offset + 1, stride: blue.stride } : layout[2];
  const turns = { 0: [1, 0, 0, 1], 90: [0, 1, -1, 0], 180: [-1, 0, 0, -1], 270: [0, -1, 1, 0] };
  const [xx, xy, yx, yy] = turns[rotation];
  return (left, top, width, height) => {
    const patch = new Uint8ClampedArray(4 * width * height);
    for (let i = 0, to = 0; i < height; i++)
      for (let j = 0; j < width; j++, to += 4) {
        let [x, y] = [(left + j) * xx + (top + i) * xy, (left + j) * yx + (top + i) * yy];
        if (xx + xy < 0) x += columns - 1;
        if (yx + yy < 0) y += rows - 1;
        const chroma = (x >> 1) * step;
        const line = y >> 1;
        convert(
          patch, to, data[luma.offset + y * luma.stride + x],
          data[blue.offset + line * blue.stride + chroma], data[red.offset + line * red.stride + chroma],
        );
      }
    return { left, top, width, height, data: patch };
  };
}

// Writes one pixel; the clamped array cuts it to 0 to 255.
function converter({ matrix, fullRange }) {
  const share = (c) => (fullRange ? Math.floor((c * 224) / 255) : c);
  const inUnits = (c) => Math.floor((c * 8192 + 32768) / 65536);
  const [redV, blueU, greenU, greenV] = (MATRICES[matrix] ?? BT601).map(share);
  const [rv, bu, gu, gv] = [redV, blueU, -greenU, -greenV].map(inUnits);
  const black = fullRange ? 0 : 128;
  const scale = inUnits(fullRange ? 65536 : Math.floor((65536 * 255) / 219));
  return (patch, at, luma, blue, red) => {
    const y = (((luma << 3) - black) * scale) >> 16;
    const u = (blue << 3) - 1024;
    const v = (red << 3) - 1024;
    patch[at] = y + ((v * rv) >> 16);
    patch[at + 1] = y + ((u * gu) >> 16) + ((v * gv) >> 16);
    patch[at + 2] = y + ((u * bu) >> 16);
    patch[at + 3] = 255;
  };
}

let canvas = null; // one for all frames

function readBitmap(bitmap) {
  return (left, top, width, height) => {
    canvas ??= new OffscreenCanvas(1, 1);
    if (canvas.width < width || canvas.height < height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, -left, -top);
    return { left, top, width, height, data: context.getImageData(0, 0, width, height).data };
  };
}
