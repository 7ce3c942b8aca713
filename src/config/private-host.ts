/**
 * Whether the host of a URL is written as an address that is not on the public internet. The router
 * refuses such a base URL (`src/router/private-address.ts`, which this folder may not import; a test
 * compares them): it is found before anything is deployed. Names are looked up by the router alone.
 */
export function isPrivateHost({ hostname }: URL): boolean {
  // A URL has one spelling of each address: four decimals, or compressed hex in brackets.
  const ipv4 = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(hostname)
  if (ipv4 !== null) return isIn(notPublic4, 32, join(ipv4.slice(1), 10, 8))
  if (!hostname.startsWith('[')) return false
  return isIn(notPublic6, 128, join(hextets(hostname.slice(1, -1)), 16, 16))
}

type Subnet = readonly [address: bigint, prefix: number]

const ipv4 = (text: string, prefix: number): Subnet => [join(text.split('.'), 10, 8), prefix]
const ipv6 = (text: string, prefix: number): Subnet => [join(hextets(text), 16, 16), prefix]

/** IANA special-purpose registries, RFC 6890, and Azure's platform address. */
const notPublic4: readonly Subnet[] = [
  ipv4('0.0.0.0', 8),
  ipv4('10.0.0.0', 8),
  ipv4('100.64.0.0', 10),
  ipv4('127.0.0.0', 8),
  ipv4('168.63.129.16', 32),
  ipv4('169.254.0.0', 16),
  ipv4('172.16.0.0', 12),
  ipv4('192.0.0.0', 24),
  ipv4('192.0.2.0', 24),
  ipv4('192.88.99.0', 24),
  ipv4('192.168.0.0', 16),
  ipv4('198.18.0.0', 15),
  ipv4('198.51.100.0', 24),
  ipv4('203.0.113.0', 24),
  ipv4('224.0.0.0', 4),
  ipv4('240.0.0.0', 4)
]

const notPublic6: readonly Subnet[] = [
  ipv6('::', 96),
  ipv6('::ffff:0:0', 96),
  ipv6('::ffff:0:0:0', 96),
  ipv6('64:ff9b::', 96),
  ipv6('64:ff9b:1::', 48),
  ipv6('2001::', 32),
  ipv6('2001:20::', 28),
  ipv6('2002::', 16),
  ipv6('100::', 64),
  ipv6('2001:db8::', 32),
  ipv6('3fff::', 20),
  ipv6('5f00::', 16),
  ipv6('fc00::', 7),
  ipv6('fe80::', 10),
  ipv6('fec0::', 10),
  ipv6('ff00::', 8)
]

function isIn(subnets: readonly Subnet[], width: number, address: bigint): boolean {
  return subnets.some(([network, prefix]) => {
    const shift = BigInt(width - prefix)
    return address >> shift === network >> shift
  })
}

/** The eight groups of an address, with the zeros that `::` stands for. */
function hextets(text: string): readonly string[] {
  const [head = '', tail] = text.split('::')
  const groups = (part: string) => (part === '' ? [] : part.split(':'))
  if (tail === undefined) return groups(head)
  const missing = 8 - groups(head).length - groups(tail).length
  return [...groups(head), ...Array<string>(missing).fill('0'), ...groups(tail)]
}

function join(parts: readonly string[], radix: number, bits: number): bigint {
  return parts.reduce((value, part) => (value << BigInt(bits)) | BigInt(Number.parseInt(part, radix)), 0n)
}
