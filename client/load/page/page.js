// Draws the report that stands in this page as JSON. Text of the report goes into the page as text alone.

const report = JSON.parse(document.getElementById('report').textContent);
const runs = report.runs;
let chosen = Math.max(0, runs.findIndex((run) =>
    run.achieved_rate === report.achieved_rate && run.latency_us.p99 === report.latency_us.p99));

// A figure, shown for people and with the report's own number and its place in it for programs.
function figure(name, path, shown, attributes) {
  const value = path.split('/').reduce((at, key) => at[key], report);
  return element(name, {'data-path': path, 'data-value': JSON.stringify(value), ...attributes}, shown(value));
}

// ---- the charts

// The seconds that are worth drawing. The last second, when no call is due any more, counts where it shows
// something else.
function drawnSeconds(run) {
  return run.timeline.filter((s) => s.ok + s.errors > 0 && (s.offered > 0 || s.errors > 0 || s.ok > run.ok / 100));
}
// Of both charts over time, so that what stands above each other happened together.
function secondsScale(run) {
  const last = Math.max(1, ...drawnSeconds(run).map((s) => s.t_s));
  return scale('linear', 0, last, kLeft, kWidth - kRight);
}
// Without a right answer there is no latency, and 0 would look like a good one.
function latency(run, shown) { return run.ok > 0 ? shown : () => '–'; }

function latencyOverTime(run) {
  const seconds = drawnSeconds(run);
  const end = Math.max(1, ...seconds.map((s) => s.t_s + 1));
  const answered = seconds.filter((s) => s.max_us > 0);
  const [low, high] = timeRange(answered.flatMap((s) => [s.p50_us, s.max_us]));
  const points = (key) => answered.map((s) => [s.t_s, s[key]]);
  return chart({
    id: 'latency-over-time', title: 'Latency over time',
    hint: 'Each second’s calls, by the second in which they ended.' +
        (run.loop === 'open' ? ' Latency counts from when a call was due.' : ''),
    summary: `Latency over ${end} seconds: p50 ${time(run.latency_us.p50)}, p99 ${time(run.latency_us.p99)}, ` +
        `longest ${time(run.latency_us.max)}.`,
    x: secondsScale(run), y: scale('log', low, high, kHeight - kBottom, kTop),
    xLabel: 'seconds', xText: digits, xName: (x) => 'second ' + x, yText: time,
    series: [{name: 'max', label: 'longest', points: points('max_us')},
             {name: 'p99', label: 'p99', points: points('p99_us')},
             {name: 'p50', label: 'p50', points: points('p50_us')}],
    marks: seconds.filter((s) => s.errors > 0).map((s) => (
        {from: s.t_s - 0.5, to: s.t_s + 0.5, text: `second ${s.t_s}: ${count(s.errors)} errors`})),
    slo: sloBound(run, 'p99'),
  });
}

function rateOverTime(run) {
  const seconds = run.timeline.filter((s) => s.t_s < run.duration_s);
  const of = (key) => seconds.map((s) => [s.t_s, s[key]]);
  const series = [{name: 'offered', label: run.loop === 'open' ? 'due' : 'started', points: of('offered')},
                  {name: 'other', label: 'answered', points: of('ok')}];
  const errors = total(run.errors);
  if (errors > 0) series.push({name: 'max', label: 'errors', points: of('errors')});
  return chart({
    id: 'rate-over-time', title: 'Calls over time', hint: 'Calls that were due, or started, and answers in each second.',
    summary: `Calls each second: ${rate(run.achieved_rate)} answered on average, ${count(errors)} errors in all.`,
    x: secondsScale(run),
    y: scale('linear', 0, Math.max(1, ...series.flatMap((s) => s.points.map((p) => p[1]))) * 1.08,
             kHeight - kBottom, kTop),
    xLabel: 'seconds', xText: digits, xName: (x) => 'second ' + x, yText: count, series,
  });
}

