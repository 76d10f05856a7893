// Opening a device by name. Each backend is imported when it is asked for, so that a page or a command loads only what
// it uses.
import type { Backend, DeviceName } from './types.js'

/** What a user may ask for; 'cpu' is native, else wasm. */
export const deviceNames = ['native', 'wasm', 'webgpu', 'cpu', 'reference'] as const
export type DeviceChoice = (typeof deviceNames)[number]

export interface OpenedDevice {
  readonly backend: Backend
  /** One line where the device is not the one that would have been fastest, and why. */
  readonly announcement: string | null
}

export interface OpenDeviceOptions {
  /**
   * Address of the folder that holds the .wasm files (`mambakit/dist/wasm`), where a bundler does not copy them by itself;
   * relative ones count from the page.
   */
  readonly wasmFiles?: string
}

/** Opens a device; by default the fastest CPU device that is there. Throws DeviceError with the reason where it is not. */
export async function openDevice(name: DeviceChoice = 'cpu', options: OpenDeviceOptions = {}): Promise<OpenedDevice> {
  switch (name) {
    case 'native':
      return { backend: (await import('#native')).openNative(), announcement: null }
    case 'wasm':
      return { backend: await (await import('./wasm/index.js')).openWasm(wasmOptions(options)), announcement: null }
    case 'webgpu':
      return { backend: await (await import('./webgpu/index.js')).openWebGpu(), announcement: null }
    case 'reference':
      return { backend: (await import('./reference/index.js')).openReference(), announcement: null }
    case 'cpu':
      return openCpu(options)
  }
}

const wasmOptions = ({ wasmFiles }: OpenDeviceOptions) => ({
  files: wasmFiles === undefined ? undefined : new URL(wasmFiles.replace(/\/?$/, '/'), globalThis.location?.href),
})

async function openCpu(options: OpenDeviceOptions): Promise<OpenedDevice> {
  const fault = (await import('#native')).nativeFault()
  if (fault === null) return openDevice('native')
  const { backend } = await openDevice('wasm', options)
  return { backend, announcement: `the CPU is used through WebAssembly: ${fault}` }
}

export interface DeviceReport {
  readonly device: DeviceName
  readonly available: boolean
  /** Instruction set and threads, or the adapter; why it is missing, where it is. */
  readonly detail: string
}

/** Opens every device that computes, one after another, and says what it is or why it is not there. */
export async function deviceReport(): Promise<DeviceReport[]> {
  const reports: DeviceReport[] = []
  for (const device of ['native', 'wasm', 'webgpu'] as const) {
    try {
      const { backend } = await openDevice(device)
      reports.push({ device, available: true, detail: backend.description })
      await backend.close()
    } catch (error) {
      const [line] = (error as Error).message.split('\n')
      reports.push({ device, available: false, detail: line.replace(`${device}: `, '') })
    }
  }
  return reports
}
