// What the page shows: numbers come as base64 of little-endian arrays, text as JSON.

const data = readData(JSON.parse(document.getElementById("data").textContent));

function bytes(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text).buffer; // quicker, in newer browsers
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out.buffer;
}

function readData(found) {
  for (const name of ["x", "y"]) found[name] = new Float32Array(bytes(found[name]));
  for (const name of ["near", "outliers", "next", "sample"]) found[name] = new Uint32Array(bytes(found[name]));
  for (const name of ["ra", "dec"]) found[name] = found[name] && new Float64Array(bytes(found[name]));
  for (const column of found.columns)
    column.values = new (column.names ? Int32Array : column.wide ? Float64Array : Float32Array)(bytes(column.values));
  found.rowOf = new Map(found.ids.map((id, row) => [id, row]));
  found.spelt = new Map(found.ids.map(id => [id.normalize("NFC"), id])); // é may be one character or two
  return found;
}

// The words of a column at a row, for people.
function words(column, row) {
  const value = column.values[row];
  if (column.names) return value < 0 ? "" : column.names[value];
  return Number.isNaN(value) ? "" : String(Number.isInteger(value) ? value : Number(value.toPrecision(6)));
}

// A cutout in a square element: a part of an atlas that lies beside the page. Without atlases it stays black.
function showThumb(element, row) {
  const atlas = data.pictures;
  if (!atlas) return;
  const each = atlas.across * atlas.across, place = row % each, last = Math.max(1, atlas.across - 1);
  const file = String(Math.floor(row / each)).padStart(5, "0");
  element.style.backgroundImage = `url("${atlas.folder}/${file}.jpg")`;
  element.style.backgroundSize = `${100 * atlas.across}% ${100 * atlas.across}%`;
  const across = place % atlas.across, down = Math.floor(place / atlas.across);
  element.style.backgroundPosition = `${(100 * across) / last}% ${(100 * down) / last}%`;
}

// Text with what nobody sees written out: control characters, characters without width, marks that turn text around.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const visible = text => text.replace(HIDDEN, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

function make(name, text, className) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = visible(text);
  if (className) element.className = className;
  return element;
}

// A name from a file, on its own: of a script that runs to the left it leaves what stands beside it alone.
const named = (name, className) => make("bdi", name, className);

const at = id => document.getElementById(id);
const say = text => { at("said").textContent = visible(text); };
