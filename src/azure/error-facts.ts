import { isJsonObject } from '../base/json.js'

/** One error of a chain, the outer one or one that it nests. */
export interface AzureCause {
  /** `error.code`; undefined for the entries of `details[]` that have none. */
  readonly code: string | undefined
  /**
   * What the code leaves open: `innererror.code` of Key Vault, or the number that its release service
   * writes before the message (`AKV.SKR.1004`).
   */
  readonly innerCode: string | undefined
  readonly message: string
  /** The resource or namespace that it is about, where the service says so. */
  readonly target: string | undefined
}

/** What an Azure error says, whichever of the SDK's client families threw it. */
export interface AzureErrorFacts extends AzureCause {
  readonly status: number | undefined
  readonly code: string
  readonly requestId: string | undefined
  /** Everything found below, outermost first: deployments nest the cause in details and in JSON strings. */
  readonly nested: readonly AzureCause[]
}

/**
 * Whether Azure itself says that a resource is absent: 404 with one of its own codes. A 404 without one is the
 * word of something in between, or of another path; nothing that would be made or stopped may follow from it.
 */
export function isAbsent(error: unknown): boolean {
  const facts = azureErrorFacts(error)
  return facts?.status === 404 && absentCodes.has(facts.code)
}

const absentCodes: ReadonlySet<string> = new Set([
  'ResourceNotFound',
  'ResourceGroupNotFound',
  'NotFound',
  'VaultNotFound',
  'DeletedVaultNotFound',
  'DeploymentNotFound',
  'RoleAssignmentNotFound'
])

/**
 * The same for a key. Whoever takes it for absent makes a new version, which is another key: the pins of all callers and
 * everything that was sealed would be lost. So only the vault's own code counts.
 */
export function isAbsentKey(error: unknown): boolean {
  const facts = azureErrorFacts(error)
  return facts?.status === 404 && facts.code === 'KeyNotFound'
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
    error?: unknown
    response?: { headers?: { get?(name: string): string | undefined }; bodyAsText?: string | null }
  }
  const body = readError(raised.error) ?? readError(raised.details) ?? readError(parseJson(raised.response?.bodyAsText))
  if (typeof raised.statusCode !== 'number' && body === undefined) return undefined
  const headers = raised.response?.headers
  return {
    status: typeof raised.statusCode === 'number' ? raised.statusCode : undefined,
    code: body?.cause.code ?? (typeof raised.code === 'string' ? raised.code : 'Unknown'),
    innerCode: body?.cause.innerCode,
    message: body?.cause.message ?? (typeof raised.message === 'string' ? raised.message : ''),
    target: body?.cause.target,
    requestId: headers?.get?.('x-ms-request-id') ?? headers?.get?.('x-ms-correlation-request-id'),
    nested: body === undefined ? [] : nestedCauses(body.raw, 0)
  }
}

interface ReadError {
  readonly cause: AzureCause
  readonly raw: Record<string, unknown>
}

/** An object with a code, by itself or as the member `error`. */
function readError(value: unknown): ReadError | undefined {
  const read = readCause(value)
  return read?.cause.code === undefined ? undefined : read
}

function readCause(value: unknown): ReadError | undefined {
  const object = isJsonObject(value) ? (value as Record<string, unknown>) : undefined
  const raw = isJsonObject(object?.['error']) ? (object['error'] as Record<string, unknown>) : object
  if (raw === undefined) return undefined
  const message = textOf(raw['message']) ?? ''
  // REST bodies say `innererror`, the SDK's deserializer turns it into `innerError`.
  const inner = raw['innererror'] ?? raw['innerError']
  const innerCode = isJsonObject(inner) ? textOf(inner['code']) : undefined
  return {
    cause: {
      code: textOf(raw['code']),
      innerCode: innerCode ?? /^(AKV(?:\.[A-Z]+)?\.?\d+):/.exec(message)?.[1],
      message,
      target: textOf(raw['target'])
    },
    raw
  }
}

const deepest = 5

/** Causes below an error: `details[]`, and messages that are JSON texts themselves, five levels at most. */
function nestedCauses(error: Record<string, unknown>, depth: number): AzureCause[] {
  if (depth >= deepest) return []
  const details = Array.isArray(error['details']) ? (error['details'] as unknown[]) : []
  return [...details, parseJson(error['message'])].flatMap((item) => {
    const read = readCause(item)
    if (read === undefined) return []
    const below = nestedCauses(read.raw, depth + 1)
    // An entry without a code still has the only words there are; one without either is a mere wrapper.
    return read.cause.code === undefined && read.cause.message === '' ? below : [read.cause, ...below]
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

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
