import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256Hex, type Sha256Hex } from '../base/digest.js'
import { decodeBase64, utf8 } from '../base/encoding.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { generatePolicies, type ImageFacts, injectPolicies } from '../policy/index.js'
import { deployedPolicy, policyApi } from '../release/index.js'
import type { Run } from './run.js'
import { unifiedDifference } from './unified-difference.js'

/** A policy as an engine made it. */
export interface MadePolicy {
  /** `both`: each made one, and they are the same. */
  readonly engine: 'native' | 'az' | 'both'
  readonly rego: string
  readonly hostData: Sha256Hex
  readonly templateText: string
  readonly warnings: readonly string[]
}

/** Makes the policy of a filled template with the configured engine. Throws a `UserError` where it cannot be had. */
export async function policyOfEngine(
  run: Run,
  template: JsonObject,
  images: ReadonlyMap<string, ImageFacts>
): Promise<MadePolicy> {
  switch (run.config.policy.engine) {
    case 'az': {
      const made = await azPolicy(run, template)
      refuseWithoutIdentityRules(made.rego)
      return made
    }
    case 'both':
      return policyOfBoth(run, template, images)
    default:
      return nativePolicy(template, images)
  }
}

function nativePolicy(template: JsonObject, images: ReadonlyMap<string, ImageFacts>): MadePolicy {
  const policy = deployedPolicy(template, images)
  return {
    engine: 'native',
    rego: policy.rego,
    hostData: policy.hostData,
    templateText: injectPolicies(template, [policy]),
    warnings: policy.warnings
  }
}

/** The API version that a policy text names. */
export function apiOf(rego: string): string {
  const api = policyApi(rego)
  if (api !== undefined) return api
  throw new UserError('machine', 'policy.az-failed', 'az confcom acipolicygen wrote a policy without an API version', {
    next: ['az extension add --name confcom --upgrade', 'set policy.engine: native in confrouter.yaml']
  })
}

/**
 * The real tool writes the policy into the template file; the text and its hash are read back from
 * there. It may make a pattern of `sealedSecrets`, the one parameter that has no value on purpose.
 */
async function azPolicy(run: Run, template: JsonObject): Promise<MadePolicy> {
  const { acipolicygen } = await import('../exec/index.js')
  const folder = await mkdtemp(join(tmpdir(), 'confrouter-'))
  try {
    const file = join(folder, 'template.json')
    await writeFile(file, JSON.stringify(template, null, 2))
    await acipolicygen({ templateFile: file, approveWildcards: true, signal: run.signal })
    const templateText = await readFile(file, 'utf8')
    const bytes = decodeBase64(ccePolicyOf(JSON.parse(templateText)), 'ccePolicy')
    const rego = utf8.decode(bytes)
    return { engine: 'az', rego, hostData: sha256Hex(bytes), templateText, warnings: [] }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Since September 2026 ACI passes these to a group with an identity. A policy without rules for them
 * drops them, and then the sidecar gets no token (docs/errors.md, policy.az-too-old).
 */
function refuseWithoutIdentityRules(rego: string): void {
  const missing = missingIdentityRules(rego)
  if (missing.length === 0) return
  throw new UserError(
    'machine',
    'policy.az-too-old',
    `the policy of az confcom has no rules for ${missing.join(', ')}`,
    {
      why: 'ACI injects these variables, and the sidecar gets no token without them',
      next: ['az extension update --name confcom', 'set policy.engine: native in confrouter.yaml']
    }
  )
}

function ccePolicyOf(template: unknown): string {
  const resources = isJsonObject(template) && Array.isArray(template['resources']) ? template['resources'] : []
  const [resource] = resources as readonly {
    properties?: { confidentialComputeProperties?: { ccePolicy?: unknown } }
  }[]
  const policy = resource?.properties?.confidentialComputeProperties?.ccePolicy
  if (typeof policy !== 'string' || policy === '') {
    throw new UserError('machine', 'policy.az-failed', 'az confcom acipolicygen left no policy in the template', {
      next: ['az extension add --name confcom --upgrade', 'set policy.engine: native in confrouter.yaml']
    })
  }
  return policy
}

function missingIdentityRules(rego: string): readonly string[] {
  return ['APP_IDENTITY_ENDPOINT', 'IDENTITY_ENDPOINT', 'IMDS_ENDPOINT'].filter((name) => !rego.includes(`"${name}=`))
}

/**
 * Both engines on the same template. Any difference in the texts is an error that shows it; rules for the three
 * variables that ACI injects are our own addition, so they are left out of the comparison where az does not know them,
 * with a warning, and are in the policy that is used.
 */
async function policyOfBoth(
  run: Run,
  template: JsonObject,
  images: ReadonlyMap<string, ImageFacts>
): Promise<MadePolicy> {
  const native = nativePolicy(template, images)
  const az = await azPolicy(run, template)
  const missing = missingIdentityRules(az.rego)
  const comparable = missing.length === 3 ? withoutAdditions(template, images) : native.rego
  if (comparable !== az.rego) throw enginesDiffer(comparable, az.rego)
  const warning = `az confcom has no rules for ${missing.join(', ')}; the policy has them, and all else is the same`
  return { ...native, engine: 'both', warnings: [...native.warnings, ...(missing.length === 3 ? [warning] : [])] }
}

function withoutAdditions(template: JsonObject, images: ReadonlyMap<string, ImageFacts>): string {
  const [policy] = generatePolicies({ template, images, options: { wildcardParameters: ['sealedSecrets'] } })
  return policy?.rego ?? ''
}

function enginesDiffer(native: string, az: string): UserError {
  const shown = unifiedDifference(readableLines(native), readableLines(az), { from: 'native', to: 'az' })
  return new UserError('machine', 'policy.engines-differ', 'the two engines make different policies of this template', {
    why: `in lines of one member each:\n${shown}`,
    next: [
      'az extension update --name confcom   (it may be older than the policy text that native writes)',
      'set policy.engine to native or az, if one of them is right'
    ]
  })
}

/** The containers stand in one line of many thousand characters; broken at members and brackets a difference can be seen. */
function readableLines(rego: string): readonly string[] {
  return rego
    .split('\n')
    .flatMap((line) => (line.startsWith('containers := ') ? line.split(/(?<=[[{,])(?=["{[])|(?=[\]}],?)/) : [line]))
}
