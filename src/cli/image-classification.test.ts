// A user's folder of JPEG files, end to end on the command line: train, resume, measure, predict, fine-tune, describe; and
// what wrong input is answered with.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { Draws } from '../data/draws.js'
import { useDevice } from '../pipeline/device.js'
import { pipeline } from '../pipeline/pipeline.js'
import { train } from '../pipeline/train.node.js'

const bin = fileURLToPath(new URL('../../../bin/mambakit.mjs', import.meta.url))
let root = ''

interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}
const mambakit = (...args: string[]): Promise<Outcome> =>
  new Promise((done) => {
    const options = { env: { ...process.env, NO_COLOR: '1' }, cwd: root }
    execFile(process.execPath, [bin, ...args], options, (error, stdout, stderr) =>
      done({ code: Number(error?.code ?? 0), stdout, stderr }),
    )
  })
async function succeed(...args: string[]): Promise<Outcome> {
  const outcome = await mambakit(...args)
  assert.equal(outcome.code, 0, outcome.stderr)
  return outcome
}
async function fail(message: RegExp, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await mambakit(...args)
  assert.notEqual(code, 0, stdout)
  assert.match(stderr, message)
  assert.equal(stderr.trim().split('\n').length, 1, stderr)
}

const colors = { red: [200, 40, 40], green: [40, 180, 60], blue: [40, 60, 210] } as const
async function photograph(path: string, color: readonly number[], seed: number): Promise<void> {
  const draws = new Draws(seed)
  const data = Uint8Array.from({ length: 40 * 36 * 3 }, (_, i) => color[i % 3] + draws.uniform(-35, 35))
  await sharp(data, { raw: { width: 40, height: 36, channels: 3 } })
    .jpeg()
    .toFile(path)
}
async function photographs(folder: string, names: readonly (keyof typeof colors)[], count: number): Promise<void> {
  for (const name of names) {
    await mkdir(join(root, folder, name), { recursive: true })
    for (let i = 0; i < count; i++)
      await photograph(join(root, folder, name, `${i}.jpg`), colors[name], i + 100 * name.length)
  }
}

const small = ['--set', 'depth=1', '--set', 'embed_dim=32', '--batch', '16']
const training = ['train', 'image-classification', ...small]

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'mambakit-classify-'))
  await photographs('photos', ['red', 'blue'], 24)
  await photographs('more', ['red', 'green', 'blue'], 16)
})
after(() => rm(root, { recursive: true, force: true }))

test('trains, measures and predicts, and needs nothing but the run folder for it', async () => {
  const { stderr } = await succeed(...training, '--data', 'photos', '--steps', '40', '--out', 'run')
  assert.match(stderr, /\d+ parameters, \d+ images to train on, \d held out/)
  assert.match(stderr, /step 40: held out missed 0\.0000, top-1 1\.0000, top-5 1\.0000, loss 0\.\d+ \(best so far\)/)

  const measured = await succeed('eval', 'run', '--data', 'photos')
  assert.match(measured.stdout, /^top-1 100\.00 %, top-5 100\.00 %, loss 0\.\d+ nats over 48 images\n/)
  assert.match(measured.stdout, /\n1 blue +24 +100\.00 % +24 +0\n2 red +24 +100\.00 % +0 +24\n/)
  const json = JSON.parse((await succeed('eval', 'run', '--data', 'photos', '--json')).stdout)
  assert.deepEqual(json.labels, ['blue', 'red'])
  assert.deepEqual(json.confusion, [
    [24, 0],
    [0, 24],
  ])
  assert.equal(json.correct.length, 48)

  const told = await succeed('predict', 'run', 'photos/red/3.jpg', 'photos/blue', '--top', '2')
  const lines = told.stdout
    .trim()
    .split('\n')
    .map((line) => line.split('\t'))
  assert.equal(lines.length, 25)
  assert.deepEqual(lines[0].slice(0, 2), ['photos/red/3.jpg', 'red'])
  assert.ok(lines.slice(1).every(([, label]) => label === 'blue'))
  assert.ok(Math.abs(Number(lines[0][2]) + Number(lines[0][4]) - 1) < 1e-3)
  const [first] = (await succeed('predict', 'run', 'photos/red/3.jpg', '--json')).stdout
    .split('\n')
    .map((line) => line && JSON.parse(line))
  assert.equal(first.file, 'photos/red/3.jpg')
  assert.deepEqual([first.labels.length, first.labels[0].label], [1, 'red'])

  // The library says the same of bytes and of a path.
  await useDevice('cpu', { announce: () => {} })
  const classify = await pipeline('image-classification', join(root, 'run'))
  const path = join(root, 'photos/red/3.jpg')
  const byPath = await classify(path, { topK: 2 })
  assert.deepEqual(byPath, await classify(await readFile(path), { topK: 2 }))
  assert.deepEqual(await classify([path, path], { topK: 1 }), [[byPath[0]], [byPath[0]]])
  assert.ok(Math.abs(byPath[0].score - first.labels[0].score) < 1e-6)
  classify.dispose()
})

