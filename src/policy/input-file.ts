import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { field, listOf, objectField, templateError } from './template-fields.js'

/** A template of one container group that runs one image, under the image's own name. */
export function templateOfImage(reference: string): JsonObject {
  return templateOf([{ name: reference, properties: { image: reference } }], [])
}

/**
 * The template of one container group for an input file: `{ "containers": [{ name, properties }] }`. Its mounts name
 * their kind themselves (`mountType`), where ARM has volumes for that. Throws a `UserError` that names the place.
 */
export function templateOfInputFile(file: JsonObject): JsonObject {
  if (listOf(field(file, 'fragments'), 'fragments').length > 0) {
    throw templateError('the input file lists fragments', {
      next: ['list them in a file of their own: --include-fragments --fragments-json <file>']
    })
  }
  const volumes: JsonObject[] = []
  const containers = listOf(field(file, 'containers'), 'containers').map((container, index) => {
    if (!isJsonObject(container) || !isJsonObject(field(container, 'properties'))) {
      throw templateError(`containers[${index}] of the input file has no "properties"`, {
        why: 'a container is written {"name": …, "properties": {"image": …}}.'
      })
    }
    return withVolumes(container, `containers[${index}]`, volumes)
  })
  return templateOf(containers, volumes)
}

function withVolumes(container: JsonObject, where: string, volumes: JsonObject[]): JsonObject {
  const properties = objectField(container, 'properties', where)
  const volumeMounts = listOf(field(properties, 'volumeMounts'), `${where}.volumeMounts`).map((mount, index) => {
    const place = `${where}.volumeMounts[${index}]`
    const kind = field(mount, 'mountType')
    if (!isJsonObject(mount) || typeof kind !== 'string') throw templateError(`${place} has no mountType`)
    volumes.push({ name: place, [kind]: {} })
    return { ...mount, name: place }
  })
  const others = Object.entries(properties).filter(([name]) => name.toLowerCase() !== 'volumemounts')
  return { ...container, properties: { ...Object.fromEntries(others), volumeMounts } }
}

function templateOf(containers: readonly Json[], volumes: readonly Json[]): JsonObject {
  const type = 'Microsoft.ContainerInstance/containerGroups'
  return { resources: [{ type, name: 'containers', properties: { containers, volumes } }] }
}
