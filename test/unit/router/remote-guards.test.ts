import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import type { Problem } from '../../../src/router/problem.js'
import { RemoteGuards } from '../../../src/router/remote-guards.js'
import type { Asks } from '../../../src/router/worker-messages.js'
import { Cleanup, until } from './harness.js'

const cleanup = new Cleanup()
afterEach(() => cleanup.run())

function guards(timeoutMs = 1000) {
  const sent: Asks[] = []
  return { sent, remote: new RemoteGuards((asks) => void sent.push(asks), timeoutMs) }
}

const failure = (promise: number | Promise<unknown> | string): Promise<Problem> =>
  Promise.resolve(promise).then(
    () => {
      throw new Error('it did not fail')
    },
    (error: Problem) => error
  )

describe('the guards of a worker', () => {
  it('ask all questions of one tick in one message, and give each its answer', async () => {
    const { sent, remote } = guards()
    const key = Uint8Array.of(1, 2, 255)
    const answers = Promise.all([
      remote.addressRate.take('a'),
      remote.callRate.take('b'),
      remote.evidenceRate.take('c'),
      remote.replays.check(key, 5)
    ])
    await until(() => sent.length === 1)
    expect(JSON.parse(JSON.stringify(sent))).toEqual([
      {
        kind: 'asks',
        batch: 0,
        asks: [
          { rate: 'addressRate', caller: 'a' },
          { rate: 'callRate', caller: 'b' },
          { rate: 'evidenceRate', caller: 'c' },
          { encapsulatedKey: Buffer.from(key).toString('base64'), timeMs: 5 }
        ]
      }
    ])
    remote.receive({ kind: 'answers', batch: 0, answers: [0, 1.5, 0, 'replayed'] })
    expect(await answers).toEqual([0, 1.5, 0, 'replayed'])
  })

  it('take answers in whatever order they come', async () => {
    const { sent, remote } = guards()
    const first = remote.addressRate.take('a')
    await until(() => sent.length === 1)
    const second = remote.addressRate.take('b')
    await until(() => sent.length === 2)
    remote.receive({ kind: 'answers', batch: 1, answers: [2] })
    remote.receive({ kind: 'answers', batch: 0, answers: [1] })
    expect(await Promise.all([first, second])).toEqual([1, 2])
  })

  it('refuse a call that nobody counts in time, and take no answer after that', async () => {
    const { remote } = guards(30)
    const startedAt = performance.now()
    const refused = await Promise.all([
      failure(remote.addressRate.take('a')),
      failure(remote.replays.check(new Uint8Array(32), 0))
    ])
    expect(performance.now() - startedAt).toBeGreaterThan(25)
    for (const { code, status, headers } of refused) {
      expect({ code, status, headers }).toEqual({ code: 'overloaded', status: 503, headers: { 'retry-after': '1' } })
    }
    remote.receive({ kind: 'answers', batch: 0, answers: [0, 'ok'] })
  })

  it('refuse a call whose answer is missing', async () => {
    const { sent, remote } = guards()
    const asked = failure(remote.addressRate.take('a'))
    await until(() => sent.length === 1)
    remote.receive({ kind: 'answers', batch: 0, answers: [] })
    expect((await asked).code).toBe('overloaded')
  })

  it('do not refuse what was answered while this process was busy', async () => {
    const { sent, remote } = guards(30)
    const [busy, channel] = [await socketPair(), await socketPair()]
    channel.ours.on('data', () => remote.receive({ kind: 'answers', batch: 0, answers: [0] }))
    // Timers that are due come after this and before what other sockets have got meanwhile.
    busy.ours.once('data', () => {
      channel.theirs.write('the answer')
      const until = performance.now() + 60
      while (performance.now() < until);
    })
    const answer = remote.addressRate.take('a')
    await until(() => sent.length === 1)
    busy.theirs.write('something')
    expect(await answer).toBe(0)
  })
})

async function socketPair(): Promise<{ ours: Socket; theirs: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const ours = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [theirs] = (await accepted) as [Socket]
  cleanup.add(async () => void [ours.destroy(), theirs.destroy(), server.close()])
  return { ours, theirs }
}
