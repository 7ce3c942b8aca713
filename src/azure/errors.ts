import { isJsonObject } from '../base/json.js'
import { type Fault, UserError } from '../base/user-error.js'

/** What an Azure error says, whichever of the SDK's client families threw it. */
export interface AzureErrorFacts {
  readonly status: number | undefined
  /** `error.code`, the one text that may be matched on. */
  readonly code: string
  /** `error.innererror.code`, which Key Vault uses for the real cause. */
  readonly innerCode: string | undefined
  readonly message: string
  readonly requestId: string | undefined
  /** Every code and message found below, outermost first: deployments nest the cause in details and in JSON strings. */
  readonly nested: readonly { readonly code: string; readonly message: string }[]
}

interface Remedy {
  readonly code: string
  readonly fault: Fault
  /** `{what}` is what was being done, for example `key vault "cr-kv"`. */
  readonly problem: (what: string, facts: AzureErrorFacts) => string
  readonly why?: string
  readonly next: readonly string[]
}

interface Rule {
  readonly azure: string
  readonly inner?: string
  /** HTTP status, where the code alone means several things. */
  readonly status?: number
  readonly remedy: Remedy
}

/**
 * Azure code, or Azure code and inner code, to the product's error. Most specific first; matched
 * against the nested causes from the innermost out. docs/errors.md has an entry for each `code`.
 */
const catalogue: readonly Rule[] = [
  entry('Forbidden', 'ForbiddenByRbac', {
    code: 'keyvault.forbidden',
    fault: 'cloud',
    problem: (what) => `no permission on ${what}`,
    why: 'the role assignment is missing or has not reached the vault yet, which can take up to 10 minutes',
    next: ['confrouter provision', 'run the same command again in a few minutes']
  }),
  entry('Conflict', 'ObjectIsDeletedButRecoverable', {
    code: 'keyvault.key-soft-deleted',
    fault: 'cloud',
    problem: (what) => `${what} is deleted but still owns its name`,
    next: ['az keyvault key recover --vault-name VAULT --name KEY']
  }),
  entry('ConflictError', undefined, {
    code: 'keyvault.soft-deleted',
    fault: 'cloud',
    problem: (what) => `${what} cannot be created`,
    why: 'a deleted vault with this name still owns the name',
    next: [
      'set keyVault.name to another name in confrouter.yaml',
      'az keyvault recover --name VAULT',
      'az keyvault purge --name VAULT   (cannot be undone)'
    ]
  }),
  entry('VaultAlreadyExists', undefined, {
    code: 'keyvault.name-taken',
    fault: 'cloud',
    problem: (what) => `${what} cannot be created: the name is taken`,
    why: 'vault names are unique in all of Azure',
    next: ['set keyVault.name to another name in confrouter.yaml']
  }),
  entry('DuplicateTenant', undefined, {
    code: 'attestation.name-taken',
    fault: 'cloud',
    problem: (what) => `${what} cannot be created: the name is taken`,
    why: 'attestation provider names are unique in a region, over all subscriptions',
    next: ['set attestation.name to another name in confrouter.yaml']
  }),
  entry('MissingSubscriptionRegistration', undefined, {
    code: 'azure.provider-not-registered',
    fault: 'cloud',
    problem: (_what, facts) => `a resource provider is not registered: ${facts.message}`,
    next: ['az provider register --namespace NAMESPACE --wait']
  }),
  entry('AuthorizationFailed', undefined, {
    code: 'azure.forbidden',
    fault: 'cloud',
    problem: (what) => `no permission for this on ${what}`,
    next: ['az role assignment list --assignee YOU --all -o table']
  }),
  entry('ContainerGroupQuotaReached', undefined, {
    code: 'aci.quota',
    fault: 'cloud',
    problem: (what) => `${what} exceeds the quota of the region`,
    next: ['az container list-usage --location REGION -o table', 'set location to another region in confrouter.yaml']
  }),
  {
    azure: 'ServiceUnavailable',
    // With 409 it is ACI's word for "no capacity", with 503 any service's for "not now".
    status: 409,
    remedy: {
      code: 'aci.no-capacity',
      fault: 'cloud',
      problem: (what) => `the region has no capacity for ${what}`,
      next: ['run the same command again later', 'set location to another region in confrouter.yaml']
    }
  },
  entry('InvalidCcePolicy', undefined, {
    code: 'aci.policy-invalid',
    fault: 'cloud',
    problem: (what) => `the CCE policy of ${what} was refused`,
    next: ['confrouter policy']
  }),
  entry('InvalidTemplate', undefined, template()),
  entry('InvalidTemplateDeployment', undefined, template()),
  entry('PrincipalNotFound', undefined, {
    code: 'identity.not-visible-yet',
    fault: 'cloud',
    problem: (what) => `${what} is not visible to the directory yet`,
    next: ['run the same command again in two minutes']
  })
]

function entry(azure: string, inner: string | undefined, remedy: Remedy): Rule {
  return inner === undefined ? { azure, remedy } : { azure, inner, remedy }
}

function template(): Remedy {
  return {
    code: 'aci.template-invalid',
    fault: 'cloud',
    problem: (what, facts) => `the template of ${what} was refused: ${(facts.nested.at(-1) ?? facts).message}`,
    next: ['confrouter policy']
  }
}

