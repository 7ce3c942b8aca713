import { UserError } from '../base/user-error.js'
import { isJsonObject } from '../base/json.js'
import { type Plan, planHash } from './plan.js'

/**
 * Reads the file of `plan --out`. Throws a `UserError` `plan.invalid` for one that is damaged, edited or of
 * another version: the hash in it has to be that of the plan in it.
 */
export function parsePlanFile(text: string, fileName: string): Plan {
  const invalid = (why: string, again = fileName) =>
    new UserError('config', 'plan.invalid', `${fileName} is not a plan that can be carried out`, {
      why,
      next: [`confrouter plan --out ${again}`]
    })
  // Nobody is told to write a plan over a file that may be something else.
  const other = (why: string) => invalid(`${why}; is it the file that \`confrouter plan --out\` wrote?`, 'NEW_FILE')
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    throw other('it is not JSON')
  }
  const plan = isJsonObject(document) ? document['plan'] : undefined
  if (!isJsonObject(document) || !isJsonObject(plan)) throw other('it has no plan in it')
  if (plan['version'] !== 1) throw invalid(`its version is ${JSON.stringify(plan['version'] ?? null)}, expected 1`)
  for (const member of ['changes', 'trustChanges', 'unchanged']) {
    if (!Array.isArray(plan[member])) throw invalid(`"${member}" is not a list`)
  }
  if (!isJsonObject(plan['deployment'])) throw invalid('it does not say for which deployment it is')
  const read = plan as unknown as Plan
  if (document['sha256'] !== planHash(read)) throw invalid('its hash is not that of its content: it was edited or cut')
  return read
}
