// `mambakit reproduce SLUG`: runs a paper's experiment and says whether its claim holds here.
import { join } from 'node:path'
import pc from 'picocolors'
import type { Experiment } from '../../experiments/experiment.js'
import type { Outcome, RunOptions } from '../../experiments/runner.node.js'
import { type CliCommand, type GlobalOptions, integerOption, UsageError } from '../command.js'
import { useChosenDevice } from '../device.js'
import { experimentProgress } from '../experimentProgress.js'
import { catchInterrupt } from '../interrupt.js'
import { formatTable } from '../table.js'

interface ReproduceOptions {
  all: boolean
  quick: boolean
  full: boolean
  null: boolean
  sweep: boolean
  seeds?: number
  part?: string[]
  json?: string
  record: boolean
  dataRoot?: string
  runs: string
}

export const reproduce: CliCommand = {
  name: 'reproduce',
  summary: 'test the claim of a paper at small scale',
  examples: [
    ['mambakit reproduce mamba', 'one seed, about 10 minutes on two cores; the verdict is provisional'],
    ['mambakit reproduce mamba --full --record', 'three seeds and all parts; writes results/mamba.json'],
    ['mambakit reproduce mamba --null', 'a baseline in the method’s place: must not come out as reproduced'],
    ['mambakit reproduce --all', 'every paper that has an experiment, and a table'],
  ],
  configure(command, globals) {
    command
      .argument('[slug]', 'a paper; `mambakit papers` lists them')
      .option('--all', 'every paper that has an experiment', false)
      .option('--quick', 'tiny sizes, to see that everything runs; decides nothing', false)
      .option('--full', 'three seeds and the parts that only this has; an hour or more on two cores', false)
      .option('--null', 'put the baseline in the method’s place', false)
      .option('--sweep', 'try the settings of every method with the same effort; writes results/<slug>-sweep.md', false)
      .option('--seeds <n>', 'trainings of each method; default 1, with --full 3', integerOption('--seeds', 1))
      .option('--part <name...>', 'only these parts')
      .option('--json <file>', 'write the result as JSON, - for the output')
      .option('--record', 'write results/<slug>.json, which the catalogue shows; needs --full', false)
      .option('--data-root <dir-or-url>', 'where the data sets are; default ../shared/data beside the clone')
      .option('--runs <dir>', 'where units and reports go', 'runs')
      .addHelpText(
        'after',
        '\nExit code 0 where every claim is reproduced (with --quick, where everything ran), 1 where not. An interrupted run goes on where it was.',
      )
      .action((slug: string | undefined, options: ReproduceOptions) => reproduceCommand(slug, options, globals()))
  },
}

async function reproduceCommand(slug: string | undefined, options: ReproduceOptions, globals: GlobalOptions) {
  checkUsage(slug, options)
  const experiments = await chosenExperiments(slug)
  const backend = await useChosenDevice(globals)
  using interrupt = catchInterrupt(
    'stopping; what was measured is kept, the same command goes on (again to stop at once)',
  )
  const outcomes: Outcome[] = []
  for (const experiment of experiments) {
    const progress = experimentProgress()
    const common: Pick<RunOptions, 'backend' | 'parts' | 'folder' | 'dataRoot' | 'signal' | 'onProgress'> = {
      backend,
      parts: options.part,
      folder: join(options.runs, experiment.slug),
      dataRoot: options.dataRoot,
      signal: interrupt.signal,
      onProgress: progress.update,
    }
    try {
      if (options.sweep) await sweep(experiment, common)
      else outcomes.push(await runOne(experiment, common, options, slug ?? '--all'))
    } finally {
      progress.end()
    }
  }
  if (options.all && !options.sweep) printSummary(outcomes)
  const good = (outcome: Outcome) => outcome.verdict === 'reproduced' || outcome.verdict === 'smoke'
  if (!outcomes.every(good)) process.exitCode = 1
}

function checkUsage(slug: string | undefined, options: ReproduceOptions): void {
  if ((slug === undefined) === !options.all) throw new UsageError('reproduce: expected a paper’s slug, or --all')
  if (options.quick && options.full) throw new UsageError('reproduce: expected at most one of --quick and --full')
  const alone = ['quick', 'full', 'null', 'record', 'json', 'seeds'] as const
  for (const name of alone)
    if (options.sweep && options[name]) throw new UsageError(`reproduce: --sweep does nothing with --${name}`)
  if (options.all && options.part) throw new UsageError('reproduce: --part needs a single paper')
  if (options.record && (!options.full || options.null || options.part))
    throw new UsageError('reproduce: --record needs --full, without --null and --part')
}

async function chosenExperiments(slug: string | undefined): Promise<Experiment[]> {
  const { findPaper, papers } = await import('../../papers/index.js')
  const paper = slug === undefined ? undefined : findPaper(slug)
  if (slug !== undefined && !paper)
    throw new UsageError(`reproduce: no paper '${slug}'; \`mambakit papers\` lists them`)
  const chosen = (paper ? [paper] : papers).filter(({ experiment }) => experiment)
  if (chosen.length === 0) throw new UsageError(`reproduce: '${slug}' has no experiment yet`)
  return Promise.all(chosen.map(async ({ experiment }) => (await experiment!()).experiment))
}

