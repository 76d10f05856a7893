// Part 2: what a training step of each network takes; reported beside the claim. Nothing is trained.
import type { Criterion, Measured, Part, UnitContext } from '../../experiments/experiment.js'
import { timeRatios, timeTraining, trainingSpeed } from '../../experiments/image-recipe.js'
import { summarize } from '../../experiments/verdict.js'
import { backbones, lbSteps, vims, window } from './experiment-models.js'

async function measure(context: UnitContext): Promise<Measured> {
  const { method, sizes } = context
  // Whoever stands in for LBVim is timed in its place.
  const seconds = await timeTraining(
    context,
    {
      own: vims[method as keyof typeof vims](),
      vim: vims.vim(),
      uni: vims.uni(),
      ...Object.fromEntries(
        Object.entries(backbones).flatMap(([name, build]) => [
          [`${name} with windows`, build(method === 'lb' ? window : 0)],
          [name, build(0)],
        ]),
      ),
    },
    { batch: sizes.batch, rounds: sizes.rounds },
  )
  const perSecond = (name: string) => sizes.batch / summarize(seconds[name], 'median')
  return {
    numbers: {
      'images/s': perSecond('own'),
      'images/s without windows': perSecond('uni'),
      ...Object.fromEntries(
        Object.keys(backbones)
          .flatMap((name) => [name, `${name} with windows`])
          .map((name) => [`images/s of ${name}`, perSecond(name)]),
      ),
    },
    items: {
      'of Vim': timeRatios(seconds.own, seconds.vim).map((ratio) => (method === 'lb' ? lbSteps : 1) * ratio),
      'of LBVim without windows': timeRatios(seconds.own, seconds.uni),
      ...Object.fromEntries(
        Object.keys(backbones).map((name) => [
          `of ${name}`,
          timeRatios(seconds[`${name} with windows`], seconds[name]),
        ]),
      ),
    },
    series: {},
  }
}

const beside = (name: string, statement: string, metric: string, expected: number): Criterion => ({
  ...{ name, statement, metric, expected },
  method: 'lb',
  better: 'lower',
  statistic: 'median',
  decides: false,
  digits: 2,
})

export const speedPart: Part = {
  ...trainingSpeed,
  methods: {
    lb: { label: 'LBVim-mini', tuned: {}, grid: [], seconds: 30 },
    vim: { label: 'Vim-mini', tuned: {}, grid: [], seconds: 30 },
  },
  standIns: { lb: 'vim' },
  criteria: [
    beside('vim', 'time of all steps of LBVim-mini over that of Vim-mini', 'of Vim', 1.05),
    beside('windows', 'time of a step of LBVim-mini over that without windows', 'of LBVim without windows', 1.3),
    beside('plainmamba', 'time of a step of PlainMamba-mini with windows over that without', 'of PlainMamba', 1.3),
    beside('vmamba', 'time of a step of VMamba-mini with windows over that without', 'of VMamba', 1.3),
  ],
  measure,
}
