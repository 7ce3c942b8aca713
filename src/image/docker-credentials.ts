import { readFile } from 'node:fs/promises'
import { decodeBase64, utf8 } from '../base/encoding.js'
import { isJsonObject, type JsonObject } from '../base/json.js'
import { isMissing } from './file-content.js'
import { ImageError } from './image-error.js'
import type { CredentialSource, RegistryCredentials } from './registry-auth.js'

/** Runs `docker-credential-<helper> get` for a server; undefined when it knows no login. */
export type CredentialHelper = (
  helper: string,
  server: string
) => Promise<{ readonly username: string; readonly secret: string } | undefined>

export interface DockerCredentialOptions {
  /** `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`; absent is the same as empty. */
  readonly configFile: string
  readonly runHelper?: CredentialHelper
}

/** What helpers return as the user name when the secret is an identity token. */
const identityTokenUser = '<token>'
const dockerHubServer = 'https://index.docker.io/v1/'

/**
 * Looks up logins where `docker login` puts them: `credHelpers`, then `credsStore`, then `auths`.
 * The file's content never appears in an error.
 */
export function dockerCredentialSource({ configFile, runHelper }: DockerCredentialOptions): CredentialSource {
  return async (registry) => {
    const config = await readDockerConfig(configFile)
    if (config === undefined) return undefined
    const server = registry === 'docker.io' ? dockerHubServer : registry
    const helper = helperFor(config, registry, server)
    if (helper !== undefined && runHelper !== undefined) {
      const found = await runHelper(helper, server)
      if (found !== undefined) return fromHelper(found)
    }
    return storedLogin(config, registry, configFile)
  }
}

async function readDockerConfig(configFile: string): Promise<JsonObject | undefined> {
  let text: string
  try {
    text = await readFile(configFile, 'utf8')
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw new ImageError('registry.docker-config', `cannot read ${configFile}`, { cause })
  }
  try {
    const value: unknown = JSON.parse(text)
    if (isJsonObject(value)) return value
  } catch {
    // The parser's message quotes the text, and the text holds passwords.
  }
  throw unusable(configFile, 'is not a JSON object')
}

function helperFor(config: JsonObject, registry: string, server: string): string | undefined {
  const helpers = isJsonObject(config['credHelpers']) ? config['credHelpers'] : {}
  const helper = helpers[registry] ?? helpers[server] ?? config['credsStore']
  return typeof helper === 'string' && helper !== '' ? helper : undefined
}

function fromHelper({ username, secret }: { username: string; secret: string }): RegistryCredentials {
  return username === identityTokenUser
    ? { kind: 'identity-token', token: secret }
    : { kind: 'password', username, password: secret }
}

function storedLogin(config: JsonObject, registry: string, configFile: string): RegistryCredentials | undefined {
  const auths = isJsonObject(config['auths']) ? config['auths'] : {}
  const entry = Object.entries(auths).find(([server]) => hostOf(server) === registry)?.[1]
  if (!isJsonObject(entry)) return undefined
  if (typeof entry['identitytoken'] === 'string' && entry['identitytoken'] !== '') {
    return { kind: 'identity-token', token: entry['identitytoken'] }
  }
  if (typeof entry['auth'] !== 'string' || entry['auth'] === '') return undefined
  const pair = decodePair(entry['auth'], registry, configFile)
  const colon = pair.indexOf(':')
  if (colon <= 0) throw unusable(configFile, `has a login for ${registry} that is not user:password`)
  return { kind: 'password', username: pair.slice(0, colon), password: pair.slice(colon + 1) }
}

/** Keys are a host, or a URL from the days of registry version 1. */
function hostOf(server: string): string {
  const host = server.replace(/^https?:\/\//, '').split('/')[0] ?? ''
  return host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host
}

function decodePair(auth: string, registry: string, configFile: string): string {
  try {
    return utf8.decode(decodeBase64(auth, 'auth'))
  } catch {
    // Without a cause: a decoder's message must not carry a part of the password.
    throw unusable(configFile, `has a login for ${registry} that is not base64`)
  }
}

function unusable(configFile: string, problem: string): ImageError {
  return new ImageError('registry.docker-config', `${configFile} ${problem}`, { next: ['docker login <registry>'] })
}
