// Images as people have them: folders, archives, IDX, CIFAR-10 binaries and lists; every fault is one line that names the
// file.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { zipSync } from 'fflate'
import sharp from 'sharp'
import { DataError } from '../bytes.js'
import { readCsv } from '../csv.js'
import { smallImageAugmentation } from './augmentation.js'
import { decodeImage } from './decode.node.js'
import { readImageHeader } from './header.js'
import { openImages } from './image-files.node.js'
import { sortImagePaths } from './image-paths.js'
import { firstOfEachClass, type ImageSet, imageName, readImage, splitByHash } from './image-set.js'
import { openImageLoader } from './image-workers.node.js'

let root = ''
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'mambakit-images-'))
})
after(() => rm(root, { recursive: true, force: true }))

async function put(path: string, bytes: Uint8Array | string): Promise<string> {
  const whole = join(root, path)
  await mkdir(dirname(whole), { recursive: true })
  await writeFile(whole, bytes)
  return whole
}

type Format = 'png' | 'jpeg' | 'webp'
const flat = (color: string, width = 12, height = 10) =>
  sharp({ create: { width, height, channels: 3, background: color } })
const encoded = (color: string, format: Format = 'png', width?: number, height?: number) =>
  flat(color, width, height)[format]().toBuffer()

const pixelOf = async (set: ImageSet, place: number, channels: 1 | 3 = 3) => {
  const { data } = await readImage(set.images, set.items[place], channels)
  return [...data.subarray(0, channels)]
}
const refuses = (path: string, expected: RegExp) =>
  assert.rejects(
    async () => {
      const { train, heldOut } = await openImages(path)
      const loader = await openImageLoader(
        [train, heldOut],
        { size: 8, channels: 3, mean: [0, 0, 0], std: [1, 1, 1], cropRatio: 1, interpolation: 'bilinear' },
        { batch: 2, seed: 0, augmentation: smallImageAugmentation, workers: 0 },
      )
      for (let i = 0; i < 4; i++) await loader.batch(i)
    },
    (error: Error) => {
      assert.ok(error instanceof DataError, `${error.stack}`)
      assert.match(error.message, expected)
      assert.ok(!error.message.includes('\n'), error.message)
      return true
    },
  )

test('a folder of class folders is split by a hash of the names, which others do not change', async () => {
  for (const [name, color] of [
    ['cats', '#ff0000'],
    ['dogs', '#0000ff'],
  ] as const)
    for (let i = 0; i < 20; i++) await put(`pets/${name}/${i}.png`, await encoded(color))
  await put('pets/notes.md', 'not an image')
  const { train, heldOut } = await openImages(join(root, 'pets'))
  assert.deepEqual(train.classes, ['cats', 'dogs'])
  assert.equal(train.items.length + heldOut.items.length, 40)
  assert.ok(heldOut.items.length >= 2 && heldOut.items.length <= 10, `${heldOut.items.length}`)
  assert.deepEqual(new Set(Array.from(heldOut.items, (item) => heldOut.labels[item])), new Set([0, 1]))
  const names = (set: ImageSet) => new Set(Array.from(set.items, (item) => imageName(set.images, item)))
  const before = names(heldOut)
  await put('pets/cats/another.png', await encoded('#ff0000'))
  const grown = await openImages(join(root, 'pets'))
  for (const name of before) assert.ok(names(grown.heldOut).has(name))
  for (let place = 0; place < train.items.length; place++)
    assert.deepEqual(await pixelOf(train, place), train.labels[train.items[place]] === 0 ? [255, 0, 0] : [0, 0, 255])
})

test('train and val folders are kept apart, in any of the formats, below one folder or none', async () => {
  for (const [part, count] of [
    ['train', 3],
    ['val', 2],
  ] as const)
    for (const name of ['a', 'b'])
      for (let i = 0; i < count; i++) {
        const format = (['png', 'jpeg', 'webp'] as const)[i]
        await put(`set/inner/${part}/${name}/${i}.${format}`, await encoded('#808080', format))
      }
  const { train, heldOut } = await openImages(join(root, 'set'))
  assert.deepEqual([train.items.length, heldOut.items.length], [6, 4])
  for (let i = 0; i < 6; i++) assert.deepEqual(await pixelOf(train, i), [128, 128, 128])
})

test('a zip archive reads like the folder that it holds', async () => {
  const files: Record<string, Uint8Array> = {}
  for (const name of ['x', 'y'])
    for (let i = 0; i < 3; i++) files[`photos/${name}/${i}.jpg`] = await encoded('#ffffff', 'jpeg')
  files['__MACOSX/photos/x/._0.jpg'] = Uint8Array.of(1)
  files['photos/y/.hidden.png'] = Uint8Array.of(1)
  const path = await put('photos.zip', zipSync(files, { level: 0 }))
  const { train, heldOut } = await openImages(path)
  assert.deepEqual([train.classes, train.items.length + heldOut.items.length], [['x', 'y'], 6])
  assert.deepEqual(await pixelOf(train, 0), [255, 255, 255])
  assert.match(imageName(train.images, 0), /photos\.zip: photos\/x\/0\.jpg$/)
})

