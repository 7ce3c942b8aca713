import { getContainerGroup } from '../azure/container-group.js'
import { getKey } from '../azure/vault-key.js'
import { UserError } from '../base/user-error.js'
import { type ApiKeySource, didYouMean, suggest } from '../config/index.js'
import { isProviderKey, maximumKeyLength } from '../seal/provider-values.js'
import { moreThanSecrets } from './deploy-group.js'
import { activeGroupName } from './generation.js'
import type { RunResults } from './graph.js'
import type { Note, Results, Run } from './run.js'
import {
  currentBundle,
  deployedBundleText,
  makeBundle,
  neededNames,
  ownBundle,
  planSecrets,
  secretsKeys,
  type SecretsKeys,
  setByHand,
  usableSecrets
} from './sealed-secrets.js'

/** One provider key as it may be shown: never its value. */
interface ListedSecret {
  readonly name: string
  /** Of the bundle in which this value was first there; undefined if it is in none. */
  readonly version: number | undefined
  /** Where it came from, or is to come from. */
  readonly source: string
  /** Whether the configuration has use for it. */
  readonly isNeeded: boolean
}

export interface SecretsList {
  /** Of the newest bundle; undefined if there is none. */
  readonly version: number | undefined
  /** Of what the container group has; undefined if it has none of ours. */
  readonly deployedVersion: number | undefined
  readonly secrets: readonly ListedSecret[]
}

/** Names and versions of what is sealed, and of what should be. Without a signing key nothing is sealed. */
export async function listSecrets(run: Run, results: RunResults): Promise<SecretsList> {
  const keys = results.has('signing-key') ? { signer: results.get('signing-key') } : undefined
  const deployedText = keys === undefined ? undefined : await deployedBundleText(run)
  const bundle = keys && (await currentBundle(run, keys, deployedText))
  const needed = neededNames(run)
  const names = [...new Set([...needed, ...(bundle?.secrets ?? []).map(({ name }) => name)])].sort()
  return {
    version: bundle?.version,
    deployedVersion: (keys && (await ownBundle(run, keys, deployedText)))?.version,
    secrets: names.map((name) => ({
      name,
      version: bundle?.secrets.find((secret) => secret.name === name)?.version,
      source: sourceOf(run, name),
      isNeeded: needed.includes(name)
    }))
  }
}

/**
 * Seals these values, keeps the others as they are sealed, and records the bundle; nothing is deployed.
 * Needs `vault` and `signing-key`. Gives the version.
 *
 * Throws a `UserError` for a name that is no provider with `apiKey`, or a value that no provider can have.
 */
export async function setSecrets(
  run: Run,
  results: Results,
  values: Readonly<Record<string, string>>,
  note: Note
): Promise<number> {
  requireSecretNames(run, Object.keys(values))
  for (const [name, value] of Object.entries(values)) if (!isProviderKey(value)) throw badValue(name)
  const { vaultUri } = results.get('vault')
  const key = await getKey({ azure: run.azure, vaultUri, onWait: note }, run.config.key.name)
  if (key === undefined) throw noKey(run)
  const keys: SecretsKeys = { vaultUri, key, signer: results.get('signing-key') }
  const current = await currentBundle(run, keys, await deployedBundleText(run))
  // What is not set now may be missing: that is for the deployment to refuse.
  const needed = neededNames(run)
  const kept = (await usableSecrets(current, keys)).filter(
    ({ name }) => !Object.hasOwn(values, name) && needed.includes(name)
  )
  const { version } = await makeBundle(run, keys, { current, kept, fresh: values }, note, Object.keys(values))
  return version
}

/**
 * Seals provider keys again from their sources and records the bundle, for the deployment that follows.
 * Without names all are, but those that `secrets set` took, which are newer than their sources. Needs all
 * that `deploy` needs. Gives the version.
 *
 * Throws a `UserError` if there is no container group, if an upgrade is open, or if a deployment would change more than
 * the secrets, such as the number of groups: a rotation changes no digest and touches nothing else.
 */
