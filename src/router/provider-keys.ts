import type { Logger } from 'pino'
import { canonicalJson } from '../base/json.js'
import { SealError, type SealErrorCode } from '../seal/errors.js'
import { openSignedSecrets } from '../seal/node/secrets.js'
import type { Secrets } from '../seal/secrets.js'
import type { ExpectedBundle } from '../seal/signed-secrets.js'
import type { RouterKeys } from './released-key.js'
import type { Settings } from './settings.js'
import { SidecarError } from './sidecar-error.js'

export interface ProviderKeySources {
  /** Keys that stand in the environment in clear. */
  readonly clearKeys: ReadonlyMap<string, string>
  /** The sealed secrets as they are now; `undefined` if there are none. Throws a `SidecarError`. */
  readonly readSealed: () => Promise<string | undefined>
  /** Who has to have signed them, and for whom; `undefined` if no sealed secrets can come. */
  readonly expected: ExpectedBundle | undefined
  readonly providers: Settings['providers']
  readonly log: Logger
}

/** The router's own keys for providers, from wherever they come. */
export class ProviderKeys {
  #inUse: Secrets | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(private readonly sources: ProviderKeySources) {}

  /** Of the sealed secrets in use; `undefined` if there are none. */
  get version(): number | undefined {
    return this.#inUse?.version
  }

  /**
   * Gives the keys by the name of their provider: those in clear, then the sealed ones, which win. Throws a
   * `SidecarError` if the sealed ones cannot be used, or are older than those in use.
   */
  open(keys: RouterKeys): Promise<ReadonlyMap<string, string>> {
    // One after the other: of two that overlap, the older one must not be the one that stays.
    const opened = this.#last.then(() => this.#open(keys))
    this.#last = opened.catch(() => undefined)
    return opened
  }

  async #open(keys: RouterKeys): Promise<ReadonlyMap<string, string>> {
    const { clearKeys, readSealed, expected, providers, log } = this.sources
    const providerKeys = new Map(clearKeys)
    const sealed = await readSealed()
    if (sealed !== undefined) {
      if (expected === undefined) throw new Error('sealed secrets come with a measured signer')
      const secrets = await openSignedSecrets(sealed, keys, expected).catch((error: unknown) => {
        throw unopened(error, keys.kid)
      })
      for (const [name, key] of Object.entries(secrets.values)) providerKeys.set(name, key)
      if (this.#inUse !== undefined) {
        refuseOther(secrets, this.#inUse)
        if (secrets.version === this.#inUse.version) return providerKeys
      }
      this.#inUse = secrets
      log.info({ version: secrets.version, count: Object.keys(secrets.values).length }, 'secrets opened')
    }
    for (const name of providerKeys.keys()) {
      if (!providers.enabled.has(name)) log.warn({ provider: name }, 'key for a provider that is not enabled')
    }
    return providerKeys
  }
}

/** A version is for one set of values. Sealed again, to a new key for one, they have other bytes and are the same. */
function refuseOther({ version, values }: Secrets, inUse: Secrets): void {
  if (version < inUse.version) {
    throw new SidecarError(
      'secrets.rollback',
      `the sealed secrets have version ${version}, and version ${inUse.version} is in use`,
      { final: true }
    )
  }
  if (version === inUse.version && canonicalJson(values) !== canonicalJson(inUse.values)) {
    throw new SidecarError(
      'secrets.same-version',
      `the sealed secrets are other ones and have version ${version}, which is in use; seal them with a higher one`,
      { final: true }
    )
  }
}

/** Refusals whose message is for the operator; it quotes nothing of the secrets. */
const refusals: Readonly<Partial<Record<SealErrorCode, string>>> = {
  unsigned_secrets: 'secrets.unsigned',
  foreign_signer: 'secrets.foreign-signer',
  bad_signature: 'secrets.bad-signature',
  other_deployment: 'secrets.other-deployment',
  invalid_secrets: 'secrets.invalid'
}

function unopened(error: unknown, kid: string): SidecarError {
  const code = error instanceof SealError ? refusals[error.code] : undefined
  if (code !== undefined && error instanceof SealError) return new SidecarError(code, error.message, { final: true })
  return new SidecarError(
    'secrets.not-opened',
    `the sealed secrets were not sealed to the released key ${kid}; seal the provider keys again`,
    { final: true }
  )
}
