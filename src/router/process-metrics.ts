import { AggregatorRegistry, collectDefaultMetrics, Registry } from 'prom-client'
import type { MetricFamily } from './metric-family.js'

/** What one process has to say. */
export type MetricsReport = readonly MetricFamily[]

/** Memory, processor time, event loop lag and garbage collection of this process; to be made once in it. */
export function createProcessMetrics(): () => Promise<MetricsReport> {
  const register = new Registry()
  // Coarser than its default of 10 ms, which wakes a process at rest a hundred times a second.
  collectDefaultMetrics({ register, eventLoopMonitoringPrecision: 50 })
  return async () => (await register.getMetricsAsJSON()) as unknown as MetricsReport
}

/** Adds up what several processes say, metric by metric. */
export async function sumReports(reports: readonly MetricsReport[]): Promise<MetricsReport> {
  return (await aggregate(reports).getMetricsAsJSON()) as unknown as MetricsReport
}

/** The text of `GET /metrics`: Prometheus text format 0.0.4. */
export async function renderReports(reports: readonly MetricsReport[]): Promise<string> {
  return aggregate(reports).metrics()
}

export const metricsContentType = Registry.PROMETHEUS_CONTENT_TYPE

const aggregate = (reports: readonly MetricsReport[]): Registry =>
  AggregatorRegistry.aggregate(reports as unknown as object[])
