// Part 1: classifying small images, with and without selective scans behind the convolutions; and what a training step of
// each takes.
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
} from '../../experiments/image-recipe.js'
import { miniOf } from './experiment-models.js'

const models = {
  mambaout: () => miniOf(null),
  one: () => miniOf('rows'),
  four: () => miniOf('cross'),
}

export const classificationPart: Part = {
  name: 'classification',
  title: 'Images of CIFAR-10',
  version: 1,
  data: ['cifar10'],
  sizes: imageSizes,
  methods: {
    mambaout: { label: 'MambaOut-mini', tuned: { learningRate: 2e-3 }, grid: imageGrid, seconds: 60 },
    one: { label: 'with scans in one direction', tuned: { learningRate: 2e-3 }, grid: imageGrid, seconds: 75 },
    four: { label: 'with scans in four directions', tuned: { learningRate: 4e-3 }, grid: imageGrid, seconds: 110 },
  },
  standIns: { mambaout: 'one' },
  tuneBy: imageTuneBy,
  criteria: [
    {
      name: 'one direction',
      statement: 'accuracy over the network with scans in one direction',
      method: 'mambaout',
      minus: 'one',
      expected: 0,
      failure: -0.005,
      ...accuracyPoints,
    },
    {
      name: 'four directions',
      statement: 'accuracy over the network with scans in four directions',
      method: 'mambaout',
      minus: 'four',
      expected: 0,
      failure: -0.005,
      ...accuracyPoints,
    },
  ],
  plots: [accuracyPlot],
  measure: trainMethod(models),
}

async function measureSpeed(context: UnitContext): Promise<Measured> {
  const { batch, rounds } = context.sizes
  // Whoever stands in for MambaOut is timed in its place.
  const own = models[context.method as keyof typeof models]
  const seconds = await timeTraining(context, { own: own(), one: models.one(), four: models.four() }, { batch, rounds })
  return {
    numbers: {},
    items: { 'of one': timeRatios(seconds.one, seconds.own), 'of four': timeRatios(seconds.four, seconds.own) },
    series: {},
  }
}

const times = { metric: 'of one', ...timesFaster } as const

export const speedPart: Part = {
  ...trainingSpeed,
  methods: {
    mambaout: { label: 'MambaOut-mini', tuned: {}, grid: [], seconds: 25 },
    one: { label: 'with scans in one direction', tuned: {}, grid: [], seconds: 25 },
  },
  standIns: { mambaout: 'one' },
  criteria: [
    {
      name: 'one direction',
      statement: 'time of the network with scans in one direction, of MambaOut-mini’s',
      method: 'mambaout',
      expected: 1.2,
      failure: 1,
      ...times,
    },
    {
      name: 'four directions',
      statement: 'time of the network with scans in four directions, of MambaOut-mini’s',
      method: 'mambaout',
      expected: 2,
      failure: 1,
      ...times,
      metric: 'of four',
    },
  ],
  measure: measureSpeed,
}
