// Opens a GPU as a backend: in browsers through navigator.gpu, in Node through the optional package `webgpu` (Dawn).
import { DeviceError } from '../../errors.js'
import { WebGpuBackend } from './backend.js'
import type { DeviceTraits } from './launcher.js'

export interface WebGpuOptions {
  /** An implementation to use in place of the page's or Dawn's. */
  readonly gpu?: GPU
  /** Storage bindings a kernel may use; default: what the adapter allows. */
  readonly maxBindings?: number
  /** Invocations that fill the device; kernels with fewer split their work. Default: 65,536, or 64 on a software adapter. */
  readonly fillingInvocations?: number
  /** May invocations share rows of a reduction? Default: on a GPU. */
  readonly cheapBarriers?: boolean
  /** How 32 invocations exchange values. Default: by subgroups where those are of 32, else not. */
  readonly exchange?: DeviceTraits['exchange']
  /** Bytes a storage binding may have; default: what the adapter allows. Larger tensors are worked on in parts. */
  readonly bindingBytes?: number
  /** Tiles of GEMM to choose from in place of the usual ones. */
  readonly tuning?: DeviceTraits['tuning']
  /** In Node: only what a browser offers without experimental features, in the way it offers it. Default false. */
  readonly stock?: boolean
  /** May kernels use matrix units? Default: where there are such. */
  readonly matrices?: boolean
}

interface DawnModule {
  create(flags: readonly string[]): GPU
}

// 16-bit floats are an unsafe feature of Dawn on NVIDIA's driver. Workgroup memory need not be zeroed, since every kernel
// writes it before it reads it; the software driver compiles the zeroing to a store for each element, which takes it
// seconds. Kernels keep their indices inside by themselves, so bounds need not be checked a second time, which also takes
// that driver a quarter of its time. Timestamps are wanted as they are. Where a flag means nothing it changes nothing.
const dawnFlags = [
  'enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,disable_workgroup_init,disable_robustness',
  'disable-dawn-features=timestamp_quantization',
]

interface Found {
  /** Kept with the device, because Dawn dies with the last reference to it. */
  readonly gpu: GPU
  readonly adapter: GPUAdapter | null
}

const adapterOf = async (gpu: GPU): Promise<Found> => ({
  gpu,
  adapter: await gpu.requestAdapter({ powerPreference: 'high-performance' }),
})

const isSoftware = ({ info }: GPUAdapter) => info.vendor === 'google' || info.architecture === 'swiftshader'

async function findAdapter(given: GPU | undefined, stock: boolean): Promise<Found> {
  const page = given ?? (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu
  if (page) return adapterOf(page)
  // The name is a variable so that bundlers for browsers leave the package out.
  const name = 'webgpu'
  let dawn: DawnModule
  try {
    dawn = (await import(name)) as DawnModule
  } catch (error) {
    throw new DeviceError(
      `webgpu: this runtime has no navigator.gpu and the package 'webgpu' did not load (${(error as Error).message.split('\n')[0]}); run: npm install webgpu`,
    )
  }
  // Timestamps in steps of 100 microseconds would measure nothing.
  return adapterOf(dawn.create(stock ? [dawnFlags[1]] : dawnFlags))
}

const gpuTraits = { fillingInvocations: 65536, unrolledStates: 16, cheapBarriers: true }
const softwareTraits = { fillingInvocations: 64, unrolledStates: 0, cheapBarriers: false }
const matrixFeature = 'chromium-experimental-subgroup-matrix' as GPUFeatureName
const wantedFeatures: readonly GPUFeatureName[] = ['shader-f16', 'subgroups', 'timestamp-query', matrixFeature]

/** A shape of matrices that a device multiplies, as Chromium's experimental feature describes it. */
interface MatrixConfig {
  readonly componentType: string
  readonly resultComponentType: string
  readonly M: number
  readonly N: number
  readonly K: number
}

/** Does the adapter multiply 16 x 16 x 16 in float16 and sum in float32? */
function hasMatrices({ features, info }: GPUAdapter): boolean {
  const { subgroupMatrixConfigs: configs = [] } = info as { subgroupMatrixConfigs?: Iterable<MatrixConfig> }
  const wanted = [...configs].some(
    ({ componentType, resultComponentType, M, N, K }) =>
      componentType === 'f16' && resultComponentType === 'f32' && M === 16 && N === 16 && K === 16,
  )
  return wanted && features.has('shader-f16') && features.has(matrixFeature)
}

/** Opens the fastest adapter. Throws DeviceError where there is none. */
export async function openWebGpu(options: WebGpuOptions = {}): Promise<WebGpuBackend> {
  const { gpu, adapter } = await findAdapter(options.gpu, options.stock ?? false)
  if (!adapter) {
    throw new DeviceError(
      'webgpu: no adapter found; install a GPU driver with Vulkan, or a software one (VK_DRIVER_FILES names its description)',
    )
  }
  const { limits, info } = adapter
  const device = await adapter.requestDevice({
    requiredFeatures: wantedFeatures.filter((feature) => adapter.features.has(feature)),
    requiredLimits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    },
  })
  const maxBindings = Math.min(options.maxBindings ?? 16, limits.maxStorageBuffersPerShaderStage)
  const software = isSoftware(adapter)
  const name = [info.vendor, info.architecture, info.description].filter(Boolean).join(' ')
  const { subgroupMinSize, subgroupMaxSize } = info
  const subgroups = adapter.features.has('subgroups') && subgroupMinSize === 32 && subgroupMaxSize === 32
  const traits = {
    exchange: options.exchange ?? (subgroups ? ('subgroup' as const) : ('none' as const)),
    ...(software ? softwareTraits : gpuTraits),
    matrices: subgroups && hasMatrices(adapter) && options.matrices !== false,
    tuning: options.tuning,
    bindingBytes: Math.min(options.bindingBytes ?? Number.POSITIVE_INFINITY, limits.maxStorageBufferBindingSize),
    workgroupBytes: limits.maxComputeWorkgroupStorageSize,
  }
  // NVIDIA's drivers do not say how large a GPU is; an H100 holds 270,336.
  if (info.vendor === 'nvidia') traits.fillingInvocations = 2 ** 18
  if (options.fillingInvocations) traits.fillingInvocations = options.fillingInvocations
  if (options.cheapBarriers !== undefined) traits.cheapBarriers = options.cheapBarriers
  return new WebGpuBackend(gpu, device, `${name || 'GPU'}${software ? ' (software)' : ''}`, maxBindings, traits)
}