test('an interrupted run goes on to what an uninterrupted one comes to', async () => {
  await useDevice('cpu', { announce: () => {} })
  const options = {
    data: join(root, 'photos'),
    settings: { depth: 1, embed_dim: 32 },
    batch: 8,
    steps: 8,
    augmentation: 'strong',
  } as const
  const losses = async (out: string, stopAt: number, resume = false) => {
    const run = train('image-classification', { ...options, out: join(root, out), resume, workers: resume ? 0 : 2 })
    const seen: number[] = []
    for await (const event of run) {
      if (event.type !== 'step') continue
      seen.push(event.loss)
      if (event.step === stopAt) run.stop()
    }
    return seen
  }
  const whole = await losses('whole', 8)
  const parts = [...(await losses('parts', 3)), ...(await losses('parts', 8, true))]
  assert.equal(whole.length, 8)
  assert.deepEqual(parts, whole)
})

test('a checkpoint is fine-tuned for other classes with a head of their own, and learned from', async () => {
  const tuned = await succeed(
    'train',
    'image-classification',
    '--data',
    'more',
    '--from',
    'run',
    '--steps',
    '40',
    '--batch',
    '16',
    '--out',
    'tuned',
  )
  assert.match(tuned.stderr, /started from run\/best\/model\.safetensors; head made anew for 3 classes \(it had 2\)/)
  assert.match((await succeed('predict', 'tuned', 'more/green/1.jpg')).stdout, /^more\/green\/1\.jpg\tgreen\t/)
  const kept = await succeed(
    'train',
    'image-classification',
    '--data',
    'photos',
    '--from',
    'run',
    '--steps',
    '1',
    '--batch',
    '8',
    '--out',
    'kept',
  )
  assert.match(kept.stderr, /started from run\/best\/model\.safetensors, head included/)
  const taught = await succeed(
    ...training,
    '--data',
    'more',
    '--teacher',
    'tuned',
    '--distillation',
    'soft',
    '--recompute',
    '--average-decay',
    '0.5',
    '--steps',
    '30',
    '--out',
    'taught',
  )
  assert.match(taught.stderr, /step 30: held out missed/)
  await fail(
    /run: expected a teacher of the labels of the data \(3\)/,
    ...training,
    '--data',
    'more',
    '--teacher',
    'run',
    '--out',
    'x1',
  )
})

test('a list names its images, and others to measure on are counted by its labels', async () => {
  const rows = (count: number, names: readonly string[]) =>
    names.flatMap((name) => Array.from({ length: count }, (_, i) => `${name}/${i}.jpg,${name}`)).join('\n')
  await writeFile(join(root, 'photos/list.csv'), `path,label\n${rows(12, ['red', 'blue'])}\n`)
  await writeFile(join(root, 'more/red.csv'), `${rows(9, ['red'])}\n`)
  const { stderr } = await succeed(
    ...training,
    '--data',
    'photos/list.csv',
    '--held-out',
    'more/red.csv',
    '--steps',
    '20',
    '--out',
    'listed',
  )
  assert.match(stderr, / 24 images to train on, 9 held out,/)
  const json = JSON.parse((await succeed('eval', 'listed', '--data', 'more/red.csv', '--json')).stdout)
  assert.deepEqual([json.images, json.perClass[0].images, json.confusion[1]], [9, 0, [0, 9]])
  await fail(
    /has the class 'green'; expected one of blue, red/,
    ...training,
    '--data',
    'photos/list.csv',
    '--held-out',
    'more',
    '--out',
    'x',
  )
})

