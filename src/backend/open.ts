// Opening a device by name. Each backend is imported when it is asked for, so that a page or a command loads only what
// it uses.
import { DeviceError } from '../errors.js'
import type { Backend } from './types.js'

/** What a user may ask for; 'cpu' is native, else wasm. */
export const deviceNames = ['native', 'wasm', 'webgpu', 'cpu', 'reference'] as const
export type DeviceChoice = (typeof deviceNames)[number]

export interface OpenedDevice {
  readonly backend: Backend
  /** One line where the device is not the one that would have been fastest, and why. */
  readonly announcement: string | null
}

/** Opens a device; by default the fastest CPU device that is there. Throws DeviceError with the reason where it is not. */
export async function openDevice(name: DeviceChoice = 'cpu'): Promise<OpenedDevice> {
  switch (name) {
    case 'native':
      return { backend: (await import('#native')).openNative(), announcement: null }
    case 'wasm':
      throw new DeviceError('wasm: this build has no WebAssembly device yet')
    case 'webgpu':
      return { backend: await (await import('./webgpu/index.js')).openWebGpu(), announcement: null }
    case 'reference':
      return { backend: (await import('./reference/index.js')).openReference(), announcement: null }
    case 'cpu':
      return openDevice('native')
  }
}
