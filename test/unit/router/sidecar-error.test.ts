import { describe, expect, it } from '@jest/globals'
import { parseFirstJson } from '../../../src/router/first-json.js'
import { classifySidecarError } from '../../../src/router/sidecar-error.js'
import { golden } from './harness.js'

/** What the real sidecar wrote, in test/vectors/skr. */
const recorded = [
  ['release', '19-release-policy-not-met', 'release.policy-not-met', true],
  ['release', '20-release-404', 'release.key-not-found', true],
  ['release', '21-release-rbac403', 'release.forbidden', true],
  ['release', '22-release-missing-kid', 'release.bad-request', true],
  ['release', '23-release-akv-https-prefix', 'release.unreachable', false],
  ['release', '24-release-akv-port', 'release.certificate', true],
  ['release', '25-release-akv-429', 'release.throttled', false],
  ['release', '26-release-maa-503', 'attest.unavailable', false],
  ['release', '27-release-imds-400', 'identity.refused', true],
  ['release', '32-badtcb-nofetcher', 'attest.failed', true],
  ['attest', '04-raw-missing', 'attest.bad-request', true],
  ['attest', '09-maa-runtime-notjson', 'attest.failed', true],
  ['attest', '10-maa-https-prefix', 'attest.unreachable', false],
  ['attest', '12-maa-unknown-host', 'attest.unreachable', false]
] as const

const failed = (tail: string): string => `secure key release failed\nERROR: Please refer to the documentation: ${tail}`
const vault = (status: string, body: string): string =>
  failed(
    `releasing the key k failed: pulling AKV response body failed: ${body}: http response status equal to ${status}`
  )

describe('classifySidecarError', () => {
  it.each(recorded)('takes the recorded %s answer %s for %s', (operation, name, code, final) => {
    const { status, body } = golden(name)
    const { error } = parseFirstJson(body) as { error: unknown }
    expect(classifySidecarError(operation, status, typeof error === 'string' ? error : '')).toMatchObject({
      code,
      final
    })
  })

  it.each([
    [
      vault('403 Forbidden', '{"message":"Target environment attestation statement cannot be verified."}'),
      'release.attestation-not-verified',
      true
    ],
    [
      vault(
        '403 Forbidden',
        '{"message":"Target environment attestation does not meet key release policy requirements."}'
      ),
      'release.policy-not-met',
      true
    ],
    [vault('401 Unauthorized', '{}'), 'release.forbidden', true],
    [vault('500 Internal Server Error', '{}'), 'release.unavailable', false],
    [vault('400 Bad Request', '{}'), 'release.failed', true],
    [vault('500 Internal Server Error', 'Received invalid token. Please try again.'), 'release.invalid-token', false],
    [
      failed('retrieving authentication token failed: dial tcp 169.254.169.254:80: connect: connection refused'),
      'identity.unreachable',
      false
    ],
    [failed('verification of leaf: x509: certificate is valid for a, not b'), 'release.certificate', true],
    [failed('something new'), 'release.failed', true]
  ])('classifies by the tail: %s', (text, code, final) => {
    expect(classifySidecarError('release', 403, text)).toMatchObject({ code, final })
  })

  it('retries a panic of the sidecar, which is an empty 500', () => {
    expect(classifySidecarError('release', 500, '')).toMatchObject({ code: 'release.failed', final: false })
  })

  it('quotes nothing of what the services said', () => {
    const error = classifySidecarError('release', 403, vault('403 Forbidden', '{"message":"MARKER eyJhbGciOi"}'))
    expect(`${error.message}${error.reason}`).not.toMatch(/MARKER|eyJ/)
  })
})

describe('parseFirstJson', () => {
  it('takes the first of two documents', () => {
    expect(parseFirstJson('{"error":"a}\\"{"}{"token":""}')).toEqual({ error: 'a}"{' })
    expect(parseFirstJson(' [1] [2]')).toEqual([1])
    expect(parseFirstJson('{"a":{"b":[]}}\n')).toEqual({ a: { b: [] } })
  })

  it('refuses what is no JSON without quoting it', () => {
    for (const text of ['', 'MARKER', '{"a":', '}']) {
      expect(() => parseFirstJson(text)).toThrow('not JSON')
      expect(() => parseFirstJson(text)).not.toThrow('MARKER')
    }
  })
})
