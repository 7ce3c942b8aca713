import type { Fields } from '../../body.js'
import { ServiceError } from '../../http.js'

/** Regions of the public cloud, of US Government and of China, by their names (azure.microsoft.com, "Azure geographies"). */
export const locations: ReadonlySet<string> = new Set(
  `australiacentral australiacentral2 australiaeast australiasoutheast austriaeast belgiumcentral brazilsouth
  brazilsoutheast canadacentral canadaeast centralindia centralus chilecentral denmarkeast eastasia eastus eastus2
  francecentral francesouth germanynorth germanywestcentral indonesiacentral israelcentral italynorth japaneast
  japanwest jioindiacentral jioindiawest koreacentral koreasouth malaysiawest mexicocentral newzealandnorth
  northcentralus northeurope norwayeast norwaywest polandcentral qatarcentral southafricanorth southafricawest
  southcentralus southeastasia southindia spaincentral swedencentral swedensouth switzerlandnorth switzerlandwest
  uaecentral uaenorth uksouth ukwest westcentralus westeurope westindia westus westus2 westus3
  usgovarizona usgovtexas usgovvirginia usdodcentral usdodeast
  chinaeast chinaeast2 chinaeast3 chinanorth chinanorth2 chinanorth3`.split(/\s+/)
)

/** `West Europe` and `westeurope` are one location. */
export function readLocation(body: Fields): string {
  const location = body.optionalString('location')
  if (!location) {
    throw new ServiceError(400, 'LocationRequired', 'The location property is required for this definition.')
  }
  const normal = location.toLowerCase().replace(/ /g, '')
  if (!locations.has(normal)) {
    throw new ServiceError(
      400,
      'LocationNotAvailableForResourceType',
      `The provided location '${location.slice(0, 60)}' is not available for resource type. It is not the name of a region.`
    )
  }
  return normal
}
