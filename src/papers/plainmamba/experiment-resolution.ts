// Part 2: what a token costs as the image grows: from 8 x 8 to 64 x 64 tokens, one image, forward. Nothing is trained.
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import { plainMini, vimMini, vitMini } from '../../experiments/image-minis.js'
import { costOf, timeForward } from '../../experiments/image-recipe.js'
import type { ImageClassifier } from '../../models/image-classifier.js'

const models: Readonly<Record<string, (size: number) => ImageClassifier>> = {
  plain: plainMini,
  vim: (size) => vimMini(56, size),
  vit: vitMini,
}
const patch = 4

async function measure(context: UnitContext): Promise<Measured> {
  const { method, sizes } = context
  const sides = [8, 16, 32, 64].filter((side) => side <= sizes.largest)
  const runs = Object.fromEntries(
    sides.map((side) => [`${side}`, { model: models[method](side * patch), size: side * patch }]),
  )
  // A ViT runs beside whatever is measured, at the largest size.
  const largest = sides[sides.length - 1]
  const rival = { model: vitMini(largest * patch), size: largest * patch }
  const costs = sides.map((side) => costOf(models[method](side * patch), side * patch))
  const seconds = await timeForward(context, { ...runs, rival }, sizes.rounds)
  const perToken = (side: number) => seconds[`${side}`].map((time) => time / side ** 2)
  const middle = sides[sides.indexOf(largest) - 2] ?? sides[0]
  const [late, early] = [perToken(largest), perToken(middle)]
  return {
    numbers: Object.fromEntries(costs.map(({ megabytes }, i) => [`MB at ${sides[i] ** 2} tokens`, megabytes])),
    items: {
      growth: late.map((time, round) => time / early[round]),
      'of a ViT': seconds.rival.map((time, round) => time / seconds[`${largest}`][round]),
    },
    series: {
      'us per token': sides.map((side) => [side ** 2, 1e6 * median(perToken(side))] as const),
      megaflops: costs.map(({ megaflops }, i) => [sides[i] ** 2, megaflops] as const),
    },
  }
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]

export const resolutionPart: Part = {
  name: 'resolution',
  title: 'Time per token by resolution',
  version: 1,
  timed: true,
  seeds: 1,
  sizes: {
    quick: { largest: 32, rounds: 3 },
    default: { largest: 64, rounds: 20 },
    full: { largest: 64, rounds: 20 },
  },
  methods: {
    plain: { label: 'PlainMamba-mini', tuned: {}, grid: [], seconds: 15 },
    vim: { label: 'Vim-mini', tuned: {}, grid: [], seconds: 15 },
    vit: { label: 'ViT-mini', tuned: {}, grid: [], seconds: 20 },
  },
  standIns: { plain: 'vit' },
  criteria: [
    {
      name: 'growth',
      statement: 'time per token of PlainMamba-mini at 4,096 tokens over that at 256',
      metric: 'growth',
      method: 'plain',
      better: 'lower',
      expected: 1.3,
      failure: 1.5,
      statistic: 'median',
      digits: 2,
    },
    {
      name: 'vit',
      statement: 'time of ViT-mini at 4,096 tokens, of PlainMamba-mini’s',
      metric: 'of a ViT',
      method: 'plain',
      better: 'higher',
      expected: 1,
      statistic: 'median',
      unit: 'times',
      digits: 2,
    },
    {
      name: 'vit growth',
      statement: 'time per token of ViT-mini at 4,096 tokens over that at 256',
      metric: 'growth',
      method: 'vit',
      better: 'higher',
      expected: 1.3,
      statistic: 'median',
      decides: false,
      digits: 2,
    },
  ],
  plots: [
    {
      name: 'time',
      title: 'Time per token of one image',
      series: 'us per token',
      x: { label: 'tokens', log: true },
      y: { label: 'microseconds per token', log: true },
    },
    {
      name: 'operations',
      title: 'Operations of one image',
      series: 'megaflops',
      x: { label: 'tokens', log: true },
      y: { label: 'million operations', log: true },
    },
  ],
  measure,
}
