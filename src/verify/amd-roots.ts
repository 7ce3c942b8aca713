import { type Product, products } from './tcb.js'

/**
 * SHA-256 of the DER of AMD's root keys (ARK), by product. They are pinned here because evidence
 * brings its own chain: a root that came with the evidence proves nothing. Source:
 * https://kdsintf.amd.com/vcek/v1/{Milan,Genoa,Turin}/cert_chain, second certificate.
 */
export const amdArkSha256: Readonly<Record<Product, string>> = {
  milan: '69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd',
  genoa: '4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1',
  turin: '1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a'
}

export function productOfAmdArk(sha256: string): Product | undefined {
  return products.find((product) => amdArkSha256[product] === sha256)
}