// x is 1 / (1 - quantile): equal steps for 90, 99, 99.9 %.
function spectrum(run) {
  const last = 1e5;
  const points = (each) => each.spectrum.filter((p) => p[1] > 0).map(([quantile, us]) =>
      [Math.min(last * 1.6, 1 / Math.max(1e-9, 1 - quantile)), us]);
  const others = runs.filter((each) => each !== run && each.calls > 0);
  const [low, high] = timeRange([run, ...others].flatMap((each) => points(each).map((p) => p[1])));
  const names = {2: '50 %', 10: '90 %', 100: '99 %', 1000: '99.9 %', 10000: '99.99 %', 100000: '99.999 %'};
  const x = scale('log', 1, last * 1.6, kLeft, kWidth - kRight);
  x.ticks = [2, 10, 100, 1000, 10000, 100000];
  return chart({
    id: 'spectrum', title: 'Percentile spectrum',
    hint: 'How long all but the slowest calls took: each step to the right leaves a tenth of them.',
    summary: 'Latency by percentile: ' +
        kPercentiles.map(([label, key]) => `${label} ${time(run.latency_us[key])}`).join(', ') + '.',
    x, y: scale('log', low, high, kHeight - kBottom, kTop),
    xLabel: 'percentile', xText: (v) => names[v], xName: (v) => (100 - 100 / v).toFixed(v > 1e4 ? 4 : 2) + ' %',
    yText: time,
    series: [...others.map((each) => ({name: 'unchosen', id: each.label, points: points(each)})),
             {name: 'chosen', id: run.label, label: run.label, points: points(run)}],
    slo: sloBound(run, 'p99'),
  });
}

function rateAgainstLatency(run) {
  const sorted = runs.filter((each) => each.ok > 0).sort((a, b) => a.achieved_rate - b.achieved_rate);
  const points = (key) => sorted.map((each) => [each.achieved_rate, each.latency_us[key]]);
  const [low, high] = timeRange(sorted.flatMap((each) => [each.latency_us.p50, each.latency_us.p999]));
  const most = Math.max(1, ...sorted.map((each) => each.achieved_rate));
  return chart({
    id: 'rate-against-latency', title: 'Rate against latency', hint: 'A point for each run. Up and right is what load costs.',
    summary: 'Latency at each run’s rate: ' + sorted.map((each) =>
        `${rate(each.achieved_rate)} calls/s with p99 ${time(each.latency_us.p99)}`).join('; ') + '.',
    x: scale('linear', 0, most * 1.05, kLeft, kWidth - kRight), y: scale('log', low, high, kHeight - kBottom, kTop),
    xLabel: 'answered calls/s', xText: count, xName: (x) => rate(x) + ' calls/s', yText: time,
    series: [{name: 'max', label: 'p99.9', points: points('p999'), dots: true},
             {name: 'p99', label: 'p99', points: points('p99'), dots: true},
             {name: 'p50', label: 'p50', points: points('p50'), dots: true}],
    slo: sloBound(run, 'p99'),
  });
}

// ---- figures and tables

function notices() {
  const made = report.failures.map((text) => ['bad', 'Failed', text]);
  for (const run of runs) {
    for (const text of run.saturation) made.push(['warn', 'The generator was the limit', `${run.label}: ${text}`]);
  }
  if (report.search) {
    const {variable, best, slo} = report.search;
    made.push(best === null ? ['bad', 'Search', `no ${variable} meets ${slo}`]
                            : ['good', 'Search', `the highest ${variable} that meets ${slo} is ${rate(best)}`]);
  }
  if (made.length === 0) made.push(['good', 'Passed', 'no wrong answer, and every bound is met']);
  return made.map(([kind, title, text]) => element('p', {class: 'notice ' + kind}, element('b', {}, title), text));
}

function tiles() {
  const at = `runs/${chosen}/`, run = runs[chosen];
  const tile = (label, path, shown, bad) => element('div', {class: bad ? 'tile bad' : 'tile'},
      figure('div', at + path, shown, {class: 'value'}), element('div', {class: 'label'}, label));
  return [tile('calls/s', 'achieved_rate', rate), tile('pairs/s', 'pairs_per_second', rate),
          tile('data/s', 'bytes_per_second', bytes), tile('p50', 'latency_us/p50', latency(run, time)),
          tile('p99', 'latency_us/p99', latency(run, time)), tile('p99.9', 'latency_us/p999', latency(run, time)),
          tile('longest', 'latency_us/max', latency(run, time)),
          tile('errors', 'errors', (errors) => count(total(errors)), total(run.errors) > 0),
          tile('wrong answers', 'wrong_answers', count, run.wrong_answers > 0)];
}

function table(title, heads, rows, hint) {
  const cell = (name, value) => value instanceof Node ? value : element(name, {}, String(value));
  const head = element('thead', {}, element('tr', {}, ...heads.map((h) => cell('th', h))));
  const body = element('tbody', {}, ...rows.map((r) => r instanceof Node ? r : element('tr', {}, ...r.map((v) => cell('td', v)))));
  const card = element('div', {class: 'card'}, element('h2', {}, title));
  if (hint) card.append(element('p', {class: 'hint'}, hint));
  card.append(element('div', {class: 'scroll'}, element('table', {}, head, body)));
  return card;
}
const text = (value) => element('td', {class: 'text'}, String(value));

