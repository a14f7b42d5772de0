// Tables that people open and save: RFC 4180, whatever stands in the cells.

// Rows of a CSV text, each an array of cells; throws an Error that says what is wrong.
function parseCsv(text, separator = ",") {
  const rows = [];
  let row = [], cell = "", quoted = false, i = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  const endCell = () => { row.push(cell); cell = ""; };
  const endRow = () => { endCell(); if (row.length > 1 || row[0] !== "") rows.push(row); row = []; };
  for (; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') { cell += '"'; i++; }
      else quoted = false;
    } else if (c === '"' && cell === "") quoted = true;
    else if (c === separator) endCell();
    else if (c === "\n" || (c === "\r" && text[i + 1] !== "\n")) endRow();
    else if (c !== "\r") cell += c;
  }
  if (quoted) throw new Error("a quoted value does not end");
  if (cell !== "" || row.length) endRow();
  return rows;
}

const isNumber = text => /^[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|inf|nan)$/i.test(text);

// A cell with an apostrophe before what a spreadsheet would compute, and what stood there before: as the commands do it.
const NUMBER = /^[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|inf|nan)$/;
const computed = cell => /^'* *[=+\-@\t\r\n]/.test(cell) && !NUMBER.test(cell.replace(/^'+/, ""));
const plainCell = cell => (computed(cell) ? `'${cell}` : cell);
const cellText = cell => (cell.startsWith("'") && computed(cell) ? cell.slice(1) : cell);

function csvLine(cells) {
  return cells.map(plainCell).map(cell => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",") + "\n";
}

// Columns by name of a CSV text that has the column object_id; spreadsheets write semicolons or tabs as well.
function readTable(text) {
  let rows, head;
  for (const separator of [",", ";", "\t"]) {
    rows = parseCsv(text, separator);
    head = (rows.shift() ?? []).map(name => cellText(name.trim()));
    if (head.includes("object_id")) break;
  }
  if (!head.includes("object_id")) throw new Error("no column object_id in its first line");
  const twice = head.find((name, i) => head.indexOf(name) < i);
  if (twice !== undefined) throw new Error(`two columns ${twice || "without a name"} in its first line`);
  rows = rows.filter(row => row.some(cell => cell.trim())); // spreadsheets leave empty lines
  rows.forEach((row, i) => {
    if (row.length !== head.length) throw new Error(`line ${i + 2} has ${row.length} values, the first line ${head.length}`);
  });
  return new Map(head.map((name, place) => [name, rows.map(row => cellText(row[place]))]));
}

// A column of all objects from one of some: numbers where every cell that is not empty is one, else categories. Names are
// categories, though they may be digits, and so are numbers of more digits than can be kept.
function joined(name, ids, cells) {
  const rows = ids.map(id => data.rowOf.get(id) ?? -1);
  const numeric = !["class", "label"].includes(name) && cells.every(cell => cell === "" || (isNumber(cell) && !/^[-+]?\d{16,}$/.test(cell)));
  if (numeric && cells.some(cell => cell !== "")) {
    const values = new Float64Array(data.ids.length).fill(NaN);
    rows.forEach((row, i) => { if (row >= 0 && cells[i] !== "") values[row] = Number(cells[i].replace(/inf/i, "Infinity")); });
    return { name, values };
  }
  const names = [...new Set(cells.filter(cell => cell !== ""))].sort();
  const place = new Map(names.map((one, i) => [one, i]));
  const values = new Int32Array(data.ids.length).fill(-1);
  rows.forEach((row, i) => { if (row >= 0 && cells[i] !== "") values[row] = place.get(cells[i]); });
  return { name, names, values };
}
