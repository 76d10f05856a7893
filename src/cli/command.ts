// What a command of the command line is: a name, examples, and how it sets up its arguments. One file a command in
// commands/, one line in commands/index.ts.
import type { Command } from 'commander'
import { MambakitError } from '../errors.js'

export interface CliCommand {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** Shown by --help: a command line and what it does. */
  readonly examples: readonly (readonly [commandLine: string, effect: string])[]
  /**
   * Adds arguments, options and the action. The action imports what it needs itself, so that other commands start fast;
   * it throws to fail. `globals()` gives the options that every command has.
   */
  configure(command: Command, globals: () => GlobalOptions): void
}

export const deviceChoices = ['native', 'wasm', 'webgpu', 'cpu'] as const

export interface GlobalOptions {
  /** Absent: the fastest device that is there. */
  readonly device?: (typeof deviceChoices)[number]
  readonly verbose: boolean
}

/** The command line itself was wrong: exit code 2. */
export class UsageError extends MambakitError {
  override name = 'UsageError'
}

/** Parses an option's value as an integer of at least `least`; for commander's option parsers. */
export function integerOption(option: string, least = 0): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (Number.isSafeInteger(value) && value >= least && text.trim() !== '') return value
    throw new UsageError(`${option}: expected an integer of at least ${least}, got '${text}'`)
  }
}

/** Parses an option's value as a number in [least, most]; for commander's option parsers. */
export function numberOption(option: string, least: number, most = Number.POSITIVE_INFINITY): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (Number.isFinite(value) && value >= least && value <= most && text.trim() !== '') return value
    const range = most === Number.POSITIVE_INFINITY ? `of at least ${least}` : `between ${least} and ${most}`
    throw new UsageError(`${option}: expected a number ${range}, got '${text}'`)
  }
}
