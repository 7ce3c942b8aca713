import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { firstAddress, freeAddress, inNetwork } from '../../../../src/emulator/services/aci/guest-network.js'
import { freePort } from '../support/emulator.js'

describe('freeAddress', () => {
  it('gives the first address as long as no other group has these ports there', () => {
    expect(freeAddress([8080], [])).toBe(firstAddress)
    expect(freeAddress([8080], [{ address: firstAddress, ports: [9090] }])).toBe(firstAddress)
  })

  it('gives the lowest address on which the ports are free', () => {
    const others = [
      { address: '127.0.0.1', ports: [8080, 8081] },
      { address: '127.0.0.3', ports: [8080] }
    ]
    expect(freeAddress([8081], others)).toBe('127.0.0.2')
    expect(freeAddress([8080], [...others, { address: '127.0.0.2', ports: [8080] }])).toBe('127.0.0.4')
  })
})

describe('a program in a network of its own', () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'guest-'))
  })
  afterAll(() => rm(directory, { recursive: true, force: true }))

  const run = async (script: string, ports: readonly number[], address = '127.0.0.2') => {
    const file = join(directory, 'main.cjs')
    await writeFile(file, script)
    const command = { file: process.execPath, args: [file], cwd: directory, lentNode: true }
    const { args } = await inNetwork(command, { address, ports }, directory)
    return (await promisify(execFile)(process.execPath, args)).stdout.trim()
  }

  it.each([
    ['a port and an address', (port: number) => `${port}, '127.0.0.1'`],
    ['a port alone', (port: number) => `${port}`],
    ['options', (port: number) => `{ port: ${port}, host: '0.0.0.0' }`],
    ['a port as text', (port: number) => `'${port}'`]
  ])('listens at the address of its group when it names %s', async (_name, listen) => {
    const port = await freePort()
    const script = `const s = require('net').createServer(); s.listen(${listen(port)}, () => { console.log(s.address().address); s.close() })`
    expect(await run(script, [port])).toBe('127.0.0.2')
  })

  it('reaches its own ports at 127.0.0.1, also by http and fetch', async () => {
    const port = await freePort()
    const script = `
      const http = require('http')
      const server = http.createServer((request, response) => response.end(request.socket.localAddress))
      server.listen(${port}, '127.0.0.1', async () => {
        const text = await (await fetch('http://127.0.0.1:${port}/')).text()
        http.get({ host: 'localhost', port: ${port}, agent: false }, (response) => {
          response.on('data', (data) => { console.log(text, String(data)); process.exit(0) })
        })
      })`
    expect(await run(script, [port])).toBe('127.0.0.2 127.0.0.2')
  })

  it('leaves other ports and other addresses alone', async () => {
    const machine = createServer((socket) => socket.end('the machine'))
    const port = await new Promise<number>((resolve) =>
      machine.listen(0, '127.0.0.1', () => resolve((machine.address() as { port: number }).port))
    )
    const script = `require('net').connect(${port}, '127.0.0.1').on('data', (data) => console.log(String(data)))`
    expect(await run(script, [1])).toBe('the machine')
    machine.close()
  })

  it('changes nothing for the first group, nor for a program that brings its interpreter', async () => {
    const command = { file: '/bin/app', args: ['x'], cwd: '/', lentNode: false }
    expect(await inNetwork(command, { address: '127.0.0.2', ports: [1] }, directory)).toBe(command)
    const lent = { ...command, lentNode: true }
    expect(await inNetwork(lent, { address: firstAddress, ports: [1] }, directory)).toBe(lent)
  })
})
