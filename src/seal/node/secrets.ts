import { utf8 } from '../../base/encoding.js'
import { jweTypes } from '../jwe.js'
import { parseSecrets, type Secrets } from '../secrets.js'
import { openJwe, type OpeningKey } from './open-jwe.js'

/**
 * Opens what `sealSecrets` made. Throws a `SealError`: `bad_encrypted_payload` if it was not sealed
 * to this key as a bundle of secrets, `invalid_secrets` if its plaintext has another form.
 */
export async function openSecrets(jwe: string, key: OpeningKey): Promise<Secrets> {
  const { plaintext } = await openJwe(jwe, key, [jweTypes.secrets])
  return parseSecrets(utf8.decode(plaintext))
}
