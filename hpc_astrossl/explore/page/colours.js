// A colour an object: ten for categories (Okabe & Ito's and two more, told apart by most eyes), a ramp for numbers.

const PALETTE = [[230, 159, 0], [86, 160, 225], [0, 158, 115], [204, 121, 167], [213, 94, 0], [0, 114, 178],
  [150, 150, 60], [140, 86, 75], [190, 60, 60], [120, 110, 220]];
const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0; // as a little-endian machine keeps RGBA
const css = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;

function quietColour() {
  return matchMedia("(prefers-color-scheme: dark)").matches ? [92, 101, 110] : [176, 184, 191];
}

function ramp(share) {
  const at = Math.min(0.9999, Math.max(0, share)) * (RAMP.length - 1), i = Math.floor(at);
  return RAMP[i].map((v, k) => Math.round(v + (at - i) * (RAMP[i + 1][k] - v)));
}

// The numbers between which the ramp runs: the 1st and the 99th percentile.
function range(values) {
  const known = values.filter(v => Number.isFinite(v)).sort();
  if (!known.length) return [0, 1];
  const of = share => known[Math.round(share * (known.length - 1))];
  return of(0.01) < of(0.99) ? [of(0.01), of(0.99)] : [known[0], known[known.length - 1]];
}

function coloursOf(column) {
  const out = new Uint32Array(column.values.length), quiet = packed(quietColour());
  if (column.names) {
    const colours = PALETTE.map(packed);
    column.values.forEach((value, row) => { out[row] = value < 0 ? quiet : colours[value % colours.length]; });
  } else {
    const [low, high] = range(column.values), steps = Array.from({ length: 256 }, (_, i) => packed(ramp(i / 255)));
    column.values.forEach((value, row) => {
      const share = (value - low) / (high - low || 1);
      out[row] = Number.isNaN(value) ? quiet : steps[Math.round(255 * Math.min(1, Math.max(0, share)))];
    });
  }
  return out;
}

function showLegend(column) {
  const legend = at("legend");
  legend.replaceChildren();
  if (!column.names) {
    const [low, high] = range(column.values), bar = make("canvas"), short = v => String(Number(v.toPrecision(4)));
    bar.width = 160; bar.height = 1;
    const pen = bar.getContext("2d");
    for (let i = 0; i < 160; i++) { pen.fillStyle = css(ramp(i / 159)); pen.fillRect(i, 0, 1, 1); }
    legend.append(make("span", short(low)), bar, make("span", short(high)));
    return;
  }
  const counts = new Array(column.names.length).fill(0);
  let none = 0;
  for (const value of column.values) value < 0 ? none++ : counts[value]++;
  const entry = (colour, name, count) => {
    const dot = make("i"), span = make("span");
    dot.style.background = css(colour);
    span.append(dot, named(name), " ", make("span", count.toLocaleString("en"), "quiet"));
    span.title = name;
    legend.append(span);
  };
  column.names.slice(0, 40).forEach((name, i) => entry(PALETTE[i % PALETTE.length], name, counts[i]));
  if (column.names.length > 40) legend.append(make("span", `and ${column.names.length - 40} more`));
  if (column.names.length > PALETTE.length) legend.append(make("span", "(colours repeat)"));
  if (none) entry(quietColour(), "none", none);
}
