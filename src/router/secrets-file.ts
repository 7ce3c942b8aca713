import type { BigIntStats } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { SidecarError } from './sidecar-error.js'

/** As in CONFROUTER_SECRETS. */
const maximumBytes = 128 * 1024

/** The sealed secrets in a file, which whoever mounts it may replace at any time. */
export class SecretsFile {
  /** Which file was read last. */
  #read = ''

  constructor(private readonly path: string) {}

  /** Throws a `SidecarError` that quotes nothing of the file. */
  async read(): Promise<string> {
    const { identity, text } = await readFile(this.path).catch(async () => ({
      identity: await identify(this.path),
      text: undefined
    }))
    this.#read = identity
    if (text === undefined) throw unreadable('cannot be read')
    if (text === '') throw unreadable('is empty')
    if (text.length > maximumBytes) throw unreadable(`is larger than ${maximumBytes} bytes`)
    return text
  }

  /**
   * Whether there is another file than the one that was read last. To be asked again and again, because a
   * mounted volume tells nobody of a change. Links are followed: Kubernetes changes a file by changing
   * what a link above it leads to.
   */
  async hasChanged(): Promise<boolean> {
    return (await identify(this.path)) !== this.#read
  }
}

const identify = (path: string): Promise<string> => stat(path, { bigint: true }).then(identityOf, () => 'there is none')

const identityOf = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string =>
  [dev, ino, size, mtimeNs, ctimeNs].join()

async function readFile(path: string): Promise<{ identity: string; text: string }> {
  // Else the opening of a pipe waits for whoever writes into it.
  if (!(await stat(path)).isFile()) throw new Error('not a file')
  const file = await open(path)
  try {
    // Before it is read: what is written to it after this is seen as a change.
    const identity = identityOf(await file.stat({ bigint: true }))
    // One byte more than allowed is enough to see that there are too many.
    const buffer = Buffer.alloc(maximumBytes + 1)
    let length = 0
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length)
      length += bytesRead
      if (bytesRead === 0 || length === buffer.length) {
        return { identity, text: buffer.toString('latin1', 0, length).trim() }
      }
    }
  } finally {
    await file.close()
  }
}

const unreadable = (what: string): SidecarError =>
  new SidecarError('secrets.file', `the file in CONFROUTER_SECRETS_FILE ${what}`, { final: false })
