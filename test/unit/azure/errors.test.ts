import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { azureErrorFacts, isAbsent, isAbsentKey, isForbiddenByRbac, toUserError } from '../../../src/azure/errors.js'
import { UserError } from '../../../src/base/user-error.js'

const vectors = join(import.meta.dirname, '../../vectors/azure')

/** An error as core-client throws it: status, and the parsed body as `details`. */
function restError(file: string): Error {
  const { response } = JSON.parse(readFileSync(join(vectors, `${file}.json`), 'utf8')) as {
    response: { status: number; body: unknown }
  }
  return Object.assign(new Error('the SDK’s own words'), {
    name: 'RestError',
    statusCode: response.status,
    details: response.body,
    response: { headers: { get: (name: string) => (name === 'x-ms-request-id' ? 'request-1' : undefined) } }
  })
}

describe('toUserError', () => {
  it.each([
    ['error-vault-soft-deleted-conflict', 'keyvault.soft-deleted'],
    ['error-vault-already-exists', 'keyvault.name-taken'],
    ['error-keyvault-forbidden-by-rbac', 'keyvault.forbidden'],
    ['error-key-deleted-but-recoverable', 'keyvault.key-soft-deleted'],
    ['error-attestation-name-in-use', 'attestation.name-taken'],
    ['error-provider-not-registered', 'azure.provider-not-registered'],
    ['error-authorization-failed', 'azure.forbidden'],
    ['error-cg-no-capacity', 'aci.no-capacity'],
    ['error-cg-ccepolicy-empty', 'aci.policy-invalid'],
    ['error-template-validation', 'aci.template-invalid'],
    ['error-principal-not-found', 'identity.not-visible-yet']
  ])('maps %s to %s with a next step and the request id', (file, code) => {
    const error = toUserError(restError(file), 'the thing')
    expect(error).toBeInstanceOf(UserError)
    const userError = error as UserError
    expect(userError.code).toBe(code)
    expect(userError.next.length).toBeGreaterThan(0)
    expect(userError.requestId).toBe('request-1')
    expect(userError.exitCode).toBe(5)
  })

  it('keeps code, words and request id of an error without a rule', () => {
    const unknown = { statusCode: 400, details: { error: { code: 'SomethingNew', message: 'words of Azure' } } }
    const error = toUserError(unknown, 'container group "x"') as UserError
    expect([error.code, error.problem, error.why]).toEqual([
      'azure.error',
      'container group "x": Azure answered SomethingNew',
      'words of Azure'
    ])
  })

  it('prefers what the failed operation said over the poller’s plain error', () => {
    const { response } = JSON.parse(readFileSync(join(vectors, 'error-lro-failed-operation.json'), 'utf8')) as {
      response: { body: unknown }
    }
    const error = toUserError(new Error('The long-running operation has failed.'), 'container group "x"', response.body)
    expect(error).toBeInstanceOf(UserError)
  })

  it('names a network error as one that could not be checked', () => {
    const error = toUserError(
      Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' }),
      'key vault "x"'
    ) as UserError
    expect([error.code, error.exitCode]).toEqual(['azure.unreachable', 5])
  })

  it.each([
    'EAI_AGAIN',
    'ECONNRESET',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'ERR_TLS_CERT_ALTNAME_INVALID',
    'CERT_HAS_EXPIRED'
  ])('takes %s for a network error', (code) => {
    expect(toUserError(Object.assign(new Error('x'), { code }), 'x')).toMatchObject({ code: 'azure.unreachable' })
  })

  it('tells somebody who is not logged in to log in, with exit 4', () => {
    const error = Object.assign(new Error('ChainedTokenCredential authentication failed'), {
      name: 'AggregateAuthenticationError'
    })
    expect(toUserError(error, 'x')).toMatchObject({ code: 'auth.not-logged-in', exitCode: 4 })
  })

  it('takes ServiceUnavailable for missing capacity only with status 409', () => {
    const unavailable = { statusCode: 503, details: { error: { code: 'ServiceUnavailable', message: 'later' } } }
    expect(toUserError(unavailable, 'key vault "x"')).toMatchObject({ code: 'azure.unavailable' })
  })

  it.each([
    [429, 'TooManyRequests', 'azure.throttled'],
    [429, 'SomethingNew', 'azure.throttled'],
    [500, 'InternalServerError', 'azure.unavailable'],
    [504, 'GatewayTimeout', 'azure.unavailable'],
    [409, 'DeploymentActive', 'azure.busy'],
    [404, 'SubscriptionNotFound', 'azure.subscription'],
    [403, 'RequestDisallowedByPolicy', 'azure.policy'],
    [401, 'ExpiredAuthenticationToken', 'auth.refused']
  ])('takes status %i with code %s for %s', (statusCode, azure, code) => {
    const error = toUserError({ statusCode, details: { error: { code: azure, message: 'words' } } }, 'the thing')
    expect(error).toMatchObject({ code })
    expect((error as UserError).next.length).toBeGreaterThan(0)
  })

  it('does not take what a template is refused for by its status for a busy service', () => {
    const body = { error: { code: 'DeploymentFailed', details: [{ code: 'BadRequest', message: 'words' }] } }
    expect(toUserError({ status: 'Failed', ...body }, 'deployment "x"')).toMatchObject({ code: 'azure.error' })
  })

  it('tells who can mend a connection that something in between opens', () => {
    const error = toUserError(Object.assign(new Error('x'), { code: 'SELF_SIGNED_CERT_IN_CHAIN' }), 'x') as UserError
    expect(error.next[0]).toContain('NODE_EXTRA_CA_CERTS')
  })

  it('takes a message for capacity only where there is no code', () => {
    const says = "The requested resource is not available in the location 'x' at this moment."
    const failed = (detail: object) => ({ status: 'Failed', error: { code: 'Failure', details: [detail] } })
    expect(toUserError(failed({ message: says }), 'x')).toMatchObject({ code: 'aci.no-capacity' })
    expect(toUserError(failed({ code: 'Other', message: says }), 'x')).toMatchObject({ code: 'azure.error' })
  })

  it('leaves our own bugs alone', () => {
    const bug = new TypeError('undefined is not a function')
    expect(toUserError(bug, 'anything')).toBe(bug)
  })
})

