/** One metric with its values, in the form of prom-client's `getMetricsAsJSON`. */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** What becomes of the values that several processes have for the same labels. */
  readonly aggregator: string
  readonly values: readonly MetricValue[]
}

export interface MetricValue {
  readonly labels: Labels
  readonly value: number
  /** Of one line, where it is not that of the family. */
  readonly metricName?: string
}

export type Labels = Readonly<Record<string, string | number>>

/** Labels and value of each line. */
export type Lines = Iterable<readonly [Labels, number]>

export const counter = (name: string, help: string, lines: Lines): MetricFamily => family('counter', name, help, lines)

export const gauge = (name: string, help: string, lines: Lines): MetricFamily => family('gauge', name, help, lines)

export function histogram(
  name: string,
  help: string,
  distributions: Iterable<readonly [Labels, Distribution]>
): MetricFamily {
  const values = [...distributions].flatMap(([labels, distribution]) => distribution.values(name, labels))
  return { name, help, type: 'histogram', aggregator: 'sum', values }
}

function family(type: 'counter' | 'gauge', name: string, help: string, lines: Lines): MetricFamily {
  const values = Array.from(lines, ([labels, value]) => ({ labels, value }))
  return { name, help, type, aggregator: 'sum', values }
}

/** How often values of which size occurred. */
export class Distribution {
  readonly #counts: number[]
  #count = 0
  #sum = 0

  /** `bounds` go up; a value counts for the first bound that is not below it. */
  constructor(private readonly bounds: readonly number[]) {
    this.#counts = bounds.map(() => 0)
  }

  observe(value: number): void {
    const at = this.bounds.findIndex((bound) => value <= bound)
    if (at !== -1) this.#counts[at] = (this.#counts[at] ?? 0) + 1
    this.#count++
    this.#sum += value
  }

  /** The lines of a Prometheus histogram, whose buckets hold all values up to their bound. */
  values(name: string, labels: Labels): readonly MetricValue[] {
    let upToHere = 0
    const buckets = this.bounds.map((bound, at) => {
      upToHere += this.#counts[at] ?? 0
      return { labels: { ...labels, le: bound }, value: upToHere, metricName: `${name}_bucket` }
    })
    return [
      ...buckets,
      { labels: { ...labels, le: '+Inf' }, value: this.#count, metricName: `${name}_bucket` },
      { labels, value: this.#sum, metricName: `${name}_sum` },
      { labels, value: this.#count, metricName: `${name}_count` }
    ]
  }
}

/** How often each of several things occurred, by its name. */
export class Tally {
  readonly #counts: Map<string, number>

  /** Names that are reported before they occur, so that an alert has something to look at. */
  constructor(expected: readonly string[] = []) {
    this.#counts = new Map(expected.map((name) => [name, 0]))
  }

  add(name: string, count = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count)
  }

  /** `label` is the name of the label that tells them apart. */
  *lines(label: string): Generator<[Labels, number]> {
    for (const [name, count] of this.#counts) yield [{ [label]: name }, count]
  }
}
