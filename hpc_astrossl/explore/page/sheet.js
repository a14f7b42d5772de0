// A sheet of objects, ranked: outliers, a selection, neighbours, what to label next. One of them is marked.

const PAGE = 120; // objects put on a sheet at a time

class Sheet {
  constructor(list, { label, look }) {
    this.list = list;
    this.label = label; // a row's class, "" for none
    this.look = look; // called when another object is marked
    this.rows = [];
    this.focus = 0;
    list.addEventListener("click", event => {
      const item = event.target.closest("li");
      if (item) this.mark([...list.children].indexOf(item));
    });
    at("more").addEventListener("click", () => this.extend());
  }

  show(rows) {
    this.rows = rows;
    this.list.replaceChildren();
    this.extend();
    if (rows.length) this.mark(0, false);
  }

  extend() {
    const from = this.list.children.length;
    for (const row of this.rows.slice(from, from + PAGE)) {
      const item = make("li"), thumb = make("span", undefined, "thumb"), name = make("p"), id = make("bdi", data.ids[row]);
      item.setAttribute("role", "option");
      item.tabIndex = -1;
      item.title = data.ids[row];
      showThumb(thumb, row);
      name.append(id); // the end of an id tells more than its beginning: the line is cut on the left
      item.append(thumb, name, make("p", this.label(row), "class"));
      this.list.append(item);
    }
    at("more").hidden = this.list.children.length >= this.rows.length;
    at("sheet-count").textContent = `${this.rows.length.toLocaleString("en")} objects`;
  }

  refresh() {
    [...this.list.children].forEach((item, i) => { item.lastChild.textContent = this.label(this.rows[i]); });
  }

  get current() { return this.rows[this.focus] ?? -1; }

  mark(place, grab = true) {
    if (!this.rows.length) return;
    place = Math.max(0, Math.min(this.rows.length - 1, place));
    while (place >= this.list.children.length) this.extend();
    this.list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
    this.list.children[this.focus]?.setAttribute("tabindex", "-1");
    this.focus = place;
    const item = this.list.children[place];
    item.setAttribute("aria-selected", "true");
    item.tabIndex = 0;
    if (grab) item.focus();
    this.look(this.rows[place]);
  }

  get across() { // items in a line
    const [first, ...rest] = this.list.children;
    const next = rest.findIndex(item => item.offsetTop > first.offsetTop);
    return next < 0 ? this.list.children.length : next + 1;
  }
}
