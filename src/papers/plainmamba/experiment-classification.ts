// Part 1: classifying small images, beside Vim at equal parameters (and, beside the claim, at equal operations); and what
// each of PlainMamba's choices brings.
import type { Criterion, Method, Part } from '../../experiments/experiment.js'
import { plainMini, vimMini } from '../../experiments/image-minis.js'
import {
  accuracyPlot,
  accuracyPoints,
  imageGrid,
  imageSizes,
  imageTuneBy,
  trainMethod,
} from '../../experiments/image-recipe.js'
import type { PlainMambaConfig } from '../../models/plainmamba.js'

/** One thing changed; what the criterion calls it. */
const ablations = {
  raster: { label: 'raster paths', changes: { path: 'cross' } },
  undirected: { label: 'no vectors for directions', changes: { directionAware: false } },
  aligned: { label: 'step size, B and C along the path', changes: { alignScanParams: true } },
  patches: { label: 'a plain 4 x 4 patch embedding', changes: { stem_channels: 0 } },
} as const satisfies Record<string, { label: string; changes: Partial<PlainMambaConfig> }>
const ablationNames = Object.keys(ablations) as (keyof typeof ablations)[]
const ofAblations = <T>(make: (name: keyof typeof ablations) => T): Record<string, T> =>
  Object.fromEntries(ablationNames.map((name) => [name, make(name)]))

const models = {
  plain: () => plainMini(),
  vim: () => vimMini(),
  wide: () => vimMini(72),
  ...ofAblations((name) => () => plainMini(32, 0, ablations[name].changes)),
}
const tuned = { learningRate: 4e-3 }

export const classificationPart: Part = {
  name: 'classification',
  title: 'Images of CIFAR-10',
  version: 1,
  data: ['cifar10'],
  sizes: imageSizes,
  methods: {
    plain: { label: 'PlainMamba-mini', tuned, grid: imageGrid, seconds: 120 },
    vim: { label: 'Vim-mini', tuned, grid: imageGrid, seconds: 110 },
    wide: {
      label: 'Vim-mini of equal operations',
      tuned,
      grid: [],
      seconds: 140,
      only: ['quick', 'full'],
    },
    ...ofAblations(
      (name): Method => ({
        label: `PlainMamba-mini, ${ablations[name].label}`,
        tuned,
        grid: [],
        seconds: 120,
        only: ['quick', 'full'],
        seeds: 1,
      }),
    ),
  },
  standIns: { plain: 'vim' },
  tuneBy: imageTuneBy,
  criteria: [
    {
      name: 'vim',
      statement: 'accuracy over Vim-mini of equal parameters',
      method: 'plain',
      minus: 'vim',
      expected: 0.03,
      failure: 0.01,
      ...accuracyPoints,
    },
    {
      name: 'operations',
      statement: 'accuracy over Vim-mini of equal operations',
      method: 'plain',
      minus: 'wide',
      expected: 0,
      decides: false,
      ...accuracyPoints,
    },
    ...ablationNames.map(
      (name): Criterion => ({
        name: `against ${name}`,
        statement: `accuracy over itself with ${ablations[name].label}`,
        method: 'plain',
        minus: name,
        expected: 0,
        decides: false,
        ...accuracyPoints,
      }),
    ),
  ],
  plots: [accuracyPlot],
  measure: trainMethod(models),
}
