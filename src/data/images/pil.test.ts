// Operations on pixels against those of PIL, where a Python with PIL is there: resizing, warping and colours are bit for
// bit the same.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Draws } from '../draws.js'
import { operations } from './augmentation.js'
import {
  autoContrast,
  brightness,
  contrast,
  equalize,
  hue,
  posterize,
  saturation,
  sharpness,
  solarize,
} from './color.js'
import { decodeImage } from './decode.node.js'
import { openImages } from './image-files.node.js'
import { readEncoded } from './image-set.js'
import { type Pixels, withChannels } from './pixels.js'
import { resize } from './resize.js'
import { rotate, warp } from './warp.js'

const python = ['/usr/bin/python3', 'python3'].find((each) => spawnSync(each, ['-c', 'import PIL']).status === 0)
const skip = python ? false : 'no Python with PIL'

/** Noise with smooth parts, so that filters and histograms have something to do. */
function picture(width: number, height: number, channels: 1 | 3, seed = 1): Pixels {
  const draws = new Draws(seed)
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => {
    const smooth = 100 + 60 * Math.sin(i / 37) + 30 * Math.cos(i / (5 * width))
    return Math.min(255, Math.max(0, smooth + draws.uniform(-40, 40)))
  })
  return { width, height, channels, data }
}

let folder = ''
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'mambakit-pil-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

/** What a line of Python makes of an image: `image` in, `out` out. */
function inPython(image: Pixels, line: string): Uint8Array {
  const [from, to] = [join(folder, 'in.bin'), join(folder, 'out.bin')]
  writeFileSync(from, image.data)
  const script = `
import sys
from PIL import Image, ImageOps, ImageEnhance, ImageFilter
fill = ${image.channels === 3 ? '(124, 116, 104)' : '124'}
image = Image.frombytes('${image.channels === 3 ? 'RGB' : 'L'}', (${image.width}, ${image.height}), open(sys.argv[1], 'rb').read())
${line}
open(sys.argv[2], 'wb').write(out.tobytes())`
  execFileSync(python!, ['-c', script, from, to])
  return readFileSync(to)
}

/** torchvision's adjust_hue, by so many steps of 255. */
const turned = (steps: number) => `
if image.mode == 'L':
  out = image
else:
  h, s, v = image.convert('HSV').split()
  out = Image.merge('HSV', (h.point(lambda value: (value + ${steps}) % 256), s, v)).convert('RGB')`

const fill = [124, 116, 104]
const cases: readonly (readonly [name: string, line: string, ours: (image: Pixels) => Pixels])[] = [
  ['resize down, bicubic', 'out = image.resize((31, 17), Image.BICUBIC)', (x) => resize(x, 31, 17, 'bicubic')],
  ['resize down, bilinear', 'out = image.resize((31, 17), Image.BILINEAR)', (x) => resize(x, 31, 17, 'bilinear')],
  ['resize up, bicubic', 'out = image.resize((131, 97), Image.BICUBIC)', (x) => resize(x, 131, 97, 'bicubic')],
  ['resize one side', 'out = image.resize((image.width, 20), Image.BICUBIC)', (x) => resize(x, x.width, 20, 'bicubic')],
  ['resize to a point', 'out = image.resize((1, 1), Image.BILINEAR)', (x) => resize(x, 1, 1, 'bilinear')],
  [
    'rotate, bicubic',
    'out = image.rotate(23.7, resample=Image.BICUBIC, fillcolor=fill)',
    (x) => rotate(x, 23.7, 'bicubic', fill),
  ],
  [
    'rotate the other way, bilinear',
    'out = image.rotate(-8.25, resample=Image.BILINEAR, fillcolor=fill)',
    (x) => rotate(x, -8.25, 'bilinear', fill),
  ],
  [
    'shear',
    'out = image.transform(image.size, Image.AFFINE, (1, 0.27, 0, 0, 1, 0), resample=Image.BICUBIC, fillcolor=fill)',
    (x) => warp(x, [1, 0.27, 0, 0, 1, 0], 'bicubic', fill),
  ],
  [
    'shift by part of a pixel',
    'out = image.transform(image.size, Image.AFFINE, (1, 0, -9.3, 0, 1, 4.6), resample=Image.BILINEAR, fillcolor=fill)',
    (x) => warp(x, [1, 0, -9.3, 0, 1, 4.6], 'bilinear', fill),
  ],
  ['autocontrast', 'out = ImageOps.autocontrast(image)', autoContrast],
  ['equalize', 'out = ImageOps.equalize(image)', equalize],
  ['posterize', 'out = ImageOps.posterize(image, 3)', (x) => posterize(x, 3)],
  ['solarize', 'out = ImageOps.solarize(image, 130)', (x) => solarize(x, 130)],
  ['brightness', 'out = ImageEnhance.Brightness(image).enhance(1.37)', (x) => brightness(x, 1.37)],
  ['brightness below 1', 'out = ImageEnhance.Brightness(image).enhance(0.31)', (x) => brightness(x, 0.31)],
  ['contrast', 'out = ImageEnhance.Contrast(image).enhance(1.81)', (x) => contrast(x, 1.81)],
  ['saturation', 'out = ImageEnhance.Color(image).enhance(0.19)', (x) => saturation(x, 0.19)],
  ['hue', turned(25), (x) => hue(x, 0.1)],
  ['hue the other way', turned(-127), (x) => hue(x, -0.4999)],
  ['sharpness', 'out = ImageEnhance.Sharpness(image).enhance(1.81)', (x) => sharpness(x, 1.81)],
  ['blur', 'out = ImageEnhance.Sharpness(image).enhance(0.1)', (x) => sharpness(x, 0.1)],
]

