import process from 'node:process'
import { type DestinationStream, type Logger, pino } from 'pino'
import type { Call } from './call.js'

/**
 * JSON lines, each with its level in words and UTC time; no host name and no process id, but the
 * number of the worker where there are several.
 */
export function createLog(destination?: DestinationStream, worker?: number): Logger {
  return pino(
    {
      base: worker === undefined ? null : { worker },
      timestamp: () => `,"time":"${isoTime(Date.now())}"`,
      formatters: { level: (level: string) => ({ level }) }
    },
    destination ?? standardOutput(worker === undefined ? longestWrite : atomicBytes)
  )
}

/** Longest time that a line waits for others to go with. A write of its own would cost as much as a sealed event. */
const longestWaitMs = 10

/** POSIX PIPE_BUF on Linux: so much goes into a pipe in one piece where several processes write. */
const atomicBytes = 4096
const longestWrite = 65_536

/** Nothing waits for whoever reads it, and at the exit nothing is lost. */
function standardOutput(maxWrite: number): DestinationStream {
  let lines = ''
  let timer: NodeJS.Timeout | undefined
  const send = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (lines !== '') output.write(lines)
    lines = ''
  }
  // Before pino's own listener, which writes what has come to it.
  process.on('exit', send)
  const output = pino.destination({ dest: 1, sync: false, maxWrite })
  return {
    write: (line) => {
      // Lines are ASCII but for what an operator has configured.
      if (lines.length + line.length > maxWrite) send()
      lines += line
      timer ??= setTimeout(send, longestWaitMs)
    }
  }
}

let second = 0
let untilSecond = ''

/** `Date.toISOString`, worked out once for each second. */
function isoTime(milliseconds: number): string {
  const whole = Math.floor(milliseconds / 1000)
  if (whole !== second) {
    second = whole
    untilSecond = new Date(whole * 1000).toISOString().slice(0, -4)
  }
  return `${untilSecond}${String(milliseconds - whole * 1000).padStart(3, '0')}Z`
}

/**
 * Writes the one line of a call that is over, and counts it. The fields of the line are listed here and
 * nowhere else: none of them holds what a caller wrote.
 */
export function logCall(call: Call): void {
  const { route, provider, sealed, upstreamStatus, attempts, firstByteMs, bytesIn, outcome } = call.record
  call.context.log.info(
    {
      id: call.id,
      method: knownMethod(call.method),
      route,
      provider,
      sealed,
      status: call.response.headersSent ? call.response.statusCode : undefined,
      upstreamStatus,
      attempts,
      bytesIn,
      bytesOut: call.reply.bytesOut,
      firstByteMs,
      durationMs: Math.round(performance.now() - call.startedAt),
      outcome
    },
    'request'
  )
  call.context.metrics.add(call)
}

/**
 * An error that nobody expected. Its message may quote what it was about (a parser's does), so the
 * line has its class and where it came from, and no message.
 */
export function logUnexpected(log: Logger, error: unknown, id?: string): void {
  const { name, code } =
    error instanceof Error ? (error as NodeJS.ErrnoException) : { name: typeof error, code: undefined }
  log.error({ id, error: name, code, frames: error instanceof Error ? framesOf(error) : [] }, 'unexpected error')
}

/** The stack begins with the message, and a message may have lines that look like frames. */
function framesOf({ message, stack = '' }: Error): string[] {
  const at = stack.indexOf(message)
  if (at === -1) return []
  return stack
    .slice(at + message.length)
    .split('\n')
    .filter((line) => /^ {4}at /.test(line))
    .slice(0, 8)
    .map((line) => line.trim())
}

/** Node's parser admits some thirty methods, and a log of ours names the usual ones only. */
export const knownMethod = (method: string): string =>
  ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].includes(method) ? method : 'other'
