import { UserError } from '../base/user-error.js'
import { catalogue, type ErrorContext, type Rule } from './error-catalogue.js'
import { type AzureCause, type AzureErrorFacts, azureErrorFacts } from './error-facts.js'
import { denialError, denialIn } from './policy-denial.js'

export { azureErrorFacts, hasCode, isAbsent, isAbsentKey, isForbiddenByRbac } from './error-facts.js'

/**
 * Turns what the SDK threw into the product's error. `what` names the resource in the user's words.
 * An error without a rule keeps its own words, its code and its request id.
 *
 * @param failedOperation body of the long-running operation that failed, because the poller throws an
 *   error without code and details
 */
export function toUserError(error: unknown, what: string, failedOperation?: unknown): unknown {
  if (error instanceof UserError || isAbort(error)) return error
  const noCredential = credentialError(error)
  if (noCredential !== undefined) return noCredential
  const facts = azureErrorFacts(failedOperation ?? error) ?? azureErrorFacts(error)
  if (facts === undefined) return networkError(error, what) ?? error
  const name = /"([^"]+)"/.exec(what)?.[1] ?? 'NAME'
  const causes = [...facts.nested].reverse()
  const denial = [...causes, facts].map(({ message }) => denialIn(message)).find((found) => found !== undefined)
  if (denial !== undefined) return withRequest(denialError(name, denial), facts, error)
  for (const cause of [...causes, facts]) {
    const rule = catalogue.find((each) => fits(each, cause, facts))
    if (rule !== undefined) return remedied(rule, { what, name, facts, cause }, error)
  }
  return unknownError(what, facts, error)
}

function fits({ azure, inner, status, says }: Rule, cause: AzureCause, facts: AzureErrorFacts): boolean {
  // The status is that of the whole answer: of a cause inside it nothing is known but its words.
  if (status !== undefined && !hasStatus(facts.status, status)) return false
  if (says !== undefined && !says.test(cause.message)) return false
  if (azure === '*') return cause === facts
  if (azure === 'none') return cause.code === undefined
  return cause.code === azure && (inner === undefined || cause.innerCode === inner)
}

/** 500 stands for 500 to 599. */
function hasStatus(actual: number | undefined, wanted: number): boolean {
  if (actual === undefined) return false
  return wanted % 100 === 0 ? actual >= wanted && actual < wanted + 100 : actual === wanted
}

function remedied({ remedy }: Rule, context: ErrorContext, error: unknown): UserError {
  const { why, next } = remedy
  return new UserError(remedy.fault, remedy.code, remedy.problem(context), {
    why: typeof why === 'function' ? why(context) : (why ?? context.cause.message),
    next: typeof next === 'function' ? next(context) : next,
    requestId: context.facts.requestId,
    cause: error
  })
}

function unknownError(what: string, facts: AzureErrorFacts, error: unknown): UserError {
  const cause = facts.nested.findLast(({ message }) => message !== '') ?? facts
  // No body is known that says "this region has no confidential containers", so it may be any of these.
  const mayBeRegion = what.startsWith('container group') || what.startsWith('deployment')
  return new UserError('cloud', 'azure.error', `${what}: Azure answered ${cause.code ?? facts.code}`, {
    why: cause.message,
    next: mayBeRegion
      ? ['confrouter doctor   (region, quota, providers, names)', 'set location to another region in confrouter.yaml']
      : ['confrouter doctor'],
    requestId: facts.requestId,
    cause: error
  })
}

function withRequest(error: UserError, { requestId }: AzureErrorFacts, cause: unknown): UserError {
  const { fault, code, problem, why, next } = error
  return new UserError(fault, code, problem, { why, next, requestId, cause })
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}

/** What @azure/identity throws when no credential of its chain gives a token; it has no status and no code. */
function credentialError(error: unknown): UserError | undefined {
  const names = [
    'AggregateAuthenticationError',
    'CredentialUnavailableError',
    'AuthenticationRequiredError',
    'AuthenticationError'
  ]
  if (!(error instanceof Error) || !names.includes(error.name)) return undefined
  return new UserError('machine', 'auth.not-logged-in', 'no credential for Azure was found', {
    why: 'neither the environment nor the Azure CLI nor another source gave a token',
    next: ['az login', 'set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET'],
    cause: error
  })
}

const network = /^(E[A-Z_]+|REQUEST_SEND_ERROR|UNABLE_TO_[A-Z_]+|ERR_TLS_[A-Z_]+|[A-Z_]*CERT[A-Z_]*)$/
const untrusted = /^(UNABLE_TO_[A-Z_]+|[A-Z_]*SELF_SIGNED[A-Z_]*)$/

function networkError(error: unknown, what: string): UserError | undefined {
  const code = (error as { code?: unknown } | null)?.code
  if (typeof code !== 'string' || !network.test(code)) return undefined
  return new UserError('cloud', 'azure.unreachable', `${what}: Azure cannot be reached (${code})`, {
    why: error instanceof Error ? error.message : undefined,
    next: untrusted.test(code)
      ? [
          'set NODE_EXTRA_CA_CERTS to the root of the proxy that opens TLS connections, or let Azure pass it',
          'run the same command again'
        ]
      : ['check the network, HTTPS_PROXY and NO_PROXY, then run the same command again'],
    cause: error
  })
}
