import { sha256Hex, type Sha256Hex } from '../base/digest.js'
import { decodeBase64 } from '../base/encoding.js'
import { isJsonObject, type Json, type JsonObject } from '../base/json.js'

/** SHA-256 of the policy that a template carries: the host data of a group that is deployed with it. */
export function hostDataOfTemplate(template: JsonObject): Sha256Hex {
  const properties = object(object(list(template['resources'])[0])['properties'])
  const { ccePolicy } = object(properties['confidentialComputeProperties'])
  return sha256Hex(decodeBase64(typeof ccePolicy === 'string' ? ccePolicy : '', 'ccePolicy'))
}

/** The attestation service that the router of a template goes to, as an origin. */
export function authorityOfTemplate(template: JsonObject): string | undefined {
  const host = routerVariable(template, 'MAA_ENDPOINT')
  return host === undefined ? undefined : `https://${host}`
}

/** Whose bundle of provider keys the router of a template takes: thumbprint of the signer, name of the deployment. */
export function secretsOriginOfTemplate(template: JsonObject): {
  readonly signer: string | undefined
  readonly deployment: string | undefined
} {
  return {
    signer: routerVariable(template, 'CONFROUTER_SECRETS_SIGNER'),
    deployment: routerVariable(template, 'CONFROUTER_DEPLOYMENT')
  }
}

/** Undefined for a variable that is empty or not there. */
function routerVariable(template: JsonObject, variable: string): string | undefined {
  const properties = object(object(list(template['resources'])[0])['properties'])
  const router = list(properties['containers'])
    .map(object)
    .find(({ name }) => name === 'router')
  const variables = list(object(router?.['properties'])['environmentVariables']).map(object)
  const value = variables.find(({ name }) => name === variable)?.['value']
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** The label of the public name; undefined if there is none. */
export function labelOfTemplate(template: JsonObject): string | undefined {
  const properties = object(object(list(template['resources'])[0])['properties'])
  const label = object(properties['ipAddress'])['dnsNameLabel']
  return typeof label === 'string' && label !== '' ? label : undefined
}

/** The same template with another label of the public name, or none. It is not measured. */
export function withLabel(template: JsonObject, label: string | undefined): JsonObject {
  const [first, ...others] = list(template['resources'])
  const resource = object(first)
  const properties = object(resource['properties'])
  const { dnsNameLabel: _before, ...address } = object(properties['ipAddress'])
  return {
    ...template,
    resources: [
      {
        ...resource,
        properties: {
          ...properties,
          ipAddress: { ...address, ...(label === undefined ? {} : { dnsNameLabel: label }) }
        }
      },
      ...others
    ]
  }
}

function object(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {}
}

function list(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : []
}
