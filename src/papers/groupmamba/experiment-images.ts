// Part 1: classifying small images, scans of quarters beside scans of all channels, with and without a teacher. Part 2: what
// a training step of each takes.
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import {
  accuracyPlot,
  accuracyPoints,
  imageGrid,
  imageSizes,
  imageTuneBy,
  timeRatios,
  timesFaster,
  timeTraining,
  trainingSpeed,
  trainMethod,
  trainOnCifar,
} from '../../experiments/image-recipe.js'
import { GatedCnnMini } from '../../models/gated-cnn.js'
import { GroupMambaMini, widths } from './experiment-models.js'

/** GroupMamba widened to the parameters of the network that scans all channels. */
const wideWidths = [32, 68, 136]
const teacherWidths = [48, 96, 192]

const plain = { widths, grouped: true, distilled: false }
const models = {
  group: () => new GroupMambaMini(plain),
  wide: () => new GroupMambaMini({ ...plain, widths: wideWidths }),
  ungrouped: () => new GroupMambaMini({ ...plain, grouped: false }),
  distilled: () => new GroupMambaMini({ ...plain, distilled: true }),
}

async function measure(context: UnitContext): Promise<Measured> {
  if (context.method !== 'distilled') return trainMethod(models)(context)
  const model = models.distilled()
  const teacher = new GatedCnnMini(teacherWidths)
  const taught = await trainOnCifar(context, teacher, { steps: 2 * context.sizes.steps, name: 'teacher' })
  teacher.eval()
  const distillation = { teacher, kind: 'hard', alpha: 0.5, temperature: 1 } as const
  const measured = await trainOnCifar(context, model, { distillation, name: 'student' })
  const { accuracy, ...tuning } = taught.numbers
  teacher.dispose()
  model.dispose()
  return {
    ...measured,
    numbers: { ...measured.numbers, 'accuracy of the teacher': accuracy ?? tuning['tuning accuracy'] },
  }
}

const tuned = { learningRate: 2e-3 }

export const classificationPart: Part = {
  name: 'classification',
  title: 'Images of CIFAR-10',
  version: 1,
  data: ['cifar10'],
  sizes: imageSizes,
  methods: {
    group: { label: 'GroupMamba-mini', tuned, grid: imageGrid, seconds: 90 },
    wide: { label: 'GroupMamba-mini, widened', tuned, grid: imageGrid, seconds: 100 },
    ungrouped: { label: 'all channels in four directions', tuned, grid: imageGrid, seconds: 110 },
    distilled: {
      label: 'GroupMamba-mini with a teacher',
      tuned,
      grid: [],
      seconds: 260,
      only: ['quick', 'full'],
    },
  },
  standIns: { group: 'ungrouped', wide: 'ungrouped' },
  tuneBy: imageTuneBy,
  criteria: [
    {
      name: 'same widths',
      statement: 'accuracy over the ungrouped network of the same widths',
      method: 'group',
      minus: 'ungrouped',
      expected: -0.02,
      ...accuracyPoints,
    },
    {
      name: 'same parameters',
      statement: 'accuracy over the ungrouped network of the same parameters',
      method: 'wide',
      minus: 'ungrouped',
      expected: -0.01,
      ...accuracyPoints,
    },
    {
      name: 'teacher',
      statement: 'accuracy with a teacher over that without',
      method: 'distilled',
      minus: 'group',
      expected: 0,
      failure: -0.01,
      ...accuracyPoints,
    },
    {
      name: 'gradients',
      statement: 'largest gradient norm in the last two thirds of training, with a teacher over without',
      metric: 'largest gradient',
      method: 'distilled',
      minus: 'group',
      better: 'lower',
      expected: 0,
      decides: false,
      digits: 2,
    },
  ],
  plots: [accuracyPlot],
  measure,
}

async function measureSpeed(context: UnitContext): Promise<Measured> {
  const stands = context.method === 'ungrouped'
  // Whoever stands in for GroupMamba is timed in its place.
  const seconds = await timeTraining(
    context,
    {
      group: models[stands ? 'ungrouped' : 'group'](),
      wide: models[stands ? 'ungrouped' : 'wide'](),
      ungrouped: models.ungrouped(),
    },
    { batch: context.sizes.batch, rounds: context.sizes.rounds },
  )
  return {
    numbers: {},
    items: {
      'of group': timeRatios(seconds.ungrouped, seconds.group),
      'of wide': timeRatios(seconds.ungrouped, seconds.wide),
    },
    series: {},
  }
}

const times = { method: 'group', ...timesFaster } as const

export const speedPart: Part = {
  ...trainingSpeed,
  methods: {
    group: { label: 'GroupMamba-mini', tuned: {}, grid: [], seconds: 30 },
    ungrouped: { label: 'all channels in four directions', tuned: {}, grid: [], seconds: 30 },
  },
  standIns: { group: 'ungrouped' },
  criteria: [
    {
      name: 'same widths',
      statement: 'time of the ungrouped network, of that of the same widths',
      metric: 'of group',
      expected: 1.25,
      failure: 1,
      ...times,
    },
    {
      name: 'same parameters',
      statement: 'time of the ungrouped network, of that of the same parameters',
      metric: 'of wide',
      expected: 1,
      ...times,
    },
  ],
  measure: measureSpeed,
}
