// Where the tiles stand, from tiles.json: docs/spec/tiles.md, section 3, in integers as there. The same numbers come
// out of media/recordings/tiles.py; a test compares the two.

/**
 * @param {object} geometry tiles.json
 * @param {Iterable<number>} tiles the numbers of everybody who has ever been shown
 * @returns {Map<number, {x: number, y: number, width: number, height: number}>} by tile, in pixels of the window
 */
export function tileLayout(geometry, tiles, width, height) {
  const numbers = [...tiles].sort((one, other) => one - other);
  const stage = stageIn(geometry, width - (width % 2), height - (height % 2));
  const rects = geometry.layouts[numbers.length] ?? [];
  return new Map(numbers.map((number, index) => [number, placed(rects[index], stage)]));
}

function stageIn(geometry, width, height) {
  const [across, down] = share(geometry.aspect);
  const wide = width * down > height * across ? even([across, down], height) : width;
  const high = width * down > height * across ? height : even([down, across], width);
  return { x: 2 * Math.floor((width - wide) / 4), y: 2 * Math.floor((height - high) / 4), width: wide, height: high };
}

function placed(rect, stage) {
  const [x, y, width, height] = [rect.x, rect.y, rect.width, rect.height].map(share);
  const left = even(x, stage.width);
  const top = even(y, stage.height);
  return {
    x: stage.x + left,
    y: stage.y + top,
    width: even(sum(x, width), stage.width) - left,
    height: even(sum(y, height), stage.height) - top,
  };
}

/** "a/b" or "a" as two integers. */
function share(text) {
  const [numerator, denominator = "1"] = text.split("/");
  return [Number.parseInt(numerator, 10), Number.parseInt(denominator, 10)];
}

function sum([a, b], [c, d]) {
  return [a * d + c * b, b * d];
}

function even([numerator, denominator], length) {
  return 2 * Math.floor((numerator * length + denominator) / (2 * denominator));
}
