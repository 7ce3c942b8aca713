import type { JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import {
  type CcePolicy,
  decodePolicy,
  existingPolicies,
  parseCcePolicy,
  type SimulatedGroup,
  simulateTemplate,
  templateNeeds
} from '../policy/index.js'
import { type ImageSources, readImages, readJsonFile } from './acipolicygen-images.js'
import { isManifest, readManifest } from './manifest.js'

/** A template or manifest, read and not yet tried. */
export interface Simulation {
  /** Whether each of its container groups or pods carries a policy. */
  readonly carriesPolicies: boolean
  /** Tries it under `policy`, or under those that it carries. */
  run(policy: CcePolicy | undefined, images: ImageSources): Promise<readonly SimulatedGroup[]>
}

interface Part {
  readonly template: JsonObject
  readonly parameters?: JsonObject
  readonly form: 'arm' | 'virtual-node'
  readonly hasIdentity?: boolean
  /** Base64, one for each container group; empty for none. */
  readonly held: readonly { readonly groupName: string; readonly base64: string }[]
}

/** Reads what would be deployed. Throws a `UserError` that names file or place. */
export async function openSimulation(file: string, parametersFile: string | undefined): Promise<Simulation> {
  const parts = isManifest(file) ? await podParts(file, parametersFile) : [await templatePart(file, parametersFile)]
  return {
    carriesPolicies: parts.every(({ held }) => held.every(({ base64 }) => base64 !== '')),
    async run(policy, sources) {
      const needed = new Set(parts.flatMap((part) => templateNeeds(part).images))
      const images = await readImages([...needed], sources)
      return parts.flatMap((part) => {
        const policies = part.held.map(
          ({ base64, groupName }) => policy ?? parseCcePolicy(decodePolicy(base64, groupName))
        )
        return simulateTemplate({ ...part, images, policies })
      })
    }
  }
}

async function templatePart(file: string, parametersFile: string | undefined): Promise<Part> {
  const template = await readJsonFile(file)
  const parameters = parametersFile === undefined ? {} : { parameters: await readJsonFile(parametersFile) }
  return { template, ...parameters, form: 'arm', held: existingPolicies(template, parameters.parameters) }
}

async function podParts(file: string, parametersFile: string | undefined): Promise<readonly Part[]> {
  if (parametersFile !== undefined) {
    throw new UserError('usage', 'usage.conflict', 'a manifest has no parameters', { next: ['leave --parameters out'] })
  }
  return (await readManifest(file)).pods.map(({ name, template, existingPolicy, hasIdentity }) => ({
    template,
    form: 'virtual-node' as const,
    hasIdentity,
    held: [{ groupName: name, base64: existingPolicy }]
  }))
}
