import { join } from 'node:path'
import { getKey } from '../azure/vault-key.js'
import { parseSha256Hex } from '../base/digest.js'
import { UserError } from '../base/user-error.js'
import { createReleasePolicy, encodeReleasePolicy } from '../policy/index.js'
import { groupNameBeside } from './generation.js'
import type { RunResults } from './graph.js'
import { keptTemplate } from './group-deployment.js'
import { hostDataOfTemplate, secretsOriginOfTemplate } from './group-template.js'
import { trustOf } from './published.js'
import { vaultAccess } from './release-key.js'
import { deployedBundleText, planSecrets } from './sealed-secrets.js'
import type { PolicyOutput, Results, Run } from './run.js'
import type { Generation, PinChange, UpgradeState } from './state.js'

/** A provider key that is another one now than at an earlier deployment. By name: no value is kept. */
export interface SecretChange {
  readonly provider: string
  readonly change: 'added' | 'changed' | 'removed'
}

/** The deployment before the one that serves. Throws `rollback.nothing` if none is recorded here. */
export function rollbackTarget(run: Run): Generation {
  const { previous, active } = run.state.get()
  if (previous !== undefined) return previous
  throw new UserError('machine', 'rollback.nothing', 'there is no earlier deployment to go back to', {
    why:
      active === undefined
        ? 'no deployment is recorded in this state directory'
        : `the one that serves, host data ${active.hostData}, is the first that is recorded here`,
    next: ['check out the source of that deployment and run confrouter up']
  })
}

/** The deployment that an open rollback goes to. Throws `rollback.nothing` if it is not recorded here any more. */
export function targetOfOpen(run: Run, { to, built }: UpgradeState): Generation {
  const { active, previous } = run.state.get()
  // It serves already, or did before; what was built may be without the label that it had.
  const found = [active, previous, built].find((each) => each?.hostData === to.hostData)
  return found ?? rollbackTarget(run)
}

/** How it came that these host data do not serve although they did: undefined if nobody went back from them. */
export function wentBackFrom({ state }: Pick<Run, 'state'>, hostData: string | undefined): PinChange | undefined {
  const { history, active } = state.get()
  if (active?.hostData === hostData) return undefined
  const last = history?.findLast(({ from, to }) => from === hostData || to === hostData)
  return last?.what === 'rollback' && last.from === hostData ? last : undefined
}

/** The policy, release policy and trust of an earlier deployment, from the template that was submitted then. */
export async function policyOfGeneration(run: Run, generation: Generation): Promise<PolicyOutput> {
  const template = await keptTemplate(run, generation)
  const hostData = hostDataOfTemplate(template)
  if (hostData !== generation.hostData) {
    throw new UserError(
      'machine',
      'generation.other-policy',
      `the kept template has host data ${hostData}, recorded is ${generation.hostData}`,
      { next: ['check out the source of that deployment and run confrouter up'] }
    )
  }
  const file = (name: string) => join(run.policyDirectory, name)
  return {
    hostData: parseSha256Hex(hostData, 'host data'),
    template,
    releasePolicy: encodeReleasePolicy(
      createReleasePolicy({ authority: generation.authority ?? '', hostData: [hostData] })
    ),
    trust: trustOf(run, [generation]),
    engine: 'native',
    layers: [],
    files: {
      policy: file('policy.rego'),
      template: file('template.json'),
      releasePolicy: file('skr-policy.json'),
      trust: file('trust.json'),
      release: file('release.json')
    },
    warnings: []
  }
}

/**
 * An earlier router measures whose bundle it takes, by signer and by name of the deployment. If what can be sealed
 * now is another's, it would take none and serve nobody: better to know before the key is opened to it and, by
 * replacement, the group that serves is deleted. Throws `rollback.secrets-refused`.
 */
export function requireTakesSecrets(
  run: Pick<Run, 'config'>,
  results: Results,
  { template, hostData }: Pick<PolicyOutput, 'template' | 'hostData'>
): void {
  const then = secretsOriginOfTemplate(template)
  const now = { signer: results.get('signing-key').thumbprint, deployment: run.config.containerGroup.name }
  const differs = [
    ...(then.signer === now.signer ? [] : [`from signer ${then.signer ?? '(none)'}, now it is ${now.signer}`]),
    ...(then.deployment === now.deployment
      ? []
      : [`for deployment "${then.deployment ?? '(none)'}", now it is "${now.deployment}"`])
  ]
  if (differs.length === 0) return
  throw new UserError(
    'machine',
    'rollback.secrets-refused',
    `the router of host data ${hostData} would refuse the provider keys; nothing was changed`,
    {
      why: `it takes them ${differs.join('; and ')}`,
      next: ['check out the source of that deployment and run confrouter up']
    }
  )
}

/** What the groups of an earlier deployment are called: as then, unless those that serve have that name. */
export function groupForRollback(run: Run, target: Generation, strategy: 'blue-green' | 'replace'): string {
  const { active } = run.state.get()
  const stem = active?.stem ?? active?.group ?? run.config.containerGroup.name
  if (strategy === 'replace') return stem
  const then = target.stem ?? target.group
  return then === stem ? groupNameBeside(stem, target.base, target.hostData) : then
}

/**
 * Which provider keys are others now than when this was deployed. Going back does not bring old keys back: the
 * current ones are sealed, because an old one may have been revoked.
 */
export async function secretsChangedSince(
  run: Run,
  results: RunResults,
  { secretVersions: then }: Generation
): Promise<readonly SecretChange[]> {
  const { vaultUri } = results.get('vault')
  const key = await getKey(
    vaultAccess(run, results, () => undefined),
    run.config.key.name
  )
  if (key === undefined) return []
  const keys = { vaultUri, key, signer: results.get('signing-key') }
  const { kept, fresh } = await planSecrets(run, keys, await deployedBundleText(run))
  const now = new Map<string, number | 'new'>([
    ...kept.map(({ name, version }) => [name, version] as const),
    ...Object.keys(fresh).map((name) => [name, 'new'] as const)
  ])
  return [...new Set([...Object.keys(then), ...now.keys()])].sort().flatMap((provider) => {
    if (then[provider] === now.get(provider)) return []
    const change = then[provider] === undefined ? 'added' : now.has(provider) ? 'changed' : 'removed'
    return [{ provider, change } as const]
  })
}
