import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ContainerGroup, getContainerGroup } from '../azure/container-group.js'
import { isJsonObject } from '../base/json.js'
import { CallError, sealedCall, type VerifiedEvidence, verifyRouter } from '../client/index.js'
import { rsaThumbprint } from '../seal/rsa-key.js'
import { failingRestarts, startProblem } from './container-start.js'
import { isFinal, notReadyRemedy } from './not-ready.js'
import { pinsOf } from './release-key.js'
import { callSeconds, get, look, OtherTlsKey, routerAt, type RouterAddress, within } from './router-call.js'
import type { Note, Results, Run } from './run.js'

/** Thrown by a check: checked and wrong (`evidence`), or could not be checked (`cloud`). */
export class CheckFailure extends Error {
  constructor(
    readonly fault: 'evidence' | 'cloud',
    readonly code: string,
    readonly detail: string,
    readonly more: { readonly why?: string | undefined; readonly next?: readonly string[] } = {}
  ) {
    super(detail)
  }
}

/** Thrown by a check that cannot be made here, with the reason. */
export class CheckSkipped extends Error {}

export function checkDeployedPolicy(results: Results): string {
  const deployed = results.get('deploy').hostData
  const wanted = results.get('policy').hostData
  if (deployed === wanted) return `the group was deployed under host data ${wanted}`
  throw new CheckFailure(
    'evidence',
    'smoke.host-data',
    'the container group runs under another policy than the one computed in this run',
    {
      why: `deployed: ${deployed}, computed: ${wanted}`,
      next: ['confrouter status', 'confrouter up']
    }
  )
}

/** Looks at the group once more: what answers now may be what is about to end again. */
export async function checkContainers(run: Run, results: Results): Promise<string> {
  const { group: name } = results.get('deploy')
  const group = await getContainerGroup(run.azure, run.config.resourceGroup, name)
  if (group !== undefined) return checkRestarts(run, group)
  throw new CheckFailure('cloud', 'aci.gone', `container group "${name}" is gone`, { next: ['confrouter up'] })
}

/** A container that was started again twice or more does not run, though the group says so and the router answers. */
export async function checkRestarts(run: Run, group: ContainerGroup): Promise<string> {
  const worst = Math.max(0, ...group.containers.map(({ restartCount }) => restartCount))
  if (worst < failingRestarts) return 'no container was started again more than once'
  const problem = await startProblem(run, group)
  throw new CheckFailure(
    'cloud',
    problem?.code ?? 'aci.restarting',
    problem?.problem ?? `a container was started again ${worst} times`,
    { why: problem?.why, next: problem?.next ?? ['confrouter status', 'confrouter up'] }
  )
}

export async function checkHealth(run: Run, results: Results, router: RouterAddress): Promise<string> {
  const where = `${router.url}/healthz`
  const deadline = run.now().getTime() + run.readySeconds * 1000
  const watch = containerWatch(run, results)
  for (;;) {
    const answer = await get(run, router, '/healthz')
    if (answer?.status === 200) return `${where} answers`
    await watch()
    if (run.now().getTime() > deadline) {
      throw new CheckFailure(
        'cloud',
        'smoke.unreachable',
        `${where} ${answer === undefined ? 'does not answer' : `answers ${answer.status}`}`
      )
    }
    await sleep(pauseMs, undefined, { signal: run.signal })
  }
}

const pauseMs = 50

/**
 * Looks at the containers every two seconds while the router is waited for: one that keeps ending
 * will not answer, however long the wait.
 */
function containerWatch(run: Run, results: Results): () => Promise<void> {
  const { resourceGroup } = run.config
  let next = run.now().getTime() + 2000
  return async () => {
    if (run.now().getTime() < next) return
    next = run.now().getTime() + 2000
    const group = await getContainerGroup(run.azure, resourceGroup, results.get('deploy').group)
    const problem = group === undefined ? undefined : await startProblem(run, group)
    if (problem !== undefined) throw problem
  }
}

/** Whether the key's release policy accepts what runs: then a refusal is of yesterday, and the router asks again by itself. */
function isReleasedTo(results: Results): boolean {
  const { releasePolicy } = results.get('key')
  return releasePolicy !== undefined && pinsOf(releasePolicy).includes(results.get('deploy').hostData)
}

