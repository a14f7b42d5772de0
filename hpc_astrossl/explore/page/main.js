// The page put together: what keys, buttons and the map do to the sheet, the labels and one another.

const KEYS = "1234567890qwertyuiop";
const sheets = new Map(); // title -> rows
let colouring = "";

const sheet = new Sheet(at("sheet"), { label: row => labels.of.get(data.ids[row])?.name ?? "", look });
const labels = new Labels(refresh);
const plot = new Plot(at("map"), { hover, click, select });

function columns() { return [labels.column(), ...data.columns]; }

function recolour() {
  const column = columns().find(one => one.name === colouring) ?? columns()[0];
  plot.dark = matchMedia("(prefers-color-scheme: dark)").matches;
  plot.colours = coloursOf(column);
  plot.ask();
  showLegend(column);
}

function offerColours(choice) {
  const select = at("colour");
  select.replaceChildren(...columns().map(({ name }) => new Option(visible(name), name)));
  colouring = select.value = columns().some(one => one.name === choice) ? choice : "my labels";
  recolour();
}

function refresh() { // labels have changed
  const counts = labels.counts();
  at("classes").replaceChildren(...labels.classes.map((name, i) => {
    const button = make("button"), dot = make("i");
    dot.style.background = css(PALETTE[i % PALETTE.length]);
    button.type = "button";
    if (KEYS[i]) button.append(make("kbd", KEYS[i]));
    button.append(dot, named(name), make("span", String(counts.get(name)), "quiet"));
    button.title = name;
    button.addEventListener("click", event => label(name, event.shiftKey));
    return button;
  }));
  if (!labels.classes.length) at("classes").append(make("p", "No class yet: type one and press Enter. Its key then labels the marked object.", "quiet"));
  const stored = labels.kept ? "kept in this browser" : "not kept in this browser: save the file";
  at("count").textContent = `${labels.of.size.toLocaleString("en")} labels, ${stored}`;
  at("undo").disabled = !labels.steps.length;
  sheet.refresh();
  if (colouring === "my labels") recolour();
  look(sheet.current, false);
}

function label(name, whole) {
  whole ||= at("whole").checked;
  const rows = whole ? sheet.rows : [sheet.current].filter(row => row >= 0);
  if (!rows.length) { say("nothing is marked: click an object, draw a lasso or choose a sheet"); return; }
  labels.give(Array.from(rows, row => data.ids[row]), name);
  const what = rows.length === 1 ? data.ids[rows[0]] : `${rows.length.toLocaleString("en")} objects`;
  say(name ? `${what}: ${name}` : `${what}: label taken away`);
  if (whole || sheet.rows.length < 2) return;
  if (sheet.focus === sheet.rows.length - 1) say(`${at("said").textContent}; that was the last of this sheet`);
  sheet.mark(sheet.focus + 1);
}

function openSheet(title, rows) {
  rows = Array.from(rows);
  sheets.set(title, rows);
  const select = at("sheets");
  select.replaceChildren(...[...sheets.keys()].map(name => new Option(visible(name), name)));
  select.value = title;
  plot.choose(title.startsWith("outliers") ? [] : rows);
  sheet.show(rows);
}

function look(row, show = true) { // the object in the panel
  const box = at("object");
  box.replaceChildren();
  if (row < 0) { box.append(make("p", "Click an object, draw a lasso, or choose a sheet.", "quiet")); return; }
  const thumb = make("span", undefined, "thumb"), text = make("div"), facts = make("dl"), id = data.ids[row];
  showThumb(thumb, row);
  const fact = (name, value) => { if (value !== "") facts.append(make("dt", name), make("dd", value)); };
  fact("my label", labels.of.get(id)?.name ?? "");
  if (data.ra && Number.isFinite(data.ra[row])) fact("RA, Dec", `${data.ra[row].toFixed(5)}, ${data.dec[row].toFixed(5)}`);
  for (const column of data.columns) fact(column.name, words(column, row));
  const near = make("button", "neighbours (n)");
  near.type = "button";
  near.addEventListener("click", () => neighbours(row));
  text.append(make("h2", id), facts, near);
  box.append(thumb, text);
  if (show) plot.look(row);
}