type Common = Pick<RunOptions, 'backend' | 'parts' | 'folder' | 'dataRoot' | 'signal' | 'onProgress'>

async function runOne(
  experiment: Experiment,
  common: Common,
  options: ReproduceOptions,
  named: string,
): Promise<Outcome> {
  const [{ runExperiment }, { writeReport }, record, { resultsFolder }] = await Promise.all([
    import('../../experiments/runner.node.js'),
    import('../../experiments/report.node.js'),
    import('../../experiments/record.node.js'),
    import('../../papers/results.node.js'),
  ])
  const scale = options.quick ? 'quick' : options.full ? 'full' : 'default'
  const count = options.seeds ?? (options.full ? 3 : 1)
  const outcome = await runExperiment(experiment, {
    ...common,
    scale,
    null: options.null,
    seeds: Array.from({ length: count }, (_, seed) => seed),
  })
  const command = commandLine(named, options)
  const name = [options.quick ? 'quick' : options.full ? 'full' : '', options.null ? 'null' : ''].filter((word) => word)
  const report = await writeReport(outcome, join(common.folder, ...(name.length > 0 ? [name.join('-')] : [])), command)
  if (options.json !== undefined || options.record) {
    const commit = await record.currentCommit(resultsFolder)
    const result = record.resultOf(outcome, { command, commit, date: new Date().toISOString().slice(0, 10) })
    if (options.json === '-') process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
    else if (options.json !== undefined) await record.writeJsonFile(options.json, result)
    if (options.record) await record.writeJsonFile(join(resultsFolder, `${experiment.slug}.json`), result)
  }
  if (options.json !== '-') await printOutcome(outcome, report)
  return outcome
}

/** The options that decide the result, for the record. */
function commandLine(named: string, options: ReproduceOptions): string {
  const words = [
    'mambakit reproduce',
    named,
    options.quick ? '--quick' : '',
    options.full ? '--full' : '',
    options.null ? '--null' : '',
    options.seeds === undefined ? '' : `--seeds ${options.seeds}`,
    options.part ? `--part ${options.part.join(' ')}` : '',
    options.record ? '--record' : '',
  ]
  return words.filter((word) => word !== '').join(' ')
}

async function printOutcome(outcome: Outcome, report: string): Promise<void> {
  const { criterionRow, verdictWords } = await import('../../experiments/report.node.js')
  const lines = [`${outcome.experiment.slug}: ${outcome.experiment.claim}`, '']
  for (const { part, criteria } of outcome.parts) {
    lines.push(pc.bold(part.title))
    const columns = ['criterion', 'measured', '95 % interval', 'claimed', ''].map((title) => ({ title }))
    lines.push(...formatTable(columns, criteria.map(criterionRow)).map((line) => `  ${line}`), '')
  }
  lines.push(`report: ${report}`, `verdict: ${pc.bold(verdictWords(outcome))}`)
  process.stdout.write(`${lines.join('\n')}\n`)
}

function printSummary(outcomes: readonly Outcome[]): void {
  const rows = outcomes.map(({ experiment, verdict, seeds, seconds, parts }) => [
    experiment.slug,
    verdict,
    parts.map(({ part, state }) => `${part.name} ${state}`).join(', '),
    seeds.length,
    (seconds / 60).toFixed(1),
  ])
  const columns = [
    { title: 'paper' },
    { title: 'verdict' },
    { title: 'parts', shrink: true },
    { title: 'seeds', align: 'right' },
    { title: 'minutes', align: 'right' },
  ] as const
  process.stdout.write(`\n${formatTable(columns, rows, process.stdout.columns).join('\n')}\n`)
}

async function sweep(experiment: Experiment, common: Common): Promise<void> {
  const [{ runSweep }, { sweepTable }, { resultsFolder }, { mkdir, writeFile }] = await Promise.all([
    import('../../experiments/runner.node.js'),
    import('../../experiments/report.node.js'),
    import('../../papers/results.node.js'),
    import('node:fs/promises'),
  ])
  const rows = await runSweep(experiment, common)
  const table = sweepTable(rows)
  const path = join(resultsFolder, `${experiment.slug}-sweep.md`)
  const devices = [...new Set(rows.flatMap((row) => row.devices))].sort()
  const intro = `# ${experiment.slug}: how settings were chosen\n\nTrainings of each method with each setting, on seeds that no experiment uses, measured on data that no criterion uses; by \`mambakit reproduce ${experiment.slug} --sweep\` on ${devices.join(' and ')}.\n\n`
  await mkdir(resultsFolder, { recursive: true })
  await writeFile(path, `${intro}${table}\n`)
  process.stdout.write(`${table}\n\nwritten to ${path}\n`)
}