function runTable() {
  const rows = runs.map((run, i) => {
    const at = `runs/${i}/`;
    const row = element('tr', i === chosen && runs.length > 1 ? {class: 'chosen'} : {}, text(run.label),
        figure('td', at + 'offered_rate', rate), figure('td', at + 'achieved_rate', rate));
    for (const [, key] of kPercentiles) row.append(figure('td', at + 'latency_us/' + key, latency(run, time)));
    row.append(figure('td', at + 'calls', count), element('td', {}, count(total(run.errors))),
               figure('td', at + 'wrong_answers', count),
               element('td', {}, run.slo ? (run.slo.met ? 'met' : 'missed') : '–'));
    return row;
  });
  return table('Runs', ['run', 'offered/s', 'calls/s', ...kPercentiles.map((p) => p[0]), 'calls', 'errors', 'wrong', 'SLO'], rows);
}

function tables() {
  const run = runs[chosen], made = [runTable()];
  if (total(run.errors) > 0) {
    made.push(table('Errors', ['code', 'calls', element('th', {class: 'text'}, 'the first one said')],
        Object.keys(run.errors).map((code) => [code, figure('td', `runs/${chosen}/errors/${code}`, count),
                                               text(run.error_texts[code] || '')])));
  }
  if (run.server_us) {
    made.push(table('Where the time went', ['', 'p50', 'p99'], [
      ['waiting for a lane, on the server', ...['p50', 'p99'].map((p) => figure('td', `runs/${chosen}/server_us/queue/${p}`, time))],
      ['computing, on the server', ...['p50', 'p99'].map((p) => figure('td', `runs/${chosen}/server_us/compute/${p}`, time))],
      ['from due to started, here', ...['p50', 'p99'].map((p) => figure('td', `runs/${chosen}/start_delay_us/${p}`, time))],
      ['all of it', ...['p50', 'p99'].map((p) => figure('td', `runs/${chosen}/latency_us/${p}`, latency(run, time)))]],
      'Server times as the answers tell them. The rest is the network, gRPC and the client.'));
  }
  if (report.search) {
    made.push(table('Search', [report.search.variable, 'held', 'windows', 'worst p99'], report.search.steps.map((step) => [
      rate(step.value), step.held ? 'yes' : 'no', step.windows.map((w) => w.good ? '●' : '○').join(' '),
      time(Math.max(0, ...step.windows.map((w) => w.p99_us)))]), report.search.rule));
  }
  return made;
}

function settings() {
  const {workload, server} = report, made = [];
  const shapes = workload.shapes.map((s) => s.shape.join('×') + (workload.shapes.length > 1 ? ` (weight ${s.weight})` : ''));
  made.push(['workload', `${workload.mode}, ${shapes.join(', ')} ${workload.dtype}, ${workload.reduction}` +
      (workload.log_target ? ', log target' : '') + (workload.mode === 'batch' ? `, ${workload.batch_pairs} pairs a message` : '')]);
  made.push(['connections', `${workload.connections}, seed ${workload.seed}`]);
  made.push(['answers', workload.verify ? 'each compared, bit for bit, with the loss computed here' : 'not compared']);
  if (server) {
    made.push(['server', `${server.address}: kldiv ${server.version}, ${server.backend} (${server.devices.join('; ')})`]);
  }
  made.push(['command', element('code', {}, report.command.join(' '))]);
  return table('Settings', ['', element('th', {class: 'text'}, '')], made.map(([name, value]) =>
      [name, value instanceof Node ? element('td', {class: 'text'}, value) : text(value)]));
}

function show() {
  const run = runs[chosen];
  fill('tiles', ...tiles());
  fill('run-choice', ...(runs.length < 2 ? [] : runs.map((each, i) => {
    const button = element('button', {type: 'button', 'aria-pressed': String(i === chosen)}, each.label);
    button.addEventListener('click', () => { chosen = i; show(); });
    return button;
  })));
  fill('charts', ...(runs.length > 1 ? [rateAgainstLatency(run)] : []), latencyOverTime(run), spectrum(run), rateOverTime(run));
  fill('tables', ...tables(), settings());
}

const deciding = runs[chosen];
const headline = `${rate(report.achieved_rate)} calls/s, ` +
    (deciding.ok > 0 ? `p99 ${time(report.latency_us.p99)}` : 'no right answer');
const where = report.server ? report.server.address : '';
document.title = `kldiv-load: ${headline}`;
fill('headline', headline);
fill('subtitle', `${where ? where + ', ' : ''}${report.started.replace('T', ' ').replace('Z', ' UTC')}`);
fill('notices', ...notices());
fill('footer', `kldiv-load ${report.version}. This page holds its data as JSON and loads nothing.`);
show();
document.body.dataset.drawn = 'true';
