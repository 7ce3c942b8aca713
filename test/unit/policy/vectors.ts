import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { JsonObject } from '../../../src/base/json.js'
import type { ImageFacts, PolicyOptions } from '../../../src/policy/index.js'

const root = resolve(import.meta.dirname, '../../vectors/policy')

export interface GoldenCase {
  readonly name: string
  readonly options: PolicyOptions
  readonly hostData: string
  readonly hostData2x: string
  readonly templateChanged: boolean
}

export function vector(...path: readonly string[]): string {
  return readFileSync(join(root, ...path), 'utf8')
}

export function jsonVector(...path: readonly string[]): JsonObject {
  return JSON.parse(vector(...path)) as JsonObject
}

export const goldenCases = JSON.parse(vector('cases.json')) as readonly GoldenCase[]

export const images: ReadonlyMap<string, ImageFacts> = new Map(
  Object.entries(JSON.parse(vector('images.json')) as Record<string, ImageFacts>)
)

export const templateOf = (name: string): JsonObject => jsonVector('cases', name, 'template.in.json')
