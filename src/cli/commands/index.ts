// Every command, in the order in which --help lists them.
import type { CliCommand } from '../command.js'
import { doctor } from './doctor.js'
import { papers } from './papers.js'

export const commands: readonly CliCommand[] = [papers, doctor]
