// The map: every point is put into one image by hand, which is as quick as a graphics card's way and needs none.

class Plot {
  constructor(canvas, events) {
    this.canvas = canvas;
    this.events = events;
    this.pen = canvas.getContext("2d");
    this.tool = "move";
    this.path = [];
    this.pointers = new Map();
    this.chosen = new Uint8Array(data.ids.length);
    this.current = -1;
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
    this.listen();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1, { width, height } = this.canvas.getBoundingClientRect();
    this.ratio = ratio;
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    this.image = this.pen.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    if (!this.scale || this.fitted) this.fit(); else this.ask();
  }

  fit() {
    this.scale = 0.94 * Math.min(this.canvas.width, this.canvas.height);
    this.cx = this.cy = 0.5;
    this.fitted = true;
    this.ask();
  }

  ask() { // draw once in the next frame, however often it is asked for
    if (!this.asked) this.asked = requestAnimationFrame(() => { this.asked = 0; this.draw(); });
  }

  draw() {
    const { width, height } = this.canvas, { x, y } = data, { pixels, colours, chosen, scale } = this;
    const left = width / 2 - this.cx * scale, top = height / 2 + this.cy * scale;
    const crowd = Math.sqrt(data.ids.length) / scale; // points a pixel, about
    const side = Math.max(1, Math.round(this.ratio * Math.min(6, Math.max(1.4, 0.35 / crowd))));
    pixels.fill(0);
    const splat = (i, size, colour) => {
      const px = Math.round(left + x[i] * scale - size / 2), py = Math.round(top - y[i] * scale - size / 2);
      if (px < 0 || py < 0 || px + size > width || py + size > height) return;
      const first = py * width + px, last = first + (size - 1) * width, round = size > 3 ? 1 : 0; // corners cut off
      for (let row = first; row <= last; row += width) {
        const inset = row === first || row === last ? round : 0;
        for (let k = inset; k < size - inset; k++) pixels[row + k] = colour;
      }
    };
    for (let i = 0; i < x.length; i++) splat(i, side, colours[i]);
    const ink = packed(this.dark ? [255, 255, 255] : [0, 0, 0]);
    for (let i = 0; i < x.length; i++) if (chosen[i]) { splat(i, side + 2, ink); splat(i, side, colours[i]); }
    this.pen.putImageData(this.image, 0, 0);
    this.mark();
  }

  mark() { // what lies over the points: the object that is looked at, and the path that is being drawn
    const { pen } = this, style = getComputedStyle(document.body);
    pen.lineWidth = 2 * this.ratio;
    pen.strokeStyle = style.getPropertyValue("--accent");
    if (this.current >= 0) {
      const [px, py] = this.place(this.current);
      pen.beginPath();
      pen.arc(px, py, 9 * this.ratio, 0, 2 * Math.PI);
      pen.stroke();
    }
    if (this.path.length > 1) {
      pen.beginPath();
      this.outline().forEach(([px, py], i) => (i ? pen.lineTo(px, py) : pen.moveTo(px, py)));
      pen.closePath();
      pen.stroke();
    }
    if (document.activeElement === this.canvas && this.canvas.matches(":focus-visible")) {
      const px = this.canvas.width / 2, py = this.canvas.height / 2, arm = 7 * this.ratio;
      pen.lineWidth = this.ratio;
      pen.beginPath();
      pen.moveTo(px - arm, py); pen.lineTo(px + arm, py); pen.moveTo(px, py - arm); pen.lineTo(px, py + arm);
      pen.stroke();
    }
  }

  place(row) {
    const { width, height } = this.canvas;
    return [width / 2 + (data.x[row] - this.cx) * this.scale, height / 2 - (data.y[row] - this.cy) * this.scale];
  }

  // The object nearest to a place on the canvas, −1 when none is within so many pixels.
  nearest(px, py, within) {
    let best = -1, least = (within * this.ratio) ** 2;
    const { width, height } = this.canvas, { x, y } = data, scale = this.scale;
    const wx = (px - width / 2) / scale + this.cx, wy = this.cy - (py - height / 2) / scale;
    const most = least / (scale * scale);
    least = most;
    for (let i = 0; i < x.length; i++) {
      const far = (x[i] - wx) ** 2 + (y[i] - wy) ** 2;
      if (far < least) { least = far; best = i; }
    }
    return best;
  }

