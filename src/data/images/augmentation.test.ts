// What training does to images: the same seed, epoch and place give the same image; closed forms of crops, flips, mixing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Draws } from '../draws.js'
import {
  augment,
  drawMixture,
  erase,
  type ImageAugmentation,
  mixImages,
  mixTargets,
  photoAugmentation,
  randomRegion,
  smallImageAugmentation,
  strongAugmentation,
} from './augmentation.js'
import { crop, flipHorizontally, flipVertically, type Pixels, pad, withChannels } from './pixels.js'
import { evaluationCrop, type ImagePreprocessing, normalizerOf } from './preprocessing.js'
import { resizeShorterSide } from './resize.js'

const ramp = (width: number, height: number, channels: 1 | 3 = 1): Pixels => ({
  width,
  height,
  channels,
  data: Uint8Array.from({ length: width * height * channels }, (_, i) => i % 251),
})
const preprocessing: ImagePreprocessing = {
  size: 8,
  channels: 1,
  mean: [0.5],
  std: [0.25],
  cropRatio: 1,
  interpolation: 'bicubic',
}
const rgb: ImagePreprocessing = { ...preprocessing, channels: 3, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] }
const none: ImageAugmentation = { ...smallImageAugmentation, crop: { kind: 'center' }, flip: 0 }

test('the same key draws the same image, another one another', () => {
  const image = ramp(20, 16, 3)
  const draw = (...key: number[]) => Buffer.from(augment(image, strongAugmentation, rgb, new Draws(...key)).data)
  assert.deepEqual(draw(1, 2, 3), draw(1, 2, 3))
  assert.notDeepEqual(draw(1, 2, 3), draw(1, 2, 4))
  assert.notDeepEqual(draw(1, 2, 3), draw(2, 2, 3))
})

test('a padded crop holds the image shifted, with zeros around it', () => {
  const image = ramp(8, 8)
  const places = new Set<string>()
  for (let i = 0; i < 400; i++) {
    const augmentation = { ...none, crop: { kind: 'padded', padding: 2 } } as const
    const { data } = augment(image, augmentation, preprocessing, new Draws(i))
    const found = [-2, -1, 0, 1, 2].flatMap((dy) =>
      [-2, -1, 0, 1, 2].flatMap((dx) => {
        const fits = Array.from(data).every((value, at) => {
          const [y, x] = [Math.floor(at / 8) + dy, (at % 8) + dx]
          return value === (y >= 0 && y < 8 && x >= 0 && x < 8 ? image.data[y * 8 + x] : 0)
        })
        return fits ? [`${dy},${dx}`] : []
      }),
    )
    assert.equal(found.length, 1)
    places.add(found[0])
  }
  assert.equal(places.size, 25)
})

test('random regions keep to their area and aspect', () => {
  const image = ramp(60, 40)
  for (let i = 0; i < 500; i++) {
    const { left, top, width, height } = randomRegion(image, [0.2, 0.9], [0.5, 2], new Draws(i))
    assert.ok(left >= 0 && top >= 0 && left + width <= 60 && top + height <= 40)
    assert.ok(width * height >= 0.2 * 2400 * 0.9 && width * height <= 0.9 * 2400 * 1.1)
    assert.ok(width / height > 0.45 && width / height < 2.2)
  }
  // No region of a fiftieth part fits an aspect that the image cannot have: the middle is taken.
  assert.deepEqual(randomRegion(ramp(100, 2), [1, 1], [1, 1], new Draws(1)), { left: 49, top: 0, width: 2, height: 2 })
})

test('a jittered hue keeps every brightest channel and all grey; its draws decide it', () => {
  const turning = { ...none, hueJitter: 0.5 }
  const size = 8
  const data = Uint8Array.from({ length: 3 * 64 }, (_, i) => (i * 89) % 256)
  const colours: Pixels = { width: size, height: size, channels: 3, data }
  const seen = (image: Pixels, key: number) =>
    augment(image, turning, { ...preprocessing, size, channels: 3 }, new Draws(key))
  const brightest = ({ data }: Pixels) =>
    Array.from({ length: 64 }, (_, p) => Math.max(...data.subarray(3 * p, 3 * p + 3)))
  const turned = [0, 1, 2, 3].map((key) => seen(colours, key))
  for (const image of turned) assert.deepEqual(brightest(image), brightest(colours))
  assert.deepEqual(seen(colours, 2), turned[2])
  assert.notDeepEqual(turned[0].data, turned[1].data)
  const grey = withChannels(ramp(size, size), 3)
  assert.deepEqual(seen(grey, 1).data, grey.data)
})

test('flips are their own inverses and happen as often as asked', () => {
  const image = ramp(7, 5, 3)
  assert.deepEqual(flipHorizontally(flipHorizontally(image)), image)
  assert.deepEqual(flipVertically(flipVertically(image)), image)
  assert.deepEqual([...flipHorizontally(ramp(3, 2)).data], [2, 1, 0, 5, 4, 3])
  const square = ramp(8, 8)
  const flipped = Array.from({ length: 1000 }, (_, i) =>
    augment(square, { ...none, flip: 0.25 }, preprocessing, new Draws(i)),
  ).filter(({ data }) => data[0] === 7).length
  assert.ok(Math.abs(flipped - 250) < 60, `${flipped} of 1000`)
})