export async function checkReady(run: Run, results: Results, router: RouterAddress, note: Note): Promise<string> {
  const deadline = run.now().getTime() + run.readySeconds * 1000
  const watch = containerWatch(run, results)
  for (;;) {
    const answer = await get(run, router, '/readyz')
    if (answer?.status === 200) return 'the key is released and the secrets are open'
    const code = textOf(answer?.body, 'code')
    const isLate = run.now().getTime() > deadline
    if (code === 'release.policy-not-met' && (isLate || !isReleasedTo(results))) throw policyNotMet(results)
    if (isLate || isFinal(code)) {
      throw new CheckFailure(
        'cloud',
        'smoke.not-ready',
        `${router.url}/readyz says ${code ?? (answer === undefined ? 'nothing' : 'not ready')}`,
        { why: textOf(answer?.body, 'cause'), next: notReadyRemedy(code) }
      )
    }
    await watch()
    note(`ready: stage ${textOf(answer?.body, 'stage') ?? 'start'}${code === undefined ? '' : `, ${code}`}`)
    await sleep(pauseMs, undefined, { signal: run.signal })
  }
}

/** The vault said no: say which two hashes differ, because that is what somebody has to mend. */
function policyNotMet(results: Results): CheckFailure {
  const deployed = results.get('deploy').hostData
  const { releasePolicy } = results.get('key')
  const pins = releasePolicy === undefined ? [] : pinsOf(releasePolicy)
  return new CheckFailure(
    'evidence',
    'release.policy-not-met',
    'the vault refused to release the key to this container group',
    {
      why: pins.includes(deployed)
        ? `the release policy accepts host data ${deployed}, so another claim of the attestation token does not meet it`
        : `the group runs under host data ${deployed}, the key's release policy accepts ${pins.join(', ') || 'none'}`,
      next: ['confrouter key', 'confrouter up']
    }
  )
}

export async function checkEvidence(
  run: Run,
  results: Results,
  router: RouterAddress
): Promise<{ accepted: VerifiedEvidence; detail: string }> {
  const { trust } = results.get('policy')
  const verdict = await within(run, callSeconds, (signal) =>
    verifyRouter({ url: router.url, trust, fetch: fetchFor(run, router), now: run.now, signal })
  )
  if (verdict.verdict === 'trusted') {
    const matched = verdict.checks.filter(({ outcome }) => outcome === 'match').length
    return {
      accepted: verdict.evidence,
      detail: `${matched} claims match, host data ${results.get('policy').hostData}${verdict.simulated ? '; simulated: no hardware protection' : ''}`
    }
  }
  const wrong = verdict.checks.filter((check) => check.outcome === 'mismatch')
  throw new CheckFailure(
    'evidence',
    'smoke.evidence',
    `the evidence does not hold: ${wrong.map(({ claim }) => claim).join(', ')}`,
    {
      why: wrong.map((check) => `${check.claim}: expected ${check.expected}, got ${check.actual}`).join('; '),
      next: ['do not send data to this router', 'confrouter status']
    }
  )
}

/** What is asked of others, the signing keys of the attestation provider above all, needs a certificate that an authority vouches for. */
export function fetchFor(run: Run, router: RouterAddress): typeof fetch {
  const { origin } = new URL(router.url)
  return (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input)
    return (url.origin === origin ? router.fetch : run.fetch)(input, init)
  }
}

/**
 * Connects to the TLS port and takes nothing but the key that the verified evidence binds: who holds
 * it is the router, and nobody stands in between. What follows goes over it.
 */
export async function checkTls(
  run: Run,
  url: string,
  evidence: VerifiedEvidence
): Promise<{ router: RouterAddress; detail: string }> {
  const { tls } = evidence
  if (tls === undefined) throw notThisTlsKey(url, 'the evidence binds no TLS key')
  const router = routerAt(run, url, tls)
  try {
    const { status } = await look(run, router, '/healthz')
    if (status === 200) return { router, detail: `${url} has the TLS key ${tls} that the evidence binds` }
    throw new CheckFailure('cloud', 'smoke.unreachable', `${url}/healthz answers ${status}`)
  } catch (error) {
    const other = causesOf(error).find((cause) => cause instanceof OtherTlsKey)
    if (other !== undefined) throw notThisTlsKey(url, `evidence: ${tls}, shown: ${other.shown ?? 'none'}`)
    if (error instanceof CheckFailure || run.signal.aborted) throw error
    throw new CheckFailure('cloud', 'smoke.unreachable', `${url}/healthz does not answer`)
  }
}

