import { decodeBase64, utf8 } from '../base/encoding.js'
import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { expandVariables, expandWords, type PodVariable } from './pod-variables.js'
import { onOneLine } from './printable-text.js'
import { field, listOf, objectField, templateError, textsOf } from './template-fields.js'

/** The annotation by which a virtual node hands a policy to ACI. */
const policyAnnotation = 'microsoft.containerinstance.virtualnode.ccepolicy'
/** The annotation with the resource id of the identity that the pod runs with. */
export const identityAnnotation = 'microsoft.containerinstance.virtualnode.identity'

/** One resource of a manifest that makes pods. */
export interface PodResource {
  /** Where it stands in the manifest. */
  readonly index: number
  readonly name: string
  /** A template of one container group, for `generatePolicies` with the form `virtual-node`. */
  readonly template: JsonObject
  /** Base64; empty when there is none. */
  readonly existingPolicy: string
  readonly hasIdentity: boolean
}

/** Where each kind has the pod that it makes. */
const podPlaces: ReadonlyMap<string, readonly string[]> = new Map([
  ['Pod', []],
  ['Deployment', ['spec', 'template']],
  ['StatefulSet', ['spec', 'template']],
  ['DaemonSet', ['spec', 'template']],
  ['ReplicaSet', ['spec', 'template']],
  ['Job', ['spec', 'template']],
  ['CronJob', ['spec', 'jobTemplate', 'spec', 'template']]
])

/**
 * The pods of a Kubernetes manifest for virtual nodes on Azure Container Instances, in order. Values of config maps and
 * secrets that stand in the same manifest are taken from there. Throws a `UserError` that names the place for what a
 * policy would have to guess.
 */
export function podsOfManifest(documents: readonly Json[]): readonly PodResource[] {
  const values = valuesOf(documents)
  const pods = documents.flatMap((document, index): PodResource[] => {
    const place = podPlaces.get(kindOf(document))
    if (place === undefined || !isJsonObject(document)) {
      refuseOtherPods(document, index)
      return []
    }
    const name = textField(objectField(document, 'metadata', kindOf(document)), 'name')
    const where = `${kindOf(document)} "${name}"`
    const pod = place.reduce((object, member) => objectField(object, member, where), document)
    const metadata = objectField(pod, 'metadata', where)
    refuseWorkloadIdentity(metadata, where)
    const annotations = objectField(metadata, 'annotations', where)
    const claims = listOf(field(objectField(document, 'spec', where), 'volumeClaimTemplates'), 'volumeClaimTemplates')
    return [
      {
        index,
        name,
        template: templateOfPod(objectField(pod, 'spec', where), { name, where, values, claims }),
        existingPolicy: textField(annotations, policyAnnotation),
        hasIdentity: textField(annotations, identityAnnotation) !== ''
      }
    ]
  })
  if (pods.length > 0) return pods
  throw templateError('the manifest has no pod', { why: `none of it is a ${[...podPlaces.keys()].join(', ')}.` })
}

/** The manifest's resource with the policy (base64) in the annotations of its pods. */
export function withPolicyAnnotation(document: Json, policy: string): JsonObject {
  const place = podPlaces.get(kindOf(document))
  if (place === undefined || !isJsonObject(document)) throw new TypeError('the resource makes no pods')
  const metadata = (pod: JsonObject) => objectOrNone(pod['metadata'])
  const annotate = (pod: JsonObject): JsonObject => ({
    ...pod,
    metadata: {
      ...metadata(pod),
      annotations: {
        ...objectOrNone(metadata(pod)['annotations']),
        [policyAnnotation]: policy
      }
    }
  })
  return changeAt(document, place, annotate)
}

function changeAt(object: JsonObject, place: readonly string[], change: (pod: JsonObject) => JsonObject): JsonObject {
  const [member, ...rest] = place
  if (member === undefined) return change(object)
  return { ...object, [member]: changeAt(objectOrNone(object[member]), rest, change) }
}

function objectOrNone(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {}
}

interface PodContext {
  readonly name: string
  readonly where: string
  readonly values: ReadonlyMap<string, string>
  readonly claims: readonly Json[]
}

function templateOfPod(spec: JsonObject, context: PodContext): JsonObject {
  const { name, where } = context
  const volumes: JsonObject[] = []
  const translate = (list: string) =>
    listOf(field(spec, list), `${where}: ${list}`).map((container) =>
      translatedContainer(container, spec, context, volumes)
    )
  const [containers, initContainers] = [translate('containers'), translate('initContainers')]
  const type = 'Microsoft.ContainerInstance/containerGroups'
  return { resources: [{ type, name, properties: { containers, initContainers, volumes } }] }
}

