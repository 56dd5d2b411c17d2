"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = document.getElementById("mark").namespaceURI;
  const view = { log: false, time: false, hidden: new Set() };
  const charts = [];
  const LEFT = 56, RIGHT = 10, TOP = 8, BOTTOM = 22, LEAST_DRAG = 6;

  const element = (name, attributes, parent, text) => {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  };
  const html = (name, className, parent, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  };
  const look = (run) => `c${run % 8} d${Math.floor(run / 8) % 4}`;
  const swatch = (run, parent) => {
    const box = element("svg", { class: `swatch ${look(run)}`, viewBox: "0 0 24 10", "aria-hidden": "true" }, parent);
    element("path", { class: `line ${look(run)}`, d: "M1,5H23" }, box);
  };

  const number = (value) => {
    const size = Math.abs(value);
    if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
    return Number(value.toPrecision(4)).toLocaleString("en-US", { maximumFractionDigits: 8 });
  };
  const whole = (value) => Number(value.toPrecision(15)).toLocaleString("en-US", { maximumFractionDigits: 6 });
  const span = (seconds) => {
    for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60]]) if (seconds >= 2 * size) return `${number(seconds / size)} ${unit}`;
    return `${number(seconds)} s`;
  };

  const ticks = (low, high, count) => {
    const rough = (high - low) / count;
    if (!(rough > 0) || !isFinite(rough)) return [low];
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((size) => size * power >= rough * 0.999);
    const out = [];
    for (let at = Math.ceil(low / step); at <= high / step + 1e-9 && out.length < 50; at++) out.push(Number((at * step).toPrecision(12)));
    return out;
  };
  const logTicks = (low, high, count) => {
    const decades = Math.log10(high / low);
    if (decades < 1) return ticks(low, high, count).filter((value) => value > 0);
    const every = Math.max(1, Math.ceil(decades / count)), out = [];
    for (let power = Math.ceil(Math.log10(low) - 1e-9); power <= Math.log10(high) + 1e-9; power += every) out.push(10 ** power);
    return out;
  };

  class Chart {
    constructor(panel, figure) {
      this.panel = panel;
      this.figure = figure;
      this.zoom = null;
      this.plot = figure.querySelector(".plot");
      this.note = figure.querySelector("small");
      this.reset = html("button", "", figure.querySelector("figcaption"), "Reset zoom");
      this.reset.type = "button";
      this.reset.hidden = true;
      this.reset.addEventListener("click", () => this.zoomTo(null));
      this.tip = html("div", "tip", figure);
      this.tip.hidden = true;
      this.svg = element("svg", { tabindex: "0", role: "img", "aria-label": figure.dataset.about }, this.plot);
      this.seen = false;
      this.listen();
    }

    curves() {
      return this.panel.curves.filter((curve) => !view.hidden.has(curve.run));
    }
    along(curve) {
      return view.time && curve.seconds ? curve.seconds : view.time ? [] : curve.steps;
    }

    draw() {
      if (!this.seen) return;
      const width = this.plot.clientWidth, height = this.plot.clientHeight;
      this.svg.replaceChildren();
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.box = { width: Math.max(1, width - LEFT - RIGHT), height: Math.max(1, height - TOP - BOTTOM) };
      const curves = this.curves();
      const xs = curves.flatMap((curve) => { const along = this.along(curve); return along.length ? [along[0], along[along.length - 1]] : []; });
      let [x0, x1] = this.zoom || [xs.reduce((a, b) => Math.min(a, b), Infinity), xs.reduce((a, b) => Math.max(a, b), -Infinity)];
      if (x0 === x1) [x0, x1] = [x0 - 0.5, x1 + 0.5];
      let y0 = Infinity, y1 = -Infinity, hiddenByLog = 0;
      for (const curve of curves) {
        const along = this.along(curve);
        for (let i = 0; i < along.length; i++) {
          const value = curve.values[i];
          if (value === null || along[i] < x0 || along[i] > x1) continue;
          if (view.log && value <= 0) { hiddenByLog++; continue; }
          if (value < y0) y0 = value;
          if (value > y1) y1 = value;
        }
      }
      this.say(hiddenByLog, curves);
      if (!(y0 <= y1)) {
        const why = !curves.length ? "every run of it is hidden" : view.time && !xs.length ? "no times were written down"
          : hiddenByLog ? "nothing above 0 for a log scale" : "no finite value here";
        element("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, this.svg, why);
        this.scale = null;
        return;
      }
      [y0, y1] = this.room(y0, y1);
      const flat = view.log ? Math.log : (value) => value;
      const tall = flat(y1) / 2 - flat(y0) / 2;
      this.scale = {
        x: (value) => (value - x0) / (x1 - x0) * this.box.width,
        y: (value) => (flat(y1) / 2 - flat(value) / 2) / tall * this.box.height,
        back: (x) => x0 + x / this.box.width * (x1 - x0),
      };
      this.range = { x: [x0, x1], y: [y0, y1] };
      this.axes(x0, x1, y0, y1, height);
      this.area = element("svg", { x: LEFT, y: TOP, width: this.box.width, height: this.box.height, overflow: "hidden" }, this.svg);
      for (const curve of curves) this.line(curve);
      this.over = element("g", {}, this.area);
    }

    room(y0, y1) {
      if (view.log) return y0 === y1 ? [y0 / 2, y1 * 2] : [y0 / (y1 / y0) ** 0.04, y1 * (y1 / y0) ** 0.04];
      const margin = y0 === y1 ? Math.abs(y0) * 0.1 || 0.5 : (y1 / 2 - y0 / 2) * 0.08;
      return [Math.max(-Number.MAX_VALUE, y0 - margin), Math.min(Number.MAX_VALUE, y1 + margin)];
    }

    say(hiddenByLog, curves) {
      const odd = curves.reduce((sum, curve) => sum + curve.odd, 0);
      const said = [];
      if (odd) said.push(`${whole(odd)} not finite (×)`);
      if (hiddenByLog) said.push(`${whole(hiddenByLog)} of 0 or less not shown`);
      if (view.time && curves.some((curve) => !curve.seconds)) said.push("runs without times not shown");
      this.note.textContent = said.join(" · ");
    }

    axes(x0, x1, y0, y1, height) {
      const group = element("g", {}, this.svg);
      for (const value of (view.log ? logTicks : ticks)(y0, y1, 4)) {
        const y = TOP + this.scale.y(value);
        if (!(y >= TOP - 1 && y <= TOP + this.box.height + 1)) continue;
        element("path", { class: "grid", d: `M${LEFT},${y}h${this.box.width}` }, group);
        element("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, group, number(value));
      }
      for (const value of ticks(x0, x1, Math.max(2, Math.floor(this.box.width / 90)))) {
        const x = LEFT + this.scale.x(value);
        element("text", { x, y: height - 6, "text-anchor": x > LEFT + this.box.width - 25 ? "end" : "middle" }, group, view.time ? span(value) : number(value));
      }
    }

    line(curve) {
      const along = this.along(curve), marks = [];
      let path = "", open = false, last = "";
      for (let i = 0; i < along.length; i++) {
        const value = curve.values[i], x = this.scale.x(along[i]);
        if (value === null) { marks.push(`M${(x - 4).toFixed(1)},${this.box.height - 10}l8,8m0,-8l-8,8`); open = false; continue; }
        if (view.log && value <= 0) { open = false; continue; }
        const at = `${x.toFixed(1)},${this.scale.y(value).toFixed(1)}`;
        if (at === last && open) continue;
        path += open ? `L${at}` : `M${at}h0`;
        open = true;
        last = at;
      }
      const name = data.runs[curve.run].title;
      const drawn = element("path", { class: `line ${look(curve.run)}`, d: path, "data-run": curve.run }, this.area);
      element("title", {}, drawn, name);
      if (marks.length) element("path", { class: `odd ${look(curve.run)}`, d: marks.join("") }, this.area);
    }

    hover(x) {
      if (!this.scale) return;
      this.over.replaceChildren();
      this.tip.replaceChildren();
      const wanted = this.scale.back(x);
      let nearest = null;
      const found = [];
      for (const curve of this.curves()) {
        const along = this.along(curve);
        if (!along.length) continue;
        let low = 0, high = along.length - 1;
        while (low < high) { const middle = (low + high) >> 1; if (along[middle] < wanted) low = middle + 1; else high = middle; }
        const at = low > 0 && wanted - along[low - 1] < along[low] - wanted ? low - 1 : low;
        found.push([curve, at]);
        if (nearest === null || Math.abs(along[at] - wanted) < Math.abs(nearest - wanted)) nearest = along[at];
      }
      if (nearest === null) return;
      this.cursor = this.scale.x(nearest);
      element("path", { class: "cross", d: `M${this.cursor},0V${this.box.height}` }, this.over);
      html("div", "dim", this.tip, view.time ? `after ${span(nearest)}` : `step ${whole(nearest)}`);
      for (const [curve, at] of found) {
        const value = curve.values[at], where = this.along(curve)[at];
        const row = html("div", "", this.tip);
        swatch(curve.run, row);
        html("span", "", row, data.runs[curve.run].title);
        html("b", "", row, (value === null ? "not finite" : number(value)) + (where === nearest ? "" : view.time ? ` after ${span(where)}` : ` at ${whole(where)}`));
        if (value !== null && !(view.log && value <= 0)) element("circle", { class: `dot ${look(curve.run)}`, cx: this.scale.x(where), cy: this.scale.y(value), r: 3.5 }, this.over);
      }
      this.tip.hidden = false;
      const side = this.cursor > this.box.width / 2 ? this.cursor + LEFT - this.tip.offsetWidth - 10 : this.cursor + LEFT + 24;
      this.tip.style.left = `${Math.max(2, Math.min(side, this.figure.clientWidth - this.tip.offsetWidth - 2))}px`;
      this.tip.style.top = `${this.plot.offsetTop + 6}px`;
    }
    leave() {
      this.tip.hidden = true;
      if (this.over) this.over.replaceChildren();
    }
    zoomTo(range) {
      this.zoom = range;
      this.reset.hidden = range === null;
      this.leave();
      this.draw();
    }

    listen() {
      let from = null;
      const inside = (event) => Math.max(0, Math.min(this.box.width, event.clientX - this.svg.getBoundingClientRect().left - LEFT));
      this.svg.addEventListener("pointerdown", (event) => {
        if (!this.scale || event.button !== 0) return;
        from = inside(event);
        this.svg.setPointerCapture(event.pointerId);
      });
      this.svg.addEventListener("pointermove", (event) => {
        if (!this.scale) return;
        const x = inside(event);
        this.hover(x);
        if (from !== null && Math.abs(x - from) > LEAST_DRAG) {
          element("rect", { class: "drag", x: Math.min(x, from), y: 0, width: Math.abs(x - from), height: this.box.height }, this.over);
        }
      });
      this.svg.addEventListener("pointerup", (event) => {
        const start = from, x = this.scale ? inside(event) : 0;
        from = null;
        if (start === null || !this.scale || Math.abs(x - start) <= LEAST_DRAG) return;
        this.zoomTo([this.scale.back(Math.min(x, start)), this.scale.back(Math.max(x, start))]);
      });
      this.svg.addEventListener("pointercancel", () => { from = null; this.leave(); });
      this.svg.addEventListener("pointerleave", () => { if (from === null) this.leave(); });
      this.svg.addEventListener("dblclick", () => this.zoomTo(null));
      this.svg.addEventListener("blur", () => this.leave());
      this.svg.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (event.key === "Escape") this.zoomTo(null);
        else if (step && this.scale) {
          event.preventDefault();
          const at = this.tip.hidden ? this.box.width / 2 : this.cursor;
          this.hover(Math.max(0, Math.min(this.box.width, at + step * Math.max(4, this.box.width / 50))));
        }
      });
    }
  }

  const redraw = () => charts.forEach((chart) => chart.draw());
  const everything = () => { charts.forEach((chart) => { chart.seen = true; }); redraw(); };
  const on = (id, event, act) => { const found = document.getElementById(id); if (found) found.addEventListener(event, () => act(found)); };

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      const chart = charts[entry.target.dataset.panel];
      if (!chart.seen) { chart.seen = true; chart.draw(); }
    }
  }, { rootMargin: "300px" });
  document.querySelectorAll("figure[data-panel]").forEach((figure) => {
    const chart = new Chart(data.panels[figure.dataset.panel], figure);
    charts[figure.dataset.panel] = chart;
    watcher.observe(figure);
    new ResizeObserver(() => chart.draw()).observe(chart.plot);
  });

  const legend = document.getElementById("legend");
  data.runs.forEach((run, at) => {
    const button = html("button", "", legend);
    button.type = "button";
    button.title = run.title;
    swatch(at, button);
    html("bdi", "", button, run.title);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const shown = view.hidden.has(at);
      if (shown) view.hidden.delete(at); else view.hidden.add(at);
      button.setAttribute("aria-pressed", String(shown));
      redraw();
    });
  });

  on("log", "change", (box) => { view.log = box.checked; redraw(); });
  on("axis", "change", (box) => { view.time = box.value === "time"; charts.forEach((chart) => { chart.zoom = null; chart.reset.hidden = true; }); redraw(); });
  on("filter", "input", (box) => {
    const wanted = box.value.toLowerCase();
    document.querySelectorAll("figure[data-panel]").forEach((figure) => {
      const panel = data.panels[figure.dataset.panel];
      figure.hidden = !(panel.name.toLowerCase().includes(wanted) || panel.label.toLowerCase().includes(wanted));
    });
    document.querySelectorAll("section.group").forEach((section) => { section.hidden = !section.querySelector("figure:not([hidden])"); });
  });

  const root = document.documentElement, themes = ["auto", "light", "dark"];
  const dress = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    document.getElementById("theme").textContent = `Theme: ${theme}`;
  };
  let theme = "auto";
  try { theme = localStorage.getItem("stoker-theme") || "auto"; } catch { /* a file may have no storage */ }
  if (!themes.includes(theme)) theme = "auto";
  dress(theme);
  on("theme", "click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    dress(theme);
    try { localStorage.setItem("stoker-theme", theme); } catch { /* as above */ }
  });
  addEventListener("beforeprint", everything);
  document.querySelectorAll(".scripted").forEach((part) => { part.hidden = false; });
})();
