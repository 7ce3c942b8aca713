import { describe, expect, it } from '@jest/globals'
import { VerifyError } from '../../../src/verify/errors.js'
import { maximumEvidenceLength, parseEvidence } from '../../../src/verify/evidence.js'
import { type Members, put } from './forge.js'

function good(): Members {
  return {
    version: 1,
    runtimeData: 'e30=',
    maa: { endpoint: 'https://maa.example', token: 'a.b.c' },
    snp: { report: 'AAAA', certificates: 'pem', uvmEndorsements: 'AAAA' },
    ccePolicy: 'AAAA',
    createdAt: '2026-06-01T12:00:00.000Z',
    simulated: true
  }
}

function errorOf(document: unknown): VerifyError {
  try {
    parseEvidence(document)
  } catch (error) {
    if (error instanceof VerifyError) return error
    throw error
  }
  throw new Error('it was read')
}

describe('parseEvidence', () => {
  it('reads text and value alike, and decodes base64', () => {
    const evidence = parseEvidence(JSON.stringify(good()))
    expect(evidence).toEqual(parseEvidence(good()))
    expect(Buffer.from(evidence.runtimeData).toString()).toBe('{}')
    expect(evidence.snp.report).toEqual(new Uint8Array(3))
  })

  it.each([['maa'], ['ccePolicy'], ['snp', 'uvmEndorsements']])('reads a document without %s', (...path) => {
    const document = good()
    put(undefined, ...path)(document)
    expect(() => parseEvidence(JSON.stringify(document))).not.toThrow()
  })

  it.each<readonly [string, unknown, readonly string[]]>([
    ['another version', 2, ['version']],
    ['no version', undefined, ['version']],
    ['no runtime data', undefined, ['runtimeData']],
    ['no report', undefined, ['snp', 'report']],
    ['no certificates', undefined, ['snp', 'certificates']],
    ['base64 without padding', 'e30', ['runtimeData']],
    ['base64url', '-_-_', ['runtimeData']],
    ['base64 with spare bits', 'e31=', ['runtimeData']],
    ['base64 with white space', 'e30=\n', ['runtimeData']],
    ['a token that is no text', 1, ['maa', 'token']],
    ['a local time', '2026-06-01T12:00:00', ['createdAt']],
    ['a month that does not exist', '2026-13-01T12:00:00Z', ['createdAt']],
    ['simulated as text', 'false', ['simulated']],
    ['an unknown field', 1, ['extra']],
    ['an unknown field inside', 1, ['snp', 'extra']],
    ['a report that is too long', 'A'.repeat(8196), ['snp', 'report']],
    ['a token that is too long', 'A'.repeat(70_000), ['maa', 'token']],
    ['a policy that is too long', 'A'.repeat(600_000), ['ccePolicy']]
  ])('cannot read %s, and names the place', (_, value, path) => {
    const document = good()
    put(value, ...path)(document)
    const error = errorOf(JSON.stringify(document))
    expect(error.code).toBe('evidence.unreadable')
    expect(error.problems).toHaveLength(1)
    expect(error.problems[0]).toContain(path.join('.'))
  })

  it('lists all problems at once', () => {
    expect(errorOf({ version: 2, extra: 1 }).problems).toHaveLength(6)
  })

  it('lists at most 20 problems, and how many more there are', () => {
    const many = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`k${i}`, 0]))
    const { problems, message } = errorOf({ ...good(), ...many })
    expect(problems).toHaveLength(21)
    expect(problems.at(-1)).toBe('and 49980 more')
    expect(message.length).toBeLessThan(1000)
  })

  it.each([['{'], ['null'], ['[]'], ['"x"'], [''], ['{"version":1,"version":1}'], [null], [undefined], [7], [[]]])(
    'cannot read %j',
    (document) => {
      expect(errorOf(document).code).toBe('evidence.unreadable')
    }
  )

  it('does not begin to read what is too large', () => {
    expect(errorOf(' '.repeat(maximumEvidenceLength + 1)).code).toBe('evidence.too-large')
  })

  it('quotes little of the document, and nothing unprintable', () => {
    const { message } = errorOf({ ...good(), ['\u001b[2J'.repeat(1000)]: 1, createdAt: '\u202e'.repeat(40) })
    expect(message).toMatch(/^[\x20-\x7e]+$/)
    expect(message.length).toBeLessThan(600)
  })
})