function neighbours(row) {
  if (row < 0) return;
  openSheet(`neighbours of ${data.ids[row]}`, [row, ...data.near.subarray(row * data.neighbours, (row + 1) * data.neighbours)]);
}

function hover(row, event) {
  const box = at("hover");
  box.hidden = row < 0;
  if (row < 0) return;
  showThumb(box.firstElementChild, row);
  const column = columns().find(one => one.name === colouring);
  const lines = [data.ids[row], column && words(column, row)].filter(Boolean);
  box.lastElementChild.replaceChildren(...lines.flatMap((line, i) => [...(i ? [" · "] : []), named(line)]));
  const space = at("map").getBoundingClientRect(), x = event.clientX - space.left, y = event.clientY - space.top;
  box.style.left = `${Math.max(0, x + 160 > space.width ? x - 156 : x + 14)}px`;
  box.style.top = `${Math.max(0, Math.min(y + 14, space.height - 190))}px`;
}

function click(row) { if (row >= 0) neighbours(row); }

function select(rows) {
  say(`${rows.length.toLocaleString("en")} objects selected${rows.length ? "; a class's key with Shift, or with “whole sheet”, labels all of them" : ""}`);
  openSheet("selection", rows);
}

function takeTool(name) {
  plot.tool = name;
  at("map").scrollIntoView({ block: "nearest" }); // a long sheet may have moved it away
  for (const one of ["move", "lasso", "box"]) at(`tool-${one}`).setAttribute("aria-pressed", String(one === name));
  at("map").classList.toggle("draws", name !== "move");
}

function save() {
  if (!labels.of.size) { say("there are no labels yet: mark an object and press a class's key"); return; }
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([labels.text()], { type: "text/csv" }));
  link.download = "labels.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`${labels.of.size.toLocaleString("en")} labels saved as labels.csv, where this browser keeps downloads`);
}

// A CSV by what it holds: a ranked list becomes a sheet, labels are laid over those here, any other brings columns.
function openTable(text, file) {
  const table = readTable(text), names = [...table.keys()];
  const ids = table.get("object_id").map(id => data.rowOf.has(id) ? id : data.spelt.get(id.normalize("NFC")) ?? id);
  table.set("object_id", ids);
  const drawn = ids.filter(id => data.rowOf.has(id)).length, whole = data.objects === data.of;
  if (!ids.length) throw new Error("no objects in it");
  if (!drawn && whole) throw new Error(`none of its ${ids.length.toLocaleString("en")} objects is here; is it of another embedding?`);
  const absent = drawn < ids.length ? `; ${(ids.length - drawn).toLocaleString("en")} of its objects are not drawn here` : "";
  if (names.includes("rank")) {
    const rank = table.get("rank").map(Number), order = [...ids.keys()].sort((a, b) => rank[a] - rank[b]);
    if (rank.some(Number.isNaN)) throw new Error("a rank in it is no number");
    openSheet(`next: ${file}`, order.map(i => data.rowOf.get(ids[i]) ?? -1).filter(row => row >= 0));
    say(`${file}: ${drawn.toLocaleString("en")} objects as a sheet${absent}`);
  } else if (areLabels(names)) {
    const differ = labels.load(table);
    offerColours(colouring);
    say(`${file}: ${ids.length.toLocaleString("en")} labels${differ ? `, ${differ} of them in place of others; undo brings those back` : ""}${absent}`);
  } else {
    const taken = new Set(data.columns.map(one => one.name)), fresh = [];
    for (const name of names.filter(one => one !== "object_id")) {
      const column = joined(taken.has(name) ? `${name} (${file})` : name, ids, table.get(name));
      data.columns = data.columns.filter(one => one.name !== column.name);
      data.columns.push(column);
      fresh.push(column.name);
    }
    labels.learn();
    refresh();
    offerColours(fresh.find(name => name.startsWith("class")) ?? fresh[0] ?? colouring);
    say(`${file}: columns ${fresh.join(", ")}${absent}`);
  }
}

