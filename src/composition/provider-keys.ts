import { readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import type { Config } from '../config/index.js'
import type { ProviderKeys } from '../steps/index.js'

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

/** Reads each configured provider key, and says of each that is not there why. */
export async function readProviderKeys(
  config: Config,
  environment: Environment,
  configFile: string
): Promise<ProviderKeys> {
  const values: Record<string, string> = {}
  const missing: { name: string; reason: string }[] = []
  for (const [name, { apiKey }] of Object.entries(config.providers)) {
    if (apiKey === undefined) continue
    const value =
      apiKey.env !== undefined ? environment[apiKey.env] : await readKeyFile(resolve(dirname(configFile), apiKey.file))
    if (value === undefined || value.trim() === '') {
      const reason =
        apiKey.env !== undefined
          ? `${name}: variable ${apiKey.env} is not set`
          : `${name}: file ${apiKey.file} is missing or empty`
      missing.push({ name, reason })
    } else {
      values[name] = value.trim()
    }
  }
  return { values, missing }
}

async function readKeyFile(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
