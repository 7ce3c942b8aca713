import { compactVerify, decodeProtectedHeader, importJWK, type CompactJWSHeaderParameters } from 'jose'
import { decodeBase64Url, encodeBase64Url, utf8 } from '../base/encoding.js'
import { canonicalJson, isJsonObject, type Json } from '../base/json.js'
import { ecThumbprint, type EcPublicJwk, parseEcPublicJwk } from './ec-key.js'
import { SealError } from './errors.js'
import { isProviderName } from './provider-values.js'

/** What `CONFROUTER_SECRETS` says in the open (docs/wire-format.md, signed secrets). */
export interface SecretsBundle {
  /** Name of the container group that it is for, which is measured there. */
  readonly deployment: string
  /** Counts up with every change of any of the secrets. */
  readonly version: number
  /** By name; each name once. */
  readonly secrets: readonly SealedSecret[]
}

export interface SealedSecret {
  /** Name of a provider. */
  readonly name: string
  /** Version of the bundle in which this value was first there. */
  readonly version: number
  /** What `sealSecrets` made of this one value and this version. */
  readonly jwe: string
}

/** A key that signs bundles and stays where it is. */
export interface BundleSigner {
  readonly publicKey: EcPublicJwk
  /** ECDSA with SHA-256 over these bytes (ES256, RFC 7518 section 3.4); gives `r ‖ s`, 64 bytes. */
  readonly sign: (data: Uint8Array) => Promise<Uint8Array>
}

/** Whose bundle is meant: both are measured where it is opened. */
export interface ExpectedBundle {
  /** RFC 7638 thumbprint of the only key that may have signed it. */
  readonly signer: string
  readonly deployment: string
}

const signedSecretsType = 'confrouter-signed-secrets'

const maximumSecrets = 64
/** What the variable and its file may hold. */
const maximumLength = 128 * 1024
const signatureBytes = 64

/**
 * Signs a bundle: a compact JWS (RFC 7515) with the signer's public key in its header. The answer is
 * verified before it is given out, so that a signer that signs something else is seen here and not in
 * a router that does not start.
 *
 * Throws a `SealError` with code `invalid_secrets` for a bundle that cannot be one, `bad_signature`
 * for a signature that does not verify, and whatever `sign` rejects with.
 */
export async function signSecrets(bundle: SecretsBundle, { publicKey, sign }: BundleSigner): Promise<string> {
  const header = { alg: 'ES256', typ: signedSecretsType, jwk: { ...parseEcPublicJwk(publicKey, 'the signing key') } }
  const secrets = [...bundle.secrets].sort((a, b) => (a.name < b.name ? -1 : 1))
  const payload = {
    v: 1,
    deployment: bundle.deployment,
    version: bundle.version,
    secrets: secrets.map(({ name, version, jwe }) => ({ name, version, jwe }))
  }
  parseBundle(canonicalJson(payload))
  const signed = `${encode(header)}.${encode(payload)}`
  const text = `${signed}.${encodeBase64Url(await sign(utf8.encode(signed)))}`
  if (text.length > maximumLength) throw invalid(`the bundle has ${text.length} bytes, at most ${maximumLength} fit`)
  await readSignedSecrets(text, { signer: await ecThumbprint(publicKey), deployment: bundle.deployment })
  return text
}

/**
 * Reads a bundle that this signer signed for this deployment; opens none of its secrets.
 *
 * Throws a `SealError`: `unsigned_secrets` if nobody signed it, `foreign_signer` if another key did,
 * `bad_signature` if it was altered, `other_deployment`, or `invalid_secrets` for a payload of another
 * form. None quotes the text.
 */
export async function readSignedSecrets(text: string, expected: ExpectedBundle): Promise<SecretsBundle> {
  const header = readHeader(text)
  const key = readKey(header)
  const signer = await ecThumbprint(key)
  if (signer !== expected.signer) {
    throw new SealError(
      'foreign_signer',
      `the sealed secrets are signed by the key ${signer}, not by ${expected.signer}, which was measured`
    )
  }
  const bundle = parseBundle(await verify(text, key))
  if (bundle.deployment !== expected.deployment) {
    throw new SealError(
      'other_deployment',
      `the sealed secrets are for the deployment ${JSON.stringify(bundle.deployment)}, and this one is ${JSON.stringify(expected.deployment)}`
    )
  }
  return bundle
}

