/** DER as a tree that a test writes again with one element in another spelling. */
export interface DerNode {
  readonly tag: number
  readonly contents: readonly DerNode[] | Uint8Array
}

export type Spelling = (tag: number, body: Uint8Array) => Uint8Array | undefined

export function parseTree(bytes: Uint8Array): DerNode {
  const [node, ...rest] = parseAll(bytes)
  if (node === undefined || rest.length > 0) throw new Error('one element expected')
  return node
}

/** Every element of the tree, parents before their children. */
export function nodesOf(node: DerNode): DerNode[] {
  return [node, ...(node.contents instanceof Uint8Array ? [] : node.contents.flatMap(nodesOf))]
}

/** `special` is written as `spelling` says, all else as DER has it. `undefined` if the spelling does not apply. */
export function write(node: DerNode, special?: DerNode, spelling?: Spelling): Uint8Array | undefined {
  const parts =
    node.contents instanceof Uint8Array
      ? [node.contents]
      : node.contents.map((child) => write(child, special, spelling))
  if (parts.some((part) => part === undefined)) return undefined
  const body = Buffer.concat(parts.filter((part) => part !== undefined))
  return node === special && spelling ? spelling(node.tag, body) : withLength(node.tag, body, shortest(body.length))
}

/** The ways to write an element that BER allows and DER does not. */
export const spellings: Readonly<Record<string, Spelling>> = {
  'a length with a zero before it': (tag, body) => withLength(tag, body, padded(body.length)),
  'an indefinite length': (tag, body) =>
    (tag & 0x20) === 0 ? undefined : Buffer.concat([Uint8Array.of(tag, 0x80), body, Buffer.alloc(2)]),
  'a zero before an integer': (tag, body) =>
    tag === 0x02 ? withLength(tag, Buffer.concat([Buffer.alloc(1), body]), shortest(body.length + 1)) : undefined,
  'a truth of 01': (tag, body) => (tag === 0x01 && body[0] === 0xff ? Uint8Array.of(tag, 1, 1) : undefined)
}

function parseAll(bytes: Uint8Array): DerNode[] {
  const nodes: DerNode[] = []
  for (let offset = 0; offset < bytes.length;) {
    const tag = bytes[offset] ?? 0
    const first = bytes[offset + 1] ?? 0
    const octets = first < 0x80 ? 0 : first & 0x7f
    const start = offset + 2 + octets
    const length = octets === 0 ? first : Buffer.from(bytes).readUIntBE(offset + 2, octets)
    const body = bytes.subarray(start, start + length)
    nodes.push({ tag, contents: (tag & 0x20) === 0 ? body : parseAll(body) })
    offset = start + length
  }
  return nodes
}

function withLength(tag: number, body: Uint8Array, length: readonly number[]): Uint8Array {
  return Buffer.concat([Uint8Array.from([tag, ...length]), body])
}

function shortest(length: number): number[] {
  return length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
}

function padded(length: number): number[] {
  return length < 0x80 ? [0x81, length] : length < 0x100 ? [0x82, 0, length] : [0x83, 0, length >> 8, length & 0xff]
}
