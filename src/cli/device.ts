// The device that a command computes on: the default one, announced on stderr where it is not the fastest.
import type { Backend } from '../backend/types.js'
import { useDevice } from '../pipeline/device.js'
import type { GlobalOptions } from './command.js'

/** Opens what --device names, by default the fastest CPU device, and makes it the default device. */
export function useChosenDevice({ device }: GlobalOptions): Promise<Backend> {
  return useDevice(device, { announce: (line) => process.stderr.write(`mambakit: ${line}\n`) })
}
