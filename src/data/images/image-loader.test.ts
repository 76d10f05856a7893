// The loader: batches are the same for any number of workers, at any place to begin, and cost the consumer no wait.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import sharp from 'sharp'
import { strongAugmentation } from './augmentation.js'
import { encodedImages, type ImageSet, imageSet, readImage } from './image-set.js'
import { openImageLoader } from './image-workers.node.js'
import type { ImagePreprocessing } from './preprocessing.js'

const preprocessing: ImagePreprocessing = {
  size: 12,
  channels: 3,
  mean: [0.4, 0.5, 0.6],
  std: [0.2, 0.3, 0.4],
  cropRatio: 0.9,
  interpolation: 'bilinear',
}

async function files(count: number): Promise<ReadonlyMap<string, Uint8Array>> {
  const entries: [string, Uint8Array][] = []
  for (let i = 0; i < count; i++) {
    const [width, height] = [16 + (i % 5), 14 + (i % 3)]
    const data = Uint8Array.from({ length: width * height * 3 }, (_, k) => (k * (i + 3) * 31) % 256)
    entries.push([
      `${i}.png`,
      await sharp(data, { raw: { width, height, channels: 3 } })
        .png()
        .toBuffer(),
    ])
  }
  return new Map(entries)
}
const stored = await files(23)
const set = (): ImageSet =>
  imageSet(
    'set',
    ['even', 'odd'],
    encodedImages(stored),
    Int32Array.from({ length: 23 }, (_, i) => i % 2),
  )
const open = (workers: number, whole = set()) =>
  openImageLoader([whole, whole], preprocessing, { batch: 4, seed: 9, augmentation: strongAugmentation, workers })

test('batches are bit-equal for 0, 1 and 3 workers, and after a jump', async () => {
  const loaders = await Promise.all([0, 1, 3].map((workers) => open(workers)))
  const expected = []
  for (let i = 0; i < 13; i++) {
    const batches = await Promise.all(loaders.map((loader) => loader.batch(i)))
    for (const batch of batches.slice(1)) assert.deepEqual(batch, batches[0])
    expected.push(batches[0])
  }
  // A resumed run begins in the middle, and a run may look back.
  const resumed = await open(3)
  for (const i of [7, 8, 3, 12]) assert.deepEqual(await resumed.batch(i), expected[i])
  for (const loader of [...loaders, resumed]) await loader.close()
})

test('an epoch takes every image once, each epoch in another order and with other draws', async () => {
  const plain = { ...strongAugmentation, mix: null }
  const whole = {
    ...set(),
    labels: Int32Array.from({ length: 23 }, (_, i) => i),
    classes: Array.from({ length: 23 }, (_, i) => `${i}`),
  }
  const loader = await openImageLoader([whole, whole], preprocessing, {
    batch: 23,
    seed: 1,
    augmentation: plain,
    workers: 0,
  })
  const epochs = [await loader.batch(0), await loader.batch(1)]
  for (const { labels } of epochs)
    assert.deepEqual(
      [...labels].sort((a, b) => a - b),
      [...whole.labels],
    )
  assert.notDeepEqual([...epochs[0].labels], [...epochs[1].labels])
  const rows = epochs.map(({ images, labels }) =>
    images.subarray(432 * labels.indexOf(5), 432 * (labels.indexOf(5) + 1)),
  )
  assert.notDeepEqual(rows[0], rows[1])
})

test('held-out images come once, in order, without augmentation', async () => {
  for (const workers of [0, 2]) {
    const loader = await open(workers)
    const labels: number[] = []
    const images: Float32Array[] = []
    for await (const batch of loader.heldOut()) {
      labels.push(...batch.labels)
      images.push(batch.images)
      assert.equal(batch.targets, null)
    }
    assert.deepEqual(
      labels,
      Array.from({ length: 23 }, (_, i) => i % 2),
    )
    assert.equal(images.at(-1)!.length, 3 * 432)
    const again: Float32Array[] = []
    for await (const batch of loader.heldOut()) again.push(batch.images)
    assert.deepEqual(again, images)
    const some: number[] = []
    for await (const batch of loader.heldOut(6)) some.push(...batch.labels)
    assert.equal(some.length, 6)
    await loader.close()
  }
})

test('mixed batches carry targets that sum to one', async () => {
  const loader = await open(1)
  const { targets, batch } = await loader.batch(0)
  assert.equal(targets!.length, batch * 2)
  for (let row = 0; row < batch; row++) assert.ok(Math.abs(targets![2 * row] + targets![2 * row + 1] - 1) < 1e-6)
  await loader.close()
  const whole = set()
  await assert.rejects(
    openImageLoader([whole, whole], preprocessing, { batch: 3, seed: 9, augmentation: strongAugmentation, workers: 0 }),
    /mixup and cutmix need an even batch, got 3/,
  )
})

test('a file that breaks behind its header is named by whoever makes the batch', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mambakit-loader-'))
  try {
    const good = stored.get('1.png')!
    const names = await Promise.all(
      [good, good.subarray(0, good.length - 40)].map(async (bytes, i) => {
        const path = join(folder, `${i}.png`)
        await writeFile(path, bytes)
        return path
      }),
    )
    const whole = imageSet('files', ['one'], { kind: 'files', names }, new Int32Array(2))
    for (const workers of [0, 1]) {
      const loader = await openImageLoader([whole, whole], preprocessing, {
        batch: 2,
        seed: 0,
        augmentation: { ...strongAugmentation, mix: null },
        workers,
      })
      await assert.rejects(loader.batch(0), (error: Error) => {
        assert.equal(error.name, 'DataError')
        assert.match(error.message, /^\S+1\.png: cannot be decoded; it is damaged or cut off/)
        return true
      })
      await loader.close()
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('large photographs are read smaller for training, turned or not, and whole for evaluation', async () => {
  const noise = Uint8Array.from({ length: 200 * 120 * 3 }, (_, i) => (i * 31) % 256)
  const photo = (orientation: number) =>
    sharp(noise, { raw: { width: 200, height: 120, channels: 3 } })
      .jpeg()
      .withMetadata({ orientation })
      .toBuffer()
  const photos = new Map([
    ['upright.jpg', await photo(1)],
    ['turned.jpg', await photo(6)],
  ])
  const whole = imageSet('photos', ['one'], encodedImages(photos), new Int32Array(2))
  const sizes = await Promise.all(
    [48, 61, undefined].map(async (side) => {
      const read = await Promise.all([0, 1].map((item) => readImage(whole.images, item, 3, side)))
      return read.map(({ width, height }) => [width, height])
    }),
  )
  const full = [
    [200, 120],
    [120, 200],
  ]
  assert.deepEqual(sizes, [
    [
      [80, 48],
      [48, 80],
    ],
    full,
    full,
  ])
  // Kept in memory or not, here or on a worker: the same.
  const batches = []
  for (const workers of [0, 1]) {
    const options = { batch: 2, seed: 3, augmentation: { ...strongAugmentation, mix: null }, workers }
    const loader = await openImageLoader([whole, whole], preprocessing, options)
    batches.push([await loader.batch(0), await loader.batch(0), await loader.batch(5)])
    await loader.close()
  }
  assert.deepEqual(batches[0], batches[1])
  assert.deepEqual(batches[0][0], batches[0][1])
})
