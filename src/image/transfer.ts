/** Told how many bytes of a blob have been read so far. */
export type Watch = (receivedBytes: number) => void

/** Passes bytes through and tells how many there were. */
export async function* watched(
  source: AsyncIterable<Uint8Array>,
  watch: Watch | undefined
): AsyncGenerator<Uint8Array, void, undefined> {
  let received = 0
  for await (const chunk of source) {
    received += chunk.length
    watch?.(received)
    yield chunk
  }
}

const barLength = 20
const intervalMs = 1000

/**
 * Shows the reading of a blob as a bar: `base layer 2 of 5 [########------------] 11.9 of 29.8 MB`. Where
 * notes are lines of a log, each costs one, so there is at most one a second, and one for each tenth; a blob
 * that takes less than a second has none.
 *
 * @param totalBytes size of the blob
 * @param now milliseconds that only grow; tests pass their own
 */
export function progressBar(
  label: string,
  totalBytes: number,
  note: (text: string) => void,
  now: () => number = () => performance.now()
): Watch {
  let lastTenth = 0
  let lastTime = now()
  return (receivedBytes) => {
    const part = totalBytes === 0 ? 1 : Math.min(1, receivedBytes / totalBytes)
    const tenth = Math.floor(part * 10)
    const time = now()
    if (tenth === lastTenth || time - lastTime < intervalMs) return
    lastTenth = tenth
    lastTime = time
    const full = Math.round(part * barLength)
    const bar = '#'.repeat(full) + '-'.repeat(barLength - full)
    note(`${label} [${bar}] ${megabytes(receivedBytes)} of ${megabytes(totalBytes)} MB`)
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}
