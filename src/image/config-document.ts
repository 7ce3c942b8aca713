import type { OciDigest } from '../base/digest.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import type { ImageConfig } from './image.js'
import { malformed, optionalText, parseDigest, parseJsonObject, quote, textMap, unsupported } from './manifest.js'

/** Real ones are a few kilobytes; the history of a very long Dockerfile reaches hundreds. */
export const maxConfigBytes = 8 * 1024 * 1024

/** What the policy and comparisons take from an image configuration. */
export interface ConfigDocument {
  readonly config: ImageConfig
  readonly diffIds: readonly OciDigest[]
}

/**
 * Reads an image configuration (OCI image-spec config.md; Docker's has the same members) and refuses
 * one that is not for linux/amd64, the only platform of confidential container groups.
 */
export function parseConfigDocument(bytes: Uint8Array, label: string): ConfigDocument {
  const document = parseJsonObject(bytes, label)
  const os = optionalText(document, 'os', label)
  const architecture = optionalText(document, 'architecture', label)
  if (os !== 'linux' || architecture !== 'amd64') {
    throw unsupported(label, `is for ${quote(`${os ?? '?'}/${architecture ?? '?'}`)}, not for linux/amd64`)
  }
  return { config: imageConfig(document['config'] ?? {}, label), diffIds: diffIds(document['rootfs'], label) }
}

function imageConfig(value: unknown, label: string): ImageConfig {
  if (!isJsonObject(value)) throw malformed(label, 'has a config that is no object')
  return {
    Entrypoint: optionalTexts(value, 'Entrypoint', label),
    Cmd: optionalTexts(value, 'Cmd', label),
    Env: optionalTexts(value, 'Env', label),
    WorkingDir: optionalText(value, 'WorkingDir', label),
    User: optionalText(value, 'User', label),
    StopSignal: optionalText(value, 'StopSignal', label),
    Labels: textMap(value['Labels'], `the labels of ${label}`),
    ExposedPorts: ports(value['ExposedPorts'], label)
  }
}

function optionalTexts(object: JsonObject, member: string, label: string): readonly string[] | undefined {
  const value = object[member]
  if (value === undefined || value === null) return undefined
  if (!Array.isArray(value)) throw malformed(label, `has a ${quote(member)} that is no list`)
  const texts = value.map((item: unknown) => {
    if (typeof item !== 'string') throw malformed(label, `has a ${quote(member)} with an item that is no text`)
    return item
  })
  return texts.length === 0 ? undefined : texts
}

function ports(value: unknown, label: string): readonly string[] {
  if (value === undefined || value === null) return []
  if (!isJsonObject(value)) throw malformed(label, 'has exposed ports that are no object')
  return Object.keys(value).sort()
}

function diffIds(rootfs: unknown, label: string): readonly OciDigest[] {
  const list = isJsonObject(rootfs) ? rootfs['diff_ids'] : undefined
  if (!Array.isArray(list)) throw malformed(label, 'has no list of diff ids')
  return list.map((item: unknown, index) => parseDigest(item, `diff id ${index} in ${label}`))
}
