import { UserError } from '../base/user-error.js'
import { type CcePolicy, decodePolicy, parseCcePolicy, policyOfFile } from '../policy/index.js'
import { readTextFile } from './acipolicygen-images.js'
import { isManifest, readManifest } from './manifest.js'

/**
 * The policy that a file holds: policy.rego, its base64, a template, a release.json, or a manifest of one pod. Throws a
 * `UserError` that names the file.
 */
export async function readPolicyFile(file: string): Promise<CcePolicy> {
  if (!isManifest(file)) return policyOfFile(await readTextFile(file), file)
  const held = (await readManifest(file)).pods.filter(({ existingPolicy }) => existingPolicy !== '')
  const [only, second] = held
  if (only !== undefined && second === undefined) return parseCcePolicy(decodePolicy(only.existingPolicy, only.name))
  throw new UserError('config', 'policy.none', `${file} holds no policy, or several`, {
    why: 'one of its pods has to carry a policy, and no other.',
    next: ['confrouter policy --virtual-node-yaml <file>   (puts one in)']
  })
}