export async function rotateSecrets(run: Run, results: Results, names: readonly string[], note: Note): Promise<number> {
  requireSecretNames(run, names)
  const { upgrade } = run.state.get()
  if (upgrade !== undefined) throw wouldDoMore(`an ${upgrade.direction} is open, next phase: ${upgrade.phase}`)
  const { values, missing } = await run.providerKeys()
  const unread = missing.filter(({ name }) => names.includes(name))
  if (unread.length > 0) {
    throw new UserError('config', 'provider.key-missing', unread.map(({ reason }) => reason).join('; '), {
      why: 'a provider key is sealed again from where the configuration says it is',
      next: unread.map(({ name }) => `confrouter secrets set ${name} --from-file FILE`)
    })
  }
  for (const [name, value] of Object.entries(values)) if (!isProviderKey(value)) throw badValue(name)
  if ((await getContainerGroup(run.azure, run.config.resourceGroup, activeGroupName(run))) === undefined)
    throw notDeployed(run)
  const more = await moreThanSecrets(run, results)
  if (more !== undefined) throw wouldDoMore(more)
  const keys = secretsKeys(results)
  const plan = await planSecrets(run, keys, await deployedBundleText(run), names.length === 0 ? 'all' : names)
  return (await makeBundle(run, keys, plan, note)).version
}

function sourceOf(run: Run, name: string): string {
  if (run.state.get().secrets?.marks[name] === setByHand) return 'secrets set'
  const apiKey: ApiKeySource | undefined = run.config.providers[name]?.apiKey
  if (apiKey === undefined) return 'none'
  return apiKey.env === undefined ? `file ${apiKey.file}` : `variable ${apiKey.env}`
}

/**
 * Refuses names that the configuration has no use for, with what was probably meant. Needs nothing of the cloud, so it
 * is asked first. Throws a `UserError` `secrets.unknown-name`.
 */
export function requireSecretNames(run: Pick<Run, 'config'>, names: readonly string[]): void {
  const needed = neededNames(run)
  const name = names.find((each) => !needed.includes(each))
  if (name === undefined) return
  // The variable that a value comes from is at hand more often than the name of its provider.
  const byVariable = needed.find((each) => run.config.providers[each]?.apiKey?.env === name)
  const meant = didYouMean(byVariable ?? suggest(name, needed))
  throw new UserError(
    'config',
    'secrets.unknown-name',
    `"${name}" is no provider with apiKey in the configuration${meant}`,
    {
      why: needed.length === 0 ? 'no provider has apiKey' : `those with apiKey: ${needed.join(', ')}`,
      next: [`add providers.${name}.apiKey to confrouter.yaml`]
    }
  )
}

function badValue(name: string): UserError {
  return new UserError('config', 'secrets.invalid', `the value for "${name}" is no provider key`, {
    why: `it must be 1 to ${maximumKeyLength} visible ASCII characters, without spaces and line ends in it`,
    next: [`confrouter secrets set ${name} --from-file FILE`]
  })
}

function noKey(run: Run): UserError {
  const { name } = run.config.key
  return new UserError('config', 'secrets.no-key', `there is no key "${name}" yet to seal to`, {
    why: 'provider keys are sealed to the released key, which comes with the first deployment',
    next: ['confrouter up']
  })
}

function notDeployed(run: Run): UserError {
  const { name } = run.config.containerGroup
  return new UserError(
    'config',
    'secrets.not-deployed',
    `there is no container group "${name}" whose secrets could be rotated`,
    {
      next: ['confrouter up']
    }
  )
}

function wouldDoMore(reason: string): UserError {
  return new UserError('config', 'secrets.more-than-secrets', `more than the secrets would change: ${reason}`, {
    why: 'a rotation changes no digest, so it deploys nothing else',
    next: ['confrouter up', 'confrouter status']
  })
}
