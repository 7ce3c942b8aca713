import { writeFile } from 'node:fs/promises'
import type { KillFault } from './faults.js'
import type { WriteFile } from './store.js'

/** Writes as `write` does until the one of the fault, at which it ends this process without a chance to tidy up. */
export function killingWrite(write: WriteFile, { write: fatal, moment }: KillFault): WriteFile {
  let count = 0
  return async (file, text) => {
    count++
    if (count !== fatal) return write(file, text)
    switch (moment) {
      case 'before':
        break
      case 'torn':
        await writeFile(`${file}.torn`, text.slice(0, text.length / 2), { mode: 0o600 })
        break
      case 'unrenamed':
        await writeFile(`${file}.whole`, text, { mode: 0o600 })
        break
      case 'after':
        await write(file, text)
        break
    }
    process.kill(process.pid, 'SIGKILL')
    // The signal may need a moment to arrive, and nothing may happen in it.
    return new Promise<never>(() => undefined)
  }
}