test('info describes models by name, by run and at another size', async () => {
  const { stdout } = await succeed('info', 'vit-mini')
  assert.match(stdout, /parameters +809,098\ninput +1 x 32 x 32 x 3, 10 classes\n/)
  const facts = JSON.parse(
    (await succeed('info', 'vit-mini', '--input-size', '64', '--batch', '2', '--classes', '7', '--json')).stdout,
  )
  assert.deepEqual([facts.size, facts.batch, facts.classes], [64, 2, 7])
  // Sixteen by sixteen tokens, twice: patches, four layers (qkv, scores, sums, projection, MLP), the head.
  const [tokens, d] = [256, 128]
  const layer = tokens * 12 * d * d + 2 * tokens * tokens * d
  assert.equal(facts.flops, 2 * 2 * (tokens * 48 * d + 4 * layer + d * 7))
  assert.equal(JSON.parse((await succeed('info', 'run', '--json')).stdout).classes, 2)
})

test('wrong input is answered by one line that names it', async () => {
  await fail(
    /no image model is called 'vit-mii'; give a config\.json, a trained model, or one of vit-mini/,
    ...training,
    '--data',
    'photos',
    '--model',
    'vit-mii',
    '--out',
    'x',
  )
  await fail(
    /vit: has no setting 'width'; expected one of patch_size/,
    ...training,
    '--data',
    'photos',
    '--set',
    'width=3',
    '--out',
    'x',
  )
  await fail(
    /vit: expected an image size that the patch size 4 divides, got 30/,
    ...training,
    '--data',
    'photos',
    '--input-size',
    '30',
    '--out',
    'x',
  )
  await fail(
    /nowhere: no such file or folder, and no data set of images/,
    ...training,
    '--data',
    'nowhere',
    '--out',
    'x',
  )
  await fail(/has the class 'green'; expected one of blue, red/, 'eval', 'run', '--data', 'more')
  await fail(
    /--length: belongs to lm; run is a model for image-classification/,
    'eval',
    'run',
    '--data',
    'photos',
    '--length',
    '8',
  )
  await fail(/run: holds a run already; continue it with --resume/, ...training, '--data', 'photos', '--out', 'run')
  await fail(/--set: |expected name=value/, ...training, '--data', 'photos', '--set', 'depth', '--out', 'x')
  await fail(/photos\/none\.jpg: no such file or folder/, 'predict', 'run', 'photos/none.jpg')
  await fail(/no model is called 'vit-mii'; .* one of mamba-tiny, .*vit-mini/, 'info', 'vit-mii')
  await fail(/there is no 'predict'/, 'predict', 'mamba-tiny', 'photos/red/1.jpg')
  await writeFile(join(root, 'broken.jpg'), (await readFile(join(root, 'photos/red/1.jpg'))).subarray(0, 400))
  await fail(/broken\.jpg: cannot be decoded; it is damaged or cut off/, 'predict', 'run', 'broken.jpg')
  await photographs('one', ['red'], 3)
  await fail(/one: expected at least 2 classes, got only 'red'/, ...training, '--data', 'one', '--out', 'x')
  const config = JSON.parse(await readFile(join(root, 'run/best/config.json'), 'utf8'))
  await mkdir(join(root, 'odd'))
  await writeFile(join(root, 'odd/model.safetensors'), await readFile(join(root, 'run/best/model.safetensors')))
  await writeFile(
    join(root, 'odd/config.json'),
    JSON.stringify({ ...config, preprocessing: { ...config.preprocessing, mean: [0.5] } }),
  )
  await fail(
    /odd\/config\.json: preprocessing\.mean: expected 3 numbers, got \[0\.5\]/,
    'predict',
    'odd',
    'photos/red/1.jpg',
  )
})
