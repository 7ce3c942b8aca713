import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
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
    const waiting = withLayoutLock(join(lock, '..'), async () => 'never', { patienceMs: 50 })
    await expect(waiting).rejects.toMatchObject({ code: 'image.layout-locked', next: [expect.stringContaining(lock)] })
    expect(existsSync(lock)).toBe(true)
  })

  it('takes over a lock that nobody has renewed for a minute, and leaves nothing behind', async () => {
    const folder = temporaryFolder()
    const lock = join(folder, '.confrouter.lock')
    writeFileSync(lock, 'left by a process that died')
    const longAgo = new Date(Date.now() - 61_000)
    utimesSync(lock, longAgo, longAgo)
    let inside = 0
    const work = async () => {
      expect(++inside).toBe(1)
      await new Promise((resolve) => setTimeout(resolve, 5))
      inside--
    }
    await Promise.all(Array.from({ length: 5 }, () => withLayoutLock(folder, work)))
    expect(readdirSync(folder)).toEqual([])
  })

  it('takes over at once the lock of a process that is gone, and not that of one that runs or of another machine', async () => {
    const folder = temporaryFolder()
    const lock = join(folder, '.confrouter.lock')
    const [place] = await withLayoutLock(folder, async () => readFileSync(lock, 'utf8').split(' '))
    const { pid: gone } = spawnSync(process.execPath, ['-e', ''])
    writeFileSync(lock, `${place} ${gone} token`)
    expect(await withLayoutLock(folder, async () => 'done', { patienceMs: 1000 })).toBe('done')
    for (const held of [`${place} ${process.pid} token`, `elsewhere ${gone} token`]) {
      writeFileSync(lock, held)
      const waiting = withLayoutLock(folder, async () => 'never', { patienceMs: 50 })
      await expect(waiting).rejects.toMatchObject({ code: 'image.layout-locked' })
    }
  })

  it('is renewed while the work goes on', async () => {
    const folder = temporaryFolder()
    const times = { staleMs: 200, renewMs: 20, patienceMs: 5_000 }
    const order: string[] = []
    const work = (name: string) => async () => {
      order.push(`${name} begins`)
      await new Promise((resolve) => setTimeout(resolve, 600))
      order.push(`${name} ends`)
    }
    const first = withLayoutLock(folder, work('first'), times)
    await new Promise((resolve) => setTimeout(resolve, 50))
    await Promise.all([first, withLayoutLock(folder, work('second'), times)])
    expect(order).toEqual(['first begins', 'first ends', 'second begins', 'second ends'])
  })

  it('leaves alone a lock that another has taken over', async () => {
    const folder = temporaryFolder()
    const lock = join(folder, '.confrouter.lock')
    await withLayoutLock(folder, async () => {
      writeFileSync(lock, 'of another')
    })
    expect(readFileSync(lock, 'utf8')).toBe('of another')
  })

  it('says so when the folder cannot be written to', async () => {
    const missing = join(temporaryFolder(), 'missing')
    await expect(withLayoutLock(missing, async () => 'never')).rejects.toMatchObject({ code: 'image.file' })
  })
})
