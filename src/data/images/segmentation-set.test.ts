// Labelled pixels: the registered set as it lies, masks, sizes, and crops that keep image and labels together.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Draws } from '../draws.js'
import { defaultDataRoot, openDataSet } from '../registry.node.js'
import type { Pixels } from './pixels.js'
import { openSegmentationSet } from './registered-segmentation.js'
import {
  type LabelledImage,
  labelsOfMask,
  maskedFile,
  randomCrop,
  resizeLabelled,
  SegmentationCrops,
  unlabelled,
} from './segmentation-set.js'

const skip = existsSync(join(defaultDataRoot, 'aerial-dubai')) ? false : '../shared/data/aerial-dubai is not there'

const countOf = ({ data }: Pixels, label: number) => data.reduce((sum, value) => sum + (value === label ? 1 : 0), 0)

test('aerial-dubai: tiles 1 to 4, 5 and 6, every pixel of a class or unlabelled', { skip }, async () => {
  const { train, validation, test: held } = await openSegmentationSet('aerial-dubai', openDataSet('aerial-dubai'))
  assert.deepEqual(
    [train, validation, held].map(({ files }) => files.length),
    [36, 9, 9],
  )
  assert.match(held.files[0].name, /tile6\/images\/image_part_001\.jpg$/)
  for (const { classes, files } of [train, validation, held])
    for (const file of files) {
      const { image, labels } = await file.read()
      assert.deepEqual([labels.width, labels.height, labels.channels], [image.width, image.height, 1])
      assert.ok(labels.data.every((label) => label < classes.length || label === unlabelled))
    }
  // Counted with another PNG decoder: a mask with a palette of 2 bits, and one of true colour with black pixels.
  const palette = (await train.files.find(({ name }) => name.includes('tile2/images/image_part_001'))!.read()).labels
  assert.deepEqual([palette.width, palette.height], [509, 544])
  assert.deepEqual(
    [0, 1, 2, 3, 4, unlabelled].map((k) => countOf(palette, k)),
    [63406, 155233, 58257, 0, 0, 0],
  )
  const colour = (await held.files[4].read()).labels
  assert.deepEqual(
    [0, 1, 2, 3, 4, unlabelled].map((k) => countOf(colour, k)),
    [0, 151366, 4536, 117735, 445527, 678],
  )
})

test('a colour that means no class is refused with its place', () => {
  const mask: Pixels = { width: 2, height: 2, channels: 3, data: Uint8Array.of(1, 2, 3, 1, 2, 3, 1, 2, 3, 9, 8, 7) }
  const colors = new Map([[0x010203, 4]])
  assert.throws(
    () => labelsOfMask('m.png', mask, colors),
    /m\.png: expected a mask of known colours, got #090807 at \(1, 1\)/,
  )
  const labels = labelsOfMask('m.png', mask, new Map([...colors, [0x090807, unlabelled]]))
  assert.deepEqual([...labels.data], [4, 4, 4, unlabelled])
})

test('a mask of another size than its image is refused', { skip }, async () => {
  const { train } = await openSegmentationSet('aerial-dubai', openDataSet('aerial-dubai'))
  const [one] = train.files
  const { image } = await one.read()
  const sharp = (await import('sharp')).default
  const png = async (width: number, height: number) =>
    new Uint8Array(
      await sharp({ create: { width, height, channels: 3, background: '#000000' } })
        .png()
        .toBuffer(),
    )
  const pair = maskedFile(
    { name: 'a.png', bytes: await png(image.width, 3) },
    { name: 'b.png', bytes: await png(image.width, 4) },
    new Map([[0, 0]]),
  )
  await assert.rejects(pair.read(), new RegExp(`b\\.png: expected a mask of ${image.width} x 3 pixels.*x 4`))
})

