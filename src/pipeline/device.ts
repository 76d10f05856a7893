// The default device of a program.
import { type DeviceChoice, openDevice } from '../backend/open.js'
import type { Backend } from '../backend/types.js'
import { setDefaultBackend } from '../tensor/index.js'

/**
 * Opens a device and makes it the default one; by default the fastest CPU device that is there. A device that is not the
 * one that would have been fastest is announced by `announce` (default: console.warn).
 */
export async function useDevice(
  name?: DeviceChoice,
  announce: (line: string) => void = (line) => console.warn(`mambakit: ${line}`),
): Promise<Backend> {
  const { backend, announcement } = await openDevice(name)
  if (announcement) announce(announcement)
  setDefaultBackend(backend)
  return backend
}
