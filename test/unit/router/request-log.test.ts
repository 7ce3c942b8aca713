import { describe, expect, it } from '@jest/globals'
import { createLog, logUnexpected } from '../../../src/router/request-log.js'

function logged(error: unknown): string {
  let text = ''
  logUnexpected(createLog({ write: (line) => void (text += line) }), error)
  return text
}

describe('logUnexpected', () => {
  it('says what class of error it was and where, and nothing of its message', () => {
    const error = Object.assign(new TypeError('sk-secret of the caller'), { code: 'E_X' })
    const line = JSON.parse(logged(error))
    expect(line).toMatchObject({ level: 'error', error: 'TypeError', code: 'E_X', msg: 'unexpected error' })
    expect(line.frames[0]).toMatch(/^at .*request-log\.test/)
    expect(JSON.stringify(line)).not.toContain('secret')
  })

  it.each([
    ['a parser that quotes what it reads', () => JSON.parse('{"a":x\n    at sk-secret') as unknown],
    [
      'a message of several lines',
      () => {
        throw new Error('a\n    at sk-secret')
      }
    ],
    [
      'a message that was changed later',
      () => {
        const error = new Error('a\n    at sk-secret')
        error.message = 'b'
        error.stack = `Error: a\n    at sk-secret`
        throw error
      }
    ],
    [
      'a text',
      () => {
        throw 'sk-secret' // eslint-disable-line @typescript-eslint/only-throw-error -- libraries do
      }
    ]
  ])('takes no line of a message for a place in the source: %s', (_, act) => {
    let thrown: unknown
    try {
      act()
    } catch (error) {
      thrown = error
    }
    const text = logged(thrown)
    expect(text).toContain('unexpected error')
    expect(text).not.toContain('secret')
  })
})