for (const channels of [3, 1] as const)
  for (const [name, line, ours] of cases)
    test(`${name} of ${channels} channels is that of PIL`, { skip }, () => {
      const image = picture(61, 47, channels)
      assert.deepEqual(Buffer.from(ours(image).data), Buffer.from(inPython(image, line)))
    })

test("turning the hue is PIL's on colours all over the cube", { skip }, () => {
  const values = Array.from({ length: 64 }, (_, i) => Math.round((i * 255) / 63))
  const data = Uint8Array.from(values.flatMap((r) => values.flatMap((g) => values.flatMap((b) => [r, g, b]))))
  const cube: Pixels = { width: 512, height: 512, channels: 3, data }
  for (const steps of [0, 1, 100, -77])
    assert.deepEqual(
      Buffer.from(hue(cube, (steps + 0.5 * Math.sign(steps)) / 255).data),
      Buffer.from(inPython(cube, turned(steps))),
    )
})

test("grey is PIL's convert('L')", { skip }, () => {
  const image = picture(61, 47, 3)
  assert.deepEqual(Buffer.from(withChannels(image, 1).data), Buffer.from(inPython(image, "out = image.convert('L')")))
})

const root = fileURLToPath(new URL('../../../../../shared/data/tiny-imagenet-100', import.meta.url))
test('JPEG files decode to the pixels that PIL gives', { skip }, async (t) => {
  const set = await openImages(join(root, 'val.zip'), { heldOutFraction: 0 }).catch(() => null)
  if (!set || set.train.images.kind === 'pixels') return t.skip('../shared/data/tiny-imagenet-100 is absent')
  for (const item of [0, 700, 1999]) {
    const bytes = await readEncoded(set.train.images, item)
    const file = join(folder, 'image.jpg')
    writeFileSync(file, bytes)
    const { data } = await decodeImage(file, bytes)
    const expected = inPython(picture(1, 1, 3), `out = Image.open('${file}').convert('RGB')`)
    assert.deepEqual(Buffer.from(data), Buffer.from(expected))
  }
})

test('every operation of RandAugment leaves size and channels as they are', () => {
  for (const channels of [1, 3] as const)
    for (const [name, operation] of Object.entries(operations)) {
      const image = picture(9, 7, channels)
      const out = operation(image, 9, (v) => -v, { interpolation: 'bicubic', fill })
      assert.deepEqual([out.width, out.height, out.channels, out.data.length], [9, 7, channels, 63 * channels], name)
    }
})
