import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { withLayoutLock } from '../../../src/image/layout-lock.js'
import { temporaryFolder } from './support.js'

describe('withLayoutLock', () => {
  it('lets one work at a time', async () => {
    const folder = temporaryFolder()
    let inside = 0
    const work = async () => {
      expect(++inside).toBe(1)
      await new Promise((resolve) => setTimeout(resolve, 5))
      inside--
    }
    await Promise.all(Array.from({ length: 5 }, () => withLayoutLock(folder, work)))
  })

  it('is given back when the work fails', async () => {
    const folder = temporaryFolder()
    const reason = new Error('work')
    await expect(withLayoutLock(folder, () => Promise.reject(reason))).rejects.toBe(reason)
    expect(await withLayoutLock(folder, async () => 'again')).toBe('again')
  })

  it('says who to ask when another build does not end', async () => {
    const lock = join(temporaryFolder(), '.confrouter.lock')
    writeFileSync(lock, '')
    const waiting = withLayoutLock(join(lock, '..'), async () => 'never', 50)
    await expect(waiting).rejects.toMatchObject({ code: 'image.layout-locked', next: [expect.stringContaining(lock)] })
    expect(existsSync(lock)).toBe(true)
  })

  it('says so when the folder cannot be written to', async () => {
    const missing = join(temporaryFolder(), 'missing')
    await expect(withLayoutLock(missing, async () => 'never')).rejects.toMatchObject({ code: 'image.file' })
  })
})