test('a CSV list gives paths and labels, with a heading or without', async () => {
  await put('list/one, two.png', await encoded('#000000'))
  await put('list/b.png', await encoded('#ffffff'))
  const rows = '"one, two.png",night\nb.png,day\n'
  const plain = await openImages(await put('list/plain.csv', rows), { heldOutFraction: 0 })
  const headed = await openImages(await put('list/headed.csv', `label,path\r\nnight,"one, two.png"\r\nday,b.png\r\n`), {
    heldOutFraction: 0,
  })
  for (const { train } of [plain, headed]) {
    assert.deepEqual(train.classes, ['day', 'night'])
    assert.deepEqual([...train.labels], [1, 0])
    assert.deepEqual(await pixelOf(train, 0), [0, 0, 0])
  }
  await refuses(await put('list/gone.csv', 'b.png,day\nc.png,day\n'), /gone\.csv: line 2: .*c\.png does not exist/)
  await refuses(
    await put('list/short.csv', 'b.png,day\nb.png\n'),
    /short\.csv: line 2: expected path,label, got 'b\.png'/,
  )
})

const idx = (shape: readonly number[], values: Uint8Array) => {
  const head = new DataView(new ArrayBuffer(4 + 4 * shape.length))
  head.setUint32(0, 0x0800 | shape.length)
  shape.forEach((extent, i) => {
    head.setUint32(4 + 4 * i, extent)
  })
  return Buffer.concat([Buffer.from(head.buffer), values])
}

test('IDX files, gzipped or not, with t10k held out', async () => {
  const pixels = Uint8Array.from({ length: 5 * 6 }, (_, i) => i)
  await put('idx/train-images-idx3-ubyte.gz', gzipSync(idx([5, 2, 3], pixels)))
  await put('idx/train-labels-idx1-ubyte.gz', gzipSync(idx([5], Uint8Array.of(0, 1, 2, 1, 0))))
  await put('idx/t10k-images-idx3-ubyte', idx([1, 2, 3], pixels.slice(0, 6)))
  await put('idx/t10k-labels-idx1-ubyte', idx([1], Uint8Array.of(2)))
  const { train, heldOut } = await openImages(join(root, 'idx'))
  assert.deepEqual([train.items.length, heldOut.items.length, train.classes], [5, 1, ['0', '1', '2']])
  assert.deepEqual((await readImage(train.images, 1, 1)).data, Uint8Array.of(6, 7, 8, 9, 10, 11))
  assert.deepEqual(await pixelOf(train, 1), [6, 6, 6])
  await put('cut/train-images-idx3-ubyte', idx([5, 2, 3], pixels).subarray(0, 40))
  await put('cut/train-labels-idx1-ubyte', idx([5], new Uint8Array(5)))
  await refuses(join(root, 'cut'), /train-images-idx3-ubyte: expected 46 bytes for 5 x 2 x 3 values, got 40/)
  await put('few/train-images-idx3-ubyte', idx([5, 2, 3], pixels))
  await put('few/train-labels-idx1-ubyte', idx([4], new Uint8Array(4)))
  await refuses(join(root, 'few'), /train-labels-idx1-ubyte: expected a label for each of 5 images, got 4/)
})

test('CIFAR-10 binaries, whose channels come first', async () => {
  const record = (label: number, red: number) =>
    Buffer.concat([Buffer.from([label]), Buffer.alloc(1024, red), Buffer.alloc(1024, 2), Buffer.alloc(1024, 3)])
  await put('cifar/data_batch_1.bin', Buffer.concat([record(6, 10), record(0, 11)]))
  await put('cifar/data_batch_2.bin', record(9, 12))
  await put('cifar/test_batch.bin', record(3, 13))
  const { train, heldOut } = await openImages(join(root, 'cifar'))
  assert.deepEqual([[...train.labels], [...heldOut.labels]], [[6, 0, 9], [3]])
  assert.deepEqual(await pixelOf(train, 2), [12, 2, 3])
  await put('wrong/data_batch_1.bin', record(10, 0))
  await refuses(join(root, 'wrong'), /data_batch_1\.bin: expected labels from 0 to 9, got 10 for .*image 0/)
  await put('broken/data_batch_1.bin', record(1, 0).subarray(0, 3000))
  await refuses(join(root, 'broken'), /data_batch_1\.bin: expected CIFAR-10 records of 3073 bytes, got 3000 bytes/)
})

