// Labels: one an object, kept in the browser as they are given, saved as a file, and undone step by step.

class Labels {
  constructor(changed) {
    this.changed = changed;
    this.key = `astrossl labels ${data.key}`;
    this.of = new Map(); // id -> {name, when, who}
    this.classes = [...data.classes];
    this.learn();
    this.who = "";
    this.steps = [];
    this.unsaved = new Set(); // ids whose label could not be stored
    this.recall();
    addEventListener("storage", event => { // another window of the same embedding
      if (event.key !== this.key) return;
      this.recall();
      this.changed();
    });
  }

  give(ids, name) { // name "" takes labels away
    const when = new Date().toISOString().slice(0, 19) + "Z", before = ids.map(id => [id, this.of.get(id)]);
    for (const id of ids) name ? this.of.set(id, { name, when, who: this.who }) : this.of.delete(id);
    this.did(before);
  }

  add(name) {
    name = name.trim();
    if (name && !this.classes.includes(name)) this.classes.push(name);
    this.keep();
    this.changed();
  }

  undo() {
    const before = this.steps.pop();
    if (!before) return 0;
    for (const [id, label] of before) label ? this.of.set(id, label) : this.of.delete(id);
    this.keep(before.map(([id]) => id));
    this.changed();
    return before.length;
  }

  did(before) {
    this.steps.push(before);
    this.keep(before.map(([id]) => id));
    this.changed();
  }

  counts() {
    const counts = new Map(this.classes.map(name => [name, 0]));
    for (const { name } of this.of.values()) counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts;
  }

  text() {
    const rows = [...this.of].map(([id, { name, when, who }]) => csvLine([id, name, when, who]));
    return csvLine(["object_id", "class", "when", "who"]) + rows.join("");
  }

  // Lay a file's labels over those that are here; returns how many differed from what was here.
  load(table) {
    const ids = table.get("object_id"), names = table.get("class"), none = ids.map(() => "");
    const when = table.get("when") ?? none, who = table.get("who") ?? none;
    const empty = names.findIndex(name => !name.trim());
    if (empty >= 0) throw new Error(`object ${ids[empty]} has no class`);
    const seen = new Map();
    ids.forEach((id, i) => {
      const other = seen.get(id) ?? names[i].trim();
      if (other !== names[i].trim()) throw new Error(`object ${id} is called “${names[i].trim()}”, and “${other}” further up; keep one of the two lines`);
      seen.set(id, other);
    });
    const before = ids.map(id => [id, this.of.get(id)]);
    const differ = before.filter(([, label], i) => label && label.name !== names[i].trim()).length;
    ids.forEach((id, i) => {
      const name = names[i].trim();
      this.know([name]);
      this.of.set(id, { name, when: when[i], who: who[i] });
    });
    this.did(before);
    return differ;
  }

  // Writes what changed here over what is stored: another window may have stored labels of the same objects since.
  keep(ids = []) {
    for (const id of ids) this.unsaved.add(id);
    try {
      const there = this.stored();
      for (const id of this.unsaved) this.of.has(id) ? there.of.set(id, this.of.get(id)) : there.of.delete(id);
      const rows = [...there.of].map(([id, { name, when, who }]) => [id, name, when, who]);
      this.know(there.classes);
      localStorage.setItem(this.key, JSON.stringify({ rows, classes: this.classes, who: this.who }));
      this.of = there.of;
      this.unsaved.clear();
      this.kept = true;
    } catch {
      this.kept = false; // no storage here, or it is full: the page says so beside the count
    }
  }

  // Takes what is stored; labels that could not be stored stay.
  recall() {
    try {
      const there = this.stored(), own = [...this.unsaved].map(id => [id, this.of.get(id)]);
      this.of = there.of;
      for (const [id, label] of own) label ? this.of.set(id, label) : this.of.delete(id);
      this.know(there.classes);
      this.who ||= there.who;
      this.kept = this.unsaved.size === 0;
    } catch {
      this.kept = false;
    }
  }

  stored() {
    const found = JSON.parse(localStorage.getItem(this.key) ?? "{}");
    const of = new Map((found.rows ?? []).map(([id, name, when, who]) => [id, { name, when, who }]));
    return { of, classes: found.classes ?? [], who: String(found.who ?? "") };
  }

  learn() { // classes of answers that the page has
    const answers = data.columns.find(one => one.name === "class" && one.names);
    if (answers && answers.names.length <= KEYS.length) this.know(answers.names);
  }

  know(classes) {
    for (const name of classes) if (!this.classes.includes(name)) this.classes.push(name);
  }

  column() { // as the map colours it
    const place = new Map(this.classes.map((name, i) => [name, i])), values = new Int32Array(data.ids.length).fill(-1);
    for (const [id, { name }] of this.of) {
      const row = data.rowOf.get(id);
      if (row !== undefined) values[row] = place.get(name) ?? -1;
    }
    return { name: "my labels", names: this.classes, values };
  }
}
