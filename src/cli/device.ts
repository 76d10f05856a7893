// The device that a command computes on: opened once, made the default, described on stderr where it is not the fastest.
import { openDevice } from '../backend/open.js'
import type { Backend } from '../backend/types.js'
import { setDefaultBackend } from '../tensor/index.js'
import type { GlobalOptions } from './command.js'

/** Opens what --device names, by default the fastest CPU device, and makes it the default device. */
export async function useChosenDevice({ device }: GlobalOptions): Promise<Backend> {
  const { backend, announcement } = await openDevice(device)
  if (announcement) process.stderr.write(`mambakit: ${announcement}\n`)
  setDefaultBackend(backend)
  return backend
}
