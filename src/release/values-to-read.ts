import { sealedSecretsVariable } from '../plan/template.js'
import type { Comparison } from './comparison.js'
import type { CompleteRelease } from './release.js'
import { numericVariables } from './router-variables.js'

/** Part of a release that may have any value, so that only a person can say whether it is a good one. */
export interface ValueToRead {
  /** `template CONTAINER VARIABLE`, or `template CONTAINER image`. */
  readonly name: string
  /** In full, however long; what is not printable ASCII as `\uXXXX`. */
  readonly value: string
}

/** What {@link compareTemplates} finds out, or what the router takes as a number and nothing else. */
const notToRead = new Set([...numericVariables, 'PORT', 'SKR_URL', sealedSecretsVariable])

/**
 * The values that the source does not give a release: whom the router believes, where prompts go, who may
 * call, which sidecar hands the router its key. All but those that were held against something are listed,
 * so that a new variable is. They are complete only for a release that {@link rebuildRelease} finds no
 * difference in: in any other the rest of the template has to be read too.
 */
export function valuesToRead({ template }: CompleteRelease): readonly ValueToRead[] {
  const [router, ...others] = template.resources[0].properties.containers
  const variables = router?.properties.environmentVariables ?? []
  return [
    ...variables
      .filter(({ name }) => !notToRead.has(name))
      .map(({ name, value }) => shown(`${router?.name} ${name}`, value)),
    ...others.map(({ name, properties }) => shown(`${name} image`, properties.image))
  ]
}

/** The same as entries of a comparison, which cannot differ: the name goes after `read: `. */
export function readings(release: CompleteRelease): readonly Comparison[] {
  return valuesToRead(release).map(({ name, value }) => {
    return { what: `read: ${name}`, expected: value, actual: value, same: true }
  })
}

/** Not cut: what a reader has to judge could be behind the cut. */
function shown(name: string, value: string): ValueToRead {
  return { name: escaped(`template ${name}`), value: escaped(value) }
}

function escaped(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
