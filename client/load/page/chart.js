'use strict';
// Numbers for people, elements, and a line chart.

const kPercentiles = [['p50', 'p50'], ['p90', 'p90'], ['p99', 'p99'], ['p99.9', 'p999'], ['p99.99', 'p9999'],
                      ['p99.999', 'p99999'], ['max', 'max']];

function digits(value) {
  return value === 0 ? '0' : Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
function time(us) {
  if (us === null || us === undefined) return '–';
  if (us < 1) return digits(us * 1e3) + ' ns';
  return us < 1e3 ? digits(us) + ' µs' : us < 1e6 ? digits(us / 1e3) + ' ms' : digits(us / 1e6) + ' s';
}
function count(value) {
  return value === null || value === undefined ? '–' : Math.round(value).toLocaleString('en-US');
}
function rate(value) {
  return value === null || value === undefined ? '–' : value < 100 ? digits(value) : count(value);
}
function bytes(value) {
  const units = ['B', 'kB', 'MB', 'GB'];
  let unit = 0;
  while (value >= 1000 && unit < 3) { value /= 1000; ++unit; }
  return digits(value) + ' ' + units[unit];
}
function total(counts) { return Object.values(counts).reduce((sum, n) => sum + n, 0); }

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
function drawn(name, attributes, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
function fill(id, ...children) { document.getElementById(id).replaceChildren(...children); }

// ---- charts

const kWidth = 620, kHeight = 300, kLeft = 64, kRight = 14, kTop = 12, kBottom = 40;

// Maps [low, high] to pixels, and knows where the grid's lines are. kind: linear or log.
function scale(kind, low, high, from, to) {
  const f = kind === 'log' ? Math.log10 : (v) => v;
  if (!(high > low)) high = kind === 'log' ? low * 10 : low + 1;
  const at = (v) => from + (f(v) - f(low)) / (f(high) - f(low)) * (to - from);
  const ticks = [];
  if (kind === 'log') {
    const decades = Math.log10(high / low);
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); ++e) {
      for (const m of decades > 4 ? [1] : decades > 1.2 ? [1, 3] : [1, 2, 3, 5, 7]) {
        const tick = m * 10 ** e;
        if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
      }
    }
  } else {
    const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    for (let i = Math.ceil(low / step); i * step <= high * 1.0001; ++i) ticks.push(i * step);
  }
  return {at, ticks};
}
function timeRange(values) {
  const positive = values.filter((v) => v > 0);
  if (positive.length === 0) return [1, 10];
  return [Math.min(...positive) * 0.8, Math.max(...positive) * 1.25];
}

// One chart as a card: {id, title, hint, x, y, xLabel, xText, yText, series, marks, slo}. x and y are scales; a
// series is {name, label, points: [[x, y]], dots}; a mark is {from, to, text}: a second with errors.
function chart(c) {
  const svg = drawn('svg', {viewBox: `0 0 ${kWidth} ${kHeight}`, role: 'img', 'aria-label': c.summary, id: c.id});
  svg.append(drawn('title', {}, c.summary));
  for (const tick of c.y.ticks) {
    const y = c.y.at(tick);
    svg.append(drawn('line', {class: 'grid', x1: kLeft, x2: kWidth - kRight, y1: y, y2: y}));
    svg.append(drawn('text', {x: kLeft - 8, y: y + 4, 'text-anchor': 'end'}, c.yText(tick)));
  }
  for (const tick of c.x.ticks) {
    const x = c.x.at(tick);
    svg.append(drawn('line', {class: 'grid', x1: x, x2: x, y1: kTop, y2: kHeight - kBottom}));
    svg.append(drawn('text', {x, y: kHeight - kBottom + 17, 'text-anchor': 'middle'}, c.xText(tick)));
  }
  svg.append(drawn('text', {x: (kLeft + kWidth) / 2, y: kHeight - 5, 'text-anchor': 'middle'}, c.xLabel));
  for (const mark of c.marks || []) {
    const from = Math.max(kLeft, c.x.at(mark.from)), to = Math.min(kWidth - kRight, c.x.at(mark.to));
    const rect = drawn('rect', {class: 'error-mark', x: from, y: kTop, width: Math.max(2, to - from),
                                height: kHeight - kTop - kBottom});
    rect.append(drawn('title', {}, mark.text));
    svg.append(rect);
  }
  if (c.slo !== undefined) {
    const y = c.y.at(c.slo.us);
    if (y >= kTop && y <= kHeight - kBottom) {
      svg.append(drawn('line', {class: 'slo', x1: kLeft, x2: kWidth - kRight, y1: y, y2: y}));
      svg.append(drawn('text', {x: kWidth - kRight - 4, y: y - 4, 'text-anchor': 'end'}, c.slo.text));
    }
  }
  for (const s of c.series) draw(svg, c, s);
  const readout = element('div', {class: 'readout'});
  follow(svg, c, readout);
  const card = element('div', {class: 'card'}, element('h2', {}, c.title), element('p', {class: 'hint'}, c.hint), svg);
  card.append(legend(c.series.filter((s) => s.label)), readout);
  return card;
}