function translatedContainer(
  container: Json,
  spec: JsonObject,
  context: PodContext,
  volumes: JsonObject[]
): JsonObject {
  const image = textField(container, 'image')
  const name = textField(container, 'name') || image
  const where = `${context.where}, container "${name}"`
  if (listOf(field(container, 'envFrom'), 'envFrom').length > 0) {
    throw templateError(`${where}: envFrom is not supported`, { next: ['list the variables under env, one by one'] })
  }
  const lifecycle = objectField(container, 'lifecycle', where)
  const written = listOf(field(container, 'env'), `${where}.env`).map((entry) => variable(entry, context.values, where))
  const environmentVariables = expandVariables(written, where)
  const words = (list: 'command' | 'args') =>
    expandWords(textsOf(field(container, list), `${where}.${list}`), environmentVariables, `${where}.${list}`)
  return {
    name,
    properties: {
      image,
      command: words('command'),
      args: words('args'),
      workingDir: textField(container, 'workingDir'),
      environmentVariables,
      volumeMounts: volumeMounts(container, spec, context, volumes, where),
      securityContext: securityContext(spec, container, where),
      ...probes(container),
      ...hooks(lifecycle)
    }
  }
}

function probes(container: Json): JsonObject {
  const names = ['livenessProbe', 'readinessProbe', 'startupProbe']
  return Object.fromEntries(names.flatMap((name) => entryOf(name, field(container, name))))
}

function hooks(lifecycle: JsonObject): JsonObject {
  return Object.fromEntries(['postStart', 'preStop'].flatMap((name) => entryOf(name, field(lifecycle, name))))
}

function entryOf(name: string, value: Json | undefined): [string, Json][] {
  return value === undefined || value === null ? [] : [[name, value]]
}

/** What the virtual node replaces at start. */
const replaced = /^===VIRTUALNODE2\.CC\.THIM\..+===$/

function variable(entry: Json, values: ReadonlyMap<string, string>, where: string): PodVariable {
  const name = textField(entry, 'name')
  const source = field(entry, 'valueFrom')
  if (source === undefined || source === null) {
    const value = textField(entry, 'value')
    return replaced.test(value) ? { name, value: '.*', regex: true } : { name, value }
  }
  if (field(source, 'fieldRef')) return { name, value: '.*', regex: true }
  for (const [member, kind] of [
    ['configMapKeyRef', 'ConfigMap'],
    ['secretKeyRef', 'Secret']
  ] as const) {
    const reference = field(source, member)
    if (!reference) continue
    const key = `${kind} "${textField(reference, 'name')}", key "${textField(reference, 'key')}"`
    const value = values.get(key)
    if (value === undefined) return { name, valueFrom: key }
    return kind === 'Secret' ? { name, secureValue: value } : { name, value }
  }
  throw templateError(`${where}: variable ${name} takes its value from something that is not supported`, {
    why: 'fieldRef, configMapKeyRef and secretKeyRef are.'
  })
}

/** Values of config maps and secrets by kind, name and key. */
function valuesOf(documents: readonly Json[]): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  for (const document of documents) {
    const kind = kindOf(document)
    if (kind !== 'ConfigMap' && kind !== 'Secret') continue
    const name = textField(objectField(document, 'metadata', kind), 'name')
    const encoded = kind === 'Secret' ? 'data' : 'binaryData'
    const plain = kind === 'Secret' ? 'stringData' : 'data'
    const set = (key: string, value: string) => values.set(`${kind} "${name}", key "${key}"`, value)
    for (const [key, value] of Object.entries(objectField(document, encoded, name))) {
      set(key, decoded(value, `${kind} "${name}": ${key}`))
    }
    for (const [key, value] of Object.entries(objectField(document, plain, name))) {
      if (typeof value !== 'string') throw templateError(`${kind} "${name}": ${key} must be a text`)
      set(key, value)
    }
  }
  return values
}

function decoded(value: Json, where: string): string {
  try {
    return utf8.decode(decodeBase64(typeof value === 'string' ? value : '', where))
  } catch (cause) {
    throw templateError(`${where} is not the base64 of a text`, { cause })
  }
}

const readOnlyKinds: ReadonlySet<string> = new Set(['configMap', 'secret', 'downwardAPI', 'projected'])

