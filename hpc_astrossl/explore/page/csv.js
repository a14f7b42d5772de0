// Tables that people open and save: RFC 4180, whatever stands in the cells.

// Rows of a CSV text, each an array of cells; throws an Error that says what is wrong.
function parseCsv(text) {
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
    else if (c === ",") endCell();
    else if (c === "\n" || (c === "\r" && text[i + 1] !== "\n")) endRow();
    else if (c !== "\r") cell += c;
  }
  if (quoted) throw new Error("a quoted value does not end");
  if (cell !== "" || row.length) endRow();
  return rows;
}

function csvLine(cells) {
  return cells.map(cell => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",") + "\n";
}

// Columns by name of a CSV text that has the column object_id.
function readTable(text) {
  const rows = parseCsv(text), head = rows.shift() ?? [];
  if (!head.includes("object_id")) throw new Error("no column object_id in its first line");
  rows.forEach((row, i) => {
    if (row.length !== head.length) throw new Error(`line ${i + 2} has ${row.length} values, the first line ${head.length}`);
  });
  return new Map(head.map((name, place) => [name, rows.map(row => row[place])]));
}

// A column of all objects from one of some: numbers where every cell that is not empty is one, else categories.
function joined(name, ids, cells) {
  const rows = ids.map(id => data.rowOf.get(id) ?? -1);
  const numeric = cells.every(cell => cell === "" || /^(nan|[-+]?inf)$/i.test(cell) || Number.isFinite(Number(cell)));
  if (numeric && cells.some(cell => cell !== "")) {
    const values = new Float32Array(data.ids.length).fill(NaN);
    rows.forEach((row, i) => { if (row >= 0 && cells[i] !== "") values[row] = Number(cells[i]); });
    return { name, values };
  }
  const names = [...new Set(cells.filter(cell => cell !== ""))].sort();
  const place = new Map(names.map((one, i) => [one, i]));
  const values = new Int32Array(data.ids.length).fill(-1);
  rows.forEach((row, i) => { if (row >= 0 && cells[i] !== "") values[row] = place.get(cells[i]); });
  return { name, names, values };
}
