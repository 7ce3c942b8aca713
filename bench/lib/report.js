// Figures, ratios and goals: as JSON to keep, and as a table to read.
import { cpus } from 'node:os'
import { quantile, summary } from './measure.js'

const method =
  'cpuMicroseconds: CPU time, user and system, that the proxy spent on one request or event. ' +
  'ratio: of what one core can do, 1 / CPU time, taken within each round; median of the rounds. ' +
  'throughputRatio: of requests or events per second with the proxy on one core and the load on another, ' +
  'where a cheap proxy is limited by the load generator.'

/** `measured` is what the scenarios gave, by their name. */
export function reportOf(measured, { skipped, versions }) {
  const report = {
    machine: `${cpus().length} x ${cpus()[0]?.model}`,
    versions,
    method,
    skipped,
    figures: {},
    goals: []
  }
  for (const name of ['calls', 'streams']) {
    if (measured[name] !== undefined) report.figures[name] = rates(measured[name])
  }
  if (measured.latency !== undefined) report.figures.latency = delays(measured.latency)
  if (measured.memory !== undefined) report.figures.memory = measured.memory
  report.goals = goals(measured, report.figures)
  return report
}

export function printReport({ machine, versions, skipped, figures, goals }) {
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  console.log(`${machine}, ${names.join(', ')}`)
  for (const [name, why] of Object.entries(skipped)) console.log(`skipped: ${name}: ${why}`)
  const { calls, streams, latency, memory } = figures
  const disturbed = Object.values({ ...calls, ...streams }).map(({ others }) => others.median)
  if (Math.max(0, ...disturbed) > 0.1) {
    console.log(`other programs used up to ${Math.max(...disturbed)} cores meanwhile: these figures say little`)
  }
  if (calls !== undefined) printRates('chat completion, 2 KB in and out', 'requests/s', calls)
  if (streams !== undefined) printRates('events of 250 bytes, 50 streams', 'events/s', streams)
  if (latency !== undefined) {
    printTable(
      'delay of single events',
      ['ms: p50', 'p99', 'most', 'within 5 ms'],
      Object.entries(latency).map(([name, { p50, p99, most, within5ms }]) => [
        name,
        p50,
        p99,
        most,
        `${(within5ms * 100).toFixed(1)} %`
      ])
    )
  }
  if (memory !== undefined) {
    printTable(
      'memory',
      ['MB at rest', 'KB per idle stream', 'before collection'],
      Object.entries(memory).map(([name, { restBytes, perStreamBytes, uncollectedPerStreamBytes }]) => [
        name,
        (restBytes / 1e6).toFixed(1),
        (perStreamBytes / 1e3).toFixed(1),
        (uncollectedPerStreamBytes / 1e3).toFixed(1)
      ])
    )
  }
  printTable(
    'goals (ratios: of what one core can do)',
    ['figure', 'least–most', 'by throughput', 'goal', ''],
    goals.map(({ what, value, least, most, throughputRatio, goal, met }) => [
      what,
      value,
      least === undefined ? '' : `${least}–${most}`,
      throughputRatio ?? '',
      goal,
      met ? 'met' : 'NOT MET'
    ])
  )
}

function rates(lanes) {
  return Object.fromEntries(
    Object.entries(lanes).map(([name, rounds]) => {
      const cpuMicroseconds = rounded(summary(rounds.map((round) => round.cpuMicroseconds)), 1)
      return [
        name,
        {
          cpuMicroseconds,
          oneCorePerSecond: Math.round(1e6 / cpuMicroseconds.median),
          perSecond: rounded(summary(rounds.map(({ perSecond }) => perSecond)), 0),
          busy: rounded(summary(rounds.map(({ busy }) => busy)), 2),
          others: rounded(summary(rounds.map(({ others }) => others)), 2)
        }
      ]
    })
  )
}

function delays(lanes) {
  return Object.fromEntries(
    Object.entries(lanes).map(([name, all]) => {
      const within5ms = all.filter((delay) => delay <= 5).length / all.length
      const [p50, p99, most] = [quantile(all, 0.5), quantile(all, 0.99), Math.max(...all)]
      return [name, { p50: fixed(p50, 2), p99: fixed(p99, 2), most: fixed(most, 2), within5ms: fixed(within5ms, 4) }]
    })
  )
}

/** The numbers to reach; a goal without its figures is left out. */
function goals(measured, { calls, latency, memory }) {
  return [
    ratioGoal('plain call / bare Node', measured.calls, 'router', 'bare Node', 1.2),
    ratioGoal('plain call / Portkey', measured.calls, 'router', 'Portkey', 15),
    ratioGoal("EHBP call / Portkey's plain", measured.calls, 'router, EHBP', 'Portkey', 4),
    ratioGoal('plain event / nginx', measured.streams, 'router', 'nginx', 0.9),
    ratioGoal("EHBP event / nginx's plain", measured.streams, 'router, EHBP', 'nginx', 0.45),
    limitGoal('EHBP call, ms of CPU', calls?.['router, EHBP']?.cpuMicroseconds.median / 1000, 0.35, 3),
    ...['router', 'router, EHBP'].map((name) =>
      limitGoal(`delay of an event, ms p99 (${name})`, latency?.[name]?.p99, 5, 2)
    ),
    limitGoal('at rest, MB', memory?.router.restBytes / 1e6, 120, 1),
    ...['router', 'router, EHBP'].map((name) =>
      limitGoal(`idle stream, KB (${name})`, memory?.[name]?.perStreamBytes / 1e3, 30, 1)
    )
  ].filter((goal) => goal !== undefined)
}

function ratioGoal(what, lanes, ours, theirs, goal) {
  const rounds = lanes?.[ours]?.map((round, index) => [round, lanes[theirs]?.[index]])
  if (rounds === undefined || rounds.some(([, other]) => other === undefined)) return undefined
  const byCpu = summary(rounds.map(([own, other]) => other.cpuMicroseconds / own.cpuMicroseconds))
  const byThroughput = summary(rounds.map(([own, other]) => own.perSecond / other.perSecond))
  return {
    what,
    value: fixed(byCpu.median, 2),
    least: fixed(byCpu.least, 2),
    most: fixed(byCpu.most, 2),
    throughputRatio: fixed(byThroughput.median, 2),
    goal: `>= ${goal}`,
    met: byCpu.median >= goal
  }
}

function limitGoal(what, value, limit, digits) {
  if (value === undefined || Number.isNaN(value)) return undefined
  return { what, value: fixed(value, digits), goal: `< ${limit}`, met: value < limit }
}

function printRates(title, unit, lanes) {
  printTable(
    title,
    ['CPU µs', 'least–most', 'one core', unit, 'core busy'],
    Object.entries(lanes).map(([name, { cpuMicroseconds: cpu, oneCorePerSecond, perSecond, busy }]) => [
      name,
      cpu.median,
      `${cpu.least}–${cpu.most}`,
      oneCorePerSecond,
      perSecond.median,
      busy.median
    ])
  )
}

function printTable(title, columns, rows) {
  const lines = [[title, ...columns], ...rows].map((cells) => cells.map(String))
  const widths = lines[0].map((_, column) => Math.max(...lines.map((cells) => cells[column].length)))
  console.log('')
  for (const [first, ...cells] of lines) {
    console.log([first.padEnd(widths[0]), ...cells.map((cell, i) => cell.padStart(widths[i + 1]))].join('  ').trimEnd())
  }
}

const rounded = ({ median, least, most }, digits) => ({
  median: fixed(median, digits),
  least: fixed(least, digits),
  most: fixed(most, digits)
})

const fixed = (value, digits) => Number(value.toFixed(digits))