function draw(svg, c, s) {
  let path = '';
  for (const [x, y] of s.points) {
    path += (path ? 'L' : 'M') + c.x.at(x).toFixed(1) + ' ' + c.y.at(y).toFixed(1);
  }
  svg.append(drawn('path', {class: 'series s-' + s.name, d: path, 'data-series': s.id || s.name,
                            'data-points': JSON.stringify(s.points)}));
  if (!s.dots && s.points.length > 1) return;
  for (const [x, y] of s.points) {
    svg.append(drawn('circle', {class: 'dot s-' + s.name, cx: c.x.at(x), cy: c.y.at(y), r: 3.5}));
  }
}

function legend(series) {
  const box = element('div', {class: 'legend'});
  for (const s of series) {
    const key = drawn('svg', {viewBox: '0 0 22 10', 'aria-hidden': 'true'});
    key.append(drawn('path', {class: 'series s-' + s.name, d: 'M0 5L22 5'}));
    box.append(element('span', {}, key, s.label));
  }
  return box;
}

// A line under the pointer, and in words what the series say there.
function follow(svg, c, readout) {
  const line = drawn('line', {class: 'cursor', y1: kTop, y2: kHeight - kBottom});
  svg.append(line);
  const xs = [...new Set(c.series.filter((s) => s.label).flatMap((s) => s.points.map((p) => p[0])))];
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const pixel = (event.clientX - box.left) / box.width * kWidth;
    const distance = (x) => Math.abs(c.x.at(x) - pixel);
    const x = xs.reduce((best, each) => distance(each) < distance(best) ? each : best, xs[0]);
    if (x === undefined) return;
    line.setAttribute('x1', c.x.at(x));
    line.setAttribute('x2', c.x.at(x));
    line.style.visibility = 'visible';
    const parts = c.series.filter((s) => s.label).flatMap((s) =>
        s.points.filter((p) => p[0] === x).map((p) => s.label + ' ' + c.yText(p[1])));
    readout.textContent = c.xName(x) + ': ' + parts.join(', ');
  });
  svg.addEventListener('pointerleave', () => { line.style.visibility = 'hidden'; readout.textContent = ''; });
}

// The bound on a percentile that an SLO such as "p99<5ms,p50<1ms" sets, if any.
function sloBound(run, percentile) {
  if (!run.slo) return undefined;
  for (const part of run.slo.expression.split(',')) {
    const match = /^\s*([a-z0-9.]+)\s*<\s*([0-9.]+)(ns|us|ms|s|m)\s*$/.exec(part);
    if (match && match[1] === percentile) {
      const us = Number(match[2]) * {ns: 1e-3, us: 1, ms: 1e3, s: 1e6, m: 6e7}[match[3]];
      return {us, text: part.trim()};
    }
  }
  return undefined;
}
