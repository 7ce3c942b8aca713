import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import type { EvidenceDocument } from '../../../src/router/evidence.js'
import { readReleasedKey } from '../../../src/router/released-key.js'
import { createState, observeState } from '../../../src/router/router-state.js'
import { applySnapshot, type StateSnapshot, takeSnapshot } from '../../../src/router/state-snapshot.js'
import { vectorKey } from '../seal/test-keys.js'

const evidence = { version: 1, runtimeData: 'AA==', ccePolicy: '', simulated: false } as unknown as EvidenceDocument

/** As it goes over the channel. */
const overTheWire = (snapshot: StateSnapshot): StateSnapshot => JSON.parse(JSON.stringify(snapshot)) as StateSnapshot

async function readyState() {
  const { privateKey } = await vectorKey()
  const keys = await readReleasedKey(privateKey.export({ format: 'jwk' }))
  return { ...createState(), stage: 'ready' as const, active: { keys, evidence }, providerKeys: new Map([['a', 'b']]) }
}

describe('a snapshot of the state', () => {
  it('makes another process know the same, with the same keys derived', async () => {
    const state = await readyState()
    const other = createState()
    await applySnapshot(other, overTheWire(takeSnapshot(state)))
    expect(other).toMatchObject({ stage: 'ready', difficulty: undefined, active: { evidence } })
    expect(other.providerKeys).toEqual(state.providerKeys)
    const [ours, theirs] = [state.active.keys, other.active?.keys]
    expect(theirs?.kid).toBe(ours.kid)
    expect(theirs?.hpke.publicKey).toEqual(ours.hpke.publicKey)
    expect(theirs?.ed25519.publicKey).toEqual(ours.ed25519.publicKey)
    expect(theirs?.privateKey.equals(ours.privateKey)).toBe(true)
  })

  it('tells what is in the way before there is a key', async () => {
    const difficulty = { code: 'x', cause: 'y', final: true, attempts: 2, nextAttemptInSeconds: 1 }
    const other = createState()
    await applySnapshot(other, overTheWire(takeSnapshot({ ...createState(), stage: 'key', difficulty })))
    expect(other).toEqual({ stage: 'key', difficulty, active: undefined, providerKeys: new Map() })
  })

  it('leaves the keys in use as they are when it brings the same, and replaces them by others', async () => {
    const state = await readyState()
    const other = createState()
    await applySnapshot(other, overTheWire(takeSnapshot(state)))
    const keys = other.active?.keys
    const later = { ...evidence, createdAt: 'later' }
    await applySnapshot(other, overTheWire(takeSnapshot({ ...state, active: { ...state.active, evidence: later } })))
    expect(other.active?.keys).toBe(keys)
    expect(other.active?.evidence.createdAt).toBe('later')
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const next = await readReleasedKey(privateKey.export({ format: 'jwk' }))
    await applySnapshot(other, overTheWire(takeSnapshot({ ...state, active: { keys: next, evidence } })))
    expect(other.active?.keys.kid).toBe(next.kid)
  })

  it('does not make a process ready again that stops', async () => {
    const other = { ...createState(), stage: 'stopping' as const }
    await applySnapshot(other, overTheWire(takeSnapshot(await readyState())))
    expect(other.stage).toBe('stopping')
  })
})

describe('an observed state', () => {
  it('tells of everything that is written to it, after it is there', () => {
    const state = createState()
    const seen: unknown[] = []
    const observed = observeState(state, () => seen.push([state.stage, state.providerKeys.size]))
    observed.stage = 'key'
    observed.providerKeys = new Map([['a', 'b']])
    observed.difficulty = undefined
    expect(seen).toEqual([
      ['key', 0],
      ['key', 1],
      ['key', 1]
    ])
    expect(observed.stage).toBe('key')
  })
})