function causesOf(error: unknown): readonly unknown[] {
  return error instanceof Error ? [error, ...causesOf(error.cause)] : []
}

function notThisTlsKey(url: string, why: string): CheckFailure {
  return new CheckFailure('evidence', 'smoke.tls', `whoever answers on ${url} does not show the router’s TLS key`, {
    why,
    next: ['do not send data to it', 'confrouter smoke']
  })
}

export async function checkVaultKey(results: Results, evidence: VerifiedEvidence): Promise<string> {
  const inVault = await rsaThumbprint(results.get('key').publicKey)
  if (evidence.rsaThumbprint === inVault) return `the evidence binds the vault's key ${inVault}`
  throw new CheckFailure('evidence', 'smoke.key', 'the key in the evidence is not the key in the vault', {
    why: `vault: ${inVault}, evidence: ${evidence.rsaThumbprint}`,
    next: ['confrouter up']
  })
}

/**
 * Seals a random marker to the vault's public key as the name of a model that does not exist. Only
 * who holds the private half can name it in the sealed answer, and no provider is called.
 */
export async function checkPossession(
  run: Run,
  results: Results,
  router: RouterAddress,
  responseKey: CryptoKeyPair
): Promise<string> {
  const marker = `no-such-provider-${randomBytes(12).toString('hex')}`
  const answer = await sealedToVaultKey(run, results, router, responseKey, { model: `${marker}:none`, messages: [] })
  if (JSON.stringify(answer).includes(marker)) return 'the router opened what was sealed to the vault’s public key'
  throw notThisKey()
}

export async function checkChat(
  run: Run,
  results: Results,
  router: RouterAddress,
  responseKey: CryptoKeyPair
): Promise<string> {
  const { model } = run.config.smoke
  if (model === undefined) throw new CheckSkipped('no model is configured (smoke.model), so no provider was called')
  const marker = randomBytes(6).toString('hex')
  const answer = await sealedToVaultKey(run, results, router, responseKey, {
    model,
    messages: [{ role: 'user', content: `Say ${marker}` }]
  })
  const choices = isJsonObject(answer) && Array.isArray(answer['choices']) ? answer['choices'] : []
  if (choices.length > 0) return `${model} answered a sealed call`
  const error = isJsonObject(answer) && isJsonObject(answer['error']) ? answer['error'] : {}
  throw new CheckFailure('cloud', 'smoke.chat', `${model} did not answer: ${textOf(error, 'code') ?? 'no choices'}`, {
    why: textOf(error, 'message')
  })
}

/** The opened answer, of whatever status: an error that is sealed to this call was made by who opened it. */
async function sealedToVaultKey(
  run: Run,
  results: Results,
  router: RouterAddress,
  responseKey: CryptoKeyPair,
  request: { model: string; messages: { role: string; content: string }[] }
): Promise<unknown> {
  const { publicKey } = results.get('key')
  const key = { ...publicKey, kid: await rsaThumbprint(publicKey) }
  const headers = run.accessToken === undefined ? {} : { authorization: `Bearer ${run.accessToken}` }
  try {
    return await within(run, callSeconds, (signal) =>
      sealedCall({ ...router, path: '/v1/chat/completions', request, key, responseKey, signal, headers })
    )
  } catch (error) {
    if (error instanceof CallError && error.code === 'call.refused' && error.answer !== undefined) return error.answer
    if (error instanceof CallError && error.code === 'call.stale-key') throw notThisKey()
    throw error
  }
}

/** One pair for both sealed calls: RSA-OAEP with SHA-256, as the envelope form wants it. */
export function makeResponseKey(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(
    { name: 'RSA-OAEP', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    true,
    ['encrypt', 'decrypt']
  )
}

function notThisKey(): CheckFailure {
  return new CheckFailure(
    'evidence',
    'smoke.possession',
    'the router could not open what was sealed to the vault’s public key'
  )
}

function textOf(value: unknown, member: string): string | undefined {
  const found = isJsonObject(value) ? value[member] : undefined
  return typeof found === 'string' ? found : undefined
}
