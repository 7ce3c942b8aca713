// Writes docs/errors.md from docs/errors.jsonl, the catalogue of error codes, one line for each, and from
// scripts/errors.template.md, the words around the tables. The catalogue is sorted by code as it is written, so
// that two branches which add codes meet in different lines. With --check nothing is written: what is not current
// is an error.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const files = {
  catalogue: join(root, 'docs/errors.jsonl'),
  template: join(root, 'scripts/errors.template.md'),
  page: join(root, 'docs/errors.md')
}
/** As in src/base/user-error.ts. */
const exitCodes = { bug: 1, usage: 2, config: 3, machine: 4, cloud: 5, evidence: 6, user: 7, interrupted: 130 }
const members = ['code', 'fault', 'section', 'problem', 'remedy']

const entries = readFileSync(files.catalogue, 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map(readEntry)
  .sort((a, b) => (a.code < b.code ? -1 : 1))
for (const [index, { code }] of entries.entries()) {
  if (entries[index + 1]?.code === code) fail(`${code} stands there twice`)
}
const sections = new Set()
const page = readFileSync(files.template, 'utf8').replace(/^<!-- errors: (.*) -->$/gm, (_, section) => {
  sections.add(section)
  return tableOf(section)
})
for (const { code, section } of entries) {
  if (!sections.has(section)) fail(`${code} is in section "${section}", which is none of: ${[...sections].join(', ')}`)
}
settle(files.catalogue, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
settle(files.page, page)

function readEntry(line, index) {
  const at = `line ${index + 1}`
  let entry
  try {
    entry = JSON.parse(line)
  } catch {
    fail(`${at} is no JSON: ${line.slice(0, 80)}`)
  }
  for (const name of members) {
    if (typeof entry[name] !== 'string' || entry[name].includes('|') || entry[name].includes('\n'))
      fail(`${at}: "${name}" must be a text of one line, without |`)
  }
  for (const name of Object.keys(entry)) if (!members.includes(name)) fail(`${at}: "${name}" is unknown`)
  if (!/^[a-z0-9-]+(\.[a-z0-9-]+)?$/.test(entry.code)) fail(`${at}: "${entry.code}" has not the form of a code`)
  if (!Object.hasOwn(exitCodes, entry.fault)) fail(`${at}: "${entry.fault}" is none of ${Object.keys(exitCodes)}`)
  if (entry.problem === '') fail(`${at}: ${entry.code} says not what it is`)
  return Object.fromEntries(members.map((name) => [name, entry[name]]))
}

function tableOf(section) {
  const rows = entries
    .filter((entry) => entry.section === section)
    .map(
      ({ code, fault, problem, remedy }) =>
        `| <a id="${code}"></a>\`${code}\` | ${exitCodes[fault]} | ${problem} | ${remedy === '' ? '–' : remedy} |`
    )
  return ['| code | exit | what | what to do |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

function settle(file, text) {
  if (readFileSync(file, 'utf8') === text) return
  if (process.argv.includes('--check')) fail(`${file} is not current: node scripts/write-errors.js`)
  writeFileSync(file, text)
}

function fail(problem) {
  console.error(`docs/errors.jsonl: ${problem}`)
  process.exit(1)
}
