// The command line of image classification: `train image-classification`, and `eval`, `predict` and `info` of its models.
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { ClassificationReport } from '../../tasks/image-classification.js'
import { integerOption, numberOption } from '../command.js'
import { useChosenDevice } from '../device.js'
import { formatBytes, formatTable } from '../table.js'
import type { CliTask, TaskAction } from '../task.js'

/** Of `setUpImageClassifier`; written out, so that asking for help loads nothing. */
const augmentations = ['none', 'small', 'photo', 'strong']

const dataForms =
  'a folder with a folder for each class (below train/ and val/, or not), a zip archive of such, a CSV list (path,label), or a registered set: mnist, fashion-mnist, cifar10, tiny-imagenet-100'

const addData = (command: Command) =>
  command.option(
    '--data-root <folder|address>',
    'where registered data sets are; default: ../shared/data beside a clone',
  )

/** Collects --set name=value; a value is JSON, or else text. */
function collectSetting(text: string, before: Record<string, unknown> = {}): Record<string, unknown> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('expected name=value')
  const value = text.slice(at + 1)
  try {
    return { ...before, [text.slice(0, at)]: JSON.parse(value) }
  } catch {
    return { ...before, [text.slice(0, at)]: value }
  }
}

const train: CliTask['train'] = {
  description: 'image classifier, from nothing or from a checkpoint',
  examples: [
    ['mambakit train image-classification --data photos/ --out runs/photos', 'a folder with a folder for each class'],
    [
      'mambakit train image-classification --data photos/ --model plainmamba-l1 --augmentation strong --out runs/l1',
      'a published model',
    ],
    [
      'mambakit train image-classification --data cats/ --from runs/photos --steps 200 --out runs/cats',
      'fine-tune for other classes',
    ],
    [
      'mambakit train image-classification --data photos/ --teacher runs/large --distillation soft --out runs/small',
      'learn from another model',
    ],
  ],
  options: (command) =>
    addData(command.requiredOption('--data <path|name>', dataForms))
      .option('--held-out <path>', 'images to measure on; default: val/ or test/ of the data, else a tenth of it')
      .option('--model <name|config.json>', 'a model of `mambakit info`, or a configuration; default: vit-mini')
      .option('--set <name=value>', "a setting of the model's constructor; may be given again", collectSetting)
      .option('--from <model>', 'start from a trained model or a file of weights; other classes get a new head')
      .option('--batch <n>', 'images a batch', integerOption('--batch', 1), 64)
      .option(
        '--input-size <n>',
        'height and width that the model sees; default: by --from, the data, the model',
        integerOption('--input-size', 1),
      )
      .addOption(
        new Option('--augmentation <kind>', 'default: photo above 64 pixels, else small').choices(augmentations),
      )
      .option('--flip <p>', 'probability of a horizontal flip', numberOption('--flip', 0, 1))
      .option('--label-smoothing <s>', 'share given to all classes', numberOption('--label-smoothing', 0, 0.99), 0.1)
      .option('--teacher <model>', 'a trained model of the same labels whose answers are learned too')
      .addOption(
        new Option('--distillation <kind>', "the teacher's best class, or its distribution")
          .choices(['hard', 'soft'])
          .default('hard'),
      )
      .option('--alpha <share>', "weight of the teacher's answers", numberOption('--alpha', 0, 1), 0.5)
      .option('--temperature <t>', 'of soft distillation', numberOption('--temperature', 0.01), 3)
      .option('--recompute', 'compute blocks again in the backward: less memory, more time', false)
      .option('--workers <n>', 'threads that prepare images; default: one core in four', integerOption('--workers'))
      .option(
        '--evaluation-images <n>',
        'held-out images to measure on at most',
        integerOption('--evaluation-images', 1),
      ),
  defaults: { learningRate: 0.001, weightDecay: 0.05, clipNorm: 5 },
  async start({ inputSize, set, ...options }) {
    const { train } = await import('../../pipeline/train.node.js')
    const given = { ...options, size: inputSize, settings: set }
    return train('image-classification', given as unknown as Parameters<typeof train<'image-classification'>>[1])
  },
}

interface EvaluateOptions {
  data: string[]
  dataRoot?: string
  batch?: number
  workers?: number
  json: boolean
}

const evaluate: TaskAction<EvaluateOptions> = {
  options: (command) =>
    addData(command)
      .option('--batch <n>', 'computed at once; default: 4 windows, 64 images', integerOption('--batch', 1))
      .option('--workers <n>', 'threads that prepare images; default: one core in four', integerOption('--workers')),
  async run(path, { data, json, ...options }, globals) {
    const [{ loadImageModel }, { evaluateImages }] = await Promise.all([
      import('../../pipeline/load-image.node.js'),
      import('../../pipeline/evaluate-images.node.js'),
    ])
    const backend = await useChosenDevice(globals)
    const model = await loadImageModel(path, { backend })
    const report = await evaluateImages(model, data, options)
    const { labels } = model
    process.stdout.write(json ? `${JSON.stringify({ labels, ...report })}\n` : `${reportText(report, labels)}\n`)
  },
}

/** Wider matrices are no help on a terminal: the commonest confusions are listed instead. */
const widestMatrix = 12

