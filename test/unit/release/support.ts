import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from '@jest/globals'
import { version as esbuildVersion } from 'esbuild'
import type { JsonObject } from '../../../src/base/json.js'
import { parseConfig } from '../../../src/config/index.js'
import { sidecarReference, storeSidecarImage } from '../../../src/emulator/sidecar-image.js'
import { UserError } from '../../../src/base/user-error.js'
import { type Image, imageFacts, openLayoutImage } from '../../../src/image/index.js'
import { bundleRouter } from '../../../src/release/bundle-router.js'
import {
  type Comparison,
  type CompleteRelease,
  deployedPolicy,
  parseRelease,
  requireComplete
} from '../../../src/release/index.js'
import { imageStep } from '../../../src/steps/build-image.js'
import { openState, type Results, type Run } from '../../../src/steps/index.js'
import { policyStep } from '../../../src/steps/write-policy.js'

const packageRoot = join(import.meta.dirname, '..', '..', '..')
const folders: string[] = []

/** A folder that is gone when the tests of the file are through. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'confrouter-release-'))
  folders.push(folder)
  return folder
}

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

export const repository = 'https://github.com/confrouter/confrouter.git'
const program = "import { answer } from './answer.js'\nconsole.log(answer)\n"

/** A small checkout in the form of this package, committed and built: the real template, a router of two files. */
export async function makeCheckout(): Promise<string> {
  const folder = temporaryFolder()
  const files: Readonly<Record<string, string>> = {
    'package.json': JSON.stringify({
      name: 'confrouter',
      version: '1.2.3',
      type: 'module',
      repository: { type: 'git', url: `git+${repository}` }
    }),
    'npm-shrinkwrap.json': JSON.stringify({ packages: { 'node_modules/esbuild': { version: esbuildVersion } } }),
    '.gitignore': 'dist/\nnode_modules/\n.confrouter/\n',
    'README.md': 'a router\n',
    'src/router/main.ts': program,
    'src/router/answer.ts': 'export const answer: number = 42\n'
  }
  for (const [path, text] of Object.entries(files)) write(folder, path, text)
  mkdirSync(join(folder, 'templates'))
  copyFileSync(join(packageRoot, 'templates/container-group.json'), join(folder, 'templates/container-group.json'))
  git(folder, 'init', '--quiet')
  commit(folder, 'first')
  await buildProgram(folder)
  return folder
}

export function write(folder: string, path: string, text: string): void {
  mkdirSync(join(folder, path, '..'), { recursive: true })
  writeFileSync(join(folder, path), text)
}

export async function buildProgram(folder: string): Promise<void> {
  const bytes = await bundleRouter(folder)
  mkdirSync(join(folder, 'dist/router'), { recursive: true })
  writeFileSync(join(folder, 'dist/router/router.cjs'), bytes)
}

export function commit(folder: string, message: string): string {
  git(folder, 'add', '--all')
  git(folder, '-c', 'user.name=t', '-c', 'user.email=t@example.com', 'commit', '--quiet', '-m', message)
  return headOf(folder)
}

export function headOf(folder: string): string {
  return git(folder, 'rev-parse', 'HEAD').trim()
}

export function git(folder: string, ...words: readonly string[]): string {
  return execFileSync('git', ['-C', folder, ...words], { encoding: 'utf8' })
}

export interface Deployment {
  readonly run: Run
  readonly checkout: string
  readonly layout: string
  /** `build` as `confrouter build` does it; returns the action. */
  readonly build: () => Promise<string>
  /** `policy` after it; returns action and reason. */
  readonly policy: () => Promise<string>
  readonly text: () => Promise<string>
  readonly release: () => Promise<CompleteRelease>
  readonly openImage: (reference: string) => Promise<Image>
}

export interface DeploymentOptions {
  readonly checkout?: string
  /** More of confrouter.yaml. */
  readonly yaml?: string
  readonly providerKeys?: Readonly<Record<string, string>>
  readonly accessToken?: string
  /** Changes what the composition root gives to the steps. */
  readonly change?: (run: Run) => Run
}

