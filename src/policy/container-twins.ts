import type { PolicyContainer } from './cce-policy.js'
import type { Excess } from './rule-coverage.js'

/** All that a container allows, as a text: the same for two that differ in name and image reference only. */
export function containerText(container: PolicyContainer): string {
  return JSON.stringify({ ...container, id: undefined, name: undefined })
}

/**
 * The guest refuses a container where two of the policy fit it that differ in what it would be given: output,
 * variables or capabilities. So where one of two such is gone or changed, the other may start where it did not.
 * Returns a function that says so of a container of `before`.
 */
export function unlikeTwins(
  before: readonly PolicyContainer[],
  after: readonly PolicyContainer[]
): (container: PolicyContainer) => readonly Excess[] {
  const kept = new Set(after.map(containerText))
  const gone = new Map<string, Set<string>>()
  for (const container of before) {
    if (kept.has(containerText(container))) continue
    const given = gone.get(requestText(container)) ?? new Set()
    gone.set(requestText(container), given.add(givenText(container)))
  }
  return (container) => {
    const given = gone.get(requestText(container))
    const isUnlike = given !== undefined && (given.size > 1 || !given.has(givenText(container)))
    if (!isUnlike) return []
    return [{ what: 'to start where two containers fitted, which the guest refuses', isCertain: false }]
  }
}

/** What a request has to have in common with a container to fit it, as far as that is one value. */
function requestText({ layers, command, workingDir, seccompProfileSha256, user }: PolicyContainer): string {
  return JSON.stringify([layers, command, workingDir, seccompProfileSha256, user.umask])
}

/** What a container that fits is given. */
function givenText({ allowStdioAccess, envRules, capabilities }: PolicyContainer): string {
  return JSON.stringify([allowStdioAccess, envRules, capabilities])
}