/** The names that a bundle says it has. Nothing is verified: only for a look ahead of the reading. */
export function claimedNames(text: string): readonly string[] {
  try {
    const payload = utf8.decode(decodeBase64Url(text.split('.')[1] ?? '', 'payload'))
    return parseBundle(payload).secrets.map(({ name }) => name)
  } catch {
    return []
  }
}

function readHeader(text: string): CompactJWSHeaderParameters {
  if (text.length > maximumLength || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) throw unsigned()
  let header: CompactJWSHeaderParameters
  try {
    header = decodeProtectedHeader(text) as CompactJWSHeaderParameters
  } catch {
    throw unsigned()
  }
  // `none` is an algorithm of JWS, and a MAC would be nobody's signature.
  if (header.alg !== 'ES256' || header.typ !== signedSecretsType) throw unsigned()
  // Whatever else a header says could change what the signature means.
  if (Object.keys(header).sort().join() !== 'alg,jwk,typ') {
    throw invalid('the header must have exactly the members "alg", "typ" and "jwk"')
  }
  return header
}

function readKey({ jwk }: CompactJWSHeaderParameters): EcPublicJwk {
  try {
    return parseEcPublicJwk(jwk, '"jwk"')
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : 'the header has no usable "jwk"')
  }
}

async function verify(text: string, key: EcPublicJwk): Promise<string> {
  try {
    // One spelling for one signature.
    if (decodeBase64Url(text.slice(text.lastIndexOf('.') + 1), 'signature').length !== signatureBytes) {
      throw new TypeError('length')
    }
    const { payload } = await compactVerify(text, await importJWK({ ...key }, 'ES256'), { algorithms: ['ES256'] })
    return utf8.decode(payload)
  } catch {
    throw new SealError('bad_signature', 'the signature of the sealed secrets does not verify: they were altered')
  }
}

function parseBundle(payload: string): SecretsBundle {
  let value: unknown
  try {
    value = JSON.parse(payload)
  } catch {
    throw invalid('the payload is not JSON')
  }
  if (!isJsonObject(value) || Object.keys(value).sort().join() !== 'deployment,secrets,v,version') {
    throw invalid('the payload must have exactly the members "v", "deployment", "version" and "secrets"')
  }
  const { v, deployment, version, secrets } = value
  if (v !== 1) throw invalid('"v" must be 1')
  if (typeof deployment !== 'string' || !isDeploymentName(deployment)) {
    throw invalid('"deployment" must be the name of a container group')
  }
  const bundleVersion = parseVersion(version, '"version"')
  const list: unknown = secrets
  if (!Array.isArray(list) || list.length > maximumSecrets) {
    throw invalid(`"secrets" must be a list of at most ${maximumSecrets}`)
  }
  const parsed = (list as readonly Json[]).map((secret) => parseSecret(secret, bundleVersion))
  parsed.forEach(({ name }, index) => {
    if (index > 0 && (parsed[index - 1]?.name ?? '') >= name)
      throw invalid('"secrets" must be in order, each name once')
  })
  return { deployment, version: bundleVersion, secrets: parsed }
}

function parseSecret(value: Json, bundleVersion: number): SealedSecret {
  if (!isJsonObject(value) || Object.keys(value).sort().join() !== 'jwe,name,version') {
    throw invalid('each of "secrets" must have exactly the members "name", "version" and "jwe"')
  }
  const { name, jwe } = value
  if (typeof name !== 'string' || !isProviderName(name)) throw invalid('a "name" is not the name of a provider')
  const version = parseVersion(value.version, `the version of "${name}"`)
  if (version > bundleVersion) throw invalid(`the version of "${name}" is above that of the bundle`)
  if (typeof jwe !== 'string' || !/^[\w-]+(?:\.[\w-]+){4}$/.test(jwe)) {
    throw invalid(`the "jwe" of "${name}" is no compact JWE`)
  }
  return { name, version, jwe }
}

function parseVersion(value: Json | undefined, what: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) {
    throw invalid(`${what} must be a whole number from 1`)
  }
  return value
}

/** Names of container groups: 1 to 63 lower-case letters, digits and hyphens. */
export function isDeploymentName(text: string): boolean {
  return /^[a-z0-9][a-z0-9-]{0,62}$/.test(text)
}

const encode = (value: Json): string => encodeBase64Url(utf8.encode(canonicalJson(value)))

const unsigned = (): SealError =>
  new SealError('unsigned_secrets', 'the sealed secrets are not signed, so anybody can have made them')

const invalid = (message: string): SealError => new SealError('invalid_secrets', `signed secrets: ${message}`)
