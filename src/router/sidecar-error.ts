/**
 * Why the key or the evidence could not be had. The sidecar answers 403 for everything, with a text
 * that quotes the service behind it; what matters is in the tail of that text.
 */
export class SidecarError extends Error {
  override readonly name = 'SidecarError'
  /** A policy, a role or a name has to be mended first; trying again soon changes nothing. */
  readonly final: boolean

  constructor(
    /** Stable: shown by /readyz and in logs. */
    readonly code: string,
    /** In words for an operator; quotes no service. */
    readonly reason: string,
    { final }: { readonly final: boolean }
  ) {
    super(`${code}: ${reason}`)
    this.final = final
  }
}

type Operation = 'attest' | 'release'

const retry = (code: string, reason: string) => new SidecarError(code, reason, { final: false })
const giveUp = (code: string, reason: string) => new SidecarError(code, reason, { final: true })

/** Classifies an error answer of the sidecar by its HTTP status and the text of its `error` member. */
export function classifySidecarError(operation: Operation, httpStatus: number, text: string): SidecarError {
  const step = failedStep(operation, text)
  if (httpStatus === 400) {
    return giveUp(`${operation}.bad-request`, 'the sidecar refused the form of the request')
  }
  const status = downstreamStatus(text)
  // Azure's identity adapter answers so for a while after the group has started.
  if (text.includes('Received invalid token')) {
    return retry(`${step}.invalid-token`, 'the identity service gave a token that was not accepted yet')
  }
  if (status === 429) return retry(`${step}.throttled`, `${subjects[step]} is throttling requests`)
  if (status !== undefined && status >= 500) {
    return retry(`${step}.unavailable`, `${subjects[step]} answered with status ${status}`)
  }
  if (status === undefined && isConnectionFailure(text)) {
    return retry(`${step}.unreachable`, `${subjects[step]} cannot be reached from the sidecar`)
  }
  if (status === undefined && httpStatus >= 500) {
    return retry(`${operation}.failed`, `the sidecar answered with status ${httpStatus}`)
  }
  return refusals[step](status, text)
}

type Step = Operation | 'identity'

const subjects: Readonly<Record<Step, string>> = {
  attest: 'the attestation service',
  identity: 'the identity service',
  release: 'the key vault'
}

function failedStep(operation: Operation, text: string): Step {
  if (operation === 'attest') return 'attest'
  if (text.includes('retrieving authentication token failed')) return 'identity'
  return /\battestation failed\b/.test(text) ? 'attest' : 'release'
}

/** The last one: an outer service may quote an inner one. */
function downstreamStatus(text: string): number | undefined {
  const match = [...text.matchAll(/http response status equal to (\d{3})/g)].at(-1)
  return match === undefined ? undefined : Number(match[1])
}

const isConnectionFailure = (text: string): boolean =>
  /\b(dial (tcp|udp)|no such host|lookup |connection re(fused|set)|i\/o timeout|TLS handshake timeout|context deadline exceeded|unexpected EOF|: EOF\b|network is unreachable|server closed)/.test(
    text
  )

const refusals: Readonly<Record<Step, (status: number | undefined, text: string) => SidecarError>> = {
  attest: (status) =>
    giveUp(
      'attest.failed',
      status === undefined
        ? 'the hardware report could not be made or its certificates do not fit this machine'
        : `the attestation service refused the evidence of this machine with status ${status}`
    ),
  identity: (status) =>
    giveUp(
      'identity.refused',
      `the identity service gave no token${status === undefined ? '' : ` (status ${status})`}; check that the container group has the managed identity`
    ),
  release: refuseRelease
}

function refuseRelease(status: number | undefined, text: string): SidecarError {
  if (status === 404) {
    return giveUp(
      'release.key-not-found',
      'the key vault has no key of this name and version; check KID and AKV_ENDPOINT'
    )
  }
  if (status === 403 && /statement cannot be verified/i.test(text)) {
    return giveUp(
      'release.attestation-not-verified',
      'the key vault cannot verify the attestation token; check that the release policy names the endpoint in MAA_ENDPOINT'
    )
  }
  if (status === 403 && /release policy/i.test(text)) {
    return giveUp(
      'release.policy-not-met',
      "the evidence of this container group does not meet the key's release policy; compare the policy's host data with that of this deployment"
    )
  }
  if (status === 401 || status === 403) {
    return giveUp(
      'release.forbidden',
      'the key vault refuses the managed identity; it needs the role "Key Vault Crypto Service Release User" on the vault, and the vault\'s network rules must admit it'
    )
  }
  if (text.includes('x509')) {
    return giveUp(
      'release.certificate',
      'the key vault signed its answer with a certificate that does not fit AKV_ENDPOINT'
    )
  }
  return giveUp('release.failed', `the key release failed${status === undefined ? '' : ` with status ${status}`}`)
}
