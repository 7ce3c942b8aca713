import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JsonObject } from '../base/json.js'
import type { Assets } from '../steps/index.js'

/** The installed package's folder: two above this file, in `src/` and in `dist/` alike. */
export const packageRoot = join(import.meta.dirname, '..', '..')

export const programs = {
  cli: join(packageRoot, 'bin', 'confrouter.js'),
  router: join(packageRoot, 'dist', 'router', 'router.cjs'),
  sidecar: join(packageRoot, 'dist', 'emulator', 'sidecar.cjs')
} as const

export async function packageVersion(): Promise<string> {
  return (JSON.parse(await readFile(join(packageRoot, 'package.json'), 'utf8')) as { version: string }).version
}

export async function readAssets(): Promise<Assets> {
  const template = await readFile(join(packageRoot, 'templates', 'container-group.json'), 'utf8')
  return {
    version: await packageVersion(),
    routerBundle: programs.router,
    buildContext: packageRoot,
    template: JSON.parse(template) as JsonObject
  }
}

/** The pipeline of a system, with the version of this package in the place of CONFROUTER_VERSION. */
export async function pipelineTemplate(kind: 'github' | 'azure-pipelines'): Promise<string> {
  const file = kind === 'github' ? 'github-workflow.yml' : 'azure-pipelines.yml'
  const text = await readFile(join(packageRoot, 'templates', file), 'utf8')
  return text.replaceAll('@CONFROUTER_VERSION', `@${await packageVersion()}`)
}

export function starterConfig(): Promise<string> {
  return readFile(join(packageRoot, 'templates', 'confrouter.yaml'), 'utf8')
}