test('evaluation resizes the shorter side and keeps the middle', () => {
  const image = ramp(40, 20)
  const kept = evaluationCrop(image, { ...preprocessing, size: 16, cropRatio: 0.8 })
  const whole = resizeShorterSide(image, 20, 'bicubic')
  assert.deepEqual(kept, crop(whole, 12, 2, 16, 16))
  assert.deepEqual(
    [resizeShorterSide(ramp(30, 20), 7, 'bilinear').width, resizeShorterSide(ramp(20, 30), 7, 'bilinear').height],
    [10, 10],
  )
  // Of the right size already: untouched.
  assert.deepEqual(evaluationCrop(ramp(8, 8), preprocessing), ramp(8, 8))
})

test('normalisation is (v / 255 - mean) / std of each channel', () => {
  const out = new Float32Array(6)
  const image: Pixels = { width: 2, height: 1, channels: 3, data: Uint8Array.of(0, 51, 102, 153, 204, 255) }
  normalizerOf({ ...rgb, mean: [0.1, 0.2, 0.3], std: [0.5, 0.25, 0.2] })(image, out)
  const expected = [-0.2, 0, 0.5, 1, 2.4, 3.5]
  for (let i = 0; i < 6; i++) assert.ok(Math.abs(out[i] - expected[i]) < 1e-6, `${out[i]} for ${expected[i]}`)
})

test('erasing changes one rectangle of 2 to 33 percent, as often as asked', () => {
  let erased = 0
  for (let i = 0; i < 400; i++) {
    const image = new Float32Array(32 * 32)
    erase(image, 32, 32, 1, 0.25, new Draws(i))
    const changed = [...image.keys()].filter((at) => image[at] !== 0)
    if (changed.length === 0) continue
    erased++
    const rows = changed.map((at) => Math.floor(at / 32))
    const columns = changed.map((at) => at % 32)
    const area = (Math.max(...rows) - Math.min(...rows) + 1) * (Math.max(...columns) - Math.min(...columns) + 1)
    assert.equal(area, changed.length)
    assert.ok(area >= 0.015 * 1024 && area <= 0.36 * 1024, `${area}`)
  }
  assert.ok(Math.abs(erased - 100) < 30, `${erased} of 400`)
})

test('mixup blends a batch with its reverse, and targets with the same weights', () => {
  const images = Float32Array.of(0, 10, 20, 30)
  mixImages(images, 4, 1, 1, 1, { own: 0.75 })
  assert.deepEqual([...images], [7.5, 12.5, 17.5, 22.5])
  const targets = mixTargets(Int32Array.of(0, 1, 1, 2), 3, { own: 0.75 })
  assert.deepEqual([...targets], [0.75, 0, 0.25, 0, 1, 0, 0, 1, 0, 0.25, 0, 0.75])
})

test('cutmix exchanges one rectangle and weighs labels by its area', () => {
  for (let i = 0; i < 50; i++) {
    const mixture = drawMixture({ mixup: 0, cutmix: 1, probability: 1 }, 16, 16, new Draws(i))!
    const images = new Float32Array(2 * 256).fill(1, 256)
    mixImages(images, 2, 16, 16, 1, mixture)
    const foreign = images.subarray(0, 256).reduce((a, b) => a + b, 0)
    assert.ok(Math.abs(1 - mixture.own - foreign / 256) < 1e-12)
    for (let k = 0; k < 256; k++) assert.equal(images[k] + images[256 + k], 1)
  }
})

test('mixing happens as often as asked, by both ways alike', () => {
  const drawn = Array.from({ length: 1000 }, (_, i) =>
    drawMixture({ mixup: 0.8, cutmix: 1, probability: 0.5 }, 8, 8, new Draws(i)),
  )
  const mixed = drawn.filter((each) => each !== null)
  assert.ok(Math.abs(mixed.length - 500) < 60)
  assert.ok(Math.abs(mixed.filter(({ box }) => box).length - mixed.length / 2) < 50)
  assert.ok(mixed.every(({ own }) => own >= 0 && own <= 1))
})

test('draws have the moments of their distributions', () => {
  const draws = new Draws(5)
  const moments = (next: () => number) => {
    const values = Array.from({ length: 20_000 }, next)
    const mean = values.reduce((a, b) => a + b, 0) / values.length
    return [mean, values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length]
  }
  const near = ([mean, variance]: number[], m: number, v: number) => {
    assert.ok(Math.abs(mean - m) < 0.03 && Math.abs(variance - v) < 0.05 * Math.max(1, v), `${mean}, ${variance}`)
  }
  near(
    moments(() => draws.unit()),
    0.5,
    1 / 12,
  )
  near(
    moments(() => draws.normal(1, 0.5)),
    1,
    0.25,
  )
  near(
    moments(() => draws.gamma(2.5)),
    2.5,
    2.5,
  )
  near(
    moments(() => draws.beta(0.8)),
    0.5,
    1 / (4 * (2 * 0.8 + 1)),
  )
})

test('grey and colour change into each other; a frame surrounds an image', () => {
  assert.deepEqual([...withChannels(ramp(2, 1), 3).data], [0, 0, 0, 1, 1, 1])
  assert.deepEqual(withChannels(withChannels(ramp(9, 9), 3), 1), ramp(9, 9))
  assert.deepEqual(
    [...pad({ width: 1, height: 1, channels: 1, data: Uint8Array.of(9) }, 1, 4).data],
    [4, 4, 4, 4, 9, 4, 4, 4, 4],
  )
})

test('photographs are cropped to the size that the model sees', () => {
  for (let i = 0; i < 20; i++) {
    const { width, height, channels } = augment(ramp(37, 90, 1), photoAugmentation, rgb, new Draws(i))
    assert.deepEqual([width, height, channels], [8, 8, 3])
  }
})
