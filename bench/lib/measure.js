// What the kernel says about a process: CPU time, memory, file descriptors. Linux only.
import { readdirSync, readFileSync } from 'node:fs'

/** Seconds of CPU, user and system, of a process with all its threads and descendants. */
export function cpuSeconds(pid) {
  let nanoseconds = 0
  for (const member of family(pid)) {
    // The first field of schedstat is utime + stime in nanoseconds; stat has ticks of 10 ms.
    for (const thread of readdirSync(`/proc/${member}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${member}/task/${thread}/schedstat`, 'latin1').split(' ')[0])
    }
  }
  return nanoseconds / 1e9
}

/** Seconds of CPU that all processes of the machine together have used. In ticks of 10 ms. */
export function machineSeconds() {
  const [user, nice, system, , , interrupt, softInterrupt] = readFileSync('/proc/stat', 'latin1')
    .slice('cpu'.length, 200)
    .trim()
    .split(' ')
    .map(Number)
  return (user + nice + system + interrupt + softInterrupt) / 100
}

/** Resident bytes of a process and its descendants, summed page by page (VmRSS is behind by some pages). */
export function residentBytes(pid) {
  let kilobytes = 0
  for (const member of family(pid)) {
    kilobytes += Number(/^Rss: +(\d+) kB/m.exec(readFileSync(`/proc/${member}/smaps_rollup`, 'latin1'))?.[1])
  }
  return kilobytes * 1024
}

/** How many file descriptors it has open. */
export const openFiles = (pid) => readdirSync(`/proc/${pid}/fd`).length

export function median(figures) {
  const sorted = [...figures].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

export function quantile(figures, part) {
  const sorted = [...figures].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]
}

export const summary = (figures) => ({
  median: median(figures),
  least: Math.min(...figures),
  most: Math.max(...figures)
})

function family(pid) {
  const members = [pid]
  for (const member of members) {
    for (const thread of readdirSync(`/proc/${member}/task`)) {
      const children = readFileSync(`/proc/${member}/task/${thread}/children`, 'latin1')
      members.push(...children.split(' ').filter(Boolean).map(Number))
    }
  }
  return members
}
