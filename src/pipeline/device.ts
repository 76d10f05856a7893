// The default device of a program.
import { type DeviceChoice, type OpenDeviceOptions, openDevice } from '../backend/open.js'
import type { Backend } from '../backend/types.js'
import { setDefaultBackend } from '../tensor/index.js'

export interface UseDeviceOptions extends OpenDeviceOptions {
  /** Told of a device that is not the one that would have been fastest; default: console.warn. */
  readonly announce?: (line: string) => void
}

/** Opens a device and makes it the default one; by default the fastest CPU device that is there. Throws DeviceError. */
export async function useDevice(name?: DeviceChoice, options: UseDeviceOptions = {}): Promise<Backend> {
  const { announce = (line) => console.warn(`mambakit: ${line}`) } = options
  const { backend, announcement } = await openDevice(name, options)
  if (announcement) announce(announcement)
  setDefaultBackend(backend)
  return backend
}
