import { utf8 } from '../../base/encoding.js'
import { SealError } from '../errors.js'
import { jweTypes } from '../jwe.js'
import { parseSecrets, type Secrets } from '../secrets.js'
import { type ExpectedBundle, readSignedSecrets } from '../signed-secrets.js'
import { openJwe, type OpeningKey } from './open-jwe.js'

/**
 * Opens what `sealSecrets` made. Throws a `SealError`: `bad_encrypted_payload` if it was not sealed
 * to this key as a bundle of secrets, `invalid_secrets` if its plaintext has another form.
 */
export async function openSecrets(jwe: string, key: OpeningKey): Promise<Secrets> {
  const { plaintext } = await openJwe(jwe, key, [jweTypes.secrets])
  return parseSecrets(utf8.decode(plaintext))
}

/**
 * Opens a bundle that `signSecrets` made for this deployment: first whose it is, then what is in it. Gives
 * all values under the version of the bundle.
 *
 * Throws what `readSignedSecrets` and `openSecrets` throw, and `invalid_secrets` if what is sealed is not
 * what was signed for.
 */
export async function openSignedSecrets(text: string, key: OpeningKey, expected: ExpectedBundle): Promise<Secrets> {
  const { version, secrets } = await readSignedSecrets(text, expected)
  const values: Record<string, string> = {}
  for (const secret of secrets) {
    const opened = await openSecrets(secret.jwe, key)
    const value = opened.values[secret.name]
    if (value === undefined || Object.keys(opened.values).length !== 1 || opened.version !== secret.version) {
      throw new SealError('invalid_secrets', `signed secrets: what is sealed for "${secret.name}" is something else`)
    }
    values[secret.name] = value
  }
  return { version, values }
}
