// The number of threads that MAMBAKIT_THREADS asks for.
import { DeviceError } from '../errors.js'

/** A whole number from 1 to 64, or undefined where nothing is asked for. Throws DeviceError for anything else. */
export function threadCount(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  const threads = Number(text)
  if (Number.isInteger(threads) && threads >= 1 && threads <= 64) return threads
  throw new DeviceError(`MAMBAKIT_THREADS: expected a whole number from 1 to 64, got '${text}'`)
}
