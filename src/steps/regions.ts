import { containerRegions } from '../azure/resource-providers.js'
import type { AzureSession } from '../azure/session.js'
import { UserError } from '../base/user-error.js'
import { type Config, didYouMean, suggest } from '../config/index.js'

/** A region of `containerGroup.regions` in which Azure has no container groups. */
export interface UnknownRegion {
  readonly region: string
  /** What was probably meant, as the end of a sentence; empty where nothing is near. */
  readonly hint: string
}

/**
 * Asks Azure for the regions that the configuration names beside the location. An empty answer says nothing, and then
 * nothing is held against them.
 */
export async function unknownRegions(
  azure: AzureSession,
  { containerGroup, location }: Pick<Config, 'containerGroup' | 'location'>
): Promise<readonly UnknownRegion[]> {
  const more = containerGroup.regions.filter((region) => region !== location)
  if (more.length === 0) return []
  const known = await containerRegions(azure)
  if (known.length === 0) return []
  return more
    .filter((region) => !known.includes(region))
    .map((region) => ({ region, hint: didYouMean(suggest(region, known)) || `, expected one of ${known.join(', ')}` }))
}

/** Before anything is made. Throws `config.region`. */
export async function requireRegions(
  azure: AzureSession,
  config: Pick<Config, 'containerGroup' | 'location'>
): Promise<void> {
  const unknown = await unknownRegions(azure, config)
  if (unknown.length === 0) return
  const problem = unknown
    .map(({ region, hint }) => `containerGroup.regions has ${JSON.stringify(region)}${hint}`)
    .join('; ')
  throw new UserError('config', 'config.region', problem, {
    why: 'Azure has no container groups in a region of this name',
    next: ['mend containerGroup.regions in confrouter.yaml', 'az account list-locations -o table']
  })
}
