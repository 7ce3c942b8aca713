import { createHmac } from 'node:crypto'
import { type ContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { signWithVault } from '../azure/signing-key.js'
import type { VaultKey } from '../azure/vault-key.js'
import { UserError } from '../base/user-error.js'
import { sealedSecretsVariable } from '../plan/template.js'
import { SealError } from '../seal/errors.js'
import { recipientOf, sealSecrets } from '../seal/secrets.js'
import { rsaThumbprint } from '../seal/rsa-key.js'
import {
  claimedNames,
  readSignedSecrets,
  type SealedSecret,
  type SecretsBundle,
  signSecrets
} from '../seal/signed-secrets.js'
import { activeGroupName } from './generation.js'
import type { Note, Outputs, ProviderKeys, Results, Run } from './run.js'

/** What a bundle is sealed to and signed by. */
export interface SecretsKeys {
  readonly vaultUri: string
  readonly key: Pick<VaultKey, 'id' | 'publicKey'>
  readonly signer: Outputs['signing-key']
}

export function secretsKeys(results: Results): SecretsKeys {
  return { vaultUri: results.get('vault').vaultUri, key: results.get('key'), signer: results.get('signing-key') }
}

/** A bundle that is there and is ours. */
export interface CurrentBundle extends SecretsBundle {
  /** As in `CONFROUTER_SECRETS`. */
  readonly text: string
}

/** What has to be done so that the bundle holds what the configuration needs. */
export interface SecretsPlan {
  readonly current: CurrentBundle | undefined
  /** Sealed before and still right. */
  readonly kept: readonly SealedSecret[]
  /** To be sealed, by name. */
  readonly fresh: Readonly<Record<string, string>>
  /** Nothing has to be sealed or taken out. */
  readonly isCurrent: boolean
}

/** Recorded in place of a mark: the value came by `secrets set`, and its configured source does not count. */
export const setByHand = 'set'
/** Recorded in place of a mark: the value was taken over from the container group. */
const takenOver = 'group'

/** Names of the providers for which the configuration wants a key of the router's own. */
export function neededNames({ config }: Pick<Run, 'config'>): readonly string[] {
  return Object.entries(config.providers).flatMap(([name, { apiKey }]) => (apiKey === undefined ? [] : [name]))
}

/**
 * Looks at every name that the configuration needs. A value that is sealed already is kept, unless its
 * source has another one by now; so whoever deploys needs no values if all are in the bundle. Names that
 * the configuration does not need any more are taken out.
 *
 * `renew` seals these names again from their sources, or all but those that were set by hand.
 *
 * Throws a `UserError` with code `provider.key-missing` that names each one that is neither in the bundle
 * nor to be had: a bundle that lacks a name is never deployed.
 */
export async function planSecrets(
  run: Run,
  keys: SecretsKeys,
  deployedText: string | undefined,
  renew: 'all' | readonly string[] = []
): Promise<SecretsPlan> {
  const { values, missing } = await run.providerKeys()
  const current = await currentBundle(run, keys, deployedText)
  const marks = run.state.get().secrets?.marks ?? {}
  const usable = new Map((await usableSecrets(current, keys)).map((secret) => [secret.name, secret]))
  const kept: SealedSecret[] = []
  const fresh: Record<string, string> = {}
  const absent: string[] = []
  for (const name of neededNames(run)) {
    const sealed = usable.get(name)
    const value = values[name]
    const isNamed = renew !== 'all' && renew.includes(name)
    const byHand = marks[name] === setByHand && !isNamed
    const isRenewed = isNamed || (renew === 'all' && value !== undefined && !byHand)
    const isSame = byHand || value === undefined || marks[name] === markOf(keys, name, value)
    if (sealed !== undefined && isSame && !isRenewed) {
      kept.push(sealed)
      continue
    }
    if (value === undefined) absent.push(name)
    else fresh[name] = value
  }
  if (absent.length > 0) throw missingKeys(absent, missing)
  const isCurrent = current !== undefined && Object.keys(fresh).length === 0 && kept.length === current.secrets.length
  return { current, kept, fresh, isCurrent }
}

/**
 * Seals what is fresh, signs the whole and records it before it is deployed, so that a run that was killed
 * goes on with the same one.
 */
export async function makeBundle(
  run: Run,
  keys: SecretsKeys,
  plan: Pick<SecretsPlan, 'current' | 'kept' | 'fresh'>,
  note: Note,
  byHand: readonly string[] = []
): Promise<CurrentBundle> {
  const version = Math.max((plan.current?.version ?? 0) + 1, Math.floor(run.now().getTime() / 1000))
  const sealed = await Promise.all(
    Object.entries(plan.fresh).map(async ([name, value]) => ({
      name,
      version,
      jwe: await sealSecrets({ values: { [name]: value }, version, recipient: keys.key.publicKey })
    }))
  ).catch(notMade)
  note(`signing the provider keys, version ${version}`)
  const bundle = { deployment: run.config.containerGroup.name, version, secrets: [...plan.kept, ...sealed] }
  const vault = { azure: run.azure, vaultUri: keys.vaultUri, onWait: note }
  const text = await signSecrets(bundle, {
    publicKey: keys.signer.publicKey,
    sign: (data) => signWithVault(vault, keys.signer, data)
  }).catch(notMade)
  const before = run.state.get().secrets?.marks ?? {}
  const marks = Object.fromEntries(
    bundle.secrets.map(({ name }) => {
      const value = plan.fresh[name]
      if (value === undefined) return [name, before[name] ?? takenOver]
      return [name, byHand.includes(name) ? setByHand : markOf(keys, name, value)]
    })
  )
  await run.state.update((state) => ({ ...state, secrets: { bundle: text, marks } }))
  return { ...bundle, text }
}

/** The bundle for the next deployment: the one that is there, or a new one if it does not hold what is needed. */
export async function bundleForGroup(
  run: Run,
  results: Results,
  deployedText: string | undefined,
  note: Note
): Promise<CurrentBundle> {
  const keys = secretsKeys(results)
  const plan = await planSecrets(run, keys, deployedText)
  return plan.isCurrent && plan.current !== undefined ? plan.current : makeBundle(run, keys, plan, note)
}

/**
 * The newest bundle of this deployment: what was recorded, or what the container group has, if the state
 * is of another machine. What is not signed by our key for this deployment does not count.
 */
export async function currentBundle(
  run: Run,
  keys: Pick<SecretsKeys, 'signer'>,
  deployedText: string | undefined
): Promise<CurrentBundle | undefined> {
  const texts = [run.state.get().secrets?.bundle, deployedText]
  const bundles = await Promise.all(texts.map((text) => ownBundle(run, keys, text)))
  return bundles.filter((bundle) => bundle !== undefined).sort((a, b) => b.version - a.version)[0]
}

/** The bundle in a text, if our key signed it for this deployment. */
export async function ownBundle(
  run: Run,
  { signer }: Pick<SecretsKeys, 'signer'>,
  text: string | undefined
): Promise<CurrentBundle | undefined> {
  if (text === undefined) return undefined
  try {
    const expected = { signer: signer.thumbprint, deployment: run.config.containerGroup.name }
    return { ...(await readSignedSecrets(text, expected)), text }
  } catch (error) {
    if (error instanceof SealError) return undefined
    throw error
  }
}

/** The bundle that the container group has; undefined if there is no group or it has none. */
export async function deployedBundleText(run: Run): Promise<string | undefined> {
  return sealedTextOf(await getContainerGroup(run.azure, run.config.resourceGroup, activeGroupName(run)))
}

/** The bundle that a container group has, as it is in its environment. */
export function sealedTextOf(group: ContainerGroup | undefined): string | undefined {
  return group?.containers.find(({ name }) => name === 'router')?.environment[sealedSecretsVariable]
}

/**
 * Says what is missing before anything is made, as far as it can be known without the vault: a name whose
 * value is neither here nor in a bundle that was made before.
 */
export async function requireProviderKeys(run: Run): Promise<void> {
  const { missing } = await run.providerKeys()
  const marks = run.state.get().secrets?.marks ?? {}
  const unsealed = missing.map(({ name }) => name).filter((name) => marks[name] === undefined)
  if (unsealed.length === 0) return
  const inGroup = claimedNames((await deployedBundleText(run)) ?? '')
  const absent = unsealed.filter((name) => !inGroup.includes(name))
  if (absent.length > 0) throw missingKeys(absent, missing)
}

/** Those that the key of today opens: after a new version of the key the others are of no use. */
export async function usableSecrets(
  current: CurrentBundle | undefined,
  { key }: Pick<SecretsKeys, 'key'>
): Promise<readonly SealedSecret[]> {
  const recipient = await rsaThumbprint(key.publicKey)
  return (current?.secrets ?? []).filter(({ jwe }) => recipientOf(jwe) === recipient)
}

/**
 * Tells whether a sealed value is the one of its source without keeping the value: sealing it twice gives
 * different texts. Keyed with the key's id, so that a new key seals anew.
 */
function markOf({ key }: SecretsKeys, name: string, value: string): string {
  return createHmac('sha256', key.id).update(`${name}\n${value}`).digest('hex')
}

function missingKeys(absent: readonly string[], missing: ProviderKeys['missing']): UserError {
  const reasons = absent.map(
    (name) => missing.find((one) => one.name === name)?.reason ?? `${name}: it is sealed to another key`
  )
  return new UserError('config', 'provider.key-missing', `a provider key is missing: ${reasons.join('; ')}`, {
    why: 'each provider in the configuration with apiKey needs its value when the secrets are sealed, and no bundle without it is deployed',
    next: [
      'put the variable into .env or the environment',
      ...absent.map((name) => `confrouter secrets set ${name} --from-file FILE`),
      'take the provider out of confrouter.yaml'
    ]
  })
}

function notMade(error: unknown): never {
  if (!(error instanceof SealError)) throw error
  if (error.code === 'bad_signature') {
    throw new UserError('cloud', 'signing-key.bad-signature', 'the vault’s signature does not verify', {
      why: 'the key in the vault may have got a new version meanwhile',
      next: ['run the same command again']
    })
  }
  throw invalidSecrets(error)
}

/** A value that no header can carry, for one; the message names the provider and quotes nothing. */
function invalidSecrets(error: SealError): UserError {
  return new UserError('config', 'secrets.invalid', error.message, {
    next: ['confrouter secrets set NAME --from-file FILE']
  })
}
