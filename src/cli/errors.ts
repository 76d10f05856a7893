// What the user reads when a command fails, and the exit code.
import { CommanderError } from 'commander'
import { MambakitError } from '../errors.js'
import { UsageError } from './command.js'

/** System errors that come from what the user named or from the machine, not from a fault of ours. */
const systemErrors: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  ENOSPC: 'the disk is full; free some space or choose another folder',
  EDQUOT: 'the disk quota is used up; free some space or choose another folder',
  EROFS: 'the file system is read-only; choose another folder',
  EISDIR: 'is a folder; expected a file',
  ENOTDIR: 'is not a folder',
  EMFILE: 'too many open files; raise the limit with `ulimit -n`',
  EADDRINUSE: 'the port is taken; choose another one',
}

/** One line that says what failed and what to do; with `verbose` the stack as well. */
export function explainError(error: unknown, verbose: boolean): string {
  if (verbose && error instanceof Error && error.stack) return error.stack
  return line(error).replace(/\s*\n\s*/g, ' ')
}

function line(error: unknown): string {
  if (error instanceof MambakitError) return error.message
  if (isAbort(error)) return 'interrupted'
  if (!(error instanceof Error)) return `unexpected error: ${String(error)}; --verbose shows more`
  const { code, path, syscall } = error as NodeJS.ErrnoException
  const known = code === undefined ? undefined : systemErrors[code]
  if (known) return path === undefined ? `${known} (${syscall ?? code})` : `${path}: ${known}`
  return `unexpected error: ${error.message}; --verbose shows where`
}

/** 0 ok, 1 failure, 2 wrong usage, 130 interrupted. */
export function exitCodeOf(error: unknown): number {
  // Commander throws to end after --help and --version too.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof UsageError) return 2
  return isAbort(error) ? 130 : 1
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}
