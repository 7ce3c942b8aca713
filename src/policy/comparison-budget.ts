import type { Spend } from './re2.js'

/** Of one comparison, in states of automata that are gone through: a few seconds. */
const maximumSteps = 10_000_000

/**
 * What one comparison of two policies may take. Whoever writes a policy decides how hard it is to compare, so what
 * goes beyond is not decided, and is said to be so.
 */
export function comparisonBudget(steps = maximumSteps): Spend {
  let left = steps
  return (spent) => {
    left -= spent
    return left >= 0
  }
}
