import { describe, expect, it } from '@jest/globals'
import { Pool } from '../../../src/router/pool.js'

describe('Pool', () => {
  it('admits up to its limit, and lets everybody out once', () => {
    const pool = new Pool(2)
    const first = pool.enter('a')
    pool.enter('b')
    expect(pool.enter('c')).toBeUndefined()
    first?.()
    first?.()
    expect(pool.inside).toBe(1)
    expect(pool.enter('c')).toBeDefined()
    expect(pool.enter('d')).toBeUndefined()
  })

  it('gives one caller no more than its part, and others the rest', () => {
    const pool = new Pool(4, 2)
    const leave = pool.enter('a')
    pool.enter('a')
    expect(pool.enter('a')).toBeUndefined()
    expect(pool.enter('b')).toBeDefined()
    leave?.()
    expect(pool.enter('a')).toBeDefined()
  })

  it('counts amounts, and takes nothing when it refuses', () => {
    const pool = new Pool(10, 8)
    expect(pool.take('a', 8)).toBe(true)
    expect(pool.take('a', 1)).toBe(false)
    expect(pool.take('b', 3)).toBe(false)
    expect(pool.take('b', 2)).toBe(true)
    expect(pool.inside).toBe(10)
    pool.give('a', 8)
    expect(pool.take('a', 8)).toBe(true)
  })
})