test('palettes, alpha, CMYK, 16 bits, grey and EXIF orientation all become upright colour', async () => {
  const decode = async (bytes: Uint8Array) => {
    const { width, height, channels, data } = await decodeImage('image', bytes)
    return { shape: [width, height, channels], first: [...data.subarray(0, 3)] }
  }
  const red = { shape: [12, 10, 3], first: [255, 0, 0] }
  assert.deepEqual(await decode(await flat('#ff0000').png({ palette: true }).toBuffer()), red)
  const half = sharp({ create: { width: 12, height: 10, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 0 } } })
  assert.deepEqual((await decode(await half.png().toBuffer())).first, [255, 255, 255])
  const cmyk = await decode(await flat('#ff0000').toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer())
  assert.ok(cmyk.first[0] > 200 && cmyk.first[1] < 60 && cmyk.first[2] < 60, `${cmyk.first}`)
  const deep = await flat('#ff0000').toColourspace('rgb16').png().toBuffer()
  assert.equal(deep[24], 16)
  assert.deepEqual(await decode(deep), red)
  const grey = await flat('#404040').toColourspace('b-w').png().toBuffer()
  assert.deepEqual((await decode(grey)).first, [64, 64, 64])
  const turned = await flat('#ff0000').jpeg().withMetadata({ orientation: 6 }).toBuffer()
  assert.deepEqual((await decode(turned)).shape, [10, 12, 3])
})

test('files that are no whole images are refused by name', async () => {
  const png = await encoded('#123456', 'png', 64, 64)
  const noise = sharp(Buffer.from(Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 2654435761) >>> 24)), {
    raw: { width: 64, height: 64, channels: 3 },
  })
  const jpeg = await noise.jpeg().toBuffer()
  const bomb = Buffer.from(png)
  bomb.writeUInt32BE(60_000, 16)
  bomb.writeUInt32BE(60_000, 20)
  const cases: readonly (readonly [string, Uint8Array | string, RegExp])[] = [
    ['zero.png', '', /zero\.png: expected an image, the file is empty/],
    ['text.png', 'hello', /text\.png: expected PNG, JPEG or WebP, got something else/],
    ['picture.png', 'GIF89a......', /picture\.png: expected PNG, JPEG or WebP, got GIF; convert it first/],
    ['bomb.png', bomb, /bomb\.png: expected at most 100,000,000 pixels, got 60000 x 60000/],
    ['head.png', png.subarray(0, 20), /head\.png: .*the file ends inside its header/],
    ['cut.png', png.subarray(0, png.length - 30), /cut\.png: cannot be decoded; it is damaged or cut off/],
    ['cut.jpg', jpeg.subarray(0, jpeg.length / 2), /cut\.jpg: cannot be decoded; it is damaged or cut off/],
    ['head.jpg', jpeg.subarray(0, 30), /head\.jpg: .*the file ends inside its header/],
    ['nothing.jpg', Uint8Array.of(0xff, 0xd8, 0xff, 0xd9), /nothing\.jpg: expected a JPEG frame header/],
  ]
  for (const [file, bytes, expected] of cases) {
    const folder = file.replace('.', '-')
    for (let i = 0; i < 2; i++) await put(`${folder}/good/${i}.png`, png)
    await put(`${folder}/bad/${file}`, bytes)
    await refuses(join(root, folder), expected)
  }
})

test('damaged files never do worse than a DataError', async () => {
  const good = await Promise.all((['png', 'jpeg', 'webp'] as const).map((format) => encoded('#aabbcc', format)))
  const damage = fc.tuple(
    fc.constantFrom(...good),
    fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }),
    fc.option(fc.nat(300)),
  )
  await fc.assert(
    fc.asyncProperty(damage, async ([bytes, changes, length]) => {
      const broken = Buffer.from(bytes)
      for (const [at, value] of changes) broken[at % broken.length] = value
      const cut = length === null ? broken : broken.subarray(0, length)
      await decodeImage('broken', cut).catch((error) => assert.ok(error instanceof DataError, `${error.stack}`))
    }),
    { numRuns: 200 },
  )
})

test('headers give the size in every format', async () => {
  for (const format of ['png', 'jpeg', 'webp'] as const)
    assert.deepEqual(readImageHeader('x', await encoded('#fff', format, 33, 21)), { format, width: 33, height: 21 })
  const lossless = await flat('#fff', 33, 21).webp({ lossless: true }).toBuffer()
  assert.deepEqual(readImageHeader('x', lossless), { format: 'webp', width: 33, height: 21 })
  const alpha = sharp({ create: { width: 33, height: 21, channels: 4, background: { r: 1, g: 2, b: 3, alpha: 0.5 } } })
  assert.deepEqual(readImageHeader('x', await alpha.webp().toBuffer()), { format: 'webp', width: 33, height: 21 })
})