/** The steps that `confrouter up --local` runs, with the emulator's sidecar in its layout and no cloud behind them. */
export async function deployment(options: DeploymentOptions = {}): Promise<Deployment> {
  const checkout = options.checkout ?? (await makeCheckout())
  const folder = temporaryFolder()
  const layout = join(folder, 'images')
  write(folder, 'sidecar.cjs', 'setInterval(() => {}, 1000)\n')
  await storeSidecarImage(join(folder, 'sidecar.cjs'), layout)
  const openImage = (reference: string) => openLayoutImage(layout, reference)
  const plain = await runWith({ folder, checkout, layout, openImage, ...options })
  const run = options.change?.(plain) ?? plain
  const outputs: Record<string, unknown> = {
    attestation: { attestUri: 'https://maa.example' },
    vault: { vaultUri: 'https://vault.example/' },
    identity: { id: `/subscriptions/${subscription}/identity` },
    'signing-key': { thumbprint: 'xmsndafpGev_p83SrnPK-2yE650XIkMd7Ty8tnX0cCc' }
  }
  const results = { get: (id: string) => outputs[id] } as unknown as Results
  const text = () => readFile(join(run.policyDirectory, 'release.json'), 'utf8')
  return {
    run,
    checkout,
    layout,
    openImage,
    text,
    async build() {
      const finding = await imageStep.observe(run, results, () => undefined)
      outputs['image'] = finding.action === 'none' ? finding.output : await finding.apply(() => undefined)
      return finding.action
    },
    async policy() {
      const finding = await policyStep.observe(run, results, () => undefined)
      if (finding.action === 'none') return 'none'
      await finding.apply(() => undefined)
      return `${finding.action}: ${finding.reason}`
    },
    release: async () => requireComplete(parseRelease(await text()))
  }
}

export const subscription = '11111111-2222-3333-4444-555555555555'

async function runWith(
  from: DeploymentOptions & {
    readonly folder: string
    readonly checkout: string
    readonly layout: string
    readonly openImage: (reference: string) => Promise<Image>
  }
): Promise<Run> {
  const { config } = parseConfig({
    text: from.yaml ?? '',
    fileName: 'confrouter.yaml',
    flags: {
      cloud: 'local',
      subscription,
      'image.repository': 'confrouter.local/router',
      'image.builder': 'native',
      'sidecar.image': sidecarReference
    },
    environment: {},
    defaults: {}
  })
  const packageJson = JSON.parse(readFileSync(join(from.checkout, 'package.json'), 'utf8')) as { version: string }
  return {
    config,
    state: await openState(join(from.folder, 'state'), config.name, config.cloud),
    policyDirectory: join(from.folder, 'state', 'policy'),
    imageStore: {
      layout: from.layout,
      open: from.openImage,
      openBase: from.openImage,
      publish: async () => undefined,
      hashCache: join(from.folder, 'root-hashes.json')
    },
    assets: {
      version: packageJson.version,
      routerBundle: join(from.checkout, 'dist/router/router.cjs'),
      buildContext: from.checkout,
      template: JSON.parse(readFileSync(join(from.checkout, 'templates/container-group.json'), 'utf8')) as JsonObject
    },
    trust: { roots: { arkSha256: ['0'.repeat(64)] }, uvmIssuer: undefined },
    providerKeys: async () => ({ values: from.providerKeys ?? {}, missing: [] }),
    accessToken: from.accessToken,
    signal: new AbortController().signal,
    listenAddress: '127.0.0.1',
    simulated: true
  } as unknown as Run
}

/** A release as `policy` writes it, of a clean checkout. */
export async function releasedDeployment(options: DeploymentOptions = {}): Promise<Deployment> {
  const made = await deployment(options)
  await made.build()
  await made.policy()
  return made
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each case puts something else somewhere
export type Anything = any

/** The release with one change, however inconsistent. */
export function alteredRelease(release: CompleteRelease, change: (release: Anything) => void): CompleteRelease {
  const copy = JSON.parse(JSON.stringify(release))
  change(copy)
  return copy as CompleteRelease
}

/** A forger who keeps everything consistent: the policy is made of what the template has become. */
export async function forgedRelease(made: Deployment, change: (release: Anything) => void): Promise<CompleteRelease> {
  const copy = alteredRelease(await made.release(), change)
  const images = new Map(
    await Promise.all(
      copy.layers.map(async ({ image }) => [image, await imageFacts(await made.openImage(image))] as const)
    )
  )
  const { rego, hostData } = deployedPolicy(copy.template, images)
  return { ...copy, policy: { ...copy.policy, text: rego }, hostData }
}

/** Of a release's template. */
export const router = (changed: Anything) => changed.template.resources[0].properties.containers[0].properties
export const sidecar = (changed: Anything) => changed.template.resources[0].properties.containers[1].properties

export const differing = (comparisons: readonly Comparison[]) =>
  comparisons.filter(({ same }) => !same).map(({ what }) => what)

export async function errorOf(work: Promise<unknown>): Promise<UserError> {
  const error = await work.catch((thrown: unknown) => thrown)
  if (error instanceof UserError) return error
  throw new Error('there was no such error', { cause: error })
}
