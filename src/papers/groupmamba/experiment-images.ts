// Part 1: classifying small images, scans of quarters beside scans of all channels, with and without a teacher. Part 2: what
// a training step of each takes.
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import {
  imageGrid,
  imageSizes,
  imageTuneBy,
  timeRatios,
  timeTraining,
  trainOnCifar,
} from '../../experiments/image-recipe.js'
import { GatedCnnMini } from '../../models/gated-cnn.js'
import { GroupMambaMini } from './experiment-models.js'

const widths = [32, 64, 128]
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
type Name = keyof typeof models

async function measure(context: UnitContext): Promise<Measured> {
  const model = models[context.method as Name]()
  if (context.method !== 'distilled') {
    const measured = await trainOnCifar(context, model)
    model.dispose()
    return measured
  }
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

const points = { metric: 'correct', better: 'higher', factor: 100, unit: 'points', digits: 1 } as const
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
    distilled: { label: 'GroupMamba-mini with a teacher', tuned, grid: [], seconds: 260 },
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
      ...points,
    },
    {
      name: 'same parameters',
      statement: 'accuracy over the ungrouped network of the same parameters',
      method: 'wide',
      minus: 'ungrouped',
      expected: -0.01,
      ...points,
    },
    {
      name: 'teacher',
      statement: 'accuracy with a teacher over that without',
      method: 'distilled',
      minus: 'group',
      expected: 0,
      failure: -0.01,
      ...points,
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
  plots: [
    {
      name: 'accuracy',
      title: 'Test accuracy during training',
      series: 'accuracy',
      x: { label: 'step' },
      y: { label: 'top-1 accuracy' },
      marks: [{ y: 0.1, label: 'chance' }],
    },
  ],
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

const times = { better: 'higher', statistic: 'median', unit: 'times', digits: 2, method: 'group' } as const

export const speedPart: Part = {
  name: 'speed',
  title: 'Time of a training step',
  version: 1,
  timed: true,
  seeds: 1,
  sizes: {
    quick: { batch: 8, rounds: 3 },
    default: { batch: 64, rounds: 30 },
    full: { batch: 64, rounds: 30 },
  },
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
  plots: [],
  measure: measureSpeed,
}
