import { describe, expect, it } from '@jest/globals'
import { createGuards, createLocalGuards, limitsOfWorker, systemClocks } from '../../../src/router/guards.js'
import { parseSettings } from '../../../src/router/settings.js'
import { requiredEnvironment } from './harness.js'

const { limits } = parseSettings(requiredEnvironment)

describe('the limits of a worker', () => {
  it('are its part of what is held, and the whole of what is counted in time', () => {
    expect(limitsOfWorker(limits, 3)).toEqual({
      ...limits,
      concurrentCalls: 667,
      callsPerCaller: 67,
      bufferedBytes: Math.ceil(limits.bufferedBytes / 3)
    })
    expect(limitsOfWorker(limits, 1)).toEqual(limits)
  })

  it('leave room for one body and one call, however many workers there are', () => {
    const few = { ...limits, concurrentCalls: 2, callsPerCaller: 1, bufferedBytes: limits.bodyBytes }
    expect(limitsOfWorker(few, 64)).toMatchObject({
      concurrentCalls: 1,
      callsPerCaller: 1,
      bufferedBytes: limits.bodyBytes
    })
  })

  it('hold for attestations too', () => {
    const shared = createLocalGuards(limits, systemClocks)
    const counts = [1, 3].map((workers) => {
      const { attestations } = createGuards(limits, shared, workers)
      let entered = 0
      while (attestations.enter(`caller ${entered}`) !== undefined) entered++
      return entered
    })
    expect(counts).toEqual([8, 3])
  })
})
