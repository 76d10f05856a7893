// Decoded images in memory that threads share: small sets are decoded once, whoever comes first.
import type { Pixels } from './pixels.js'

/** Plain data, so that it can be sent to workers. */
export interface PixelCacheMemory {
  readonly channels: 1 | 3
  /** Where each image's pixels begin; one more than there are images. */
  readonly starts: Float64Array
  /** Width and height of each image, once it is there. */
  readonly sizes: Int32Array
  /** 1 where an image is there. */
  readonly present: Int32Array
  readonly data: Uint8Array
}

/** Memory for images of at most these numbers of pixels (not yet of known sides: EXIF may turn them). */
export function pixelCacheMemory(pixelCounts: readonly number[], channels: 1 | 3): PixelCacheMemory {
  const starts = new Float64Array(pixelCounts.length + 1)
  pixelCounts.forEach((count, i) => {
    starts[i + 1] = starts[i] + count * channels
  })
  const ints = (length: number) => new Int32Array(new SharedArrayBuffer(4 * length))
  return {
    channels,
    starts,
    sizes: ints(2 * pixelCounts.length),
    present: ints(pixelCounts.length),
    data: new Uint8Array(new SharedArrayBuffer(starts[pixelCounts.length])),
  }
}

export class PixelCache {
  constructor(readonly memory: PixelCacheMemory) {}

  get(item: number): Pixels | null {
    const { present, sizes, starts, data, channels } = this.memory
    if (Atomics.load(present, item) === 0) return null
    const [width, height] = [sizes[2 * item], sizes[2 * item + 1]]
    return { width, height, channels, data: data.subarray(starts[item], starts[item] + width * height * channels) }
  }

  /** Two threads may write the same image at once: they write the same bytes. */
  set(item: number, { width, height, data }: Pixels): void {
    const { present, sizes, starts, data: all } = this.memory
    // Larger than was foreseen, as large images are when they are read whole: decoded each time.
    if (data.length > starts[item + 1] - starts[item]) return
    all.set(data, starts[item])
    sizes[2 * item] = width
    sizes[2 * item + 1] = height
    Atomics.store(present, item, 1)
  }
}
