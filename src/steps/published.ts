import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { strictTrustPolicy, type TrustPolicy } from '../client/index.js'
import type { Outputs, Run } from './run.js'
import type { Generation } from './state.js'
import { writeTextAtomically } from '../image/index.js'

/** A measurement, and the attestation service that its router goes to. */
export interface Measured {
  readonly hostData: string
  readonly authority?: string | undefined
}

/** One router that callers may go to. */
export interface Address extends Measured {
  readonly endpoint: string
  readonly tlsEndpoint?: string | undefined
  /** Absent for one that was recorded before regions were. */
  readonly region?: string | undefined
}

/**
 * Whom callers should accept now: what is wanted, and what still serves. They are told of the new measurement
 * before it serves and of the old one for as long as it does, so that a caller who pins this list sees no gap.
 */
export function trustInForce(run: Run, wanted: Measured): TrustPolicy {
  const { active, upgrade } = run.state.get()
  const { name } = run.config.containerGroup
  const serving: readonly Measured[] = [
    ...(upgrade === undefined ? [] : [upgrade.from, upgrade.to]),
    ...(active?.base === name ? [active] : [])
  ]
  return trustOf(run, [...serving, wanted])
}

export function trustOf(run: Pick<Run, 'trust'>, measured: readonly Measured[]): TrustPolicy {
  const authorities = measured.flatMap(({ authority }) => (authority === undefined ? [] : [authority]))
  return strictTrustPolicy({
    hostData: [...new Set(measured.map(({ hostData }) => hostData))],
    maaEndpoints: [...new Set(authorities)],
    roots: run.trust.roots,
    ...(run.trust.uvmIssuer === undefined ? {} : { uvmIssuer: run.trust.uvmIssuer })
  })
}

/** Text of `trust.json`. */
export function trustText(trust: TrustPolicy): string {
  return `${JSON.stringify(trust, null, 2)}\n`
}

/**
 * Writes what callers read: `trust.json` with whom to accept, `addresses.json` with where to go, the best first.
 * Both by rename, the trust first: an address is never named before its measurement is accepted.
 */
export async function publish(run: Run, trust: TrustPolicy, addresses: readonly Address[]): Promise<void> {
  await mkdir(run.policyDirectory, { recursive: true })
  await writeTextAtomically(join(run.policyDirectory, 'trust.json'), trustText(trust))
  const list = addresses.map(({ endpoint, tlsEndpoint, hostData, region }) => ({
    endpoint,
    ...(tlsEndpoint === undefined ? {} : { tlsEndpoint }),
    hostData,
    ...(region === undefined ? {} : { region })
  }))
  await writeTextAtomically(
    join(run.policyDirectory, 'addresses.json'),
    `${JSON.stringify({ version: 1, addresses: list }, null, 2)}\n`
  )
}

/** Records the group that serves from now on, and tells callers of it and of nothing else. */
export async function makeActive(run: Run, generation: Generation, output: Outputs['deploy']): Promise<void> {
  await recordActive(run, generation, output)
  await publish(run, trustInForce(run, generation), addressesOf(generation, output))
}

/** The one before it is what `rollback` goes back to; another deployment of the same measurement is none. */
export async function recordActive(run: Run, generation: Generation, output: Outputs['deploy']): Promise<void> {
  await run.state.update(({ tlsEndpoint: _before, ...state }) => ({
    ...state,
    ...(state.active === undefined || state.active.hostData === generation.hostData ? {} : { previous: state.active }),
    active: generation,
    endpoint: output.endpoint,
    ...(output.tlsEndpoint === undefined ? {} : { tlsEndpoint: output.tlsEndpoint })
  }))
}

/** A group and those beside it, in the order in which callers may try them. */
export function addressesOf(measured: Measured, output: Outputs['deploy']): readonly Address[] {
  return [output, ...(output.replicas ?? [])].map((each) => addressOf(measured, each))
}

export function addressOf(
  measured: Measured,
  { endpoint, tlsEndpoint, region }: Pick<Address, 'endpoint' | 'tlsEndpoint' | 'region'>
): Address {
  return {
    ...measured,
    endpoint,
    ...(tlsEndpoint === undefined ? {} : { tlsEndpoint }),
    ...(region === undefined ? {} : { region })
  }
}
