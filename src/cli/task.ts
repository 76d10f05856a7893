// What a task brings to the command line: how it trains, measures, predicts, and what its models cost. One file a task in
// tasks/, one line in tasks/index.ts; the commands ask the task that a model belongs to.
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import type { Backend } from '../backend/types.js'
import { MambakitError } from '../errors.js'
import type { TrainingRun } from '../pipeline/training-run.node.js'
import { type GlobalOptions, UsageError } from './command.js'

/** Adds options to a command. */
type AddOptions = (command: Command) => Command

/** Something that a command does for a task, with options of its own. */
export interface TaskAction<Options> {
  readonly options: AddOptions
  /** Prints its result. `options` holds those of the command and of this task. */
  run(subject: string, options: Options, globals: GlobalOptions): Promise<void>
}

export interface CliTask {
  /** As in `mambakit train NAME`. */
  readonly name: string
  readonly train: {
    readonly description: string
    readonly examples: readonly (readonly [commandLine: string, effect: string])[]
    readonly options: AddOptions
    /** Usual values of options that all tasks have. */
    readonly defaults: { readonly learningRate: number; readonly weightDecay: number; readonly clipNorm: number }
    start(options: Readonly<Record<string, unknown>>, backend: Backend): Promise<TrainingRun>
  }
  /** Names of its models. */
  names(): Promise<readonly string[]>
  /** Whether a config.json on this machine is that of a model of this task. */
  owns(json: Readonly<Record<string, unknown>>): boolean
  // Each action knows its own options; the command has parsed them.
  readonly evaluate?: TaskAction<never>
  readonly predict?: TaskAction<never>
  readonly info?: TaskAction<never>
}

type ActionName = 'evaluate' | 'predict' | 'info'

/** Adds the options of every task's action to a command, each name once. */
export function addTaskOptions(command: Command, tasks: readonly CliTask[], action: ActionName): Command {
  for (const task of tasks) {
    const own = task[action]
    if (!own) continue
    const taken = new Set(command.options.map((option) => option.attributeName()))
    for (const option of optionsOf(own.options, command)) {
      if (taken.has(option.attributeName())) continue
      command.addOption(option)
    }
  }
  return command
}

/** The options that `add` adds. */
function optionsOf(add: AddOptions, like: Command) {
  return add(like.createCommand('options')).options
}

/**
 * Runs the action of the task that owns `subject`. Throws UsageError where the task has none, or for an option that was
 * given but belongs to other tasks.
 */
export async function runTaskAction(
  command: Command,
  tasks: readonly CliTask[],
  action: ActionName,
  subject: string,
  globals: GlobalOptions,
): Promise<void> {
  const task = await ownerOf(subject, tasks)
  const own = task[action]
  if (!own) throw new UsageError(`${subject}: is a model for ${task.name}, for which there is no '${command.name()}'`)
  const mine = new Set(optionsOf(own.options, command).map((option) => option.attributeName()))
  for (const other of tasks) {
    if (other === task || !other[action]) continue
    for (const option of optionsOf(other[action].options, command)) {
      const name = option.attributeName()
      if (mine.has(name) || command.getOptionValueSource(name) !== 'cli') continue
      throw new UsageError(`${option.long}: belongs to ${other.name}; ${subject} is a model for ${task.name}`)
    }
  }
  // A default of another task's option must not reach this one.
  const given = command.opts<Record<string, unknown>>()
  const defaults = Object.fromEntries(
    optionsOf(own.options, command).map((option) => [option.attributeName(), option.defaultValue]),
  )
  const chosen = Object.fromEntries(
    Object.entries(given).filter(([name]) => command.getOptionValueSource(name) === 'cli' || !(name in defaults)),
  )
  await own.run(subject, { ...defaults, ...chosen } as never, globals)
}

/**
 * The task that a model belongs to: by its config.json where it is on this machine, else by its name; the first task where
 * it may be a hub id. Throws UsageError for a name that no task has.
 */
async function ownerOf(subject: string, tasks: readonly CliTask[]): Promise<CliTask> {
  const { configOnDisk } = await import('../pipeline/load.node.js')
  const json = await configOnDisk(subject)
  if (json) return tasks.find((task) => task.owns(json)) ?? tasks[0]
  const all = await Promise.all(tasks.map((task) => task.names()))
  const found = all.findIndex((names) => names.includes(subject))
  if (found !== -1) return tasks[found]
  // A name without any mark of a path or hub id was meant for one of these.
  if (/[/.]/.test(subject) || existsSync(subject)) return tasks[0]
  throw new MambakitError(
    `no model is called '${subject}'; give a config.json, a model's folder or hub id, or one of ${all.flat().join(', ')}`,
  )
}
