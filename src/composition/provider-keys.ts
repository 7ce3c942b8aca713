import { readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { UserError } from '../base/user-error.js'
import type { Config } from '../config/index.js'

type Environment = Readonly<Record<string, string | undefined>>

/** The process environment over the `.env` file beside the configuration. */
export async function withDotEnv(environment: Environment, configFile: string): Promise<Environment> {
  const file = join(dirname(configFile), '.env')
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return environment
    throw error
  }
  return { ...parseEnv(text), ...environment }
}

/** Reads each configured provider key. All that are missing are named at once; no value ever is. */
export async function readProviderKeys(
  config: Config,
  environment: Environment,
  configFile: string
): Promise<Readonly<Record<string, string>>> {
  const keys: Record<string, string> = {}
  const missing: string[] = []
  for (const [name, { apiKey }] of Object.entries(config.providers)) {
    if (apiKey === undefined) continue
    const value =
      apiKey.env !== undefined ? environment[apiKey.env] : await readKeyFile(resolve(dirname(configFile), apiKey.file))
    if (value === undefined || value.trim() === '') {
      missing.push(
        apiKey.env !== undefined
          ? `${name}: variable ${apiKey.env} is not set`
          : `${name}: file ${apiKey.file} is missing or empty`
      )
    } else {
      keys[name] = value.trim()
    }
  }
  if (missing.length > 0) {
    throw new UserError('config', 'provider.key-missing', `a provider key is missing: ${missing.join('; ')}`, {
      why: 'each provider in the configuration with apiKey needs its value when the secrets are sealed',
      next: ['put the variable into .env or the environment', 'take the provider out of confrouter.yaml']
    })
  }
  return keys
}

async function readKeyFile(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
