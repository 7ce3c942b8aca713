// Event streams: events of 250 bytes on 50 streams at once, each written by the upstream on its own,
// and the delay of single events at a low rate.
import { callOnce, serialise } from '../lib/calls.js'
import { inTurns } from '../lib/rounds.js'
import { closeStreams, measureDelays, measureEvents, openStreams } from '../lib/streams.js'
import { event, question } from '../lib/upstream.js'

const streaming = { accept: 'text/event-stream' }

/** Gives lane name to the figures of its rounds. Portkey is not among them: its goal is about calls. */
export async function measureStreams(world, { rounds, seconds }) {
  const lanes = await openLanes(world, proxiesOf(world), 50)
  try {
    return await inTurns(lanes, rounds, {
      warmUp: (lane) => measureEvents({ ...lane, seconds: 1 }),
      measure: (lane) => measureEvents({ ...lane, seconds })
    })
  } finally {
    for (const lane of lanes) closeStreams(lane.streams)
  }
}

/** Gives lane name to the delays of its events in milliseconds. `direct` is what this bench itself adds. */
export async function measureLatency(world) {
  const direct = { name: 'direct', port: world.upstream.port }
  const lanes = await openLanes(world, [direct, ...proxiesOf(world)], 20)
  try {
    // What runs for the first time is compiled first.
    await measureDelays(lanes, 100)
    return await measureDelays(lanes, 1000)
  } finally {
    for (const lane of lanes) closeStreams(lane.streams)
  }
}

/** Requests for streams of one kind: `next` gives the next one. */
export async function streamRequests(world, sealedForm, count) {
  if (sealedForm === undefined) return { next: () => serialise(question, streaming), framed: false }
  const requests = []
  while (requests.length < count) requests.push((await world.sender[sealedForm.form](question, streaming)).bytes)
  return { next: () => requests.pop(), framed: true }
}

const proxiesOf = ({ programs }) => programs.filter(({ name }) => name !== 'Portkey')

async function openLanes(world, programs, count) {
  const kinds = [
    ...programs.map((program) => ({ name: program.name, program })),
    ...world.sealedForms.map((sealedForm) => ({ name: sealedForm.name, program: world.router, sealedForm }))
  ]
  const lanes = []
  for (const { name, program, sealedForm } of kinds) {
    await checkStream(world, name, program, sealedForm)
    const requests = await streamRequests(world, sealedForm, count)
    const streams = await openStreams({ port: program.port, upstream: world.upstream, ...requests, count })
    lanes.push({ name, program, streams })
  }
  return lanes
}

/** What is counted afterwards by its length must be the upstream's events, in clear or opened. */
async function checkStream({ upstream, sender }, name, program, sealedForm) {
  const asked = upstream.nextStream()
  const request =
    sealedForm === undefined
      ? { bytes: serialise(question, streaming), open: async ({ body }) => body }
      : await sender[sealedForm.form](question, streaming)
  const coming = callOnce(program.port, request.bytes)
  const source = await Promise.race([asked, coming.then(() => undefined)])
  source?.writeEvent()
  source?.writeEvent()
  source?.end()
  const body = await request.open(await coming)
  if (!body.equals(Buffer.concat([event, event]))) throw new Error(`${name} did not pass the events on as they were`)
}
