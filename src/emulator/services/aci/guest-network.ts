import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { HostCommand } from './command.js'

/**
 * The network that a group has to itself. On Azure every group has an address of its own, so two of them may
 * have the same ports; here all share this machine, and 127.0.0.0/8 has room for many addresses. The first
 * group has 127.0.0.1 and needs nothing.
 */
export interface GuestNetwork {
  readonly address: string
  /** Ports of the group's containers. */
  readonly ports: readonly number[]
}

/** Where the first group is, and every group where a machine has this one address only. */
export const firstAddress = '127.0.0.1'

/** The lowest address on which none of these ports belongs to another group. */
export function freeAddress(ports: readonly number[], others: readonly GuestNetwork[]): string {
  for (let last = 1; last < 255; last++) {
    const address = `127.0.0.${last}`
    const taken = others.some((other) => other.address === address && other.ports.some((port) => ports.includes(port)))
    if (!taken) return address
  }
  return firstAddress
}

/**
 * Lets a Node program that means to be at 127.0.0.1, as in a network of its own, be at the group's address:
 * what it listens on and what it calls on the group's own ports. Every other port is this machine's, and so is
 * a program with an interpreter of its own, which cannot be told.
 */
export async function inNetwork(
  command: HostCommand,
  { address, ports }: GuestNetwork,
  directory: string
): Promise<HostCommand> {
  if (address === firstAddress || !command.lentNode) return command
  const file = join(directory, 'network.cjs')
  await writeFile(file, program.replace('ADDRESS', JSON.stringify(address)).replace('PORTS', JSON.stringify(ports)))
  return { ...command, args: ['--require', file, ...command.args] }
}

/** Loaded before the container's program; its workers inherit it with the arguments of Node. */
const program = `'use strict'
const net = require('node:net')
const address = ADDRESS
const ports = new Set(PORTS)
const here = new Set([undefined, null, '', '127.0.0.1', 'localhost', '0.0.0.0', '::'])
const moved = (options) =>
  ports.has(Number(options.port)) && here.has(options.host) ? { ...options, host: address } : options
const isOptions = (value) => typeof value === 'object' && value !== null

const { listen } = net.Server.prototype
net.Server.prototype.listen = function (...args) {
  const [first, second] = args
  if (isOptions(first)) return listen.call(this, moved(first), ...args.slice(1))
  if (!ports.has(Number(first))) return listen.apply(this, args)
  const host = typeof second === 'string' ? second : undefined
  const backlog = args.slice(1).find((value) => typeof value === 'number')
  const callback = args.findLast((value) => typeof value === 'function')
  return listen.call(this, moved({ port: Number(first), host, backlog }), ...(callback ? [callback] : []))
}

const { connect } = net.Socket.prototype
net.Socket.prototype.connect = function (...args) {
  // Node's own callers pass one list that they have put in order already.
  const list = Array.isArray(args[0]) ? args[0] : args
  if (isOptions(list[0])) list[0] = moved(list[0])
  else if (ports.has(Number(list[0])) && here.has(typeof list[1] === 'string' ? list[1] : undefined)) {
    const callback = list.findLast((value) => typeof value === 'function')
    return connect.call(this, { port: Number(list[0]), host: address }, ...(callback ? [callback] : []))
  }
  return connect.apply(this, args)
}
`
