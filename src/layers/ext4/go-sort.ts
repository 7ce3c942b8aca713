/**
 * Sorts in place with the steps of Go's `sort.Slice` (since Go 1.19): pattern-defeating quicksort, by
 * insertion up to 12 elements, by heap after too many bad pivots.
 *
 * For a proper order any algorithm would do. This one exists for comparisons that contradict
 * themselves, where the result is whatever exactly these comparisons and exchanges make of it.
 */
export function sortLikeGo<T>(items: T[], less: (a: T, b: T) => boolean): void {
  new GoSort(items, less).sort(0, items.length, bitLength(items.length))
}

const maxByInsertion = 12
const minForNinther = 50
const maxRepairs = 5

/** Ranges are half open, `[from, to)`. */
class GoSort<T> {
  constructor(
    private readonly items: T[],
    private readonly precedes: (a: T, b: T) => boolean
  ) {}

  sort(from: number, to: number, badPivotsAllowed: number): void {
    let balanced = true
    let untouched = true
    while (to - from > maxByInsertion) {
      if (badPivotsAllowed === 0) return this.heapSort(from, to)
      if (!balanced) {
        this.scatter(from, to)
        badPivotsAllowed--
      }
      let { pivot, trend } = this.choosePivot(from, to)
      if (trend === 'falling') {
        this.reverse(from, to)
        pivot = from + to - 1 - pivot
        trend = 'rising'
      }
      if (balanced && untouched && trend === 'rising' && this.repair(from, to)) return
      // The element before the range is the pivot of an earlier round, so nothing here precedes it.
      if (from > 0 && !this.less(from - 1, pivot)) {
        from = this.splitOffEqual(from, to, pivot)
        continue
      }
      const { middle, exchanged } = this.partition(from, to, pivot)
      untouched = !exchanged
      const left = middle - from
      const right = to - middle
      balanced = Math.min(left, right) >= Math.floor((to - from) / 8)
      if (left < right) {
        this.sort(from, middle, badPivotsAllowed)
        from = middle + 1
      } else {
        this.sort(middle + 1, to, badPivotsAllowed)
        to = middle
      }
    }
    for (let i = from + 1; i < to; i++) this.sink(i, from)
  }

  private less(i: number, j: number): boolean {
    return this.precedes(this.items[i] as T, this.items[j] as T)
  }

  private swap(i: number, j: number): void {
    const item = this.items[i] as T
    this.items[i] = this.items[j] as T
    this.items[j] = item
  }

  /** Moves the element at `i` towards `first` while it precedes its neighbour. */
  private sink(i: number, first: number): void {
    for (let j = i; j > first && this.less(j, j - 1); j--) this.swap(j, j - 1)
  }

  /** What precedes the pivot goes before it, everything else behind it. */
  private partition(from: number, to: number, pivot: number): { middle: number; exchanged: boolean } {
    this.swap(from, pivot)
    let exchanged = false
    let low = from + 1
    let high = to - 1
    for (;;) {
      while (low <= high && this.less(low, from)) low++
      while (low <= high && !this.less(high, from)) high--
      if (low > high) break
      this.swap(low++, high--)
      exchanged = true
    }
    this.swap(high, from)
    return { middle: high, exchanged }
  }

  /** Gathers what is equal to the pivot at the front and returns where the rest begins. */
  private splitOffEqual(from: number, to: number, pivot: number): number {
    this.swap(from, pivot)
    let low = from + 1
    let high = to - 1
    for (;;) {
      while (low <= high && !this.less(from, low)) low++
      while (low <= high && this.less(from, high)) high--
      if (low > high) return low
      this.swap(low++, high--)
    }
  }

  /** Completes a range that is nearly in order; false if it is not, perhaps with some elements moved. */
  private repair(from: number, to: number): boolean {
    let i = from + 1
    for (let repairs = 0; repairs < maxRepairs; repairs++) {
      while (i < to && !this.less(i, i - 1)) i++
      if (i === to) return true
      if (to - from < minForNinther) return false
      this.swap(i, i - 1)
      // Towards the front Go does not stop at the range but at the slice.
      if (i - from >= 2) this.sink(i - 1, 0)
      if (to - i >= 2) for (let j = i + 1; j < to && this.less(j, j - 1); j++) this.swap(j, j - 1)
    }
    return false
  }

  /** The trend is what the comparisons on the way say: no exchange at all, or the most there can be. */
  private choosePivot(from: number, to: number): { pivot: number; trend: 'rising' | 'falling' | 'none' } {
    const length = to - from
    const quarter = Math.floor(length / 4)
    let exchanges = 0
    const inOrder = (i: number, j: number): [number, number] => {
      if (!this.less(j, i)) return [i, j]
      exchanges++
      return [j, i]
    }
    const median = (a: number, b: number, c: number): number => {
      const [low, high] = inOrder(a, b)
      const [middle] = inOrder(high, c)
      return inOrder(low, middle)[1]
    }
    const candidate = (quarters: number): number => {
      const i = from + quarters * quarter
      return length >= minForNinther ? median(i - 1, i, i + 1) : i
    }
    const pivot = median(candidate(1), candidate(2), candidate(3))
    return { pivot, trend: exchanges === 0 ? 'rising' : exchanges === 12 ? 'falling' : 'none' }
  }

  private reverse(from: number, to: number): void {
    for (let i = from, j = to - 1; i < j; i++, j--) this.swap(i, j)
  }

  /** Exchanges three elements about the middle with elements picked by a fixed pseudo-random sequence. */
  private scatter(from: number, to: number): void {
    const length = to - from
    let random = BigInt(length)
    const mask = 2n ** BigInt(bitLength(length)) - 1n
    const middle = from + Math.floor(length / 4) * 2
    for (let i = middle - 1; i <= middle + 1; i++) {
      random = xorshift(random)
      const pick = Number(random & mask)
      this.swap(i, from + (pick >= length ? pick - length : pick))
    }
  }

  private heapSort(from: number, to: number): void {
    const length = to - from
    for (let i = Math.floor((length - 1) / 2); i >= 0; i--) this.siftDown(i, length, from)
    for (let i = length - 1; i >= 0; i--) {
      this.swap(from, from + i)
      this.siftDown(0, i, from)
    }
  }

  private siftDown(root: number, length: number, first: number): void {
    for (let child = 2 * root + 1; child < length; child = 2 * root + 1) {
      if (child + 1 < length && this.less(first + child, first + child + 1)) child++
      if (!this.less(first + root, first + child)) return
      this.swap(first + root, first + child)
      root = child
    }
  }
}

/** Marsaglia's xorshift on 64 bits, shifts 13, 7, 17. */
function xorshift(state: bigint): bigint {
  state ^= BigInt.asUintN(64, state << 13n)
  state ^= state >> 7n
  return state ^ BigInt.asUintN(64, state << 17n)
}

function bitLength(n: number): number {
  return 32 - Math.clz32(n)
}
