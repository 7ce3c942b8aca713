import { encodeHex } from '../base/encoding.js'
import { SealError } from '../seal/errors.js'
import { looksLikeSealedKey, openProviderKey } from '../seal/node/provider-key.js'
import type { Credential } from './access.js'
import type { Call } from './call.js'
import { Problem } from './problem.js'

/**
 * Opens a credential that is sealed to the router (docs/wire-format.md, sealed provider key), so
 * that whatever ends TLS in between cannot read it. Others are given back as they are.
 */
export async function openSealedCredential(
  { context, seal }: Call,
  credential: Credential | undefined
): Promise<Credential | undefined> {
  const { active } = context.state
  if (credential === undefined || active === undefined || !looksLikeSealedKey(credential.text)) return credential
  try {
    const { key, provider, encapsulatedKey } = await openProviderKey(credential.text, active.keys, {
      nowMs: Date.now()
    })
    if (encapsulatedKey !== undefined && encapsulatedKey !== (seal && encodeHex(seal.encapsulatedKey))) {
      throw new Problem('bad_sealed_key', 'the sealed key is for another request')
    }
    return { text: key, provider }
  } catch (error) {
    if (!(error instanceof SealError)) throw error
    throw new Problem('bad_sealed_key', error.message)
  }
}
