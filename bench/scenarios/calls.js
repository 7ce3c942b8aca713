// Short calls: 2 KB in, 2 KB out. One lane for each proxy and each kind of sealing, in turns.
import { callOnce, measureCalls, serialise } from '../lib/calls.js'
import { inTurns } from '../lib/rounds.js'
import { completion, question } from '../lib/upstream.js'
import { portkeyHeaders } from '../peers/portkey.js'

/** Gives lane name to the figures of its rounds. */
export async function measureShortCalls(world, { rounds, seconds }) {
  const lanes = []
  for (const program of world.programs) {
    const headers = program.name === 'Portkey' ? portkeyHeaders(world.upstream.port) : {}
    const request = serialise(question, headers)
    const answer = await callOnce(program.port, request)
    if (answer.status !== 200) throw new Error(`${program.name} answered ${answer.status}`)
    if (!isTheAnswer(program, answer.body)) throw new Error(`${program.name} did not pass the answer on as it was`)
    lanes.push({ name: program.name, program, ...plainLane(program, request, answer.body.length) })
  }
  for (const form of world.sealedForms) lanes.push(await sealedLane(world, form))
  const measure = async (lane, duration) => {
    await lane.prepare(duration)
    const figures = await measureCalls({ ...lane, seconds: duration })
    lane.perSecond = figures.perSecond
    return figures
  }
  return inTurns(lanes, rounds, {
    warmUp: async (lane) => {
      let calls = 0
      for (let second = 0; second < 6 && calls < lane.warmUpCalls; second++) calls += (await measure(lane, 1)).perSecond
      // nginx and Portkey serve for all instances of the others.
      lane.program.warmUpCalls = 1
    },
    measure: (lane) => measure(lane, seconds)
  })
}

/** After so many calls Node has compiled most of what it will; Portkey gets further with the next instances. */
const plainLane = ({ warmUpCalls = 12_000 }, request, bodyBytes) => ({
  next: () => request,
  bodyBytes,
  prepare: async () => undefined,
  warmUpCalls
})

/** Portkey parses the answer and adds a member, so of its answers only the text is compared. */
function isTheAnswer({ name }, body) {
  if (name !== 'Portkey') return body.equals(completion)
  const textOf = (bytes) => JSON.parse(bytes.toString()).choices[0].message.content
  return textOf(body) === textOf(completion)
}

async function sealedLane({ router, sender }, { name, form, replayable }) {
  const probe = await sender[form](question)
  const answer = await callOnce(router.port, probe.bytes)
  if (!(await probe.open(answer)).equals(completion)) throw new Error(`${name}: the answer is another one`)
  const lane = { name, program: router, bodyBytes: answer.body.length, warmUpCalls: 3000 }
  Object.assign(lane, { perSecond: 4000, requests: [], at: 0 })
  lane.next = () => {
    if (lane.at === lane.requests.length && replayable) lane.at = 0
    return lane.requests[lane.at++]
  }
  lane.prepare = async (seconds) => {
    if (replayable && lane.requests.length > 0) return
    // One that is taken once only is sealed for each call, and shortly before it.
    const count = replayable ? 400 : Math.ceil(lane.perSecond * (seconds + 0.3) * 1.2) + 100
    lane.requests = []
    lane.at = 0
    while (lane.requests.length < count) lane.requests.push((await sender[form](question)).bytes)
  }
  return lane
}
