// Outlines of masks as paths of the canvas: coarser where a finer one could not be seen, and findable.

const ruler = document.createElement("canvas").getContext("2d"); // measures, draws nothing
const VISIBLE = 0.6; // screen pixels; points nearer to each other than this are left out

/** Polygons [[x, y, x, y, …], …] as one SVG path. */
export function pathOf(outline) {
  return (outline ?? [])
    .map((ring) => {
      let path = "";
      for (let i = 0; i < ring.length; i += 2) path += `${i ? "L" : "M"}${ring[i]} ${ring[i + 1]}`;
      return path + "Z";
    })
    .join("");
}

/** Twice the signed area of a ring; holes turn the other way round. */
function areaOf(ring) {
  let area = 0;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
    area += ring[j] * ring[i + 1] - ring[i] * ring[j + 1];
  }
  return area;
}

/** Adds a ring to a path, leaving out points that lie within `gap` of the one before. */
function trace(path, ring, gap) {
  let [x, y] = ring;
  path.moveTo(x, y);
  for (let i = 2; i < ring.length; i += 2) {
    if (gap && Math.abs(ring[i] - x) < gap && Math.abs(ring[i + 1] - y) < gap) continue;
    [x, y] = [ring[i], ring[i + 1]];
    path.lineTo(x, y);
  }
  path.closePath();
}

export class Outline {
  constructor(rings) {
    this.rings = rings;
    this.levels = new Map();
    this.area = Math.abs(rings.reduce((sum, ring) => sum + areaOf(ring), 0)) / 2;
    this.box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
    for (const ring of rings) {
      for (let i = 0; i < ring.length; i += 2) {
        this.box.left = Math.min(this.box.left, ring[i]);
        this.box.right = Math.max(this.box.right, ring[i]);
        this.box.top = Math.min(this.box.top, ring[i + 1]);
        this.box.bottom = Math.max(this.box.bottom, ring[i + 1]);
      }
    }
  }

  /** The path for a scale, in whole steps of two, so that zooming makes few of them. */
  at(scale) {
    const level = Math.max(0, Math.floor(Math.log2(1 / scale)) + 1);
    if (!this.levels.has(level)) {
      const path = new Path2D();
      const gap = level ? VISIBLE * 2 ** (level - 1) : 0;
      for (const ring of this.rings) trace(path, ring, gap);
      this.levels.set(level, path);
    }
    return this.levels.get(level);
  }

  /** Whether it encloses a place. */
  holds(x, y, scale) {
    const { left, top, right, bottom } = this.box;
    if (x < left || x > right || y < top || y > bottom) return false;
    return ruler.isPointInPath(this.at(scale), x, y, "evenodd");
  }

  /** Whether any of it lies in a window of the image. */
  inWindow({ x, y, width, height }) {
    const { left, top, right, bottom } = this.box;
    return right >= x && left <= x + width && bottom >= y && top <= y + height;
  }
}

const made = new WeakMap();

/** The outline of rings from the server; the same rings give the same object. */
export function outlineOf(rings) {
  if (!rings?.length) return null;
  if (!made.has(rings)) made.set(rings, new Outline(rings));
  return made.get(rings);
}
