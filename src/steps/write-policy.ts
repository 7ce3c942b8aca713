import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sha256Hex } from '../base/digest.js'
import type { JsonObject } from '../base/json.js'
import { type Image, imageFacts, writeTextsAtomically } from '../image/index.js'
import { diffProperties, type PropertyChange } from '../plan/properties.js'
import { fillTemplate } from '../plan/template.js'
import { createReleasePolicy, encodeReleasePolicy, type ImageFacts } from '../policy/index.js'
import { type ImageLayers, publicTemplate } from '../release/index.js'
import { groupValues } from './group-values.js'
import { apiOf, policyOfEngine } from './policy-engines.js'
import { trustInForce, trustOf, trustText } from './published.js'
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
  needs: ['image', 'attestation', 'vault', 'identity', 'signing-key'],
  async observe(run, results, note) {
    const { output, texts, sidecar } = await derivePolicy(run, results, note)
    const stale = await staleFiles(output.files, texts)
    for (const warning of output.warnings) note(warning)
    if (stale.length === 0 && sidecar.isRecorded) return { action: 'none', output }
    const properties = await fileChanges(output, texts)
    return {
      action: isFirst(properties) ? 'create' : 'update',
      reason:
        stale.length === 0
          ? 'recording the sidecar’s digest'
          : `writing ${stale.map((file) => fileNames[file]).join(', ')}`,
      planned: output,
      properties,
      async apply() {
        await run.state.update((state) => ({
          ...state,
          sidecar: { reference: run.config.sidecar.image, pinned: sidecar.pinned }
        }))
        await mkdir(run.policyDirectory, { recursive: true })
        await writeTextsAtomically(stale.map((id) => ({ path: output.files[id], text: texts[id] })))
        return output
      }
    }
  }
}

/** Whether nothing is there yet but the release, of which `build` has written what it knows. */
function isFirst(properties: readonly PropertyChange[]): boolean {
  const others = properties.filter(({ property }) => property !== fileNames.release)
  return others.length > 0 && others.every(({ from }) => from === null)
}

/** The files of a policy, by what is in them. */
export type FileId = keyof PolicyOutput['files']

/** What they are called in the policy folder. */
export const fileNames: Readonly<Record<FileId, string>> = {
  policy: 'policy.rego',
  template: 'template.json',
  releasePolicy: 'skr-policy.json',
  trust: 'trust.json',
  release: 'release.json'
}

/** A policy with all that is made from it, in memory. */
export interface DerivedPolicy {
  readonly output: PolicyOutput
  /** What the files should hold. */
  readonly texts: Readonly<Record<FileId, string>>
  readonly sidecar: { readonly pinned: string; readonly isRecorded: boolean }
}

/** Makes the policy from the outputs of the steps before it; writes nothing but the cache of root hashes. */
export async function derivePolicy(run: Run, results: Results, note: Note): Promise<DerivedPolicy> {
  const { attestUri } = results.get('attestation')
  const pinned = results.get('image')
  const { values, facts, sidecar } = await measuredGroup(run, results, note)
  const filled = fillTemplate(run.assets.template, values)
  const made = await policyOfEngine(run, filled, facts.images)
  const { engine } = made
  const releasePolicy = encodeReleasePolicy(createReleasePolicy({ authority: attestUri, hostData: [made.hostData] }))
  const wanted = { hostData: made.hostData, authority: attestUri }
  const release = await releaseText(
    run,
    { pinned, image: facts.router },
    {
      layers: facts.released,
      template: publicTemplate(filled),
      policy: { api: apiOf(made.rego), engine: engine === 'az' ? 'az' : 'native', text: made.rego },
      hostData: made.hostData
    }
  )
  const file = (id: FileId) => join(run.policyDirectory, fileNames[id])
  return {
    output: {
      hostData: made.hostData,
      template: JSON.parse(made.templateText) as JsonObject,
      releasePolicy,
      trust: trustOf(run, [wanted]),
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
      trust: trustText(trustInForce(run, wanted)),
      release
    },
    sidecar
  }
}

/** What the containers are made of: images pinned and measured, and the values of this deployment. */
export async function measuredGroup(run: Run, results: Results, note: Note) {
  const sidecar = await pinSidecar(run, note)
  const routerImage = results.get('image').reference
  const facts = await factsOf(run, [routerImage, sidecar.pinned], note)
  const values = groupValues(run, {
    identityId: results.get('identity').id,
    routerImage,
    sidecarImage: sidecar.pinned,
    attestUri: results.get('attestation').attestUri,
    vaultUri: results.get('vault').vaultUri,
    secretsSigner: results.get('signing-key').thumbprint
  })
  return { values, facts, sidecar }
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

/** By hash: the files themselves are there to be read, and the trust chain is shown apart. */
async function fileChanges(
  { files }: PolicyOutput,
  texts: Readonly<Record<FileId, string>>
): Promise<readonly PropertyChange[]> {
  const ids = Object.keys(fileNames) as FileId[]
  const current = await Promise.all(ids.map((id) => readFile(files[id], 'utf8').catch(() => undefined)))
  const hashes = (textOf: (id: FileId, index: number) => string | undefined) =>
    Object.fromEntries(
      ids.map((id, index) => {
        const text = textOf(id, index)
        return [fileNames[id], text === undefined ? undefined : `sha256:${sha256Hex(text)}`]
      })
    )
  return diffProperties(
    hashes((_id, index) => current[index]),
    hashes((id) => texts[id])
  )
}

async function staleFiles(
  files: PolicyOutput['files'],
  texts: Readonly<Record<FileId, string>>
): Promise<readonly FileId[]> {
  const ids = Object.keys(fileNames) as FileId[]
  const current = await Promise.all(ids.map((id) => readFile(files[id], 'utf8').catch(() => undefined)))
  return ids.filter((id, index) => current[index] !== texts[id])
}