  zoom(factor, px = this.canvas.width / 2, py = this.canvas.height / 2) {
    const { width, height } = this.canvas, wide = Math.max(width, height);
    const scale = Math.min(2e4 * wide, Math.max(0.2 * wide, this.scale * factor)), by = 1 / this.scale - 1 / scale;
    this.cx += (px - width / 2) * by;
    this.cy -= (py - height / 2) * by;
    this.scale = scale;
    this.fitted = false;
    this.ask();
  }

  move(dx, dy) {
    this.cx -= dx / this.scale;
    this.cy += dy / this.scale;
    this.fitted = false;
    this.ask();
  }

  look(row) { // mark an object, and bring it into view
    this.current = row;
    if (row >= 0) {
      const [px, py] = this.place(row);
      if (px < 0 || py < 0 || px > this.canvas.width || py > this.canvas.height) { this.cx = data.x[row]; this.cy = data.y[row]; }
    }
    this.ask();
  }

  choose(rows) {
    this.chosen.fill(0);
    for (const row of rows) this.chosen[row] = 1;
    this.ask();
  }

  outline() {
    if (this.drawing !== "box") return this.path;
    const [[ax, ay], [bx, by]] = [this.path[0], this.path[this.path.length - 1]];
    return [[ax, ay], [bx, ay], [bx, by], [ax, by]];
  }

  // Rows inside the path that was drawn: the even-odd rule.
  inside() {
    const polygon = this.outline(), found = [], xs = polygon.map(p => p[0]), ys = polygon.map(p => p[1]);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (let row = 0; row < data.x.length; row++) {
      const [px, py] = this.place(row);
      if (px < left || px > right || py < top || py > bottom) continue;
      let odd = false;
      for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
        const [ax, ay] = polygon[i], [bx, by] = polygon[j];
        if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) odd = !odd;
      }
      if (odd) found.push(row);
    }
    return found;
  }

  listen() {
    const { canvas, pointers } = this;
    const spot = event => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
    };
    canvas.addEventListener("pointerdown", event => {
      pointers.set(event.pointerId, spot(event));
      try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that has gone already */ }
      this.travelled = 0;
      this.drawing = this.tool !== "move" ? this.tool : event.shiftKey ? "lasso" : "";
      this.path = this.drawing ? [spot(event)] : [];
      this.events.hover(-1);
    });
    canvas.addEventListener("pointermove", event => {
      const now = spot(event), before = pointers.get(event.pointerId);
      if (!before) { this.events.hover(this.nearest(...now, 10), event); return; }
      this.travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (pointers.size === 2) this.pinch(event.pointerId, now);
      else if (this.drawing) { this.path.push(now); this.ask(); }
      else this.move(now[0] - before[0], now[1] - before[1]);
      pointers.set(event.pointerId, now);
    });
    const end = event => {
      if (!pointers.delete(event.pointerId)) return;
      if (this.travelled < 4 * this.ratio) this.events.click(this.nearest(...spot(event), 14));
      else if (this.drawing && this.path.length > 1) this.events.select(this.inside());
      this.path = [];
      this.ask();
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", event => { pointers.delete(event.pointerId); this.path = []; this.ask(); });
    canvas.addEventListener("pointerleave", () => this.events.hover(-1));
    canvas.addEventListener("wheel", event => {
      event.preventDefault();
      this.zoom(Math.exp(-0.0015 * event.deltaY), ...spot(event));
    }, { passive: false });
    for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => this.ask());
  }

  pinch(id, now) {
    const [[ax, ay], [bx, by]] = this.pointers.values(), other = [...this.pointers].find(([key]) => key !== id)[1];
    const before = Math.hypot(ax - bx, ay - by), after = Math.hypot(now[0] - other[0], now[1] - other[1]);
    if (before > 0 && after > 0) this.zoom(after / before, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    this.path = [];
    this.drawing = "";
  }
}