/** A virtual node mounts volumes of every kind from folders of the utility VM. */
function volumeMounts(
  container: Json,
  spec: JsonObject,
  { claims }: PodContext,
  volumes: JsonObject[],
  where: string
): JsonObject[] {
  const known = listOf(field(spec, 'volumes'), `${where}: volumes`)
  return listOf(field(container, 'volumeMounts'), `${where}.volumeMounts`).map((mount) => {
    const name = textField(mount, 'name')
    const volume = known.find((candidate) => textField(candidate, 'name') === name)
    const claim = claims.find((candidate) => textField(objectField(candidate, 'metadata', where), 'name') === name)
    if (volume === undefined && claim === undefined) throw templateError(`${where}: the pod has no volume "${name}"`)
    const kinds = isJsonObject(volume) ? Object.keys(volume) : []
    const modes = listOf(field(objectField(claim, 'spec', where), 'accessModes'), 'accessModes')
    const readOnly =
      kinds.some((kind) => readOnlyKinds.has(kind)) ||
      modes.includes('ReadOnlyMany') ||
      field(mount, 'readOnly') === true
    const own = `${where}: ${name}`
    volumes.push({ name: own, emptyDir: {} })
    return { name: own, mountPath: textField(mount, 'mountPath'), readOnly }
  })
}

/** The container's over the pod's. What of it changes a policy in a way that is not known is refused. */
function securityContext(spec: JsonObject, container: Json, where: string): JsonObject {
  const merged = {
    ...objectField(spec, 'securityContext', where),
    ...objectField(container, 'securityContext', where)
  }
  const refused: readonly (readonly [string, boolean])[] = [
    ['privileged', field(merged, 'privileged') === true],
    ['capabilities', Boolean(field(merged, 'capabilities'))],
    ['seccompProfile', Boolean(field(merged, 'seccompProfile'))],
    // Groups of every process of the pod, which the guest is asked for besides runAsGroup. 0 is one of them.
    ['fsGroup', (field(merged, 'fsGroup') ?? null) !== null],
    ['supplementalGroups', listOf(field(merged, 'supplementalGroups'), `${where}: supplementalGroups`).length > 0]
  ]
  const found = refused.find(([, isThere]) => isThere)
  if (found !== undefined) {
    throw templateError(`${where}: securityContext.${found[0]} is not supported`, {
      why: 'what a virtual node asks of the guest for it is not known, so a policy would be a guess.'
    })
  }
  const kept = ['runAsUser', 'runAsGroup', 'allowPrivilegeEscalation'].flatMap((name) =>
    entryOf(name, field(merged, name))
  )
  return Object.fromEntries(kept)
}

/**
 * A document of another kind makes no pod that is known, but it may make one all the same: a list of resources, a
 * ReplicationController, a resource of an operator. Left out in silence it would run without a policy.
 */
function refuseOtherPods(document: Json, index: number): void {
  const kind = kindOf(document) || 'no kind'
  const where = `document ${index + 1} of the manifest, of kind ${onOneLine(kind)},`
  if (/List$/.test(kind) && Array.isArray(field(document, 'items'))) {
    throw templateError(`${where} is a list of resources, which is not supported`, {
      next: ['write its items as documents of their own, with --- between them']
    })
  }
  if (!holdsPod(document, 0)) return
  throw templateError(`${where} has containers, and where its pods are is not known`, {
    why: 'a pod that is left out would run without a policy.',
    next: [`write it as one of ${[...podPlaces.keys()].join(', ')}`]
  })
}

/** Where a pod could be in a resource of a few levels. */
const deepestPod = 20

function holdsPod(value: Json, depth: number): boolean {
  if (depth > deepestPod || typeof value !== 'object' || value === null) return false
  if (isJsonObject(value) && Array.isArray(field(objectOrNone(value['spec']), 'containers'))) return true
  return Object.values(value).some((inner: Json) => holdsPod(inner, depth + 1))
}

function refuseWorkloadIdentity(metadata: JsonObject, where: string): void {
  const use = field(objectField(metadata, 'labels', where), 'azure.workload.identity/use')
  if (use !== 'true' && use !== true) return
  throw templateError(`${where}: the label azure.workload.identity/use is not supported`, {
    why: 'the variables and mounts that it brings are not known here.',
    next: [`give the pod an identity by the annotation ${identityAnnotation}`]
  })
}

function kindOf(document: Json): string {
  return textField(document, 'kind')
}

function textField(object: Json | undefined, name: string): string {
  const value = field(object, name) ?? ''
  if (typeof value === 'string') return value
  throw templateError(`"${name}" must be a text, and is ${JSON.stringify(value)}`, { next: [`put it in quotes`] })
}
