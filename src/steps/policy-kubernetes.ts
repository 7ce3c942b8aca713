import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { UserError } from '../base/user-error.js'
import { ImageError, type TextFile, writeTextsAtomically } from '../image/index.js'
import type { ContainerValues, GroupValues } from '../plan/template.js'
import {
  createReleasePolicy,
  encodeReleasePolicy,
  generatePolicies,
  type GroupPolicy,
  type ImageFacts,
  identityAnnotation,
  parseCcePolicy,
  podsOfManifest,
  pythonYaml,
  simulateTemplate,
  withPolicyAnnotation
} from '../policy/index.js'
import { parseManifest } from './manifest.js'
import type { Note, Results, Run } from './run.js'
import { measuredGroup } from './write-policy.js'

export interface WrittenManifest {
  /** Of the pod's policy, which is another than that of the container group: a virtual node mounts and sets more. */
  readonly hostData: string
  readonly files: {
    readonly manifest: string
    /** Releases the key to this pod. */
    readonly releasePolicy: string
  }
  readonly warnings: readonly string[]
}

/**
 * Writes the manifest of this deployment for a virtual node, with the policy in its annotation, and beside it the release
 * policy that names its host data. Nothing is written unless every container would start under the policy.
 */
export async function writeManifest(run: Run, results: Results, file: string, note: Note): Promise<WrittenManifest> {
  const { values, facts } = await measuredGroup(run, results, note)
  const name = join(run.assets.buildContext, 'templates', 'virtual-node.yaml')
  const filled = parseManifest(await readFile(name, 'utf8'), name).map((document) => fillManifest(document, values))
  const policy = podPolicy(filled, facts.images)
  // Kubernetes reads it with a YAML of its own.
  const text = pythonYaml(
    filled.map((document) => withPolicyAnnotation(document, policy.base64)),
    { readers: 'any' }
  )
  const authority = results.get('attestation').attestUri
  const releasePolicy = encodeReleasePolicy(createReleasePolicy({ authority, hostData: [policy.hostData] }))
  const files = { manifest: file, releasePolicy: `${file.replace(/\.ya?ml$/i, '')}.skr-policy.json` }
  // Each is of no use without the other: a release policy for an older pod would keep the key from this one.
  await write([
    { path: files.manifest, text },
    { path: files.releasePolicy, text: `${releasePolicy}\n` }
  ])
  return { hostData: policy.hostData, files, warnings: [...facts.warnings, ...policy.warnings] }
}

/** Makes the pod's policy and starts its containers under it, as the guest would decide it. */
function podPolicy(documents: readonly Json[], images: ReadonlyMap<string, ImageFacts>): GroupPolicy {
  const [pod, second] = podsOfManifest(documents)
  if (pod === undefined || second !== undefined) throw new TypeError('our manifest has one pod')
  const form = 'virtual-node' as const
  const [policy] = generatePolicies({
    template: pod.template,
    images,
    form,
    options: { platformIdentityRules: true, refuseNullCommand: true, wildcardParameters: 'approve' }
  })
  if (policy === undefined) throw new TypeError('our manifest has one pod')
  const policies = [parseCcePolicy(policy.rego)]
  const { hasIdentity } = pod
  const groups = simulateTemplate({ template: pod.template, images, form, hasIdentity, policies })
  const refused = groups.flatMap(({ containers }) => containers).find(({ starts }) => !starts)
  if (refused === undefined) return policy
  const { name, denial, undecided } = refused
  throw new UserError('config', 'policy.denied', `container ${name} would not start under its own policy`, {
    why: undecided ?? denial?.errors.join(', '),
    next: denial === undefined ? [] : [denial.fix]
  })
}

function fillManifest(document: Json, values: GroupValues): JsonObject {
  const root = object(document)
  const spec = object(root['spec'])
  const pod = object(spec['template'])
  const podSpec = object(pod['spec'])
  const labels = { app: values.name }
  const [router, sidecar] = list(podSpec['containers']).map(object)
  if (router === undefined || sidecar === undefined) throw new TypeError('the manifest must have two containers')
  const metadata = object(pod['metadata'])
  const annotations = { ...object(metadata['annotations']), [identityAnnotation]: values.identityId }
  return {
    ...root,
    metadata: { ...object(root['metadata']), name: values.name, labels },
    spec: {
      ...spec,
      selector: { matchLabels: labels },
      template: {
        ...pod,
        metadata: { ...metadata, labels, annotations },
        spec: { ...podSpec, containers: [fill(router, values.router), fill(sidecar, values.sidecar)] }
      }
    }
  }
}

function fill(container: JsonObject, values: ContainerValues): JsonObject {
  const variables = Object.entries({ ...values.environment, ...values.moreEnvironment })
  const amounts = { cpu: values.cpu, memory: `${values.memoryGb}Gi` }
  return {
    ...container,
    image: values.image,
    ports: values.ports.map((containerPort) => ({ containerPort, protocol: 'TCP' })),
    env: [...variables.map(([name, value]) => ({ name, value })), ...list(container['env'])],
    resources: { requests: amounts, limits: amounts }
  }
}

async function write(files: readonly [TextFile, TextFile]): Promise<void> {
  await writeTextsAtomically(files).catch((cause: unknown) => {
    if (!(cause instanceof ImageError)) throw cause
    const names = files.map(({ path }) => path).join(' and ')
    throw new UserError('machine', 'policy.unwritable', `${names} cannot be written: ${cause.problem}`, { cause })
  })
}

function object(value: Json | undefined): JsonObject {
  if (!isJsonObject(value)) throw new TypeError('the manifest is damaged')
  return value
}

function list(value: Json | undefined): readonly Json[] {
  if (!Array.isArray(value)) throw new TypeError('the manifest is damaged')
  return value as readonly Json[]
}
