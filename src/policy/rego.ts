import type { JsonObject } from '../base/json.js'
import { type FragmentImport, type Frame, type PolicySwitches, switchNames } from './frames.js'
import { pythonJson } from './python-json.js'

export interface PolicyText {
  readonly frame: Frame
  readonly fragments: readonly FragmentImport[]
  readonly containers: readonly JsonObject[]
  readonly switches: PolicySwitches
  /** Containers over many lines. Other bytes, so other host data. */
  readonly pretty: boolean
}

/** The policy text, without a newline at the end; ASCII only, since strings are escaped. */
export function renderPolicy({ frame, fragments, containers, switches, pretty }: PolicyText): string {
  return [
    'package policy',
    '',
    'import future.keywords.every',
    'import future.keywords.in',
    '',
    ...versions(frame),
    '',
    `fragments := ${pythonJson(fragments.map(importOf), { indent: 2, sortKeys: true })}`,
    '',
    `containers := ${containerList(containers, pretty)}`,
    '',
    ...switchNames.map((name) => `${name} := ${switches[name]}`),
    '',
    ...frame.rules.map((rule) => `${rule} := data.framework.${rule}`),
    '',
    reasonLine
  ].join('\n')
}

/** The text for a group of platform images: the body of a fragment, which a guest does not load as a policy. */
export function renderSidecarFragment(frame: Frame, containers: readonly JsonObject[], pretty: boolean): string {
  return [
    'package microsoftcontainerinstance',
    '',
    ...versions(frame),
    '',
    `containers := ${containerList(containers, pretty)}`
  ].join('\n')
}

export const reasonLine = 'reason := {"errors": data.framework.errors}'

function versions(frame: Frame): string[] {
  return [`api_version := "${frame.apiVersion}"`, `framework_version := "${frame.frameworkVersion}"`]
}

/** Only these four members reach the policy, whatever else the caller's object holds. */
function importOf({ feed, includes, issuer, minimum_svn }: FragmentImport): JsonObject {
  return { feed, includes, issuer, minimum_svn }
}

function containerList(containers: readonly JsonObject[], pretty: boolean): string {
  return pythonJson(containers, pretty ? { indent: 2, sortKeys: true } : { sortKeys: true })
}
