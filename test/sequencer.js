// Which test files jest starts first. By itself it goes by the times of an earlier run, and on a fresh checkout, as in a
// pipeline, by the size of a file: then one of the longest may be the last, and all workers but one wait for it.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
// The one that jest has; it is no dependency of ours beside it.
const { default: Sequencer } = createRequire(require.resolve('jest'))('@jest/test-sequencer')

/** Longest first, by seconds of CPU of processes that they start as well; what is not named comes after these. */
const longest = [
  'cli/faults.test.ts',
  'cli/kill-points-upgrade.test.ts',
  'cli/upgrade.test.ts',
  'cli/kill-points-up.test.ts',
  'cli/secrets.test.ts',
  'faults/kill.test.ts',
  'cli/waiting.test.ts',
  'cli/verify.test.ts',
  'cli/replicas.test.ts',
  'cli/up-local.test.ts',
  'cli/plan.test.ts',
  'cli/router-settings.test.ts',
  'cli/bad-input.test.ts',
  'cli/policy-understanding.test.ts',
  'faults/streams.test.ts',
  'unit/router/leak.test.ts',
  'unit/release/written-release.test.ts',
  'unit/release/reproduce.test.ts'
]

export default class LongestFirst extends Sequencer {
  async sort(tests) {
    const sorted = await super.sort(tests)
    const rank = ({ path }) => {
      const index = longest.findIndex((file) => path.replaceAll('\\', '/').endsWith(`/test/${file}`))
      return index === -1 ? longest.length : index
    }
    // The sort is stable, so that the rest stays in jest's own order.
    return [...sorted].sort((a, b) => rank(a) - rank(b))
  }
}