// Labels say when and by whom they were given, or have no further columns; answers of classify have others.
function areLabels(names) {
  const known = ["object_id", "class", "when", "who"];
  return names.includes("class") && !names.includes("unlike") && (names.every(name => known.includes(name)) || names.includes("when") || names.includes("who"));
}

async function openFiles(files) {
  for (const file of files) {
    try {
      openTable(await file.text(), file.name);
    } catch (error) {
      say(`${file.name}: ${error.message}`);
    }
  }
}

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const actions = {
  v: () => takeTool("move"), l: () => takeTool("lasso"), b: () => takeTool("box"), f: () => plot.fit(), s: save,
  z: () => at("undo").click(), x: () => label("", false), X: () => label("", true), n: () => neighbours(sheet.current),
  "/": () => at("search").focus(), "+": () => plot.zoom(1.4), "=": () => plot.zoom(1.4), "-": () => plot.zoom(1 / 1.4),
};

function pressed(event) {
  if (event.target.matches("input:not([type=checkbox]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1], key = digit ?? event.key.toLowerCase();
  const place = KEYS.indexOf(key), onMap = event.target === at("map");
  if (key.length === 1 && place >= 0 && place < labels.classes.length) label(labels.classes[place], event.shiftKey);
  else if (key.length === 1 && place >= 0) say(labels.classes.length ? `no class has the key ${key} yet` : "no class yet: type one beside “add” and press Enter");
  else if (arrows[event.key]) {
    const [dx, dy] = arrows[event.key];
    if (onMap) plot.move(-60 * dx * plot.ratio, -60 * dy * plot.ratio);
    else sheet.mark(sheet.focus + dx + dy * (dy ? sheet.across : 0));
  } else if (event.key === "Enter" && onMap) click(plot.nearest(plot.canvas.width / 2, plot.canvas.height / 2, 40));
  else if (actions[event.key]) actions[event.key]();
  else return;
  event.preventDefault();
}

function begin() {
  document.addEventListener("keydown", pressed);
  at("colour").addEventListener("change", event => { colouring = event.target.value; recolour(); });
  at("sheets").addEventListener("change", event => openSheet(event.target.value, sheets.get(event.target.value)));
  for (const name of ["move", "lasso", "box"]) at(`tool-${name}`).addEventListener("click", () => takeTool(name));
  at("fit").addEventListener("click", () => plot.fit());
  at("save").addEventListener("click", save);
  at("undo").addEventListener("click", () => say(`undone: ${labels.undo()} labels`));
  at("open").addEventListener("change", event => { openFiles([...event.target.files]); event.target.value = ""; });
  at("who").value = labels.who;
  at("who").addEventListener("change", event => { labels.who = event.target.value.trim(); labels.keep(); });
  at("new-class").addEventListener("submit", event => {
    event.preventDefault();
    labels.add(at("class-name").value);
    at("class-name").value = "";
    at("class-name").blur();
  });
  at("search").addEventListener("keydown", event => {
    if (event.key === "Escape") event.target.blur();
    if (event.key !== "Enter") return;
    const found = search(event.target.value);
    say(found.words);
    if (found.rows.length) { openSheet("search", found.rows); event.target.blur(); }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  sheets.set("outliers, strangest first", Array.from(data.outliers));
  sheets.set("drawn at random", Array.from(data.sample));
  offerColours((data.columns.find(one => one.name === "class") ?? data.columns.find(one => one.names && one.names.length))?.name);
  if (data.next.length) { openSheet("outliers, strangest first", data.outliers); openSheet("next: what to label", data.next); }
  else openSheet("outliers, strangest first", data.outliers);
  refresh();
}

begin();