test('folders that are no image sets say what was expected', async () => {
  await put('loose/1.png', await encoded('#fff'))
  await put('loose/cats/1.png', await encoded('#fff'))
  await refuses(
    join(root, 'loose'),
    /loose: expected each image in a folder named for its class, but 1\.png lies in none/,
  )
  await put('empty/cats/1.png', await encoded('#fff'))
  await put('empty/dogs/readme.txt', 'none yet')
  await refuses(join(root, 'empty'), /empty: expected images in every class folder, but 'dogs' has none/)
  await put('none/readme.txt', '')
  await refuses(
    join(root, 'none'),
    /none: expected images \(PNG, JPEG or WebP\) in folders named for their classes, found none/,
  )
  await refuses(join(root, 'nowhere'), /nowhere: no such file or folder, and no data set of images \(mnist,/)
  await refuses(await put('data.bin', 'x'), /data\.bin: expected a folder, a zip archive or a CSV list of images/)
  await refuses(await put('bad.zip', 'x'), /bad\.zip: expected a zip archive/)
  const large = await put('large.zip', '')
  await truncate(large, 2 ** 30 + 1)
  await refuses(large, /large\.zip: expected an archive of at most 1073741824 bytes, got 1073741825; unpack it first/)
})

test('a held-out class that training lacks is an error; unused parts are left alone', () => {
  assert.throws(
    () => sortImagePaths('set', ['train/a/1.png', 'val/a/2.png', 'val/b/3.png']),
    /set: expected images in every class folder, but the training part of 'b' has none/,
  )
  const tree = sortImagePaths('set', ['train/a/1.png', 'val/a/2.png', 'test/a/3.png'])
  assert.deepEqual([tree.train.paths, tree.heldOut?.paths], [['train/a/1.png'], ['val/a/2.png']])
  const measured = sortImagePaths('set', ['test/a/3.png', 'test/b/x/4.png'])
  assert.equal(measured.heldOut, measured.train)
  assert.deepEqual([...measured.train.labels], [0, 1])
})

test('CSV fields in quotes may hold anything', () => {
  const field = fc.string({ minLength: 1 }).filter((text) => !/[\ufeff]/.test(text))
  fc.assert(
    fc.property(fc.array(fc.tuple(field, field), { minLength: 1 }), (rows) => {
      const text = rows.map((row) => row.map((each) => `"${each.replaceAll('"', '""')}"`).join(',')).join('\r\n')
      assert.deepEqual(
        readCsv('x', text).map(({ fields }) => fields),
        rows,
      )
    }),
  )
  assert.deepEqual(
    readCsv('x', 'a\tb\n\nc\td').map(({ fields, line }) => [...fields, line]),
    [
      ['a', 'b', 1],
      ['c', 'd', 3],
    ],
  )
  assert.throws(() => readCsv('list.csv', 'a,"b\nc'), /list\.csv: line 1: expected the end of a quoted field/)
  assert.throws(() => readCsv('list.csv', 'a,"b"c\n'), /line 1: expected a separator after a quoted field/)
})

const shared = fileURLToPath(new URL('../../../../../shared/data', import.meta.url))
for (const [name, size, train, heldOut] of [
  ['mnist', 28, 20_000, 10_000],
  ['fashion-mnist', 28, 15_000, 10_000],
  ['cifar10', 32, 10_000, 2_000],
  ['tiny-imagenet-100', 64, 6_000, 2_000],
] as const)
  test(`${name} opens by its name`, {
    skip: existsSync(join(shared, name)) ? false : `../shared/data/${name} is absent`,
  }, async () => {
    const split = await openImages(name)
    assert.deepEqual([split.train.items.length, split.heldOut.items.length], [train, heldOut])
    assert.equal(split.train.classes.length, name === 'tiny-imagenet-100' ? 100 : 10)
    assert.deepEqual(split.train.classes, split.heldOut.classes)
    const { width, height } = await readImage(split.heldOut.images, split.heldOut.items[7], 3)
    assert.deepEqual([width, height], [size, size])
    const few = firstOfEachClass(split.train, 2)
    assert.equal(few.items.length, 2 * few.classes.length)
    const again = splitByHash(split.train, 0.1)
    assert.ok(Math.abs(again.heldOut.items.length / train - 0.1) < 0.02, `${again.heldOut.items.length}`)
  })

test('a registered set that is not there says where it may be put', async () => {
  await assert.rejects(
    openImages('mnist', { dataRoot: root }),
    /no such file; say by --data-root where the data set 'mnist' is/,
  )
})
