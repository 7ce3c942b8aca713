import { describe, expect, it } from '@jest/globals'
import { appearanceOf, type Environment } from '../../../src/terminal/appearance.js'

const terminal = { isTTY: true }
const pipe = { isTTY: false }

function colored(stream: { isTTY: boolean }, environment: Environment, color?: boolean): boolean {
  return appearanceOf(stream, color, environment).red('x') !== 'x'
}

describe('colour', () => {
  it('is decided for each stream', () => {
    expect(colored(terminal, {})).toBe(true)
    expect(colored(pipe, {})).toBe(false)
    expect(appearanceOf(terminal, undefined, {}).red('x')).toBe('\u001b[31mx\u001b[39m')
  })

  it('is off with NO_COLOR, TERM=dumb and --no-color', () => {
    expect(colored(terminal, { NO_COLOR: '1' })).toBe(false)
    expect(colored(terminal, { NO_COLOR: '' })).toBe(true)
    expect(colored(terminal, { TERM: 'dumb' })).toBe(false)
    expect(colored(terminal, {}, false)).toBe(false)
  })

  it('is on with FORCE_COLOR where detection says no, unless a flag says no', () => {
    expect(colored(pipe, { FORCE_COLOR: '1' })).toBe(true)
    expect(colored(pipe, { FORCE_COLOR: '', NO_COLOR: '1', TERM: 'dumb' })).toBe(true)
    expect(colored(terminal, { FORCE_COLOR: '0' })).toBe(false)
    expect(colored(terminal, { FORCE_COLOR: '1' }, false)).toBe(false)
    expect(colored(pipe, {}, true)).toBe(true)
  })
})

describe('symbols', () => {
  it.each<[Environment, string]>([
    [{ LANG: 'en_US.UTF-8' }, '✔'],
    [{ LANG: 'C.utf8' }, '✔'],
    [{ LC_ALL: 'C', LANG: 'en_US.UTF-8' }, '+'],
    [{ LC_CTYPE: 'de_DE.UTF-8', LANG: 'C' }, '✔'],
    [{ LC_ALL: '', LANG: 'en_US.UTF-8' }, '✔'],
    [{ LANG: 'en_US.ISO-8859-1' }, '+'],
    [{}, '+'],
    [{ WT_SESSION: 'id' }, '✔']
  ])('for %j', (environment, done) => {
    expect(appearanceOf(terminal, undefined, environment).symbols.done).toBe(done)
  })
})
