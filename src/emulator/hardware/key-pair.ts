import { generateKeyPair, type KeyObject } from 'node:crypto'

export interface KeyPair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

/** Makes an RSA key pair on the thread pool, so that several can be made at once. */
export function makeRsaKeyPair(modulusLength: number): Promise<KeyPair> {
  return new Promise((resolve, reject) => {
    generateKeyPair('rsa', { modulusLength }, (error, publicKey, privateKey) =>
      error ? reject(error) : resolve({ publicKey, privateKey })
    )
  })
}

/** @param namedCurve OpenSSL's name of the curve */
export function makeEcKeyPair(namedCurve: string): Promise<KeyPair> {
  return new Promise((resolve, reject) => {
    generateKeyPair('ec', { namedCurve }, (error, publicKey, privateKey) =>
      error ? reject(error) : resolve({ publicKey, privateKey })
    )
  })
}
