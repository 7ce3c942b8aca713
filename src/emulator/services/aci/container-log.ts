import { appendFile, mkdir, readFile, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

export interface LogQuery {
  /** Last lines only. */
  readonly tail: number | undefined
  readonly timestamps: boolean
}

/** Half of the 4 MB that ACI keeps of a running container; the other half is the file before. */
const maxFileBytes = 2 * 1024 * 1024
/** A longer line is cut into lines of this length. */
const maxLineLength = 16 * 1024

/** What a container wrote, in two files of bounded size. Each line is kept with its time. */
export class ContainerLog {
  #size: number | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(
    private readonly file: string,
    private readonly clock: () => Date
  ) {}

  /** Copies a stream of the container's output until it ends. */
  async copy(output: AsyncIterable<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    let partial = ''
    for await (const chunk of output) {
      partial += decoder.decode(chunk, { stream: true })
      const lines = partial.split('\n')
      partial = lines.pop() ?? ''
      while (partial.length > maxLineLength) {
        lines.push(partial.slice(0, maxLineLength))
        partial = partial.slice(maxLineLength)
      }
      await this.#append(lines)
    }
    if (partial !== '') await this.#append([partial])
  }

  async read({ tail, timestamps }: LogQuery): Promise<string> {
    await this.#writing
    const [before, current] = await Promise.all([readIfPresent(this.#older), readIfPresent(this.file)])
    const lines = `${before}${current}`.split('\n').slice(0, -1)
    const wanted = tail === undefined ? lines : tail === 0 ? [] : lines.slice(-tail)
    const shown = timestamps ? wanted : wanted.map((line) => line.slice(line.indexOf(' ') + 1))
    return shown.map((line) => `${line}\n`).join('')
  }

  get #older(): string {
    return `${this.file}.1`
  }

  #append(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return Promise.resolve()
    const time = this.clock().toISOString()
    const text = lines.map((line) => `${time} ${line}\n`).join('')
    this.#writing = this.#writing.then(() => this.#write(text))
    return this.#writing
  }

  async #write(text: string): Promise<void> {
    if (this.#size === undefined) {
      await mkdir(dirname(this.file), { recursive: true, mode: 0o700 })
      this.#size = (await stat(this.file).catch(() => undefined))?.size ?? 0
    }
    if (this.#size > maxFileBytes) {
      await rename(this.file, this.#older)
      this.#size = 0
    }
    await appendFile(this.file, text, { mode: 0o600 })
    this.#size += Buffer.byteLength(text)
  }
}

async function readIfPresent(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '')
}