/**
 * Turns what the SDK threw into the product's error. `what` names the resource in the user's words.
 * An error without a rule keeps its own words, its code and its request id.
 */
export function toUserError(error: unknown, what: string, failedOperation?: unknown): unknown {
  if (error instanceof UserError || isAbort(error)) return error
  const noCredential = credentialError(error)
  if (noCredential !== undefined) return noCredential
  const facts = azureErrorFacts(failedOperation ?? error) ?? azureErrorFacts(error)
  if (facts === undefined) return networkError(error, what) ?? error
  const causes = [...facts.nested].reverse()
  for (const { azure, inner, status, remedy } of catalogue) {
    const hit =
      (facts.code === azure && (inner === undefined || facts.innerCode === inner)) ||
      (inner === undefined && causes.some((cause) => cause.code === azure))
    if (!hit || (status !== undefined && facts.status !== status)) continue
    return new UserError(remedy.fault, remedy.code, remedy.problem(what, facts), {
      why: remedy.why ?? facts.message,
      next: remedy.next,
      requestId: facts.requestId,
      cause: error
    })
  }
  const cause = causes[0] ?? facts
  return new UserError('cloud', 'azure.error', `${what}: Azure answered ${cause.code}`, {
    why: cause.message,
    requestId: facts.requestId,
    cause: error
  })
}

export function isNotFound(error: unknown): boolean {
  return azureErrorFacts(error)?.status === 404
}

/** Whether the data plane refused because a role assignment has not arrived; only that is worth waiting for. */
export function isForbiddenByRbac(error: unknown): boolean {
  return azureErrorFacts(error)?.innerCode === 'ForbiddenByRbac'
}

export function hasCode(error: unknown, code: string): boolean {
  const facts = azureErrorFacts(error)
  return facts?.code === code || facts?.innerCode === code
}

/**
 * Reads a `RestError` of either SDK family, or the body of a failed operation
 * (`{ status: "Failed", error: {…} }`). Undefined if it is neither.
 */
export function azureErrorFacts(error: unknown): AzureErrorFacts | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const raised = error as {
    statusCode?: unknown
    code?: unknown
    message?: unknown
    details?: unknown
    status?: unknown
    error?: unknown
    response?: { headers?: { get?(name: string): string | undefined }; bodyAsText?: string | null }
  }
  const body = errorBody(raised.error) ?? errorBody(raised.details) ?? errorBody(parseJson(raised.response?.bodyAsText))
  if (typeof raised.statusCode !== 'number' && body === undefined) return undefined
  const headers = raised.response?.headers
  return {
    status: typeof raised.statusCode === 'number' ? raised.statusCode : undefined,
    code: body?.code ?? (typeof raised.code === 'string' ? raised.code : 'Unknown'),
    innerCode: body?.innerCode,
    message: body?.message ?? (typeof raised.message === 'string' ? raised.message : ''),
    requestId: headers?.get?.('x-ms-request-id') ?? headers?.get?.('x-ms-correlation-request-id'),
    nested: body === undefined ? [] : nestedCauses(body.raw, 0)
  }
}

interface ErrorBody {
  readonly code: string
  readonly message: string
  readonly innerCode: string | undefined
  readonly raw: Record<string, unknown>
}

function errorBody(value: unknown): ErrorBody | undefined {
  const object = isJsonObject(value) ? (value as Record<string, unknown>) : undefined
  const error = isJsonObject(object?.['error']) ? (object['error'] as Record<string, unknown>) : object
  if (typeof error?.['code'] !== 'string') return undefined
  // REST bodies say `innererror`, the SDK's deserializer turns it into `innerError`.
  const inner = error['innererror'] ?? error['innerError']
  return {
    code: error['code'],
    message: typeof error['message'] === 'string' ? error['message'] : '',
    innerCode: isJsonObject(inner) && typeof inner['code'] === 'string' ? inner['code'] : undefined,
    raw: error
  }
}

/** Causes below an error: `details[]`, and messages that are JSON texts themselves, five levels at most. */
function nestedCauses(error: Record<string, unknown>, depth: number): { code: string; message: string }[] {
  if (depth >= 5) return []
  const details = Array.isArray(error['details']) ? (error['details'] as unknown[]) : []
  const inMessage = parseJson(error['message'])
  return [...details, inMessage].flatMap((item) => {
    const body = errorBody(item)
    if (body !== undefined) return [{ code: body.code, message: body.message }, ...nestedCauses(body.raw, depth + 1)]
    return isJsonObject(item) ? nestedCauses(item, depth + 1) : []
  })
}

function parseJson(text: unknown): unknown {
  if (typeof text !== 'string' || !text.trimStart().startsWith('{')) return undefined
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
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

function networkError(error: unknown, what: string): UserError | undefined {
  const code = (error as { code?: unknown } | null)?.code
  if (
    typeof code !== 'string' ||
    !/^(E[A-Z_]+|REQUEST_SEND_ERROR|UNABLE_TO_[A-Z_]+|ERR_TLS_[A-Z_]+|[A-Z_]*CERT[A-Z_]*)$/.test(code)
  ) {
    return undefined
  }
  return new UserError('cloud', 'azure.unreachable', `${what}: Azure cannot be reached (${code})`, {
    why: error instanceof Error ? error.message : undefined,
    next: ['check the network, HTTPS_PROXY and NO_PROXY, then run the same command again'],
    cause: error
  })
}