describe('azureErrorFacts', () => {
  it('reads Key Vault’s inner code in both spellings', () => {
    expect(isForbiddenByRbac(restError('error-keyvault-forbidden-by-rbac'))).toBe(true)
    expect(
      isForbiddenByRbac({
        statusCode: 403,
        details: { error: { code: 'Forbidden', innerError: { code: 'ForbiddenByRbac' } } }
      })
    ).toBe(true)
  })

  it('does not take another 403 for a missing role', () => {
    expect(isForbiddenByRbac(restError('error-key-hsm-on-standard-vault'))).toBe(false)
  })

  it('tells absence by the words of Azure', () => {
    expect(isAbsent(restError('error-vault-not-found'))).toBe(true)
    expect(isAbsent(restError('error-authorization-failed'))).toBe(false)
  })

  it('takes a key for absent by the code of the vault alone', () => {
    expect(isAbsentKey(restError('error-key-not-found'))).toBe(true)
    expect(isAbsentKey(restError('error-vault-not-found'))).toBe(false)
    expect(isAbsentKey(Object.assign(new Error('<html>'), { statusCode: 404 }))).toBe(false)
  })

  it('unwraps causes that stand as JSON inside a message, five levels at most', () => {
    const wrap = (body: unknown, times: number): unknown =>
      times === 0 ? body : wrap({ error: { code: 'Outer', message: JSON.stringify(body) } }, times - 1)
    const cause = { error: { code: 'Innermost', message: 'here' } }
    expect(azureErrorFacts({ statusCode: 400, details: wrap(cause, 4) })?.nested.at(-1)?.code).toBe('Innermost')
    expect(azureErrorFacts({ statusCode: 400, details: wrap(cause, 9) })?.nested.at(-1)?.code).toBe('Outer')
  })
})

describe('isAbsent', () => {
  const raised = (statusCode: number, code?: string) =>
    Object.assign(new Error('x'), {
      statusCode,
      ...(code === undefined ? {} : { details: { error: { code, message: 'm' } } })
    })

  it.each(['ResourceNotFound', 'ResourceGroupNotFound'])('believes Azure that says %s', (code) => {
    expect(isAbsent(raised(404, code))).toBe(true)
  })

  it.each([
    ['a 404 of something in between', raised(404)],
    ['a 404 with another code', raised(404, 'InvalidResourceType')],
    ['a refusal', raised(403, 'ResourceNotFound')],
    ['a failure of the service', raised(503, 'ServiceUnavailable')],
    ['a broken connection', Object.assign(new Error('x'), { code: 'ECONNRESET' })]
  ])('takes %s for a call that failed', (_name, error) => {
    expect(isAbsent(error)).toBe(false)
  })
})
