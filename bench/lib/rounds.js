/**
 * Measures all lanes in turns, round after round, so that a machine that gets slower in the meantime
 * gets slower for all of them. What `warmUp` measures before does not count. Gives lane name to the
 * results of its rounds.
 */
export async function inTurns(lanes, rounds, { warmUp, measure }) {
  const results = Object.fromEntries(lanes.map(({ name }) => [name, []]))
  for (const lane of lanes) await warmUp(lane)
  for (let round = 0; round < rounds; round++) {
    for (const lane of lanes) results[lane.name].push(await measure(lane))
  }
  return results
}
