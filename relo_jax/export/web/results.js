// The boxes as files: as `relo track --save-boxes boxes.csv` and `--json boxes.json` write them.

const digits = (value) => Number(value.toFixed(4));

// results: a Map of index -> {time, box, score, found, carried}, in the order of the frames.
export function asCsv(results) {
  const rows = [...results].map(([index, { time, box, score, found }]) =>
    [index, time.toFixed(6), 1, "target", ...box.map((v) => v.toFixed(4)), score.toFixed(4), Number(found)].join(","),
  );
  return ["frame,time,id,label,x,y,w,h,score,found", ...rows, ""].join("\n");
}

export function asJson(results, source, checkpoint) {
  const frames = [...results].map(([frame, { box, score, found, carried }]) => ({
    frame, box: [...box].map(digits), score: digits(score), found, carried,
  }));
  const about = { source, checkpoint, format: "x,y,w,h in pixels, 0-based" };
  const rows = frames.map((row) => JSON.stringify(row)).join(",\n");
  const carried = frames.filter((row) => row.carried).length;
  return `${JSON.stringify(about).slice(0, -1)}, "frames": [\n${rows}\n], "carried": ${carried}}\n`;
}

export function download(text, name, type) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
