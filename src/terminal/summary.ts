import { isJsonObject, type Json, type JsonObject } from '../base/json.js'
import { printable } from './printable.js'

/**
 * The result or the failure of a command in Markdown, for the summary of a run or a comment on a pull
 * request. It is made of the JSON document, so it shows nothing that the document does not.
 */
export function markdownSummary(document: JsonObject): string {
  const command = text(document['command']) ?? ''
  const failure = isJsonObject(document['error']) ? document['error'] : undefined
  const outcome = document['ok'] === false ? 'not ok' : 'done'
  return [
    `### confrouter ${escape(command)}: ${failure === undefined ? outcome : `failed, \`${code(text(failure['code']) ?? '')}\``}`,
    '',
    ...(failure === undefined ? resultOf(document) : failureOf(failure)),
    ''
  ].join('\n')
}

function failureOf(error: JsonObject): readonly string[] {
  const next = list(error['next'])
    .map(text)
    .filter((one) => one !== undefined)
  const why = text(error['why'])
  return [
    escape(text(error['message']) ?? ''),
    ...(why === undefined ? [] : ['', `*why:* ${escape(why)}`]),
    ...(next.length === 0 ? [] : ['', ...next.map((one) => `- \`${code(one)}\``)])
  ]
}

function resultOf(document: JsonObject): readonly string[] {
  const trust = list(document['trustChanges']).filter(isJsonObject)
  const changes = list(document['changes']).filter(isJsonObject)
  const steps = list(document['steps']).filter(isJsonObject)
  const checks = list(document['checks']).filter(isJsonObject)
  return [
    ...(document['simulated'] === true ? ['**simulated: no hardware protection**', ''] : []),
    ...(Array.isArray(document['trustChanges']) ? trustSection(trust) : []),
    ...table(
      ['', 'resource', 'reason'],
      changes.map((one) => [one['action'], one['resource'], one['reason']])
    ),
    ...table(['', 'value'], values(document)),
    ...table(
      ['step', 'action', 'seconds'],
      steps.map((one) => [one['id'], one['action'], one['seconds']])
    ),
    ...table(
      ['check', 'outcome', 'detail'],
      checks.map((one) => [one['id'] ?? one['claim'], one['outcome'], one['detail']])
    )
  ]
}

/** First, because it is what somebody has to approve. */
function trustSection(changes: readonly JsonObject[]): readonly string[] {
  if (changes.length === 0) return ['No trust changes.', '']
  return [
    '**Trust changes**: from the next deployment on the key is released by the new values only.',
    '',
    ...table(
      ['what', 'from', 'to'],
      changes.map((one) => [one['what'], one['from'], one['to']])
    )
  ]
}

const shown = ['endpoint', 'tlsEndpoint', 'hostData', 'image', 'keyId', 'version', 'verdict', 'changed'] as const

function values(document: JsonObject): readonly (readonly (Json | undefined)[])[] {
  return shown.flatMap((name) => (document[name] === undefined ? [] : [[name, document[name]]]))
}

function table(head: readonly string[], rows: readonly (readonly (Json | undefined)[])[]): readonly string[] {
  if (rows.length === 0) return []
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map((row) => line(row.map(cell))), '']
}

/** A hash or a name as code, so that nothing in it is markup. */
function cell(value: Json | undefined): string {
  if (value === undefined || value === null || value === '') return ''
  const plain = typeof value === 'string' ? value : JSON.stringify(value)
  return `\`${code(plain)}\``
}

/** In a code span of a table: nothing ends the span or the cell. */
const code = (value: string): string =>
  printable(value).replaceAll('`', "'").replaceAll('|', '\\|').replaceAll('\n', ' ')

const escape = (value: string): string =>
  printable(value)
    .replace(/[\\`*_{}[\]<>()#+!|~@-]/g, '\\$&')
    .replaceAll('\n', ' ')

const text = (value: Json | undefined): string | undefined => (typeof value === 'string' ? value : undefined)

const list = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? (value as readonly Json[]) : [])