function reportText(
  { images, top1, top5, loss, perClass, confusion }: ClassificationReport,
  labels: readonly string[],
): string {
  const percent = (share: number) => (Number.isNaN(share) ? null : `${(100 * share).toFixed(2)} %`)
  const lines = [
    `top-1 ${percent(top1)}, top-5 ${percent(top5)}, loss ${loss.toFixed(4)} nats over ${images.toLocaleString('en')} images`,
    '',
  ]
  const right = 'right' as const
  if (labels.length <= widestMatrix) {
    const columns = [
      { title: 'label' },
      { title: 'images', align: right },
      { title: 'top-1', align: right },
      ...labels.map((_, k) => ({ title: `${k + 1}`, align: right })),
    ]
    const rows = labels.map((label, k) => [
      `${k + 1} ${label}`,
      perClass[k].images,
      percent(perClass[k].top1),
      ...confusion[k],
    ])
    return [
      ...lines,
      ...formatTable(columns, rows),
      '',
      'Columns: how often an image of the row was told as that label.',
    ].join('\n')
  }
  const rows = labels.map((label, k) => [label, perClass[k].images, percent(perClass[k].top1)])
  lines.push(
    ...formatTable([{ title: 'label' }, { title: 'images', align: right }, { title: 'top-1', align: right }], rows),
  )
  const wrong = confusion
    .flatMap((row, k) => row.map((count, told) => ({ count, k, told })))
    .filter(({ count, k, told }) => count > 0 && k !== told)
    .sort((a, b) => b.count - a.count)
    .slice(0, 10)
  if (wrong.length > 0)
    lines.push(
      '',
      ...formatTable(
        [{ title: 'most confused' }, { title: 'told as' }, { title: 'images', align: right }],
        wrong.map(({ count, k, told }) => [labels[k], labels[told], count]),
      ),
    )
  return lines.join('\n')
}

interface PredictOptions {
  files: readonly string[]
  top: number
  batch: number
  json: boolean
}

const predict: TaskAction<PredictOptions> = {
  options: (command) =>
    command
      .option('--top <k>', 'labels an image, best first', integerOption('--top', 1), 1)
      .option('--batch <n>', 'images computed at once', integerOption('--batch', 1), 16),
  async run(path, { files, top, batch, json }, globals) {
    const [{ loadImageModel }, { findFiles }, { imageExtensions }] = await Promise.all([
      import('../../pipeline/load-image.node.js'),
      import('../../data/files.node.js'),
      import('../../data/images/header.js'),
    ])
    const names = (await findFiles(files, imageExtensions)).map(({ name }) => name)
    const model = await loadImageModel(path, { backend: await useChosenDevice(globals) })
    for (let first = 0; first < names.length; first += batch) {
      const some = names.slice(first, first + batch)
      const results = await model.classify(some, { topK: top, batch })
      for (const [i, labels] of results.entries()) {
        const text = labels.map(({ label, score }) => `${label}\t${score.toFixed(4)}`).join('\t')
        process.stdout.write(json ? `${JSON.stringify({ file: some[i], labels })}\n` : `${some[i]}\t${text}\n`)
      }
    }
  },
}

interface InfoOptions {
  batch: number
  inputSize?: number
  classes?: number
  json: boolean
}

const info: TaskAction<InfoOptions> = {
  options: (command) =>
    command
      .option('--batch <n>', 'sequences or images', integerOption('--batch', 1), 1)
      .option(
        '--input-size <n>',
        'height and width of an image; default: that of the model',
        integerOption('--input-size', 1),
      )
      .option('--classes <n>', "classes to tell apart; default: the model's own", integerOption('--classes', 1)),
  async run(name, { json, ...options }) {
    const { describeImageModel } = await import('../../pipeline/describe-image-model.node.js')
    const facts = await describeImageModel(name, options)
    if (json) {
      process.stdout.write(`${JSON.stringify(facts, null, 2)}\n`)
      return
    }
    const { batch, size, channels, classes } = facts
    const giga = (count: number) => (count / 1e9).toFixed(3)
    const rows = [
      ['model', facts.note],
      ['parameters', facts.parameters.toLocaleString('en')],
      ['input', `${batch} x ${size} x ${size} x ${channels}, ${classes} classes`],
      ['operations, forward', `${giga(facts.flops)} GFLOP (as papers count: ${giga(facts.publishedFlops)} G)`],
      ['state updates, forward', facts.stateUpdates.toLocaleString('en')],
      ['weights, float32', formatBytes(facts.weightBytes)],
      ['memory, inference', formatBytes(facts.inferenceBytes)],
      [
        'memory, training',
        `${formatBytes(facts.trainingBytes)} (AdamW); recomputing blocks ${formatBytes(facts.recomputedBytes)}`,
      ],
    ]
    process.stdout.write(`${formatTable([{ title: name }, { title: '' }], rows).join('\n')}\n`)
  },
}

export const imageClassification: CliTask = {
  name: 'image-classification',
  train,
  names: async () => (await import('../../papers/image-models.js')).imageModelNames(),
  // What training writes, or what a user writes for it: the name of a model, with settings.
  owns: ({ model_type, model }) =>
    model_type === 'image-classification' || (model_type === undefined && typeof model === 'string'),
  evaluate,
  predict,
  info,
}
