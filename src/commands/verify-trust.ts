import { readFile } from 'node:fs/promises'
import { UserError } from '../base/user-error.js'
import type { TrustPolicy } from '../client/index.js'
import { unreadable } from './file-input.js'
import type { Pin } from './verify-pin.js'

/** What decides which evidence is accepted. */
export interface TrustOptions {
  /** File with a trust policy. */
  readonly trust?: string
  /** 64 hex characters each, or `any`; in place of those of the file. */
  readonly hostData?: readonly string[]
  /** Origins of attestation providers; in place of those of the file. */
  readonly maa?: readonly string[]
  readonly via: Via
}

export const ways = ['both', 'hardware', 'maa'] as const
export type Via = (typeof ways)[number]

export interface TrustSource {
  readonly policy: TrustPolicy
  /** Where it comes from, in words. */
  readonly origin: string
}

/**
 * The trust policy of a verification: from a file, or the strict one around host data that the caller
 * knows. `pinned` is host data that was worked out from a release or an image. What is given back takes the
 * attestation provider that the evidence names. Throws a {@link UserError} if nothing says what host data is
 * expected: a genuine container may run anything.
 */
export async function trustFor(
  options: TrustOptions,
  pinned: Pin | undefined
): Promise<(endpoint: string | undefined) => TrustSource> {
  const named = pinned === undefined ? options.hostData : pinned.hostData
  const file = options.trust === undefined ? undefined : await readTrust(options.trust)
  if (file === undefined && named === undefined) throw nothingPinned()
  if (options.via === 'maa' && file === undefined && options.maa === undefined) throw noService()
  const { isAzureAttestation, strictTrustPolicy, VerifyError } = await import('../client/index.js')
  const hostData = named?.includes('any') === true ? 'any' : named
  return (endpoint) => {
    const maa = options.via === 'hardware' ? 'none' : endpointsOf(options, file, endpoint, isAzureAttestation)
    try {
      const base =
        file ??
        strictTrustPolicy({ hostData: hostData === 'any' ? [standIn] : (hostData ?? []), maaEndpoints: maa ?? [] })
      const policy: TrustPolicy = {
        ...base,
        ...(hostData === undefined ? {} : { hostData: hostData as TrustPolicy['hostData'] }),
        ...(maa === undefined ? {} : { maa: maa === 'none' ? 'none' : { endpoints: maa } })
      }
      return { policy, origin: originOf(options, pinned) }
    } catch (error) {
      if (!(error instanceof VerifyError)) throw error
      throw new UserError('usage', 'usage.invalid', error.message, { next: ['confrouter verify --help'] })
    }
  }
}

/** Of no policy: the strict policy asks for some host data before `any` replaces it. */
const standIn = '0'.repeat(64)

function originOf({ trust, hostData }: TrustOptions, pinned: Pin | undefined): string {
  const pin = pinned?.origin ?? (hostData === undefined ? undefined : 'the host data of --host-data')
  const base = trust === undefined ? 'the strict trust policy' : trust
  return pin === undefined ? base : `${base}, with ${pin}`
}

function endpointsOf(
  { maa }: TrustOptions,
  file: TrustPolicy | undefined,
  endpoint: string | undefined,
  isAzure: (endpoint: string) => boolean
): readonly string[] | undefined {
  if (maa !== undefined || file !== undefined) return maa
  // Without a name of the caller's: the service itself, whichever instance of it. None of them can forge a report.
  return [endpoint !== undefined && isAzure(endpoint) ? endpoint : 'https://sharedeus.eus.attest.azure.net']
}

/** Reads a trust policy. Throws a {@link UserError}. */
export async function readTrust(file: string): Promise<TrustPolicy> {
  const { parseTrustPolicy, VerifyError } = await import('../client/index.js')
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw unreadable(file, error)
  }
  try {
    return parseTrustPolicy(text)
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error
    throw new UserError('config', 'trust.invalid', `${file}: ${error.message}`, {
      next: ['confrouter policy   (writes trust.json for a deployment)']
    })
  }
}

/** By its word alone: then whose word it is must not come from the evidence, since anybody can have a service there. */
function noService(): UserError {
  return new UserError(
    'usage',
    'verify.no-service',
    '--via maa, and nothing says which attestation service is believed',
    {
      next: [
        'confrouter verify URL --via maa --maa https://sharedeus.eus.attest.azure.net --host-data HEX',
        'confrouter verify URL --via maa --trust trust.json'
      ]
    }
  )
}

function nothingPinned(): UserError {
  return new UserError('usage', 'verify.nothing-expected', 'nothing says which router is expected', {
    why: 'a genuine confidential container may run any program; only its policy, by its hash in HOST_DATA, says which',
    next: [
      'confrouter verify URL --trust trust.json        (from whoever runs the router)',
      'confrouter verify URL --release release.json    (a published release)',
      'confrouter verify URL --host-data HEX',
      'confrouter verify URL --host-data any           (only to look: whatever it is, it may read your data)'
    ]
  })
}
