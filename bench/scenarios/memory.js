// Memory of a fresh process at rest, and what each idle stream adds to it. An idle process keeps its
// garbage until it needs the room, so before and after the streams are opened a collection is forced;
// what the streams added before the second one is given too.
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { callOnce, serialise } from '../lib/calls.js'
import { residentBytes } from '../lib/measure.js'
import { collecting } from '../lib/programs.js'
import { closeStreams, openStreams } from '../lib/streams.js'
import { question } from '../lib/upstream.js'
import { streamRequests } from './events.js'

const streamCount = 1000

/**
 * Gives lane name to bytes. `start` gives a fresh process: one that has worked has memory left over,
 * and streams would seem to cost nothing.
 */
export async function measureMemory(world, lanes) {
  const results = {}
  for (const { name, start, sealedForm } of lanes) {
    const program = await start(collecting)
    try {
      await sleep(2000)
      const restBytes = residentBytes(program.pid)
      results[name] = { restBytes, ...(await idleStreams(world, program, sealedForm)) }
    } finally {
      await program.stop()
    }
  }
  return results
}

async function idleStreams(world, program, sealedForm) {
  const own = sealedForm === undefined ? world : { ...world, sender: await world.senderTo(program.port) }
  const open = async (count) =>
    openStreams({
      port: program.port,
      upstream: world.upstream,
      ...(await streamRequests(own, sealedForm, count)),
      count
    })
  // Code that runs for the first time is compiled, which is not what a stream costs.
  for (let i = 0; i < 200; i++) await callOnce(program.port, serialise(question))
  closeStreams(await open(50))
  await sleep(1000)
  const before = await collected(program.pid)
  const streams = await open(streamCount)
  await sleep(1000)
  const uncollected = residentBytes(program.pid)
  const after = await collected(program.pid)
  closeStreams(streams)
  return {
    perStreamBytes: Math.round((after - before) / streamCount),
    uncollectedPerStreamBytes: Math.round((uncollected - before) / streamCount)
  }
}

/** It takes some seconds until what was collected has gone back to the system. */
async function collected(pid) {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 8; i++) {
    process.kill(pid, 'SIGUSR2')
    await sleep(1000)
    least = Math.min(least, residentBytes(pid))
  }
  return least
}
