import { randomBytes, createHash } from 'node:crypto'
import type { Sha256Hex } from '../../../base/digest.js'
import { decodeHex, encodeHex, utf8 } from '../../../base/encoding.js'
import { isJsonObject } from '../../../base/json.js'
import type { SimulatedHardware } from '../../hardware/simulated-hardware.js'
import { type EmulatorRequest, type EmulatorResponse, type Handler, notImplemented } from '../../http.js'

/** A managed identity that a container group carries. */
interface InstanceIdentity {
  readonly clientId: string
  readonly principalId: string
  readonly resourceId: string
}

/** What the platform knows about a running container group. */
export interface Instance {
  /** SHA-256 of the CCE policy the group was started with: HOST_DATA of its reports. */
  readonly hostData: Sha256Hex
  readonly identities: readonly InstanceIdentity[]
}

export interface InstanceOptions {
  readonly hardware: SimulatedHardware
  /** The group that knows this secret; its containers find the secret in their own endpoints only. */
  readonly instances: (secret: string) => Instance | undefined
  readonly issueToken: (request: {
    readonly principal: { readonly objectId: string; readonly clientId: string; readonly resourceId: string }
    readonly audience: string
  }) => Promise<{ readonly token: string; readonly expiresOn: Date }>
  readonly clock: () => Date
}

/**
 * What a container reaches from inside its group, under `/instances/<secret>`: the instance metadata
 * service (identity tokens, THIM) and the SNP device. The secret stands for being in the group.
 */
export function instanceHandler(options: InstanceOptions): Handler {
  return async (request) => {
    const [, secret = '', path = ''] = /^\/instances\/([^/]+)(\/.*)$/.exec(request.path) ?? []
    const instance = options.instances(secret)
    if (instance === undefined) return { status: 404 }
    switch (`${request.method} ${path}`) {
      case 'GET /metadata/identity/oauth2/token':
        return requireMetadataHeader(request) ?? (await identityToken(request, instance, options))
      case 'GET /metadata/THIM/amd/certification':
        return requireMetadataHeader(request) ?? thim(options.hardware)
      case 'POST /snp-report':
        return snpReport(request.body, instance, secret, options.hardware)
      default:
        throw notImplemented({ method: request.method, path })
    }
  }
}

const imdsHeaders = { server: 'IMDS/150.870.65.0-emulated' }

/** IMDS asks for a header that a browser or a naive proxy does not send. */
function requireMetadataHeader(request: EmulatorRequest): EmulatorResponse | undefined {
  const value = request.headers['metadata']
  if (typeof value === 'string' && value.toLowerCase() === 'true') return undefined
  return imdsError('Required metadata header not specified')
}

async function identityToken(
  request: EmulatorRequest,
  instance: Instance,
  options: InstanceOptions
): Promise<EmulatorResponse> {
  const audience = request.query.get('resource')
  if (request.query.get('api-version') === null) return imdsError("Required query variable 'api-version' is missing")
  if (audience === null || audience === '') return imdsError("Required query variable 'resource' is missing")
  const identity = chooseIdentity(request.query, instance.identities)
  if (identity === undefined) return imdsError('Identity not found')
  const { clientId, principalId: objectId, resourceId } = identity
  const { token, expiresOn } = await options.issueToken({ principal: { objectId, clientId, resourceId }, audience })
  const now = Math.floor(options.clock().getTime() / 1000)
  const expires = Math.floor(expiresOn.getTime() / 1000)
  return {
    status: 200,
    headers: imdsHeaders,
    body: {
      access_token: token,
      client_id: clientId,
      expires_in: String(expires - now),
      expires_on: String(expires),
      ext_expires_in: String(expires - now),
      not_before: String(now),
      resource: audience,
      token_type: 'Bearer'
    }
  }
}

/** The only identity, or the one that is named; with several and no name there is no default. */
function chooseIdentity(query: URLSearchParams, identities: readonly InstanceIdentity[]): InstanceIdentity | undefined {
  const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()
  const clientId = query.get('client_id')
  if (clientId !== null) return identities.find((identity) => same(identity.clientId, clientId))
  const objectId = query.get('object_id') ?? query.get('principal_id')
  if (objectId !== null) return identities.find((identity) => same(identity.principalId, objectId))
  const resourceId = query.get('msi_res_id') ?? query.get('mi_res_id')
  if (resourceId !== null) return identities.find((identity) => same(identity.resourceId, resourceId))
  return identities.length === 1 ? identities[0] : undefined
}

function thim(hardware: SimulatedHardware): EmulatorResponse {
  return {
    status: 200,
    headers: { ...imdsHeaders, 'content-type': 'application/json; charset=utf-8' },
    body: utf8.encode(hardware.thimJson)
  }
}

/**
 * The device `/dev/sev-guest` of the group's utility VM. The caller chooses REPORT_DATA and nothing
 * else: HOST_DATA was fixed when the group started, VMPL is the one that containers run at.
 */
function snpReport(
  body: Uint8Array,
  instance: Instance,
  secret: string,
  hardware: SimulatedHardware
): EmulatorResponse {
  const reportData = parseReportData(body)
  if (reportData === undefined) {
    return {
      status: 400,
      body: { error: { code: 'InvalidReportData', message: 'reportData must be 128 lower-case hex characters' } }
    }
  }
  const report = hardware.report({
    reportData,
    hostData: decodeHex(instance.hostData, 'host data'),
    reportId: createHash('sha256').update(launchSalt).update(secret).digest()
  })
  return { status: 200, body: { report: encodeHex(report) } }
}

/** REPORT_ID is one value for the life of a guest, and tells nothing about the secret. */
const launchSalt = randomBytes(32)

function parseReportData(body: Uint8Array): Uint8Array | undefined {
  try {
    const value: unknown = JSON.parse(utf8.decode(body))
    const text = isJsonObject(value) ? value['reportData'] : undefined
    return typeof text === 'string' && text.length === 128 ? decodeHex(text, 'reportData') : undefined
  } catch {
    return undefined
  }
}

function imdsError(description: string): EmulatorResponse {
  return { status: 400, headers: imdsHeaders, body: { error: 'invalid_request', error_description: description } }
}
