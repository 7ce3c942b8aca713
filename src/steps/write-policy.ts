import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import writeFileAtomic from 'write-file-atomic'
import { sha256Hex, type Sha256Hex } from '../base/digest.js'
import { decodeBase64, utf8 } from '../base/encoding.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { strictTrustPolicy, type TrustPolicy } from '../client/index.js'
import { type Image, imageFacts } from '../image/index.js'
import { fillTemplate } from '../plan/template.js'
import { createReleasePolicy, encodeReleasePolicy, type ImageFacts, injectPolicies } from '../policy/index.js'
import { deployedPolicy, type ImageLayers, policyApi, publicTemplate } from '../release/index.js'
import { groupValues } from './group-values.js'
import { layersOf, releaseText } from './release-file.js'
import type { Note, PolicyOutput, Results, Run, Step } from './run.js'

/**
 * From pinned images to the files that everything later is compared with: the CCE policy, the template
 * that carries it, the release policy that names its hash, the trust policy for callers, and the release
 * that others can make all of it from.
 */
export const policyStep: Step<'policy'> = {
  id: 'policy',
  title: 'policy',
  needs: ['image', 'attestation', 'vault', 'identity'],
  async observe(run, results, note) {
    const sidecar = await pinSidecar(run, note)
    const { output, texts } = await derivePolicy(run, results, sidecar.pinned, note)
    const stale = await staleFiles(output.files, texts)
    for (const warning of output.warnings) note(warning)
    if (stale.length === 0 && sidecar.isRecorded) return { action: 'none', output }
    return {
      action: stale.length === Object.keys(fileNames).length ? 'create' : 'update',
      reason:
        stale.length === 0
          ? 'recording the sidecar’s digest'
          : `writing ${stale.map((file) => fileNames[file]).join(', ')}`,
      async apply() {
        await run.state.update((state) => ({
          ...state,
          sidecar: { reference: run.config.sidecar.image, pinned: sidecar.pinned }
        }))
        await mkdir(run.policyDirectory, { recursive: true })
        for (const file of stale) await writeFileAtomic(output.files[file], texts[file])
        return output
      }
    }
  }
}

type FileId = keyof PolicyOutput['files']

const fileNames: Readonly<Record<FileId, string>> = {
  policy: 'policy.rego',
  template: 'template.json',
  releasePolicy: 'skr-policy.json',
  trust: 'trust.json',
  release: 'release.json'
}

async function derivePolicy(
  run: Run,
  results: Results,
  sidecarImage: string,
  note: Note
): Promise<{ output: PolicyOutput; texts: Readonly<Record<FileId, string>> }> {
  const { attestUri } = results.get('attestation')
  const pinned = results.get('image')
  const routerImage = pinned.reference
  const facts = await factsOf(run, [routerImage, sidecarImage], note)
  const filled = fillTemplate(
    run.assets.template,
    groupValues(run, {
      identityId: results.get('identity').id,
      routerImage,
      sidecarImage,
      attestUri,
      vaultUri: results.get('vault').vaultUri
    })
  )
  const engine = run.config.policy.engine === 'az' ? ('az' as const) : ('native' as const)
  const made = engine === 'az' ? await azPolicy(run, filled) : nativePolicy(filled, facts.images)
  const releasePolicy = encodeReleasePolicy(createReleasePolicy({ authority: attestUri, hostData: [made.hostData] }))
  const trust: TrustPolicy = strictTrustPolicy({
    hostData: [made.hostData],
    maaEndpoints: [attestUri],
    roots: run.trust.roots,
    ...(run.trust.uvmIssuer === undefined ? {} : { uvmIssuer: run.trust.uvmIssuer })
  })
  const release = await releaseText(
    run,
    { pinned, image: facts.router },
    {
      layers: facts.released,
      template: publicTemplate(filled),
      policy: { api: apiOf(made.rego), engine, text: made.rego },
      hostData: made.hostData
    }
  )
  const file = (id: FileId) => join(run.policyDirectory, fileNames[id])
  return {
    output: {
      hostData: made.hostData,
      template: JSON.parse(made.templateText) as JsonObject,
      releasePolicy,
      trust,
      engine,
      layers: facts.released.map(({ image, rootHashes }) => ({ image, rootHashes })),
      files: {
        policy: file('policy'),
        template: file('template'),
        releasePolicy: file('releasePolicy'),
        trust: file('trust'),
        release: file('release')
      },
      warnings: [...facts.warnings, ...made.warnings]
    },
    texts: {
      policy: made.rego,
      template: made.templateText,
      releasePolicy: `${releasePolicy}\n`,
      trust: `${JSON.stringify(trust, null, 2)}\n`,
      release
    }
  }
}

/**
 * The sidecar's digest, resolved once and then kept: a tag that moves at the registry must not
 * change the host data of the next run by itself.
 */
async function pinSidecar(run: Run, note: Note): Promise<{ readonly pinned: string; readonly isRecorded: boolean }> {
  const { image: reference } = run.config.sidecar
  if (reference.includes('@sha256:')) return { pinned: reference, isRecorded: true }
  const known = run.state.get().sidecar
  if (known?.reference === reference) return { pinned: known.pinned, isRecorded: true }
  note(`resolving ${reference}`)
  const image = await run.imageStore.open(reference)
  return { pinned: `${reference.replace(/:[^/:]+$/, '')}@${image.digest}`, isRecorded: false }
}

/** What the images are made of; the router's is the first. */
async function factsOf(run: Run, references: readonly [string, ...string[]], note: Note) {
  const images = new Map<string, ImageFacts>()
  const released: ImageLayers[] = []
  const warnings: string[] = []
  const opened: Image[] = []
  for (const reference of new Set(references)) {
    note(`measuring ${reference}`)
    const image = await run.imageStore.open(reference)
    const facts = await imageFacts(image, { cacheFile: run.imageStore.hashCache, signal: run.signal })
    images.set(reference, facts)
    opened.push(image)
    released.push(layersOf(image, facts))
    warnings.push(...facts.warnings)
  }
  const [router] = opened
  if (router === undefined) throw new Error('the router has an image')
  return { images, router, released, warnings }
}

interface MadePolicy {
  readonly rego: string
  readonly hostData: Sha256Hex
  readonly templateText: string
  readonly warnings: readonly string[]
}

function nativePolicy(template: JsonObject, images: ReadonlyMap<string, ImageFacts>): MadePolicy {
  const policy = deployedPolicy(template, images)
  return {
    rego: policy.rego,
    hostData: policy.hostData,
    templateText: injectPolicies(template, [policy]),
    warnings: policy.warnings
  }
}

function apiOf(rego: string): string {
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
    refuseWithoutIdentityRules(rego)
    return { rego, hostData: sha256Hex(bytes), templateText, warnings: [] }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Since September 2026 ACI passes these to a group with an identity. A policy without rules for them
 * drops them, and then the sidecar gets no token (docs/errors.md, policy.az-too-old).
 */
function refuseWithoutIdentityRules(rego: string): void {
  const missing = ['APP_IDENTITY_ENDPOINT', 'IDENTITY_ENDPOINT', 'IMDS_ENDPOINT'].filter(
    (name) => !rego.includes(`"${name}=`)
  )
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

async function staleFiles(
  files: PolicyOutput['files'],
  texts: Readonly<Record<FileId, string>>
): Promise<readonly FileId[]> {
  const ids = Object.keys(fileNames) as FileId[]
  const current = await Promise.all(ids.map((id) => readFile(files[id], 'utf8').catch(() => undefined)))
  return ids.filter((id, index) => current[index] !== texts[id])
}
