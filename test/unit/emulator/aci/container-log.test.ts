import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ContainerLog } from '../../../../src/emulator/services/aci/container-log.js'
import { temporaryDirectory } from '../support/emulator.js'

let directory: string
let log: ContainerLog
beforeEach(async () => {
  directory = await temporaryDirectory()
  log = new ContainerLog(join(directory, 'c', 'log'), () => new Date(0))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

async function* chunks(...texts: string[]) {
  for (const text of texts) yield Buffer.from(text)
}

describe('the log of a container', () => {
  it('is empty before anything was written', async () => {
    expect(await log.read({ tail: undefined, timestamps: false })).toBe('')
  })

  it('joins lines over chunks, keeps an unfinished last one and shows times on request', async () => {
    await log.copy(chunks('on', 'e\ntw', 'o\n', 'three'))
    expect(await log.read({ tail: undefined, timestamps: false })).toBe('one\ntwo\nthree\n')
    expect(await log.read({ tail: 1, timestamps: true })).toBe('1970-01-01T00:00:00.000Z three\n')
    expect(await log.read({ tail: 0, timestamps: false })).toBe('')
  })

  it('keeps the latest output and stays within two files of bounded size', async () => {
    const line = `${'x'.repeat(1023)}\n`
    for (let i = 0; i < 7; i++) await log.copy(chunks(line.repeat(1024)))
    await log.copy(chunks('last\n'))
    const sizes = await Promise.all(['log', 'log.1'].map(async (file) => (await stat(join(directory, 'c', file))).size))
    expect(Math.max(...sizes)).toBeLessThan(4 * 1024 * 1024)
    expect(await log.read({ tail: 1, timestamps: false })).toBe('last\n')
  })

  it('cuts a line without an end', async () => {
    await log.copy(chunks('y'.repeat(40_000)))
    const lines = (await log.read({ tail: undefined, timestamps: false })).split('\n').slice(0, -1)
    expect(lines.map(({ length }) => length)).toEqual([16384, 16384, 7232])
  })
})
