import { PassThrough } from 'node:stream'
import { createTerminal, type Terminal, type TerminalOptions } from '../../../src/terminal/index.js'

/** A stream that keeps what is written to it; as a terminal it has a size. */
class CapturedStream extends PassThrough {
  readonly isTTY: boolean
  readonly columns: number | undefined
  readonly rows: number | undefined
  text = ''

  constructor(isTTY = false) {
    super()
    this.isTTY = isTTY
    this.columns = isTTY ? 100 : undefined
    this.rows = isTTY ? 24 : undefined
    this.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('utf8')
    })
  }
}

/** A clock that moves only when it is told to. */
class ManualClock {
  private time = 0
  private readonly timers = new Set<{ every: number; next: number; callback: () => void }>()

  readonly now = () => this.time

  readonly every = (milliseconds: number, callback: () => void) => {
    const timer = { every: milliseconds, next: this.time + milliseconds, callback }
    this.timers.add(timer)
    return () => this.timers.delete(timer)
  }

  get running(): number {
    return this.timers.size
  }

  advance(milliseconds: number): void {
    const end = this.time + milliseconds
    for (;;) {
      const [due] = [...this.timers].filter((timer) => timer.next <= end).sort((a, b) => a.next - b.next)
      if (due === undefined) break
      this.time = due.next
      due.next += due.every
      due.callback()
    }
    this.time = end
  }
}

export interface Captured {
  readonly terminal: Terminal
  readonly stdout: CapturedStream
  readonly stderr: CapturedStream
  readonly stdin: CapturedStream
  readonly clock: ManualClock
}

export function captured(options: Partial<TerminalOptions> & { readonly tty?: boolean } = {}): Captured {
  const { tty = false, ...rest } = options
  const stdout = new CapturedStream()
  const stderr = new CapturedStream(tty)
  const stdin = new CapturedStream(tty)
  const clock = new ManualClock()
  const terminal = createTerminal({
    stdout,
    stderr,
    stdin,
    json: false,
    quiet: false,
    verbose: false,
    color: false,
    input: true,
    environment: { LANG: 'C.UTF-8' },
    clock,
    ...rest
  })
  return { terminal, stdout, stderr, stdin, clock }
}
