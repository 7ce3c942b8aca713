import { readFileSync } from 'node:fs'
import { mkdir, symlink } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { openWorkspace, outcome, type Outcome, type Workspace } from './workspace.js'

const root = resolve(import.meta.dirname, '../..')
const text = readFileSync(join(root, 'docs/client.md'), 'utf8')
const examples = [...text.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code = '']) => code)

let workspace: Workspace
let endpoint = ''

beforeAll(async () => {
  workspace = await openWorkspace()
  const { code, document } = await workspace.json('up', '--local')
  expect(code).toBe(0)
  endpoint = document.endpoint
  const modules = join(workspace.directory, 'node_modules')
  await mkdir(modules)
  await symlink(root, join(modules, 'confrouter'))
  await symlink(join(root, 'node_modules', 'openai'), join(modules, 'openai'))
}, 120_000)
afterAll(() => workspace.end())

/** The example as it stands, at the port of this deployment. */
async function run(code: string): Promise<Outcome> {
  await workspace.write('example.mjs', code.replaceAll('http://127.0.0.1:18080', endpoint))
  const environment = { ...workspace.environment, NODE_EXTRA_CA_CERTS: '.confrouter/emulator/tls/ca.pem' }
  const options = { cwd: workspace.directory, env: environment, stdio: ['ignore', 'pipe', 'pipe'] as const }
  return outcome(spawn(process.execPath, ['example.mjs'], { ...options, stdio: [...options.stdio] }))
}

describe('the examples of docs/client.md', () => {
  it('are three', () => expect(examples).toHaveLength(3))

  it.each([
    ['createFetch', 0, ['trusted (simulated)', 'hello there', 'loopback']],
    ['verifyRouter', 1, ['trusted 31']],
    ['sealEhbp', 2, ['"content":"hello there"', 'loopback']]
  ] as const)('%s runs as it stands', async (_, index, expected) => {
    const { code, stdout, stderr } = await run(examples[index] ?? '')
    expect({ code, stderr: stderr.replace(/^Warning: .*\n/m, '') }).toEqual({ code: 0, stderr: '' })
    for (const line of expected) expect(stdout).toContain(line)
  })
})
