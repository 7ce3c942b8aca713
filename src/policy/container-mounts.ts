import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { configMapMount, mountSources } from './frames.js'
import { field, listOf, templateError } from './template-fields.js'

interface PlatformMount {
  readonly path: string
  readonly source: string
  readonly readOnly: boolean
}

/** The mounts of a container: volumes in the template's order, the config map, then those of the platform. */
export function containerMounts(
  properties: JsonObject,
  volumes: readonly Json[],
  ofPlatform: readonly PlatformMount[],
  where: string
): JsonObject[] {
  const mounts = listOf(field(properties, 'volumeMounts'), `${where}.volumeMounts`).map((mount, index) =>
    volumeMount(mount, volumes, `${where}.volumeMounts[${index}]`)
  )
  if (field(properties, 'configMap')) {
    mounts.push(bind(configMapMount.path, sourceOf(configMapMount.kind, where), false))
  }
  return [...mounts, ...ofPlatform.map(({ path, source, readOnly }) => bind(path, source, readOnly))]
}

function volumeMount(mount: Json, volumes: readonly Json[], where: string): JsonObject {
  const name = field(mount, 'name')
  const path = field(mount, 'mountPath')
  const readOnly = field(mount, 'readOnly') ?? false
  if (typeof name !== 'string') throw templateError(`${where} has no name`)
  if (typeof path !== 'string' || path === '') throw templateError(`${where} has no mountPath`)
  if (typeof readOnly !== 'boolean') throw templateError(`${where}.readOnly must be true or false`)
  const volume = volumes.find((candidate) => field(candidate, 'name') === name)
  if (!isJsonObject(volume)) throw templateError(`${where}: the container group has no volume "${name}"`)
  const kind = Object.keys(volume).findLast((member) => mountSources.has(member))
  if (kind === undefined) {
    throw templateError(`${where}: volume "${name}" is none of ${[...mountSources.keys()].join(', ')}`)
  }
  return bind(path, sourceOf(kind, where), readOnly)
}

function sourceOf(kind: string, where: string): string {
  const source = mountSources.get(kind)
  if (source === undefined) throw templateError(`${where}: unknown kind of volume "${kind}"`)
  return source
}

function bind(destination: string, source: string, readOnly: boolean): JsonObject {
  return { destination, options: ['rbind', 'rshared', readOnly ? 'ro' : 'rw'], source, type: 'bind' }
}