/** An image whose red, green and blue tell a pixel's row, column and label. */
function telling(width: number, height: number): LabelledImage {
  const data = new Uint8Array(3 * width * height)
  const labels = new Uint8Array(width * height)
  for (let p = 0; p < labels.length; p++) {
    labels[p] = (7 * p + (p >> 3)) % 5
    data.set([Math.floor(p / width), p % width, labels[p]], 3 * p)
  }
  return {
    name: 'telling',
    image: { width, height, channels: 3, data },
    labels: { width, height, channels: 1, data: labels },
  }
}

test('a crop shows a window of the image, perhaps flipped, and every pixel keeps its label', () => {
  const seen = new Set<string>()
  for (let i = 0; i < 200; i++) {
    const { image, labels } = randomCrop(telling(13, 9), { size: 6, flip: 0.5, verticalFlip: 0.5 }, new Draws(1, 2, i))
    assert.deepEqual([image.width, image.height, labels.width, labels.height], [6, 6, 6, 6])
    for (let p = 0; p < 36; p++) assert.equal(image.data[3 * p + 2], labels.data[p])
    const [row, column] = [image.data[3 * 6] - image.data[0], image.data[4] - image.data[1]]
    assert.ok(Math.abs(row) === 1 && Math.abs(column) === 1)
    seen.add(`${row} ${column}`)
    const ends = [0, 35].map((p) => image.data.subarray(3 * p, 3 * p + 2))
    assert.ok(ends.every(([y, x]) => y < 9 && x < 13))
    assert.deepEqual([Math.abs(ends[1][0] - ends[0][0]), Math.abs(ends[1][1] - ends[0][1])], [5, 5])
  }
  assert.equal(seen.size, 4)
  const never = { size: 9, flip: 0, verticalFlip: 0 }
  assert.equal(randomCrop(telling(9, 9), never, new Draws(0)).image.data[4], 1)
  assert.throws(
    () => randomCrop(telling(13, 8), never, new Draws(0)),
    /telling: expected at least 9 x 9 pixels.*13 x 8/,
  )
})

test('the same number gives the same batch; an epoch takes every image once', () => {
  const images = Array.from({ length: 6 }, (_, i) => ({
    ...telling(8, 8),
    labels: { width: 8, height: 8, channels: 1 as const, data: new Uint8Array(64).fill(i === 5 ? unlabelled : i) },
  }))
  const options = { size: 4, flip: 0.5, verticalFlip: 0.5, batch: 3, seed: 11 }
  const statistics = { mean: [0, 0.5, 1], std: [1, 2, 0.5] }
  const crops = new SegmentationCrops(images, statistics, options)
  const batches = [0, 1, 2, 3].map((index) => crops.batch(index))
  assert.deepEqual(new SegmentationCrops(images, statistics, options).batch(2), batches[2])
  assert.notDeepEqual(new SegmentationCrops(images, statistics, { ...options, seed: 12 }).batch(0), batches[0])
  for (const [a, b] of [
    [0, 1],
    [2, 3],
  ]) {
    const rows = [batches[a], batches[b]].flatMap(({ labels }) => [0, 1, 2].map((row) => labels[16 * row]))
    assert.deepEqual(
      rows.sort((x, y) => x - y),
      [0, 1, 2, 3, 4, unlabelled],
    )
  }
  // Normalised: red is the row over 255, blue of label 0 is (0 - 1) / 0.5.
  const { images: values } = batches[0]
  assert.equal(values.length, 3 * 16 * 3)
  assert.ok(values.every((value, i) => (i % 3 === 2 ? value <= -1.9 : value <= 0.1)))
})

test('smaller labels are those of the nearest pixels', () => {
  const { image, labels } = resizeLabelled(telling(8, 6), 4, 3)
  assert.deepEqual([image.width, image.height], [4, 3])
  const whole = telling(8, 6).labels.data
  assert.deepEqual(
    [...labels.data],
    Array.from({ length: 12 }, (_, p) => whole[(2 * Math.floor(p / 4) + 1) * 8 + 2 * (p % 4) + 1]),
  )
})
